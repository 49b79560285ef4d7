package core

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// runFlows starts and ends flows.
func runFlows(t testing.TB, client *Client, n int) {
	t.Helper()
	for range n {
		_, err := start(t, client, FlowParams{}).End(context.Background())
		require.NoError(t, err)
	}
}

// sizes returns how many spans each export had.
func (d *fakeDecider) sizes() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sizes []int
	for _, message := range d.exported {
		sizes = append(sizes, len(spansOf(message)))
	}
	return sizes
}

// What an agent reads of a span; B4, B23, B32, B41, S1.
func TestSpanOfAFlow(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	client := connect(t, Options{Address: server.Address(), Insecure: true, APIKey: "key"})
	const checkTime, workTime = 30 * time.Millisecond, 20 * time.Millisecond
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Delay: checkTime}})
	before := time.Now()
	flow := start(t, client, patient)
	time.Sleep(workTime)
	require.NoError(t, flow.SetStatus(StatusError))
	_, err := flow.End(t.Context())
	require.NoError(t, err)
	after := time.Now()

	server.Set(fakeagent.Behaviour{Response: fakeagent.Rejection(checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, 0, -1)})
	_, err = start(t, client, patient).End(t.Context())
	require.NoError(t, err)
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Error: codes.Internal}})
	_, err = start(t, client, patient).End(t.Context())
	require.NoError(t, err)
	start(t, client, patient) // never ended
	require.NoError(t, client.Close(t.Context()))

	recorded := server.Recorded()
	require.Len(t, recorded.Spans, 2, "no span without a decision, none before the end")
	assert.Equal(t, []string{"key"}, recorded.Exports[0].Metadata.Get("x-api-key"))
	span := recorded.Spans[0]
	assert.Zero(t, span.OtherAttributes+span.DoubleAttributes)
	assert.Len(t, span.Attributes, 9)
	assert.Equal(t, "sdk", span.Attributes["aperture.source"])
	assert.Equal(t, "Error", span.Attributes["aperture.flow.status"])
	response, err := span.CheckResponse()
	require.NoError(t, err)
	assert.True(t, proto.Equal(flow.CheckResponse(), response))

	assert.Len(t, span.TraceID, 16)
	assert.Len(t, span.SpanID, 8)
	assert.Empty(t, span.ParentSpanID)
	assert.NotEqual(t, span.TraceID, recorded.Spans[1].TraceID)

	at := func(name string) time.Time {
		nanoseconds, ok := span.Attributes["aperture."+name+"_timestamp"].(int64)
		require.True(t, ok, name)
		assert.Equal(t, nanoseconds/1_000_000, span.Attributes["aperture."+name+"_timestamp_ms"], name)
		return time.Unix(0, nanoseconds)
	}
	flowStart, workloadStart, flowEnd := at("flow_start"), at("workload_start"), at("flow_end")
	assert.False(t, flowStart.Before(before), "wall clock")
	assert.False(t, flowEnd.After(after), "wall clock")
	assert.GreaterOrEqual(t, workloadStart.Sub(flowStart), checkTime, "the work begins after the Check")
	assert.GreaterOrEqual(t, flowEnd.Sub(workloadStart), workTime)
	assert.EqualValues(t, flowStart.UnixNano(), span.Start)
	assert.EqualValues(t, flowEnd.UnixNano(), span.End)

	assert.Equal(t, "OK", recorded.Spans[1].Attributes["aperture.flow.status"])
	response, err = recorded.Spans[1].CheckResponse()
	require.NoError(t, err)
	assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, response.GetRejectReason())
}

