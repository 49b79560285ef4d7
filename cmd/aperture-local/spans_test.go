package main

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// spanOf returns a span with text attributes, given as keys and values.
func spanOf(attributes ...string) *tracev1.Span {
	span := &tracev1.Span{}
	for i := 0; i < len(attributes); i += 2 {
		span.Attributes = append(span.Attributes, &commonv1.KeyValue{
			Key:   attributes[i],
			Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: attributes[i+1]}},
		})
	}
	return span
}

func traces(spans ...*tracev1.Span) *tracev1.TracesData {
	return &tracev1.TracesData{ResourceSpans: []*tracev1.ResourceSpans{{ScopeSpans: []*tracev1.ScopeSpans{{Spans: spans}}}}}
}

func TestSpansOfFlowsAreCountedByStatus(t *testing.T) {
	message, err := proto.Marshal(&checkv1.CheckResponse{ControlPoint: "checkout?>", ExpectEnd: true})
	require.NoError(t, err)
	response := base64.StdEncoding.EncodeToString(message)
	const source, status, check = "aperture.source", "aperture.flow.status", "aperture.check_response"

	for name, test := range map[string]struct {
		span *tracev1.Span
		want string
	}{
		"OK":                {spanOf(source, "sdk", status, "OK", check, response), `aperture_local_spans_total{status="OK"}`},
		"error":             {spanOf(source, "sdk", status, "Error", check, response), `aperture_local_spans_total{status="Error"}`},
		"another status":    {spanOf(source, "sdk", status, "whatever", check, response), `aperture_local_spans_total{status="other"}`},
		"no status":         {spanOf(source, "sdk", check, response), `aperture_local_spans_total{status="Error"}`},
		"no source":         {spanOf(status, "OK", check, response), "aperture_local_ignored_spans_total"},
		"another source":    {spanOf(source, "envoy", status, "OK", check, response), "aperture_local_ignored_spans_total"},
		"no check response": {spanOf(source, "sdk", status, "OK"), "aperture_local_ignored_spans_total"},
		"no base64":         {spanOf(source, "sdk", status, "OK", check, "*"), "aperture_local_ignored_spans_total"},
		"no message":        {spanOf(source, "sdk", status, "OK", check, "Kv8BeA=="), "aperture_local_ignored_spans_total"},
		"nothing":           {&tracev1.Span{}, "aperture_local_ignored_spans_total"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, "--metrics", "127.0.0.1:0")
			connection := dial(t, s, nil)
			require.NoError(t, connection.Invoke(patient(t), exportMethod, traces(test.span, test.span), &emptypb.Empty{}))
			for series, value := range scrape(t, s) {
				switch series {
				case test.want:
					assert.Equal(t, "2", value, series)
				case "aperture_local_ignored_spans_total", `aperture_local_spans_total{status="OK"}`,
					`aperture_local_spans_total{status="Error"}`, `aperture_local_spans_total{status="other"}`:
					assert.Equal(t, "0", value, series)
				}
			}
			assert.Contains(t, scrape(t, s), test.want)
		})
	}
}

func TestAnEmptyExportIsTaken(t *testing.T) {
	connection := dial(t, startServer(t), nil)
	assert.NoError(t, connection.Invoke(patient(t), exportMethod, &tracev1.TracesData{}, &emptypb.Empty{}))
}
