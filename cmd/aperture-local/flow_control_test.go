package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func TestCheckDecidesByThePolicies(t *testing.T) {
	client := checkv1.NewFlowControlServiceClient(dial(t, startServer(t), nil))
	checkOf := func(user string) *checkv1.CheckResponse {
		response, err := client.Check(patient(t), &checkv1.CheckRequest{
			ControlPoint: "checkout", Labels: map[string]string{"user_id": user, "tier": "gold"}, ExpectEnd: true,
		})
		require.NoError(t, err)
		return response
	}
	for range 2 {
		assert.Equal(t, checkv1.CheckResponse_DECISION_TYPE_ACCEPTED, checkOf("alice").GetDecisionType())
	}
	rejected := checkOf("alice")
	assert.Equal(t, checkv1.CheckResponse_DECISION_TYPE_REJECTED, rejected.GetDecisionType())
	assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, rejected.GetRejectReason())
	assert.Equal(t, checkv1.StatusCode_TooManyRequests, rejected.GetDeniedResponseStatusCode())
	assert.Positive(t, rejected.GetWaitTime().AsDuration())
	assert.Equal(t, []string{"tier", "user_id"}, rejected.GetFlowLabelKeys())
	require.Len(t, rejected.GetLimiterDecisions(), 1)
	assert.Equal(t, "per-user", rejected.GetLimiterDecisions()[0].GetPolicyName())
	assert.Equal(t, checkv1.CheckResponse_DECISION_TYPE_ACCEPTED, checkOf("bob").GetDecisionType())

	ramp, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout", RampMode: true})
	require.NoError(t, err)
	assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP, ramp.GetRejectReason())
}

func TestTheAgentGroupChoosesSelectors(t *testing.T) {
	client := checkv1.NewFlowControlServiceClient(dial(t, startServer(t, "--agent-group", "another"), nil))
	response, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout", Labels: map[string]string{"user_id": "a"}})
	require.NoError(t, err)
	assert.Empty(t, response.GetLimiterDecisions())
}

func TestCheckEchoesExpectEnd(t *testing.T) {
	client := checkv1.NewFlowControlServiceClient(dial(t, startServer(t), nil))
	for _, expect := range []bool{false, true} {
		response, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout", ExpectEnd: expect})
		require.NoError(t, err)
		assert.Equal(t, expect, response.GetExpectEnd())
	}
}

func TestFlowEndAnswersEveryReference(t *testing.T) {
	client := checkv1.NewFlowControlServiceClient(dial(t, startServer(t), nil))
	response, err := client.FlowEnd(patient(t), &checkv1.FlowEndRequest{
		ControlPoint:     "checkout",
		InflightRequests: []*checkv1.InflightRequestRef{{PolicyName: "per-user", RequestId: "1"}, {}},
	})
	require.NoError(t, err)
	require.Len(t, response.GetTokenReturnStatuses(), 2)
	assert.Equal(t, "flow ender not found for limiter id", response.GetTokenReturnStatuses()[0].GetError())
	assert.Equal(t, "request id cannot be empty", response.GetTokenReturnStatuses()[1].GetError())
}

