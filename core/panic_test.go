package core

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// record is what a logger has written.
type record struct {
	mu      sync.Mutex
	written bytes.Buffer
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written.Write(line)
}

// panics returns how many panics of a place were logged.
func (r *record) panics(where string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.written.String(), "where="+where+" ")
}

func recordedLogger() (*slog.Logger, *record) {
	r := &record{}
	return slog.New(slog.NewTextHandler(r, nil)), r
}

func TestTelemetryGoesOnAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logged := recordedLogger()
		var exports atomic.Int32
		decider := &fakeDecider{export: func(context.Context, *tracev1.TracesData) (int64, error) {
			if exports.Add(1) == 1 {
				panic("broken")
			}
			return 0, nil
		}}
		client := clientOf(t, decider, Options{TelemetryBatch: 4, Logger: logger})
		runFlows(t, client, 6) // a batch, which is lost, and two spans that wait meanwhile
		synctest.Wait()
		assert.EqualValues(t, 4, client.Stats().SpansDropped, "those in hand")
		assert.EqualValues(t, 2, client.Stats().SpansQueued)
		assert.Equal(t, 1, logged.panics("core.telemetry"))

		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Equal(t, []int{2}, decider.sizes(), "nobody tells the new loop about spans that wait already")
		runFlows(t, client, 4)
		synctest.Wait()
		assert.Equal(t, []int{2, 4}, decider.sizes())
		assert.NoError(t, client.Close(t.Context()))
		stats := client.Stats()
		assert.EqualValues(t, 6, stats.SpansExported)
		assert.EqualValues(t, 4, stats.SpansDropped)
		assert.Zero(t, stats.SpansQueued)
	})
}

func TestCloseEndsAlthoughEveryExportPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logged := recordedLogger()
		decider := &fakeDecider{export: func(context.Context, *tracev1.TracesData) (int64, error) { panic("broken") }}
		client := clientOf(t, decider, Options{TelemetryBatch: 1, Logger: logger})
		runFlows(t, client, 100)
		begin := time.Now()
		err := client.Close(t.Context())
		assert.ErrorContains(t, err, "spans could not be sent")
		assert.ErrorContains(t, err, "panic: broken")
		assert.Equal(t, DefaultCloseTimeout, time.Since(begin))
		stats := client.Stats()
		assert.EqualValues(t, 100, stats.SpansDropped)
		assert.Zero(t, stats.SpansQueued)
		assert.Less(t, logged.panics("core.telemetry"), 20, "it spins")
		assert.Equal(t, 1, decider.closed)
	})
}

func TestCloseSaysWhatPanickedAlsoWhenTheRestIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var exports atomic.Int32
		decider := &fakeDecider{export: func(ctx context.Context, _ *tracev1.TracesData) (int64, error) {
			switch exports.Add(1) {
			case 1: // until the client is being closed, which still has time
				time.Sleep(time.Second)
				return 0, nil
			case 2:
				panic("broken")
			}
			return 0, nil
		}}
		client := clientOf(t, decider, Options{TelemetryBatch: 1})
		runFlows(t, client, 3)
		synctest.Wait()
		assert.ErrorContains(t, client.Close(t.Context()), "1 spans could not be sent: a defect of the library: panic: broken")
		assert.EqualValues(t, 2, client.Stats().SpansExported)
	})
}

func TestFlowWhoseEndPanicsIsEnded(t *testing.T) {
	decider := &fakeDecider{
		check: func(context.Context, *check.Request) (check.Answer, error) {
			return check.Answer{Response: accepted.Response, InFlight: []*checkv1.InflightRequestRef{{RequestId: "1"}}}, nil
		},
		flowEnd: func(context.Context, *checkv1.FlowEndRequest, time.Duration) (*checkv1.FlowEndResponse, error) {
			panic("broken")
		},
	}
	client := clientOf(t, decider, Options{})
	flow := start(t, client, FlowParams{})
	assert.PanicsWithValue(t, "broken", func() { _, _ = flow.End(t.Context()) })
	_, err, done := flow.EndResult()
	assert.True(t, done, "who asks for the outcome would wait for ever")
	assert.ErrorIs(t, err, errEndPanicked)
	_, err = flow.End(t.Context())
	assert.ErrorIs(t, err, ErrAlreadyEnded)
}

func TestFinishGivesBackOnce(t *testing.T) {
	decider := &fakeDecider{check: func(context.Context, *check.Request) (check.Answer, error) {
		return check.Answer{Response: accepted.Response, InFlight: []*checkv1.InflightRequestRef{{RequestId: "1"}}}, nil
	}}
	ending, err := start(t, clientOf(t, decider, Options{}), FlowParams{}).BeginEnd()
	require.NoError(t, err)
	_, err = ending.Finish(t.Context())
	require.NoError(t, err)
	_, err = ending.Finish(t.Context())
	assert.ErrorIs(t, err, ErrAlreadyEnded)
	assert.Len(t, decider.flowEnds, 1)
}

// brokenEnd is a decider whose calls cannot be ended.
type brokenEnd struct{ fakeDecider }

func (*brokenEnd) EndCalls() { panic("broken") }

func TestCloseThatPanicsStillClosesTheConnection(t *testing.T) {
	decider := &brokenEnd{}
	client := clientOf(t, decider, Options{TelemetryOff: true})
	assert.PanicsWithValue(t, "broken", func() { _ = client.Close(t.Context()) })
	assert.Equal(t, 1, decider.closed)
	assert.NoError(t, client.Close(t.Context()), "another close waits for the first, which has ended")
}
