package abi

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

func TestFlowOnALocalPolicy(t *testing.T) {
	noLeak(t)
	client := openClient(t, optionsFor("local:"+writeFile(t, onePerHour)))
	require.Equal(t, ok, lib.clientWaitReady(client, 0, nil), "a local client is ready at once")

	first, decided := start(t, client, paramsFor("checkout", "user_id", "alice"))
	require.Equal(t, decision{structSize: decided.structSize, decision: accepted, shouldRun: 1, httpStatus: 200, reserved: 0, retryAfterNS: noRetryAfter}, *decided)

	second, decided := start(t, client, paramsFor("checkout", "user_id", "alice"))
	require.EqualValues(t, rejected, decided.decision)
	require.Zero(t, decided.shouldRun)
	require.EqualValues(t, rejectReasonRateLimited, decided.rejectReason)
	require.EqualValues(t, 402, decided.httpStatus)
	require.Greater(t, decided.retryAfterNS, int64(59*time.Minute))
	require.LessOrEqual(t, decided.retryAfterNS, int64(time.Hour))

	again, failed := newDecision(), newFailure()
	require.Equal(t, ok, lib.flowDecision(second, again, failed))
	require.Equal(t, decided, again)
	var run int32 = 7
	require.Equal(t, ok, lib.flowShouldRun(second, &run, nil))
	require.Zero(t, run)
	require.Equal(t, ok, lib.flowShouldRun(first, &run, nil))
	require.EqualValues(t, 1, run)

	failed.code, failed.messageLength = 42, 42
	require.Equal(t, ok, lib.flowError(first, failed, nil))
	require.Equal(t, *newFailure(), *failed, "a flow that was decided has no error")

	for _, flow := range []handle{first, second} {
		require.Equal(t, ok, lib.flowEnd(flow, newEndResult(), nil))
		require.Equal(t, ok, lib.flowClose(flow, nil))
		require.Equal(t, errorInvalidHandle, lib.flowClose(flow, nil), "closed twice")
	}
	counted := readStats(t, client)
	require.EqualValues(t, 1, counted.flowsAccepted)
	require.EqualValues(t, 1, counted.flowsRejected)
	require.Zero(t, counted.flowsUnreachable)
	require.EqualValues(t, 2, counted.flowsEnded)
	closeClient(t, client)
}

func TestAgentDecides(t *testing.T) {
	rejection := func(reason checkv1.CheckResponse_RejectReason, status int32, wait time.Duration) fakeagent.Behaviour {
		return fakeagent.Behaviour{Response: fakeagent.Rejection(reason, status, wait)}
	}
	tests := map[string]struct {
		answer fakeagent.Behaviour
		want   decision
	}{
		"accepted":             {fakeagent.Behaviour{}, decision{shouldRun: 1, httpStatus: 200, retryAfterNS: noRetryAfter}},
		"rate limited":         {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, -1), decision{decision: rejected, rejectReason: 1, httpStatus: 429, retryAfterNS: noRetryAfter}},
		"with a wait":          {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, 1500*time.Millisecond), decision{decision: rejected, rejectReason: 1, httpStatus: 429, retryAfterNS: 1_500_000_000}},
		"wait of zero":         {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, 0), decision{decision: rejected, rejectReason: 1, httpStatus: 429, retryAfterNS: 0}},
		"no tokens":            {rejection(checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, 0, -1), decision{decision: rejected, rejectReason: 2, httpStatus: 503, retryAfterNS: noRetryAfter}},
		"not sampled":          {rejection(checkv1.CheckResponse_REJECT_REASON_NOT_SAMPLED, 0, -1), decision{decision: rejected, rejectReason: 3, httpStatus: 403, retryAfterNS: noRetryAfter}},
		"no matching ramp":     {rejection(checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP, 0, -1), decision{decision: rejected, rejectReason: rejectReasonNoMatchingRamp, httpStatus: 403, retryAfterNS: noRetryAfter}},
		"status of the policy": {rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 402, -1), decision{decision: rejected, rejectReason: 1, httpStatus: 402, retryAfterNS: noRetryAfter}},
	}
	agent := startAgent(t)
	client := readyClient(t, agent)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			agent.Set(test.answer)
			_, decided := start(t, client, patient(paramsFor("checkout")))
			test.want.structSize = decided.structSize
			require.Equal(t, test.want, *decided)
		})
	}
}

