package abi

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

func TestFlowOnALocalPolicy(t *testing.T) {
	host.NoLeak(t)
	client := host.OpenClient(t, host.OptionsFor("local:"+host.WriteFile(t, host.OnePerHour)))
	require.Equal(t, host.OK, host.Lib.ClientWaitReady(client, 0, nil), "a local client is ready at once")

	first, decided := host.Start(t, client, host.ParamsFor("checkout", "user_id", "alice"))
	require.Equal(t, host.Decision{StructSize: decided.StructSize, Decision: host.Accepted, ShouldRun: 1, HTTPStatus: 200, Reserved: 0, RetryAfterNS: host.NoRetryAfter}, *decided)

	second, decided := host.Start(t, client, host.ParamsFor("checkout", "user_id", "alice"))
	require.EqualValues(t, host.Rejected, decided.Decision)
	require.Zero(t, decided.ShouldRun)
	require.EqualValues(t, host.RejectReasonRateLimited, decided.RejectReason)
	require.EqualValues(t, 402, decided.HTTPStatus)
	require.Greater(t, decided.RetryAfterNS, int64(59*time.Minute))
	require.LessOrEqual(t, decided.RetryAfterNS, int64(time.Hour))

	again, failed := host.NewDecision(), host.NewFailure()
	require.Equal(t, host.OK, host.Lib.FlowDecision(second, again, failed))
	require.Equal(t, decided, again)
	var run int32 = 7
	require.Equal(t, host.OK, host.Lib.FlowShouldRun(second, &run, nil))
	require.Zero(t, run)
	require.Equal(t, host.OK, host.Lib.FlowShouldRun(first, &run, nil))
	require.EqualValues(t, 1, run)

	failed.Code, failed.MessageLength = 42, 42
	require.Equal(t, host.OK, host.Lib.FlowError(first, failed, nil))
	require.Equal(t, *host.NewFailure(), *failed, "a flow that was decided has no error")

	for _, flow := range []host.Handle{first, second} {
		require.Equal(t, host.OK, host.Lib.FlowEnd(flow, host.NewEndResult(), nil))
		require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
		require.Equal(t, host.ErrorInvalidHandle, host.Lib.FlowClose(flow, nil), "closed twice")
	}
	counted := host.ReadStats(t, client)
	require.EqualValues(t, 1, counted.FlowsAccepted)
	require.EqualValues(t, 1, counted.FlowsRejected)
	require.Zero(t, counted.FlowsUnreachable)
	require.EqualValues(t, 2, counted.FlowsEnded)
	host.CloseClient(t, client)
}

func TestAgentDecides(t *testing.T) {
	rejection := func(reason checkv1.CheckResponse_RejectReason, status int32, wait time.Duration) fakeagent.Behaviour {
		return fakeagent.Behaviour{Response: fakeagent.Rejection(reason, status, wait)}
	}
	tests := map[string]struct {
		answer fakeagent.Behaviour
		want   host.Decision
	}{
		"accepted":             {fakeagent.Behaviour{}, host.Decision{ShouldRun: 1, HTTPStatus: 200, RetryAfterNS: host.NoRetryAfter}},
		"rate limited":         {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, -1), host.Decision{Decision: host.Rejected, RejectReason: 1, HTTPStatus: 429, RetryAfterNS: host.NoRetryAfter}},
		"with a wait":          {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, 1500*time.Millisecond), host.Decision{Decision: host.Rejected, RejectReason: 1, HTTPStatus: 429, RetryAfterNS: 1_500_000_000}},
		"wait of zero":         {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, 0), host.Decision{Decision: host.Rejected, RejectReason: 1, HTTPStatus: 429, RetryAfterNS: 0}},
		"no tokens":            {rejection(checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, 0, -1), host.Decision{Decision: host.Rejected, RejectReason: 2, HTTPStatus: 503, RetryAfterNS: host.NoRetryAfter}},
		"not sampled":          {rejection(checkv1.CheckResponse_REJECT_REASON_NOT_SAMPLED, 0, -1), host.Decision{Decision: host.Rejected, RejectReason: 3, HTTPStatus: 403, RetryAfterNS: host.NoRetryAfter}},
		"no matching ramp":     {rejection(checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP, 0, -1), host.Decision{Decision: host.Rejected, RejectReason: host.RejectReasonNoMatchingRamp, HTTPStatus: 403, RetryAfterNS: host.NoRetryAfter}},
		"status of the policy": {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 402, -1), host.Decision{Decision: host.Rejected, RejectReason: 1, HTTPStatus: 402, RetryAfterNS: host.NoRetryAfter}},
	}
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			agent.Set(test.answer)
			_, decided := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
			test.want.StructSize = decided.StructSize
			require.Equal(t, test.want, *decided)
		})
	}
}

