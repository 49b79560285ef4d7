package core

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The matrix of what a Check may come to; B2, B3, B25.
func TestFlowOfEachOutcome(t *testing.T) {
	ref := []*checkv1.InflightRequestRef{{RequestId: "1"}}
	for name, test := range map[string]struct {
		check    func(context.Context, *check.Request) (check.Answer, error)
		rampMode bool

		decision Decision
		run      bool
		status   int
		span     bool
		flowEnd  bool
	}{
		"accepted":               {check: answering(check.Answer{}), decision: Accepted, run: true, status: 200, span: true},
		"accepted in ramp mode":  {check: answering(check.Answer{}), rampMode: true, decision: Accepted, run: true, status: 200, span: true},
		"accepted and holding":   {check: answering(check.Answer{InFlight: ref}), decision: Accepted, run: true, status: 200, span: true, flowEnd: true},
		"rejected":               {check: answering(check.Answer{Rejected: true}), decision: Rejected, status: 403, span: true},
		"rejected in ramp mode":  {check: answering(check.Answer{Rejected: true}), rampMode: true, decision: Rejected, status: 403, span: true},
		"rejected and holding":   {check: answering(check.Answer{Rejected: true, InFlight: ref}), decision: Rejected, status: 403, span: true, flowEnd: true},
		"timeout":                {check: unreachable(check.UnreachableTimeout), decision: Unreachable, run: true, status: 200},
		"timeout in ramp mode":   {check: unreachable(check.UnreachableTimeout), rampMode: true, decision: Unreachable, status: 503},
		"misconfigured":          {check: unreachable(check.UnreachableMisconfigured), decision: Unreachable, run: true, status: 200},
		"misconfigured and ramp": {check: unreachable(check.UnreachableMisconfigured), rampMode: true, decision: Unreachable, status: 503},
		"no decision but holding": {
			check: func(context.Context, *check.Request) (check.Answer, error) {
				return check.Answer{InFlight: ref}, &check.UnreachableError{Reason: check.UnreachableAgentError}
			},
			decision: Unreachable, run: true, status: 200, flowEnd: true,
		},
		"cancelled": {check: unreachable(check.UnreachableCancelled), decision: Unreachable, run: true, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			decider := &fakeDecider{check: test.check}
			client := clientOf(t, decider, Options{})
			flow := start(t, client, FlowParams{RampMode: test.rampMode})
			assert.Equal(t, test.decision, flow.Decision())
			assert.Equal(t, test.run, flow.ShouldRun())
			assert.Equal(t, test.status, flow.HTTPStatus())
			assert.Equal(t, test.flowEnd, flow.EndNeedsCall())
			if test.decision == Unreachable {
				assert.Nil(t, flow.CheckResponse())
				assert.Error(t, flow.Err())
				assert.NotEqual(t, check.UnreachableNone, flow.UnreachableReason())
			} else {
				assert.NotNil(t, flow.CheckResponse())
				assert.NoError(t, flow.Err())
				assert.Equal(t, check.UnreachableNone, flow.UnreachableReason())
			}

			result, err := flow.End(t.Context())
			assert.NoError(t, err)
			assert.Equal(t, test.flowEnd, result.Response != nil)
			require.NoError(t, client.Close(t.Context()))
			assert.Equal(t, test.flowEnd, len(decider.flowEnds) == 1)
			assert.Equal(t, test.span, len(decider.exported) == 1)
		})
	}
}

// B26.
func TestHTTPStatusOfRejections(t *testing.T) {
	for _, test := range []struct {
		reason check.RejectReason
		denied int32
		want   int
	}{
		{check.RejectReasonNone, 0, 403},
		{check.RejectReasonRateLimited, 0, 429},
		{check.RejectReasonNoTokens, 0, 503},
		{check.RejectReasonNotSampled, 0, 403},
		{check.RejectReasonNoMatchingRamp, 0, 403},
		{check.RejectReasonRateLimited, 402, 402},
		{check.RejectReasonNone, 429, 429},
	} {
		client := clientOf(t, &fakeDecider{check: answering(check.Answer{Rejected: true, RejectReason: test.reason, DeniedStatus: test.denied})}, Options{})
		flow := start(t, client, FlowParams{})
		assert.Equal(t, test.want, flow.HTTPStatus(), "%+v", test)
		assert.Equal(t, test.reason, flow.RejectReason())
	}
}