func TestCacheCallsReachTheEngine(t *testing.T) {
	client := checkv1.NewFlowControlServiceClient(dial(t, startServer(t), nil))
	keys := &checkv1.CacheLookupRequest{ControlPoint: "search", ResultCacheKey: "r", GlobalCacheKeys: []string{"g"}}
	stored, err := client.CacheUpsert(patient(t), &checkv1.CacheUpsertRequest{
		ControlPoint:     "search",
		ResultCacheEntry: &checkv1.CacheEntry{Key: "r", Value: []byte("result")},
	})
	require.NoError(t, err)
	require.NotNil(t, stored.GetResultCacheResponse())
	assert.Equal(t, checkv1.CacheOperationStatus_SUCCESS, stored.GetResultCacheResponse().GetOperationStatus())

	found, err := client.CacheLookup(patient(t), keys)
	require.NoError(t, err)
	checked, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "search", CacheLookupRequest: keys})
	require.NoError(t, err)
	for _, found := range []*checkv1.CacheLookupResponse{found, checked.GetCacheLookupResponse()} {
		assert.Equal(t, "result", string(found.GetResultCacheResponse().GetValue()))
		assert.Equal(t, checkv1.CacheLookupStatus_HIT, found.GetResultCacheResponse().GetLookupStatus())
		assert.Equal(t, checkv1.CacheLookupStatus_MISS, found.GetGlobalCacheResponses()["g"].GetLookupStatus())
	}

	removed, err := client.CacheDelete(patient(t), &checkv1.CacheDeleteRequest{ControlPoint: "search", ResultCacheKey: "r"})
	require.NoError(t, err)
	assert.Equal(t, checkv1.CacheOperationStatus_SUCCESS, removed.GetResultCacheResponse().GetOperationStatus())
	found, err = client.CacheLookup(patient(t), keys)
	require.NoError(t, err)
	assert.Equal(t, checkv1.CacheLookupStatus_MISS, found.GetResultCacheResponse().GetLookupStatus())
}

// fixedDecider answers every call alike and keeps what it was asked.
type fixedDecider struct {
	check.Decider
	err     error
	request *check.Request
	timeout time.Duration
}

func (d *fixedDecider) Check(_ context.Context, request *check.Request) (check.Answer, error) {
	d.request = request
	return check.Answer{}, d.err
}

func (d *fixedDecider) FlowEnd(_ context.Context, _ *checkv1.FlowEndRequest, timeout time.Duration) (*checkv1.FlowEndResponse, error) {
	d.timeout = timeout
	return nil, d.err
}

func serviceOf(t *testing.T, decider check.Decider) *flowControl {
	t.Helper()
	engine, err := local.Open(nil, local.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = engine.Close() })
	return &flowControl{decider: decider, metrics: newMetrics(engine), activity: &activity{}}
}

func TestTheDeadlineOfACallBoundsTheDecision(t *testing.T) {
	decider := &fixedDecider{err: errors.New("for a test")}
	service := serviceOf(t, decider)

	_, _ = service.Check(context.Background(), &checkv1.CheckRequest{})
	_, _ = service.FlowEnd(context.Background(), &checkv1.FlowEndRequest{})
	assert.Equal(t, defaultTimeout, decider.request.Timeout)
	assert.Equal(t, defaultTimeout, decider.timeout)

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	_, _ = service.Check(ctx, &checkv1.CheckRequest{})
	_, _ = service.FlowEnd(ctx, &checkv1.FlowEndRequest{})
	for _, timeout := range []time.Duration{decider.request.Timeout, decider.timeout} {
		assert.Greater(t, timeout, defaultTimeout)
		assert.LessOrEqual(t, timeout, time.Hour)
	}

	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	*decider = fixedDecider{}
	_, err := service.Check(late, &checkv1.CheckRequest{})
	assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
	_, err = service.FlowEnd(late, &checkv1.FlowEndRequest{})
	assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
	assert.Nil(t, decider.request, "the decider is not asked")
}

func TestErrorsOfTheEngineHaveTheirCode(t *testing.T) {
	unreachable := func(reason check.UnreachableReason) error { return &check.UnreachableError{Reason: reason} }
	for want, err := range map[codes.Code]error{
		codes.DeadlineExceeded:  unreachable(check.UnreachableTimeout),
		codes.Canceled:          unreachable(check.UnreachableCancelled),
		codes.Unavailable:       unreachable(check.UnreachableClosed),
		codes.ResourceExhausted: unreachable(check.UnreachableOverloaded),
		codes.Internal:          errors.New("anything else"),
	} {
		service := serviceOf(t, &fixedDecider{err: err})
		_, checked := service.Check(context.Background(), &checkv1.CheckRequest{})
		_, ended := service.FlowEnd(context.Background(), &checkv1.FlowEndRequest{})
		assert.Equal(t, want, status.Code(checked))
		assert.Equal(t, want, status.Code(ended))
	}
}