func TestAgentSeesTheFlow(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	options := host.OptionsFor(agent.Address())
	options.APIKey = host.TextOf("the key")
	options.UserAgent = host.TextOf("shop/1.0")
	client := host.OpenClient(t, options)
	require.Equal(t, host.OK, host.Lib.ClientWaitReady(client, int64(host.Soon), nil))

	params := host.ParamsFor("checkout", "tier", "bronze", "empty", "", "tier", "gold")
	params.CheckTimeoutNS = int64(host.Soon)
	params.RampMode = 1
	flow, _ := host.Start(t, client, params)
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))

	seen := agent.Recorded()
	require.Len(t, seen.Checks, 1)
	check := seen.Checks[0]
	require.Equal(t, "checkout", check.Request.GetControlPoint())
	require.Equal(t, map[string]string{"tier": "gold", "empty": ""}, check.Request.GetLabels())
	require.True(t, check.Request.GetRampMode())
	require.Equal(t, []string{"the key"}, check.Metadata.Get("x-api-key"))
	require.Regexp(t, "^shop/1.0 ", check.Metadata.Get("user-agent")[0])
	require.Greater(t, check.Timeout, host.Soon/2)
	require.LessOrEqual(t, check.Timeout, host.Soon)
}

func TestUnreachableFlowsFailOpenExceptInRampMode(t *testing.T) {
	tests := map[string]struct {
		trouble *fakeagent.Trouble // nil: the agent is down
		timeout time.Duration
		reason  int32
		counter func(*host.Stats) *uint64
	}{
		"down":     {nil, host.Soon, host.UnreachableUnavailable, func(s *host.Stats) *uint64 { return &s.UnreachableUnavailable }},
		"slow":     {&fakeagent.Trouble{Hang: true}, 30 * time.Millisecond, host.UnreachableTimeout, func(s *host.Stats) *uint64 { return &s.UnreachableTimeout }},
		"internal": {&fakeagent.Trouble{Error: codes.Internal, Message: "broken"}, host.Soon, host.UnreachableAgentError, func(s *host.Stats) *uint64 { return &s.UnreachableAgentError }},
		"garbage":  {&fakeagent.Trouble{Garbage: true}, host.Soon, host.UnreachableAgentError, func(s *host.Stats) *uint64 { return &s.UnreachableAgentError }},
		"refused":  {&fakeagent.Trouble{Error: codes.Unauthenticated, Message: "no key"}, host.Soon, host.UnreachableMisconfigured, func(s *host.Stats) *uint64 { return &s.UnreachableMisconfigured }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			host.NoLeak(t)
			var client host.Handle
			if test.trouble == nil {
				client = host.OpenClient(t, host.OptionsFor(host.ClosedAddress(t)))
			} else {
				agent := host.StartAgent(t)
				agent.Set(fakeagent.Behaviour{Check: *test.trouble})
				client = host.ReadyClient(t, agent)
			}
			for ramp, want := range map[int32]host.Decision{
				0: {Decision: host.Unreachable, ShouldRun: 1, HTTPStatus: 200},
				1: {Decision: host.Unreachable, ShouldRun: 0, HTTPStatus: 503},
			} {
				params := host.ParamsFor("checkout")
				params.CheckTimeoutNS, params.RampMode = int64(test.timeout), ramp
				flow, decided := host.Start(t, client, params)
				want.StructSize, want.RetryAfterNS, want.UnreachableReason = decided.StructSize, host.NoRetryAfter, test.reason
				require.Equal(t, want, *decided)

				reason := host.NewFailure()
				require.Equal(t, host.OK, host.Lib.FlowError(flow, reason, nil))
				require.Equal(t, host.ErrorUnreachable, reason.Code)
				require.NotEmpty(t, reason.Text())
				require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
			}
			counted := host.ReadStats(t, client)
			require.EqualValues(t, 2, counted.FlowsUnreachable)
			require.EqualValues(t, 2, *test.counter(&counted))
		})
	}
}