// B27.
func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		answer check.Answer
		want   time.Duration
		ok     bool
	}{
		"nanoseconds": {check.Answer{Rejected: true, WaitTime: 900_000_001, HasWaitTime: true}, 900_000_001, true},
		"zero":        {check.Answer{Rejected: true, HasWaitTime: true}, 0, true},
		"unset":       {check.Answer{Rejected: true}, 0, false},
		"accepted":    {check.Answer{HasWaitTime: true}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			flow := start(t, clientOf(t, &fakeDecider{check: answering(test.answer)}, Options{}), FlowParams{})
			wait, ok := flow.RetryAfter()
			assert.Equal(t, test.want, wait)
			assert.Equal(t, test.ok, ok)
		})
	}
	flow := start(t, clientOf(t, &fakeDecider{check: unreachable(check.UnreachableTimeout)}, Options{}), FlowParams{})
	_, ok := flow.RetryAfter()
	assert.False(t, ok)
	assert.Equal(t, check.RejectReasonNone, flow.RejectReason())
}

func TestSetStatus(t *testing.T) {
	flow := start(t, clientOf(t, &fakeDecider{}, Options{}), FlowParams{})
	for _, status := range []Status{StatusError, StatusOK, StatusError} {
		require.NoError(t, flow.SetStatus(status))
	}
	for _, status := range []Status{-1, 2, 1 << 30} {
		argument(t, flow.SetStatus(status), "status")
	}
	_, err := flow.End(t.Context())
	require.NoError(t, err)
	assert.ErrorIs(t, flow.SetStatus(StatusOK), ErrAlreadyEnded)
}

func TestFlowEndCarriesWhatTheFlowHolds(t *testing.T) {
	refs := []*checkv1.InflightRequestRef{{RequestId: "1", Tokens: 2}, {RequestId: "2"}}
	answer := &checkv1.FlowEndResponse{TokenReturnStatuses: []*checkv1.TokenReturnStatus{{Returned: true}}}
	var gotTimeout time.Duration
	decider := &fakeDecider{
		check: answering(check.Answer{InFlight: refs}),
		flowEnd: func(_ context.Context, _ *checkv1.FlowEndRequest, timeout time.Duration) (*checkv1.FlowEndResponse, error) {
			gotTimeout = timeout
			return answer, nil
		},
	}
	client := clientOf(t, decider, Options{FlowEndTimeout: 3 * time.Second})
	flow := start(t, client, FlowParams{})
	_, _, ok := flow.EndResult()
	assert.False(t, ok)

	result, err := flow.End(t.Context())
	require.NoError(t, err)
	assert.Same(t, answer, result.Response)
	assert.Equal(t, 3*time.Second, gotTimeout)
	require.Len(t, decider.flowEnds, 1)
	assert.Equal(t, "checkout", decider.flowEnds[0].GetControlPoint())
	assert.Equal(t, refs, decider.flowEnds[0].GetInflightRequests())

	again, err, ok := flow.EndResult()
	assert.True(t, ok)
	assert.NoError(t, err)
	assert.Equal(t, result, again)
}

func TestFailedFlowEndEndsTheFlow(t *testing.T) {
	decider := &fakeDecider{
		check: answering(check.Answer{InFlight: []*checkv1.InflightRequestRef{{RequestId: "1"}}}),
		flowEnd: func(context.Context, *checkv1.FlowEndRequest, time.Duration) (*checkv1.FlowEndResponse, error) {
			return nil, &check.UnreachableError{Reason: check.UnreachableTimeout, Err: errors.New("for a test")}
		},
	}
	client := clientOf(t, decider, Options{})
	flow := start(t, client, FlowParams{})
	_, err := flow.End(t.Context())
	failed, ok := errors.AsType[*check.UnreachableError](err)
	require.True(t, ok)
	assert.Equal(t, check.UnreachableTimeout, failed.Reason)

	_, again, ok := flow.EndResult()
	assert.True(t, ok)
	assert.Equal(t, err, again)
	_, err = flow.End(t.Context())
	assert.ErrorIs(t, err, ErrAlreadyEnded)

	require.NoError(t, client.Close(t.Context()))
	assert.Len(t, decider.exported, 1, "the span is sent all the same")
	stats := client.Stats()
	assert.EqualValues(t, 1, stats.FlowsEnded)
	assert.EqualValues(t, 1, stats.FlowEndsFailed)
	assert.Zero(t, stats.FlowsUnreachable)
}

