package core

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/tests/fakestarter"
)

// begin begins a flow that waits.
func begin(t testing.TB, client *Client) *WaitingFlow {
	t.Helper()
	prepared, err := client.PrepareFlow("checkout", &FlowParams{})
	require.NoError(t, err)
	flow, waiting := prepared.Begin()
	require.Nil(t, flow)
	require.NotNil(t, waiting)
	return waiting
}

func TestOnlyAStarterLetsFlowsBegin(t *testing.T) {
	assert.True(t, clientOf(t, &fakestarter.Starter{}, Options{}).CanBegin())
	assert.False(t, clientOf(t, &fakeDecider{}, Options{}).CanBegin())
}

func TestFlowThatIsDecidedAtOnceNeedNotWait(t *testing.T) {
	client := clientOf(t, &fakestarter.Starter{}, Options{})
	prepared, err := client.PrepareFlow(fakestarter.Now, &FlowParams{})
	require.NoError(t, err)
	flow, waiting := prepared.Begin()
	require.Nil(t, waiting)
	assert.Equal(t, Accepted, flow.Decision())
	assert.EqualValues(t, 1, client.Stats().FlowsAccepted)
	_, err = flow.End(t.Context())
	assert.NoError(t, err)
}

func TestWaitingFlowIsDecidedLater(t *testing.T) {
	for name, test := range map[string]struct {
		decide func(*fakestarter.Wait)
		want   Decision
		reason check.UnreachableReason
		count  func(Stats) uint64
	}{
		"accepted": {(*fakestarter.Wait).Admit, Accepted, 0, func(s Stats) uint64 { return s.FlowsAccepted }},
		"rejected": {(*fakestarter.Wait).Reject, Rejected, 0, func(s Stats) uint64 { return s.FlowsRejected }},
		"timed out": {func(w *fakestarter.Wait) { w.Fail(check.UnreachableTimeout) }, Unreachable, check.UnreachableTimeout,
			func(s Stats) uint64 { return s.UnreachableByReason[check.UnreachableTimeout] }},
	} {
		t.Run(name, func(t *testing.T) {
			starter := &fakestarter.Starter{}
			client := clientOf(t, starter, Options{})
			waiting := begin(t, client)
			var flow *Flow
			require.False(t, waiting.Await(func() { flow = waiting.Flow() }))
			assert.Nil(t, flow)
			assert.Equal(t, Stats{}, client.Stats(), "it is not decided yet")
			test.decide(starter.Waits()[0])
			require.NotNil(t, flow)
			assert.Equal(t, test.want, flow.Decision())
			assert.Equal(t, test.reason, flow.UnreachableReason())
			assert.EqualValues(t, 1, test.count(client.Stats()))
			_, err := flow.End(t.Context())
			assert.NoError(t, err)
			waiting.Cancel() // it is too late
			assert.EqualValues(t, 1, test.count(client.Stats()))
		})
	}
}

func TestFlowThatIsDecidedBeforeItIsAwaited(t *testing.T) {
	client := clientOf(t, &fakestarter.Starter{Began: (*fakestarter.Wait).Reject}, Options{})
	waiting := begin(t, client)
	require.True(t, waiting.Await(func() { t.Error("it was decided before") }))
	assert.Equal(t, Rejected, waiting.Flow().Decision())
	assert.EqualValues(t, 1, client.Stats().FlowsRejected)
}

func TestCancelledWaitIsUnreachable(t *testing.T) {
	client := clientOf(t, &fakestarter.Starter{}, Options{})
	waiting := begin(t, client)
	var flow *Flow
	require.False(t, waiting.Await(func() { flow = waiting.Flow() }))
	waiting.Cancel()
	require.NotNil(t, flow)
	assert.Equal(t, check.UnreachableCancelled, flow.UnreachableReason())
	assert.EqualValues(t, 1, client.Stats().UnreachableByReason[check.UnreachableCancelled])
}

func TestCloseEndsWaitingFlows(t *testing.T) {
	client := clientOf(t, &fakestarter.Starter{}, Options{})
	waiting := begin(t, client)
	var flow *Flow
	require.False(t, waiting.Await(func() { flow = waiting.Flow() }))
	require.NoError(t, client.Close(t.Context()))
	require.NotNil(t, flow)
	assert.Equal(t, check.UnreachableClosed, flow.UnreachableReason())
}