func TestWaitReadySaysWhatTheConnectionMet(t *testing.T) {
	client := host.OpenClient(t, host.OptionsFor(host.ClosedAddress(t)))
	failed := host.NewFailure()
	require.Equal(t, host.ErrorTimeout, host.Lib.ClientWaitReady(client, int64(50*time.Millisecond), failed))
	require.Contains(t, failed.Text(), "50ms")
	require.Equal(t, host.ErrorTimeout, host.Lib.ClientWaitReady(client, 0, failed), "0 looks once")
}

func TestEndGivesBackInFlightTokens(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 2})
	client := host.ReadyClient(t, agent)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))

	result := host.NewEndResult()
	require.Equal(t, host.Pending, host.Lib.FlowEndResult(flow, result, nil), "not ended yet")
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, result, nil))
	want := host.EndResult{StructSize: result.StructSize, FlowEndAnswered: 1, ReferenceCount: 2, ReturnedCount: 2, Reserved: 0}
	require.Equal(t, want, *result)
	require.Equal(t, host.OK, host.Lib.FlowEndResult(flow, result, nil))
	require.Equal(t, want, *result)
	require.Len(t, agent.Recorded().FlowEnds, 1)
	require.Len(t, agent.Recorded().FlowEnds[0].Request.GetInflightRequests(), 2)

	var length uintptr
	failed := host.NewFailure()
	require.Equal(t, host.ErrorBufferTooSmall, host.Lib.FlowEndResponse(flow, nil, 0, &length, failed))
	require.Contains(t, failed.Text(), "buffer")
	needed := length
	buffer := make([]byte, needed+1)
	require.Equal(t, host.ErrorBufferTooSmall, host.Lib.FlowEndResponse(flow, &buffer[0], needed-1, &length, nil))
	require.Equal(t, make([]byte, needed+1), buffer, "a buffer that is too small is left alone")
	require.Equal(t, needed, length)
	require.Equal(t, host.OK, host.Lib.FlowEndResponse(flow, &buffer[0], needed, &length, nil))
	require.Zero(t, buffer[needed], "written behind the capacity")
	var answer struct {
		TokenReturnStatuses []struct {
			Reference struct {
				RequestID string `json:"request_id"`
			} `json:"inflight_request_ref"`
			Returned bool    `json:"returned"`
			Error    *string `json:"error"`
		} `json:"token_return_statuses"`
	}
	require.NoError(t, json.Unmarshal(buffer[:needed], &answer))
	require.Len(t, answer.TokenReturnStatuses, 2)
	for _, status := range answer.TokenReturnStatuses {
		require.NotEmpty(t, status.Reference.RequestID)
		require.True(t, status.Returned)
		require.Equal(t, "", *status.Error)
	}
}

func TestEndFailsWhenTheAgentDoesNotTakeTokensBack(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	options := host.OptionsFor(agent.Address())
	options.FlowEndTimeoutNS = int64(30 * time.Millisecond)
	client := host.OpenClient(t, options)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))

	result, failed := host.NewEndResult(), host.NewFailure()
	require.Equal(t, host.ErrorUnreachable, host.Lib.FlowEnd(flow, result, failed))
	require.NotEmpty(t, failed.Text())
	require.Zero(t, result.FlowEndAnswered)
	require.Equal(t, host.ErrorAlreadyEnded, host.Lib.FlowEnd(flow, result, nil), "it is ended all the same")
	require.Equal(t, host.ErrorUnreachable, host.Lib.FlowEndResult(flow, result, nil))
	require.EqualValues(t, 1, host.ReadStats(t, client).FlowEndsFailed)
}

