package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

const rejected = checkv1.CheckResponse_DECISION_TYPE_REJECTED

func TestAnswerReadsTheDecision(t *testing.T) {
	cacheLookup := &checkv1.CacheLookupResponse{ResultCacheResponse: &checkv1.KeyLookupResponse{Value: []byte("v")}}
	for name, test := range map[string]struct {
		message *checkv1.CheckResponse
		want    check.Answer
	}{
		"empty message": {&checkv1.CheckResponse{}, check.Answer{}},
		"everything": {
			&checkv1.CheckResponse{DecisionType: rejected, RejectReason: checkv1.CheckResponse_REJECT_REASON_NO_TOKENS,
				DeniedResponseStatusCode: 402, WaitTime: durationpb.New(665 * time.Millisecond)},
			check.Answer{Rejected: true, RejectReason: check.RejectReasonNoTokens, DeniedStatus: 402,
				WaitTime: 665 * time.Millisecond, HasWaitTime: true},
		},
		"cache look-up": {
			&checkv1.CheckResponse{CacheLookupResponse: cacheLookup},
			check.Answer{CacheLookup: cacheLookup},
		},
		"wait time of 0": {
			&checkv1.CheckResponse{DecisionType: rejected, WaitTime: &durationpb.Duration{}},
			check.Answer{Rejected: true, HasWaitTime: true},
		},
		"unknown reason": {
			&checkv1.CheckResponse{DecisionType: rejected, RejectReason: 99},
			check.Answer{Rejected: true},
		},
		"status that is none": {
			&checkv1.CheckResponse{DecisionType: rejected, DeniedResponseStatusCode: 1000},
			check.Answer{Rejected: true},
		},
		"unregistered status": {
			&checkv1.CheckResponse{DecisionType: rejected, DeniedResponseStatusCode: 499},
			check.Answer{Rejected: true, DeniedStatus: 499},
		},
		"negative wait time": {
			&checkv1.CheckResponse{DecisionType: rejected, WaitTime: durationpb.New(-time.Second)},
			check.Answer{Rejected: true},
		},
		"invalid wait time": {
			&checkv1.CheckResponse{DecisionType: rejected, WaitTime: &durationpb.Duration{Seconds: 1, Nanos: -1}},
			check.Answer{Rejected: true},
		},
		"wait time beyond what a duration holds": {
			&checkv1.CheckResponse{DecisionType: rejected, WaitTime: &durationpb.Duration{Seconds: 315_576_000_000}},
			check.Answer{Rejected: true, HasWaitTime: true, WaitTime: 1<<63 - 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answer(test.message)
			require.NoError(t, err)
			assert.Same(t, test.message, got.Response.CheckResponse())
			got.Response = nil
			assert.Equal(t, test.want, got)
		})
	}
}

func TestAnswerThatIsNoDecision(t *testing.T) {
	got, err := answer(&checkv1.CheckResponse{DecisionType: 7, LimiterDecisions: []*checkv1.LimiterDecision{limiterDecision("held", 1)}})
	assert.Equal(t, check.UnreachableAgentError, reason(t, err))
	assert.ErrorContains(t, err, "decision 7")
	assert.Len(t, got.InFlight, 1, "what the agent admitted must come back to it")
}

func limiterDecision(requestID string, tokens float64) *checkv1.LimiterDecision {
	return &checkv1.LimiterDecision{
		PolicyName: "p", PolicyHash: "h", ComponentId: "1",
		Details: &checkv1.LimiterDecision_ConcurrencyLimiterInfo_{ConcurrencyLimiterInfo: &checkv1.LimiterDecision_ConcurrencyLimiterInfo{
			Label: "limiter", RequestId: requestID, TokensInfo: &checkv1.LimiterDecision_TokensInfo{Consumed: tokens},
		}},
	}
}

// B6, B17, S23.
func TestAnswerListsWhatTheFlowHolds(t *testing.T) {
	dropped := limiterDecision("dropped", 0)
	dropped.Dropped = true
	unlabelled := limiterDecision("unlabelled", 0)
	unlabelled.Reason = checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND
	bare := limiterDecision("bare", 0)
	bare.GetConcurrencyLimiterInfo().TokensInfo = nil

	got, err := answer(&checkv1.CheckResponse{DecisionType: rejected, LimiterDecisions: []*checkv1.LimiterDecision{
		{Details: &checkv1.LimiterDecision_RateLimiterInfo_{RateLimiterInfo: &checkv1.LimiterDecision_RateLimiterInfo{Label: "rate"}}},
		limiterDecision("first", 1),
		dropped,
		unlabelled,
		limiterDecision("", 1),
		{},
		{PolicyName: "q", PolicyHash: "i", ComponentId: "2", Details: &checkv1.LimiterDecision_ConcurrencySchedulerInfo_{
			ConcurrencySchedulerInfo: &checkv1.LimiterDecision_ConcurrencySchedulerInfo{
				Label: "scheduler", RequestId: "second", TokensInfo: &checkv1.LimiterDecision_TokensInfo{Consumed: 2.5},
			}}},
		bare,
	}})
	require.NoError(t, err)
	want := []*checkv1.InflightRequestRef{
		{PolicyName: "p", PolicyHash: "h", ComponentId: "1", Label: "limiter", RequestId: "first", Tokens: 1},
		{PolicyName: "q", PolicyHash: "i", ComponentId: "2", Label: "scheduler", RequestId: "second", Tokens: 2.5},
		{PolicyName: "p", PolicyHash: "h", ComponentId: "1", Label: "limiter", RequestId: "bare"},
	}
	require.Len(t, got.InFlight, len(want))
	for i := range want {
		assert.True(t, proto.Equal(want[i], got.InFlight[i]), "%v", got.InFlight[i])
	}
}