// B39, B11.
func TestSpansLeaveOutCachedValues(t *testing.T) {
	response := &checkv1.CheckResponse{
		ControlPoint: "checkout",
		CacheLookupResponse: &checkv1.CacheLookupResponse{
			ResultCacheResponse: &checkv1.KeyLookupResponse{Value: []byte("private"), LookupStatus: checkv1.CacheLookupStatus_HIT},
			GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{
				"a": {Value: []byte("private"), Error: "e"},
				"b": {LookupStatus: checkv1.CacheLookupStatus_MISS},
			},
		},
	}
	response.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 0x01}) // field 100, of a newer agent
	original := proto.CloneOf(response)
	want := proto.CloneOf(response)
	want.CacheLookupResponse.ResultCacheResponse.Value = nil
	want.CacheLookupResponse.GlobalCacheResponses["a"].Value = nil

	assert.True(t, proto.Equal(want, withoutPayloads(response)))
	assert.True(t, proto.Equal(original, response), "the response is the caller's")

	response = &checkv1.CheckResponse{CacheLookupResponse: &checkv1.CacheLookupResponse{
		GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"a": {Value: []byte("private")}},
	}}
	assert.Empty(t, withoutPayloads(response).GetCacheLookupResponse().GetGlobalCacheResponses()["a"].GetValue())
	assert.Nil(t, withoutPayloads(response).GetCacheLookupResponse().GetResultCacheResponse())
	plain := &checkv1.CheckResponse{}
	assert.Same(t, plain, withoutPayloads(plain))
}

func TestSpansWaitForTheIntervalOrAFullBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decider := &fakeDecider{}
		client := clientOf(t, decider, Options{TelemetryBatch: 4, TelemetryInterval: time.Second})
		runFlows(t, client, 3)
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		assert.Empty(t, decider.sizes())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.Equal(t, []int{3}, decider.sizes())

		runFlows(t, client, 9)
		synctest.Wait()
		assert.Equal(t, []int{3, 4, 4}, decider.sizes(), "full batches do not wait")
		assert.EqualValues(t, 1, client.Stats().SpansQueued)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []int{3, 4, 4, 1}, decider.sizes())

		runFlows(t, client, 2)
		require.NoError(t, client.Close(t.Context()))
		assert.Equal(t, []int{3, 4, 4, 1, 2}, decider.sizes(), "Close sends the rest")
		assert.Equal(t, Stats{FlowsAccepted: 14, FlowsEnded: 14, SpansExported: 14}, client.Stats())
	})
}

// S24, B22.
func TestSpansAreCompleteAfterABurst(t *testing.T) {
	server := startServer(t, fakeagent.Options{Keep: -1})
	client := connect(t, Options{Address: server.Address(), Insecure: true, TelemetryQueue: MaxTelemetryQueue})
	const workers, each = 16, 500
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				flow, err := client.StartFlow(context.Background(), "checkout", patient)
				if assert.NoError(t, err) {
					_, err = flow.End(context.Background())
					assert.NoError(t, err)
				}
			}
		})
	}
	group.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	require.NoError(t, client.Close(ctx))
	assert.Equal(t, workers*each, server.Recorded().SpanCount)
	assert.Equal(t, Stats{FlowsAccepted: workers * each, FlowsEnded: workers * each, SpansExported: workers * each}, client.Stats())
}

// countingDecider only counts the spans that it gets.
type countingDecider struct {
	fakeDecider
	spans atomic.Int64
}

func (d *countingDecider) Check(context.Context, *check.Request) (check.Answer, error) {
	return accepted, nil
}

func (d *countingDecider) Export(_ context.Context, message *tracev1.TracesData) (int64, error) {
	d.spans.Add(int64(len(spansOf(message))))
	return 0, nil
}

// Of a burst that is faster than its export, every span is sent, or the loss is counted.
func TestBurstOf100000Flows(t *testing.T) {
	const workers, each = 20, 5000
	for name, queue := range map[string]int{"the default queue": 0, "a queue for all of them": workers * each} {
		t.Run(name, func(t *testing.T) {
			decider := &countingDecider{}
			client := clientOf(t, decider, Options{TelemetryQueue: queue})
			var group sync.WaitGroup
			for range workers {
				group.Go(func() { runFlows(t, client, each) })
			}
			group.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), generous)
			defer cancel()
			require.NoError(t, client.Close(ctx))
			stats := client.Stats()
			assert.EqualValues(t, workers*each, stats.FlowsEnded)
			assert.EqualValues(t, workers*each, stats.SpansExported+stats.SpansDropped)
			assert.EqualValues(t, stats.SpansExported, decider.spans.Load())
			assert.Zero(t, stats.SpansQueued)
			if queue > 0 {
				assert.Zero(t, stats.SpansDropped)
			}
		})
	}
}

func TestSpansBeyondTheQueueAreDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decider := &fakeDecider{export: hangingExport}
		client := clientOf(t, decider, Options{TelemetryQueue: 10, TelemetryBatch: 4})
		runFlows(t, client, 25)
		synctest.Wait()
		stats := client.Stats()
		assert.EqualValues(t, 10, stats.SpansQueued)
		assert.EqualValues(t, 15, stats.SpansDropped)
		// The batch under way keeps newer spans out, so it is not tried again.
		time.Sleep(exportTimeout)
		synctest.Wait()
		stats = client.Stats()
		assert.EqualValues(t, 6, stats.SpansQueued)
		assert.EqualValues(t, 19, stats.SpansDropped)
		assert.Zero(t, stats.SpansExported)
	})
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decider := &fakeDecider{export: hangingExport}
		client := clientOf(t, decider, Options{})
		labels := map[string]string{"large": strings.Repeat("x", 3_900_000)}
		for range 20 {
			_, err := start(t, client, FlowParams{Labels: labels}).End(t.Context())
			require.NoError(t, err)
		}
		stats := client.Stats()
		assert.EqualValues(t, maxQueueBytes/3_900_000, stats.SpansQueued)
		assert.EqualValues(t, 20, stats.SpansQueued+stats.SpansDropped)
	})
}

func TestExportIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries, failures atomic.Int32
		failures.Store(3)
		decider := &fakeDecider{}
		decider.export = func(context.Context, *tracev1.TracesData) (int64, error) {
			if tries.Add(1) <= failures.Load() {
				return 0, &check.UnreachableError{Reason: check.UnreachableUnavailable}
			}
			return 0, nil
		}
		client := clientOf(t, decider, Options{})
		runFlows(t, client, 5)
		time.Sleep(DefaultTelemetryInterval + 100*time.Millisecond + 200*time.Millisecond)
		synctest.Wait()
		assert.EqualValues(t, 3, tries.Load())
		assert.EqualValues(t, 5, client.Stats().SpansQueued)
		time.Sleep(400 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, []int{5}, decider.sizes())

		// But not for ever.
		tries.Store(0)
		failures.Store(1 << 30)
		runFlows(t, client, 5)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, exportTries, tries.Load())
		stats := client.Stats()
		assert.EqualValues(t, 5, stats.SpansExported)
		assert.EqualValues(t, 5, stats.SpansDropped)
		assert.Zero(t, stats.SpansQueued)

		// And the exporter is still there.
		failures.Store(0)
		runFlows(t, client, 1)
		time.Sleep(time.Minute)
		assert.EqualValues(t, 6, client.Stats().SpansExported)
	})
}

func TestExportThatTheAgentRefusesIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, reason := range []check.UnreachableReason{check.UnreachableMisconfigured, check.UnreachableAgentError} {
			var tries atomic.Int32
			client := clientOf(t, &fakeDecider{export: func(context.Context, *tracev1.TracesData) (int64, error) {
				tries.Add(1)
				return 0, &check.UnreachableError{Reason: reason}
			}}, Options{})
			runFlows(t, client, 5)
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.EqualValues(t, 1, tries.Load())
			assert.EqualValues(t, 5, client.Stats().SpansDropped)
		}
	})
}

func TestSpansThatTheAgentRefusesCountAsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rejected atomic.Int64
		rejected.Store(2)
		client := clientOf(t, &fakeDecider{export: func(context.Context, *tracev1.TracesData) (int64, error) {
			return rejected.Load(), nil
		}}, Options{})
		runFlows(t, client, 5)
		time.Sleep(time.Minute)
		assert.EqualValues(t, 3, client.Stats().SpansExported)
		assert.EqualValues(t, 2, client.Stats().SpansDropped)
		rejected.Store(1 << 40) // more than there were
		runFlows(t, client, 5)
		assert.ErrorContains(t, client.Close(t.Context()), "5 spans could not be sent")
		assert.EqualValues(t, 3, client.Stats().SpansExported)
		assert.EqualValues(t, 7, client.Stats().SpansDropped)
	})
}

func TestCloseCutsThePauseBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		decider := &fakeDecider{}
		decider.export = func(context.Context, *tracev1.TracesData) (int64, error) {
			if !up.Load() {
				return 0, &check.UnreachableError{Reason: check.UnreachableUnavailable}
			}
			return 0, nil
		}
		client := clientOf(t, decider, Options{TelemetryBatch: 2})
		runFlows(t, client, 5)
		time.Sleep(10 * time.Second) // in a pause of 5 s
		synctest.Wait()
		up.Store(true)
		begin := time.Now()
		require.NoError(t, client.Close(t.Context()))
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, []int{2, 2, 1}, decider.sizes())
	})
}

func TestCloseGivesUpOnAnAgentThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decider := &fakeDecider{}
		var tries atomic.Int32
		decider.export = func(context.Context, *tracev1.TracesData) (int64, error) {
			tries.Add(1)
			return 0, &check.UnreachableError{Reason: check.UnreachableUnavailable, Err: errors.New("connection refused")}
		}
		client := clientOf(t, decider, Options{TelemetryBatch: 10})
		runFlows(t, client, 9)
		begin := time.Now()
		err := client.Close(t.Context())
		assert.ErrorContains(t, err, "9 spans could not be sent")
		assert.ErrorContains(t, err, "connection refused")
		assert.EqualValues(t, exportTriesClosing, tries.Load())
		assert.Less(t, time.Since(begin), DefaultCloseTimeout)
		assert.EqualValues(t, 9, client.Stats().SpansDropped)
	})
}

func TestTelemetryOff(t *testing.T) {
	decider := &fakeDecider{}
	client := clientOf(t, decider, Options{TelemetryOff: true})
	runFlows(t, client, 3)
	require.NoError(t, client.Close(t.Context()))
	assert.Empty(t, decider.exported)
	assert.Equal(t, Stats{FlowsAccepted: 3, FlowsEnded: 3}, client.Stats())
}

// A gRPC server takes no message of more than 4 MiB by default.
func TestExportsStaySmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decider := &fakeDecider{}
		client := clientOf(t, decider, Options{})
		run := func(n, size int) {
			decider.check = answering(check.Answer{Response: responder{&checkv1.CheckResponse{ControlPoint: strings.Repeat("x", size)}}})
			runFlows(t, client, n)
		}
		run(100, 100_000)
		run(1, 6_000_000)
		run(500, 10_000)
		require.NoError(t, client.Close(t.Context()))
		total, large := 0, 0
		for _, message := range decider.exported {
			total += len(spansOf(message))
			if proto.Size(message) > 4<<20 {
				large++
				assert.Len(t, spansOf(message), 1, "too large by itself, so alone")
			}
		}
		assert.Equal(t, 601, total)
		assert.Equal(t, 1, large)
		assert.EqualValues(t, 601, client.Stats().SpansExported)
	})
}

func TestSpanThatCannotBeEncodedIsDropped(t *testing.T) {
	decider := &fakeDecider{check: answering(check.Answer{Response: responder{&checkv1.CheckResponse{ControlPoint: "\xff"}}})}
	client := clientOf(t, decider, Options{})
	runFlows(t, client, 1)
	decider.check = nil
	runFlows(t, client, 2)
	assert.ErrorContains(t, client.Close(t.Context()), "1 spans could not be sent")
	assert.Equal(t, []int{2}, decider.sizes())
	assert.EqualValues(t, 1, client.Stats().SpansDropped)
}

// A message that is made while an earlier one is still read by nobody must not change what was sent.
func TestEncoderUsesItsMemoryAgain(t *testing.T) {
	var encoder spanEncoder
	spans := make([]span, 3)
	for i := range spans {
		spans[i].response = responder{&checkv1.CheckResponse{ControlPoint: fmt.Sprint("point", i)}}
	}
	message, taken, encoded := encoder.encode(spans)
	assert.Equal(t, 3, taken)
	assert.Equal(t, 3, encoded)
	wire, err := proto.Marshal(message)
	require.NoError(t, err)
	_, _, _ = encoder.encode(spans[:1])
	again, err := proto.Marshal(message)
	require.NoError(t, err)
	assert.Equal(t, wire, again)
}