func TestFlowEndsOnce(t *testing.T) {
	client := host.OpenClient(t, host.OptionsFor("local:"))
	flow, _ := host.Start(t, client, host.ParamsFor("checkout"))
	require.Equal(t, host.OK, host.Lib.FlowSetStatus(flow, host.FlowStatusError, nil))
	require.Equal(t, host.OK, host.Lib.FlowSetStatus(flow, host.FlowStatusOK, nil))
	result := host.NewEndResult()
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, result, nil))
	require.Equal(t, *host.NewEndResult(), *result, "it held no tokens")

	failed := host.NewFailure()
	require.Equal(t, host.ErrorAlreadyEnded, host.Lib.FlowEnd(flow, nil, failed))
	require.Contains(t, failed.Text(), "already ended")
	require.Equal(t, host.ErrorAlreadyEnded, host.Lib.FlowSetStatus(flow, host.FlowStatusError, failed))
	var call host.Handle
	require.Equal(t, host.ErrorAlreadyEnded, host.Lib.FlowEndAsync(flow, 0, nil, &call, nil))
	require.Zero(t, call)

	var length uintptr = 7
	require.Equal(t, host.OK, host.Lib.FlowEndResponse(flow, nil, 0, &length, nil))
	require.Zero(t, length, "nothing was given back")
	require.Equal(t, host.OK, host.Lib.FlowDecision(flow, host.NewDecision(), nil), "an ended flow can be read")
	require.EqualValues(t, 1, host.ReadStats(t, client).FlowsEnded)
}

func TestCloseSendsEverySpan(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	for number := range 10 {
		flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
		if number%2 == 1 {
			require.Equal(t, host.OK, host.Lib.FlowSetStatus(flow, host.FlowStatusError, nil))
		}
		require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	}
	counted := host.ReadStats(t, client)
	require.EqualValues(t, 10, counted.SpansQueued+counted.SpansExported)
	require.Zero(t, counted.SpansDropped)
	host.CloseClient(t, client)

	statuses := map[any]int{}
	for _, span := range agent.Recorded().Spans {
		statuses[span.Attributes["aperture.flow.status"]]++
	}
	require.Equal(t, map[any]int{"OK": 5, "Error": 5}, statuses)
}

func TestTelemetryOffSendsNoSpan(t *testing.T) {
	agent := host.StartAgent(t)
	options := host.OptionsFor(agent.Address())
	options.TelemetryOff = 1
	client := host.OpenClient(t, options)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	host.CloseClient(t, client)
	require.Zero(t, agent.Recorded().SpanCount)
}

func TestCloseSaysHowManySpansWereNotSent(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{Export: fakeagent.Trouble{Hang: true}})
	client := host.ReadyClient(t, agent)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	failed := host.NewFailure()
	require.Equal(t, host.ErrorTimeout, host.Lib.ClientClose(client, int64(50*time.Millisecond), failed))
	require.Contains(t, failed.Text(), "1 span")
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.ClientClose(client, 0, nil), "the handle is released all the same")
}

func TestFlowOutlivesItsClient(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	client := host.ReadyClient(t, agent)
	flow, decided := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	host.CloseClient(t, client)

	again := host.NewDecision()
	require.Equal(t, host.OK, host.Lib.FlowDecision(flow, again, nil))
	require.Equal(t, decided, again)
	require.Equal(t, host.ErrorUnreachable, host.Lib.FlowEnd(flow, nil, nil), "nobody takes the tokens any more")
}

func TestCloseWakesABlockingStart(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	client := host.ReadyClient(t, agent)
	var flow host.Handle
	decided, failed := host.NewDecision(), host.NewFailure()
	result := make(chan host.Code)
	go func() {
		result <- host.Lib.StartFlow(client, host.Patient(host.ParamsFor("checkout")), &flow, decided, failed)
	}()
	host.Eventually(t, "the agent is asked", func() bool { return agent.Recorded().CheckCount == 1 })
	host.CloseClient(t, client)
	require.Equal(t, host.OK, <-result, failed.Text())
	require.EqualValues(t, host.UnreachableClosed, decided.UnreachableReason)
	require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
}
