package core

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

func TestAttributesOfASpan(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	client := connect(t, Options{Address: server.Address(), Insecure: true})
	flow := start(t, client, patient)
	for _, attribute := range []Attribute{
		IntegerAttribute("tokens", 1),
		TextAttribute("model", "gpt \xff"),
		NumberAttribute("cost", 0.25),
		IntegerAttribute("tokens", math.MinInt64),
	} {
		require.NoError(t, flow.SetAttribute(attribute))
	}
	_, err := flow.End(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Close(t.Context()))

	spans := server.Recorded().Spans
	require.Len(t, spans, 1)
	assert.Equal(t, int64(math.MinInt64), spans[0].Attributes["tokens"], "the last one counts")
	assert.Equal(t, "gpt \uFFFD", spans[0].Attributes["model"])
	assert.Equal(t, 0.25, spans[0].Attributes["cost"])
	assert.Equal(t, "sdk", spans[0].Attributes["aperture.source"])
	assert.Zero(t, spans[0].DoubleAttributes)
	assert.ErrorIs(t, flow.SetAttribute(IntegerAttribute("late", 1)), ErrAlreadyEnded)
}

func TestBadAttributes(t *testing.T) {
	flow := start(t, clientOf(t, &fakeDecider{}, Options{}), FlowParams{})
	for name, test := range map[string]struct {
		attribute Attribute
		argument  string
		problem   string
	}{
		"none":          {Attribute{}, "attribute", "TextAttribute"},
		"no key":        {IntegerAttribute("", 1), "attribute key", "1 to 256"},
		"long key":      {IntegerAttribute(strings.Repeat("k", 257), 1), "attribute key", "1 to 256"},
		"key not UTF-8": {IntegerAttribute("\xff", 1), "attribute key", "UTF-8"},
		"reserved key":  {IntegerAttribute("aperture.source", 1), "attribute key", "belongs to the library"},
		"long text":     {TextAttribute("k", strings.Repeat("s3cr3t", 1<<16)), "attribute text", "65536"},
		"no number":     {NumberAttribute("k", math.NaN()), "attribute number", "finite"},
		"infinite":      {NumberAttribute("k", math.Inf(-1)), "attribute number", "finite"},
	} {
		t.Run(name, func(t *testing.T) {
			err := flow.SetAttribute(test.attribute)
			argument(t, err, test.argument)
			assert.ErrorContains(t, err, test.problem)
			assert.NotContains(t, err.Error(), "s3cr3t")
		})
	}
	for i := range MaxAttributes {
		require.NoError(t, flow.SetAttribute(IntegerAttribute(fmt.Sprint("k", i), 1)))
	}
	argument(t, flow.SetAttribute(IntegerAttribute("one more", 1)), "attribute")
	assert.NoError(t, flow.SetAttribute(IntegerAttribute("k0", 2)), "one that is there is replaced")
}

// An abandoned flow gives back what it holds, and its span says Error.
func TestAbandonedFlow(t *testing.T) {
	decider := &fakeDecider{check: answering(check.Answer{InFlight: []*checkv1.InflightRequestRef{{RequestId: "1"}}})}
	client := clientOf(t, decider, Options{})
	flow := start(t, client, FlowParams{})
	ending, err := flow.BeginAbandoned()
	require.NoError(t, err)
	_, err = ending.Finish(context.Background())
	require.NoError(t, err)
	assert.Len(t, decider.flowEnds, 1)

	ended := start(t, client, FlowParams{})
	_, err = ended.End(t.Context())
	require.NoError(t, err)
	for _, flow := range []*Flow{flow, ended} {
		_, err = flow.BeginAbandoned()
		assert.ErrorIs(t, err, ErrAlreadyEnded)
	}
	stats := client.Stats()
	assert.EqualValues(t, 1, stats.FlowsNeverEnded)
	assert.EqualValues(t, 2, stats.FlowsEnded)

	require.NoError(t, client.Close(t.Context()))
	var statuses []string
	for _, span := range spansOf(decider.exported[0]) {
		statuses = append(statuses, span.GetAttributes()[1].GetValue().GetStringValue())
	}
	assert.Equal(t, []string{"Error", "OK"}, statuses)
}