func TestRefusedFlowCountsOnceAndKeepsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		decide func(*fakestarter.Wait)
		admits int
	}{
		"cancelled":               {nil, 0},
		"admitted in that moment": {(*fakestarter.Wait).Admit, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				starter := &uncancellable{}
				client := clientOf(t, starter, Options{})
				waiting := begin(t, client)
				flow := waiting.Refuse(check.UnreachableOverloaded, nil)
				assert.Equal(t, check.UnreachableOverloaded, flow.UnreachableReason())
				if test.decide != nil {
					test.decide(starter.Waits()[0])
				} else {
					starter.Waits()[0].Cancel()
				}
				synctest.Wait()
				assert.Equal(t, check.UnreachableOverloaded, flow.UnreachableReason())
				stats := client.Stats()
				assert.EqualValues(t, 1, stats.FlowsUnreachable)
				assert.EqualValues(t, 1, stats.UnreachableByReason[check.UnreachableOverloaded])
				assert.Zero(t, stats.FlowsAccepted)
				admitted, returned, err := starter.Returned()
				assert.NoError(t, err)
				assert.Equal(t, test.admits, admitted)
				assert.Equal(t, test.admits, returned)
				assert.Equal(t, 1, starter.cancels)
			})
		})
	}
}

func TestRefusalThatComesTooLateGivesTheDecision(t *testing.T) {
	client := clientOf(t, &fakestarter.Starter{Began: (*fakestarter.Wait).Admit}, Options{})
	flow := begin(t, client).Refuse(check.UnreachableOverloaded, nil)
	assert.Equal(t, Accepted, flow.Decision())
	assert.Zero(t, client.Stats().FlowsUnreachable)
}

// uncancellable is a Starter whose waits are decided by the test only, also after a cancel.
type uncancellable struct {
	fakestarter.Starter
	cancels int
}

func (s *uncancellable) Start(request *check.Request, decided func(check.Answer, error)) (check.Answer, check.Waiting, error) {
	answer, _, err := s.Starter.Start(request, decided)
	return answer, cancelled(func() { s.cancels++ }), err
}

type cancelled func()

func (c cancelled) Cancel() { c() }

// spanned is a Starter whose client exports spans.
type spanned struct {
	*fakeDecider
	starter *fakestarter.Starter
}

func (s spanned) Start(request *check.Request, decided func(check.Answer, error)) (check.Answer, check.Waiting, error) {
	return s.starter.Start(request, decided)
}

func TestWorkloadOfASpanBeginsWithTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starter, exporter := &fakestarter.Starter{}, &fakeDecider{}
		client := clientOf(t, spanned{exporter, starter}, Options{})
		waiting := begin(t, client)
		require.False(t, waiting.Await(func() {}))
		time.Sleep(time.Second)
		starter.Waits()[0].Admit()
		time.Sleep(time.Second) // until somebody takes the flow
		flow := waiting.Flow()
		time.Sleep(time.Second)
		_, err := flow.End(t.Context())
		require.NoError(t, err)
		require.NoError(t, client.Close(t.Context()))
		attributes := map[string]int64{}
		for _, attribute := range spansOf(exporter.exported[0])[0].GetAttributes() {
			attributes[attribute.GetKey()] = attribute.GetValue().GetIntValue()
		}
		assert.Equal(t, time.Second.Nanoseconds(),
			attributes["aperture.workload_start_timestamp"]-attributes["aperture.flow_start_timestamp"])
		assert.Equal(t, 2*time.Second.Nanoseconds(),
			attributes["aperture.flow_end_timestamp"]-attributes["aperture.workload_start_timestamp"])
	})
}

func TestDecisionCancelAndRefusalRace(t *testing.T) {
	starter := &fakestarter.Starter{}
	client := clientOf(t, starter, Options{})
	const total = 2000
	var seen atomic.Int64
	var group sync.WaitGroup
	end := func(flow *Flow) {
		seen.Add(1)
		_, _ = flow.End(context.Background())
	}
	for i := range total {
		waiting := begin(t, client)
		wait := starter.Waits()[i]
		group.Go(wait.Admit)
		group.Go(func() {
			switch i % 2 {
			case 0:
				end(waiting.Refuse(check.UnreachableOverloaded, nil))
			default:
				if waiting.Await(func() { end(waiting.Flow()) }) {
					end(waiting.Flow())
				}
				waiting.Cancel()
			}
		})
	}
	group.Wait()
	assert.EqualValues(t, total, seen.Load())
	stats := client.Stats()
	assert.EqualValues(t, total, stats.FlowsAccepted+stats.FlowsUnreachable)
	assert.EqualValues(t, total, stats.FlowsEnded)
	assert.Eventually(t, func() bool {
		admitted, returned, err := starter.Returned()
		return assert.NoError(t, err) && admitted == returned
	}, generous, time.Millisecond)
}