// B10, B25, S12.
func TestOnlyOneEndCounts(t *testing.T) {
	decider := &fakeDecider{check: answering(check.Answer{InFlight: []*checkv1.InflightRequestRef{{RequestId: "1"}}})}
	client := clientOf(t, decider, Options{})
	flow := start(t, client, FlowParams{})

	var group sync.WaitGroup
	var fine, already atomic.Int32
	for range 16 {
		group.Go(func() {
			switch _, err := flow.End(context.Background()); {
			case err == nil:
				fine.Add(1)
			case errors.Is(err, ErrAlreadyEnded):
				already.Add(1)
			}
		})
	}
	group.Wait()
	assert.EqualValues(t, 1, fine.Load())
	assert.EqualValues(t, 15, already.Load())
	assert.Len(t, decider.flowEnds, 1)
	assert.EqualValues(t, 1, client.Stats().FlowsEnded)
	assert.False(t, flow.EndNeedsCall())
}

func TestSecondEndDoesNotWaitForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decider := &fakeDecider{
			check: answering(check.Answer{InFlight: []*checkv1.InflightRequestRef{{RequestId: "1"}}}),
			flowEnd: func(context.Context, *checkv1.FlowEndRequest, time.Duration) (*checkv1.FlowEndResponse, error) {
				time.Sleep(time.Hour)
				return &checkv1.FlowEndResponse{}, nil
			},
		}
		flow := start(t, clientOf(t, decider, Options{}), FlowParams{})
		go func() { _, _ = flow.End(context.Background()) }()
		synctest.Wait()
		begin := time.Now()
		_, err := flow.End(t.Context())
		assert.ErrorIs(t, err, ErrAlreadyEnded)
		_, _, ok := flow.EndResult()
		assert.False(t, ok, "the first End has no outcome yet")
		assert.Zero(t, time.Since(begin))
		time.Sleep(2 * time.Hour)
		_, _, ok = flow.EndResult()
		assert.True(t, ok)
	})
}

// Work is often ended because its context was: what it holds must be given back all the same.
func TestEndWithAContextThatHasEnded(t *testing.T) {
	var seen error
	decider := &fakeDecider{
		check: answering(check.Answer{InFlight: []*checkv1.InflightRequestRef{{RequestId: "1"}}}),
		flowEnd: func(ctx context.Context, _ *checkv1.FlowEndRequest, _ time.Duration) (*checkv1.FlowEndResponse, error) {
			seen = ctx.Err()
			return &checkv1.FlowEndResponse{}, nil
		},
	}
	flow := start(t, clientOf(t, decider, Options{}), FlowParams{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := flow.End(ctx)
	assert.NoError(t, err)
	assert.NoError(t, seen)
}

func TestUnreachableFlowIsCountedByReason(t *testing.T) {
	client := clientOf(t, &fakeDecider{}, Options{})
	cause := errors.New("4096 calls are waiting")
	flow := refused(t, client, false, check.UnreachableOverloaded, cause)
	assert.Equal(t, Unreachable, flow.Decision())
	assert.Equal(t, check.UnreachableOverloaded, flow.UnreachableReason())
	assert.ErrorIs(t, flow.Err(), cause)
	assert.True(t, flow.ShouldRun())
	assert.False(t, refused(t, client, true, check.UnreachableOverloaded, nil).ShouldRun())
	_, err := flow.End(t.Context())
	assert.NoError(t, err)

	for _, unknown := range []check.UnreachableReason{check.UnreachableNone, -1, 99} {
		flow := refused(t, client, false, unknown, cause)
		assert.Equal(t, check.UnreachableAgentError, flow.UnreachableReason())
		assert.ErrorIs(t, flow.Err(), cause)
	}
	stats := client.Stats()
	assert.EqualValues(t, 5, stats.FlowsUnreachable)
	assert.EqualValues(t, 2, stats.UnreachableByReason[check.UnreachableOverloaded])
	assert.EqualValues(t, 3, stats.UnreachableByReason[check.UnreachableAgentError])
	assert.EqualValues(t, 1, stats.FlowsEnded)
}

func TestErrorThatIsNoUnreachableErrorIsTheAgents(t *testing.T) {
	strange := errors.New("strange")
	client := clientOf(t, &fakeDecider{check: func(context.Context, *check.Request) (check.Answer, error) {
		return check.Answer{}, strange
	}}, Options{})
	flow := start(t, client, FlowParams{})
	assert.Equal(t, check.UnreachableAgentError, flow.UnreachableReason())
	assert.ErrorIs(t, flow.Err(), strange)
}

func TestDecisionNames(t *testing.T) {
	assert.Equal(t, "accepted rejected unreachable unknown", Accepted.String()+" "+Rejected.String()+" "+Unreachable.String()+" "+Decision(9).String())
}

func refused(t *testing.T, client *Client, rampMode bool, reason check.UnreachableReason, cause error) *Flow {
	t.Helper()
	prepared, err := client.PrepareFlow("checkout", &FlowParams{RampMode: rampMode})
	require.NoError(t, err)
	return prepared.Refuse(reason, cause)
}
