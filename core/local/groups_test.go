package local

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func sampled(id string, percentage float64, ramp bool) policy.Sampler {
	return policy.Sampler{Component: everywhere(id), AcceptPercentage: percentage, RampMode: ramp, SessionLabelKey: "user"}
}

func limited(id string, most float64) policy.ConcurrencyLimiter {
	return policy.ConcurrencyLimiter{
		Component: everywhere(id), TokensLabelKey: "tokens",
		InFlight: policy.InFlight{MaxConcurrency: most, MaxInflightDuration: time.Minute, LimitByLabelKey: "user"},
	}
}

// Which group rejects a flow, and how (tables 4 and 5.2 of the specification).
func TestGroupsInTheirOrder(t *testing.T) {
	full := quotaPolicy(0, 0.001).QuotaSchedulers
	busy := concurrencyPolicy(0).ConcurrencySchedulers
	rate := []policy.RateLimiter{{Component: everywhere("root.0"), TokenBucket: buckets(0, 1)}}
	for name, test := range map[string]struct {
		policy    policy.Policy
		rampMode  bool
		reason    checkv1.CheckResponse_RejectReason
		status    checkv1.StatusCode
		decisions int
	}{
		"nothing": {},
		"a flow in ramp mode without a ramp": {
			rampMode: true, reason: checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP,
		},
		"a sampler is no ramp": {
			policy:   policy.Policy{Samplers: []policy.Sampler{sampled("s", 100, false)}},
			rampMode: true, reason: checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP,
		},
		"a ramp at 100 % admits (D1)": {
			policy:   policy.Policy{Samplers: []policy.Sampler{sampled("s", 100, true)}},
			rampMode: true, decisions: 1,
		},
		"a ramp at 0 %": {
			policy:   policy.Policy{Samplers: []policy.Sampler{sampled("r", 0, true), sampled("s", 0, false)}, RateLimiters: rate},
			rampMode: true, reason: checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP, status: checkv1.StatusCode_Forbidden, decisions: 1,
		},
		"a ramp at 0 % for a flow that asks for none": {
			policy: policy.Policy{Samplers: []policy.Sampler{sampled("r", 0, true)}},
			reason: checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP, status: checkv1.StatusCode_Forbidden, decisions: 1,
		},
		"a sampler": {
			policy: policy.Policy{Samplers: []policy.Sampler{sampled("s", 0, false), sampled("r", 100, true)}, RateLimiters: rate},
			reason: checkv1.CheckResponse_REJECT_REASON_NOT_SAMPLED, status: checkv1.StatusCode_Forbidden, decisions: 2,
		},
		"a rate limiter": {
			policy: policy.Policy{RateLimiters: rate, ConcurrencySchedulers: busy, ConcurrencyLimiters: []policy.ConcurrencyLimiter{limited("l", 1)}},
			reason: checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, status: checkv1.StatusCode_TooManyRequests, decisions: 2,
		},
		"a concurrency limiter": {
			policy: policy.Policy{ConcurrencyLimiters: []policy.ConcurrencyLimiter{limited("l", 0)}, ConcurrencySchedulers: busy},
			reason: checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, status: checkv1.StatusCode_TooManyRequests, decisions: 1,
		},
		"a concurrency scheduler": {
			policy: policy.Policy{ConcurrencyLimiters: []policy.ConcurrencyLimiter{limited("l", 1)}, ConcurrencySchedulers: busy, QuotaSchedulers: full},
			reason: checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, status: checkv1.StatusCode_ServiceUnavailable, decisions: 2,
		},
		"a quota scheduler": {
			policy: policy.Policy{QuotaSchedulers: full},
			reason: checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, status: checkv1.StatusCode_ServiceUnavailable, decisions: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.policy.Name = "p"
			engine := engineOf(t, test.policy)
			answer, err := engine.Check(t.Context(), &check.Request{
				ControlPoint: "checkout", RampMode: test.rampMode, Labels: check.Labels{{Key: "user", Value: "ann"}},
			})
			require.NoError(t, err)
			response := answer.Response.CheckResponse()
			assert.Equal(t, test.reason, response.GetRejectReason())
			assert.Equal(t, test.reason != 0, answer.Rejected)
			assert.Equal(t, test.status, response.GetDeniedResponseStatusCode())
			assert.Len(t, response.GetLimiterDecisions(), test.decisions)
		})
	}
}