func TestAgentSeesTheFlow(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	options := optionsFor(agent.Address())
	options.apiKey = textOf("the key")
	options.userAgent = textOf("shop/1.0")
	client := openClient(t, options)
	require.Equal(t, ok, lib.clientWaitReady(client, int64(soon), nil))

	params := paramsFor("checkout", "tier", "bronze", "empty", "", "tier", "gold")
	params.checkTimeoutNS = int64(soon)
	params.rampMode = 1
	flow, _ := start(t, client, params)
	require.Equal(t, ok, lib.flowEnd(flow, nil, nil))

	seen := agent.Recorded()
	require.Len(t, seen.Checks, 1)
	check := seen.Checks[0]
	require.Equal(t, "checkout", check.Request.GetControlPoint())
	require.Equal(t, map[string]string{"tier": "gold", "empty": ""}, check.Request.GetLabels())
	require.True(t, check.Request.GetRampMode())
	require.Equal(t, []string{"the key"}, check.Metadata.Get("x-api-key"))
	require.Regexp(t, "^shop/1.0 ", check.Metadata.Get("user-agent")[0])
	require.Greater(t, check.Timeout, soon/2)
	require.LessOrEqual(t, check.Timeout, soon)
}

func TestUnreachableFlowsFailOpenExceptInRampMode(t *testing.T) {
	tests := map[string]struct {
		trouble *fakeagent.Trouble // nil: the agent is down
		timeout time.Duration
		reason  int32
		counter func(*stats) *uint64
	}{
		"down":     {nil, soon, unreachableUnavailable, func(s *stats) *uint64 { return &s.unreachableUnavailable }},
		"slow":     {&fakeagent.Trouble{Hang: true}, 30 * time.Millisecond, unreachableTimeout, func(s *stats) *uint64 { return &s.unreachableTimeout }},
		"internal": {&fakeagent.Trouble{Error: codes.Internal, Message: "broken"}, soon, unreachableAgentError, func(s *stats) *uint64 { return &s.unreachableAgentError }},
		"garbage":  {&fakeagent.Trouble{Garbage: true}, soon, unreachableAgentError, func(s *stats) *uint64 { return &s.unreachableAgentError }},
		"refused":  {&fakeagent.Trouble{Error: codes.Unauthenticated, Message: "no key"}, soon, unreachableMisconfigured, func(s *stats) *uint64 { return &s.unreachableMisconfigured }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			var client handle
			if test.trouble == nil {
				client = openClient(t, optionsFor(closedAddress(t)))
			} else {
				agent := startAgent(t)
				agent.Set(fakeagent.Behaviour{Check: *test.trouble})
				client = readyClient(t, agent)
			}
			for ramp, want := range map[int32]decision{
				0: {decision: unreachable, shouldRun: 1, httpStatus: 200},
				1: {decision: unreachable, shouldRun: 0, httpStatus: 503},
			} {
				params := paramsFor("checkout")
				params.checkTimeoutNS, params.rampMode = int64(test.timeout), ramp
				flow, decided := start(t, client, params)
				want.structSize, want.retryAfterNS, want.unreachableReason = decided.structSize, noRetryAfter, test.reason
				require.Equal(t, want, *decided)

				reason := newFailure()
				require.Equal(t, ok, lib.flowError(flow, reason, nil))
				require.Equal(t, errorUnreachable, reason.code)
				require.NotEmpty(t, reason.text())
				require.Equal(t, ok, lib.flowEnd(flow, nil, nil))
			}
			counted := readStats(t, client)
			require.EqualValues(t, 2, counted.flowsUnreachable)
			require.EqualValues(t, 2, *test.counter(&counted))
		})
	}
}

func TestWaitReadySaysWhatTheConnectionMet(t *testing.T) {
	client := openClient(t, optionsFor(closedAddress(t)))
	failed := newFailure()
	require.Equal(t, errorTimeout, lib.clientWaitReady(client, int64(50*time.Millisecond), failed))
	require.Contains(t, failed.text(), "50ms")
	require.Equal(t, errorTimeout, lib.clientWaitReady(client, 0, failed), "0 looks once")
}

func TestEndGivesBackInFlightTokens(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 2})
	client := readyClient(t, agent)
	flow, _ := start(t, client, patient(paramsFor("checkout")))

	result := newEndResult()
	require.Equal(t, pending, lib.flowEndResult(flow, result, nil), "not ended yet")
	require.Equal(t, ok, lib.flowEnd(flow, result, nil))
	want := endResult{structSize: result.structSize, flowEndAnswered: 1, referenceCount: 2, returnedCount: 2, reserved: 0}
	require.Equal(t, want, *result)
	require.Equal(t, ok, lib.flowEndResult(flow, result, nil))
	require.Equal(t, want, *result)
	require.Len(t, agent.Recorded().FlowEnds, 1)
	require.Len(t, agent.Recorded().FlowEnds[0].Request.GetInflightRequests(), 2)

	var length uintptr
	failed := newFailure()
	require.Equal(t, errorBufferTooSmall, lib.flowEndResponse(flow, nil, 0, &length, failed))
	require.Contains(t, failed.text(), "buffer")
	needed := length
	buffer := make([]byte, needed+1)
	require.Equal(t, errorBufferTooSmall, lib.flowEndResponse(flow, &buffer[0], needed-1, &length, nil))
	require.Equal(t, make([]byte, needed+1), buffer, "a buffer that is too small is left alone")
	require.Equal(t, needed, length)
	require.Equal(t, ok, lib.flowEndResponse(flow, &buffer[0], needed, &length, nil))
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
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	options := optionsFor(agent.Address())
	options.flowEndTimeoutNS = int64(30 * time.Millisecond)
	client := openClient(t, options)
	flow, _ := start(t, client, patient(paramsFor("checkout")))

	result, failed := newEndResult(), newFailure()
	require.Equal(t, errorUnreachable, lib.flowEnd(flow, result, failed))
	require.NotEmpty(t, failed.text())
	require.Zero(t, result.flowEndAnswered)
	require.Equal(t, errorAlreadyEnded, lib.flowEnd(flow, result, nil), "it is ended all the same")
	require.Equal(t, errorUnreachable, lib.flowEndResult(flow, result, nil))
	require.EqualValues(t, 1, readStats(t, client).flowEndsFailed)
}

func TestFlowEndsOnce(t *testing.T) {
	client := openClient(t, optionsFor("local:"))
	flow, _ := start(t, client, paramsFor("checkout"))
	require.Equal(t, ok, lib.flowSetStatus(flow, flowStatusError, nil))
	require.Equal(t, ok, lib.flowSetStatus(flow, flowStatusOK, nil))
	result := newEndResult()
	require.Equal(t, ok, lib.flowEnd(flow, result, nil))
	require.Equal(t, *newEndResult(), *result, "it held no tokens")

	failed := newFailure()
	require.Equal(t, errorAlreadyEnded, lib.flowEnd(flow, nil, failed))
	require.Contains(t, failed.text(), "already ended")
	require.Equal(t, errorAlreadyEnded, lib.flowSetStatus(flow, flowStatusError, failed))
	var call handle
	require.Equal(t, errorAlreadyEnded, lib.flowEndAsync(flow, 0, nil, &call, nil))
	require.Zero(t, call)

	var length uintptr = 7
	require.Equal(t, ok, lib.flowEndResponse(flow, nil, 0, &length, nil))
	require.Zero(t, length, "nothing was given back")
	require.Equal(t, ok, lib.flowDecision(flow, newDecision(), nil), "an ended flow can be read")
	require.EqualValues(t, 1, readStats(t, client).flowsEnded)
}

func TestCloseSendsEverySpan(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	for number := range 10 {
		flow, _ := start(t, client, patient(paramsFor("checkout")))
		if number%2 == 1 {
			require.Equal(t, ok, lib.flowSetStatus(flow, flowStatusError, nil))
		}
		require.Equal(t, ok, lib.flowEnd(flow, nil, nil))
	}
	counted := readStats(t, client)
	require.EqualValues(t, 10, counted.spansQueued+counted.spansExported)
	require.Zero(t, counted.spansDropped)
	closeClient(t, client)

	statuses := map[any]int{}
	for _, span := range agent.Recorded().Spans {
		statuses[span.Attributes["aperture.flow.status"]]++
	}
	require.Equal(t, map[any]int{"OK": 5, "Error": 5}, statuses)
}

func TestTelemetryOffSendsNoSpan(t *testing.T) {
	agent := startAgent(t)
	options := optionsFor(agent.Address())
	options.telemetryOff = 1
	client := openClient(t, options)
	flow, _ := start(t, client, patient(paramsFor("checkout")))
	require.Equal(t, ok, lib.flowEnd(flow, nil, nil))
	closeClient(t, client)
	require.Zero(t, agent.Recorded().SpanCount)
}

func TestCloseSaysHowManySpansWereNotSent(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{Export: fakeagent.Trouble{Hang: true}})
	client := readyClient(t, agent)
	flow, _ := start(t, client, patient(paramsFor("checkout")))
	require.Equal(t, ok, lib.flowEnd(flow, nil, nil))
	failed := newFailure()
	require.Equal(t, errorTimeout, lib.clientClose(client, int64(50*time.Millisecond), failed))
	require.Contains(t, failed.text(), "1 span")
	require.Equal(t, errorInvalidHandle, lib.clientClose(client, 0, nil), "the handle is released all the same")
}

func TestFlowOutlivesItsClient(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	client := readyClient(t, agent)
	flow, decided := start(t, client, patient(paramsFor("checkout")))
	closeClient(t, client)

	again := newDecision()
	require.Equal(t, ok, lib.flowDecision(flow, again, nil))
	require.Equal(t, decided, again)
	require.Equal(t, errorUnreachable, lib.flowEnd(flow, nil, nil), "nobody takes the tokens any more")
}

func TestCloseWakesABlockingStart(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	client := readyClient(t, agent)
	var flow handle
	decided, failed := newDecision(), newFailure()
	result := make(chan code)
	go func() { result <- lib.startFlow(client, patient(paramsFor("checkout")), &flow, decided, failed) }()
	eventually(t, "the agent is asked", func() bool { return agent.Recorded().CheckCount == 1 })
	closeClient(t, client)
	require.Equal(t, ok, <-result, failed.text())
	require.EqualValues(t, unreachableClosed, decided.unreachableReason)
	require.Equal(t, ok, lib.flowClose(flow, nil))
}