func TestSamplerMessage(t *testing.T) {
	engine := engineOf(t, policy.Policy{Name: "p", Hash: "h", Samplers: []policy.Sampler{sampled("root.0", 100, false)}})
	for label, labels := range map[string]check.Labels{"user:ann": {{Key: "user", Value: "ann"}}, "user:": nil} {
		response, _ := askFor(t, engine, 0, labels...)
		assertMessage(t, &checkv1.LimiterDecision{
			PolicyName: "p", PolicyHash: "h", ComponentId: "root.0",
			Details: &checkv1.LimiterDecision_SamplerInfo_{SamplerInfo: &checkv1.LimiterDecision_SamplerInfo{Label: label}},
		}, response.GetLimiterDecisions()[0])
	}
}

func TestConcurrencyLimiter(t *testing.T) {
	engine := engineOf(t, policy.Policy{Name: "p", Hash: "h", ConcurrencyLimiters: []policy.ConcurrencyLimiter{limited("root.0", 2)}})
	user := check.Label{Key: "user", Value: "ann"}
	var answers []check.Answer
	for i := range 3 {
		response, answer := askFor(t, engine, time.Second, user)
		answers = append(answers, answer)
		decision := response.GetLimiterDecisions()[0]
		info := decision.GetConcurrencyLimiterInfo()
		assert.Equal(t, "user:ann", info.GetLabel())
		assert.NotEmpty(t, info.GetRequestId(), "also of a rejected flow (D14)")
		assert.NotNil(t, decision.GetWaitTime())
		assert.Zero(t, decision.GetWaitTime().AsDuration())
		assert.Nil(t, response.GetWaitTime())
		assert.Equal(t, i == 2, answer.Rejected)
		assert.Equal(t, float64(i), info.GetTokensInfo().GetCurrent(), "before the flow (D13)")
		assert.Equal(t, float64(2-i), info.GetTokensInfo().GetRemaining())
	}
	assert.Empty(t, answers[2].InFlight, "a rejected flow holds nothing")
	assert.Equal(t, []bool{true}, end(t, engine, answers[0]))
	assert.Equal(t, []bool{false}, end(t, engine, answers[0]))
	_, again := askFor(t, engine, 0, user)
	assert.False(t, again.Rejected)

	response, unlabelled := askFor(t, engine, 0)
	assert.Empty(t, unlabelled.InFlight)
	info := response.GetLimiterDecisions()[0].GetConcurrencyLimiterInfo()
	assert.Empty(t, info.GetRequestId())
	assert.Equal(t, 1.0, info.GetTokensInfo().GetConsumed())

	// Table 16: what FlowEnd says.
	reference := answers[1].InFlight[0]
	for _, test := range []struct {
		change func(*checkv1.InflightRequestRef)
		text   string
	}{
		{func(r *checkv1.InflightRequestRef) { r.RequestId = "" }, "request id cannot be empty"},
		{func(r *checkv1.InflightRequestRef) { r.PolicyHash = "old" }, "flow ender not found for limiter id"},
		{func(r *checkv1.InflightRequestRef) { r.RequestId = "unknown" }, ""},
		{func(r *checkv1.InflightRequestRef) { r.Label = "user:bob" }, ""},
		{func(r *checkv1.InflightRequestRef) { r.Label = "default" }, ""},
	} {
		changed := &checkv1.InflightRequestRef{
			PolicyName: reference.PolicyName, PolicyHash: reference.PolicyHash, ComponentId: reference.ComponentId,
			Label: reference.Label, RequestId: reference.RequestId, Tokens: reference.Tokens,
		}
		test.change(changed)
		ended, err := engine.FlowEnd(t.Context(), &checkv1.FlowEndRequest{InflightRequests: []*checkv1.InflightRequestRef{changed}}, 0)
		require.NoError(t, err)
		assert.Equal(t, test.text, ended.GetTokenReturnStatuses()[0].GetError())
		assert.False(t, ended.GetTokenReturnStatuses()[0].GetReturned())
	}
	assert.Equal(t, []bool{true}, end(t, engine, answers[1]))
}
