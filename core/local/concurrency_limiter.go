package local

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/inflight"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// concurrencyLimiter limits how many flows are in flight per value of a label.
type concurrencyLimiter struct {
	component
	limit          limitKey
	tokensLabelKey string
	counts         *inflight.Table
	most           float64
	idle           time.Duration
}

func newConcurrencyLimiter(from *policy.Policy, config policy.ConcurrencyLimiter, maxLabels int) *concurrencyLimiter {
	limiter := &concurrencyLimiter{
		limit:          limitKey{config.LimitByLabelKey, config.PassThrough},
		tokensLabelKey: config.TokensLabelKey,
		counts:         newCounts(&config.InFlight, maxLabels),
		most:           config.MaxConcurrency,
		idle:           sweptAfter(&config.InFlight),
	}
	limiter.init(from, config.Component)
	return limiter
}

// decide counts the flow in, when there is room for one.
func (limiter *concurrencyLimiter) decide(now int64, labels check.Labels, decision *limiterDecision) {
	decision.by = limiter
	tokens := limiter.tokens(labels, limiter.tokensLabelKey)
	value, ok := limiter.limit.value(labels)
	if !ok {
		limiter.unlimited.Add(1)
		decision.reason = checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND
		decision.consumed = tokens
		return
	}
	taken := limiter.counts.Take(now, value, tokens)
	decision.value = value
	decision.dropped = !taken.OK
	decision.requestID = taken.ID
	decision.remaining = taken.Remaining
	decision.current = taken.Current
	if taken.OK {
		decision.consumed = tokens
	}
}

// revert counts an accepted flow out.
func (limiter *concurrencyLimiter) revert(now int64, decision *limiterDecision) {
	if decision.dropped || decision.requestID == "" {
		return
	}
	limiter.reverted.Add(1)
	limiter.counts.Return(now, decision.value, decision.requestID)
}

func (limiter *concurrencyLimiter) describe(decision *limiterDecision, _ check.Labels) *checkv1.LimiterDecision {
	message := limiter.message(decision)
	message.WaitTime = durationpb.New(0)
	info := &checkv1.LimiterDecision_ConcurrencyLimiterInfo{TokensInfo: decision.tokensInfo(), RequestId: decision.requestID}
	if decision.reason == checkv1.LimiterDecision_LIMITER_REASON_UNSPECIFIED {
		info.Label = limiter.limit.label(decision.value)
	}
	message.Details = &checkv1.LimiterDecision_ConcurrencyLimiterInfo_{ConcurrencyLimiterInfo: info}
	return message
}

func (limiter *concurrencyLimiter) label(value string) string { return limiter.limit.label(value) }

func (limiter *concurrencyLimiter) inFlight(now int64) int { return inFlightIn(limiter.counts, now) }

func (limiter *concurrencyLimiter) end(now int64, label, requestID string) bool {
	return endIn(limiter.counts, limiter.limit, now, label, requestID)
}

func (limiter *concurrencyLimiter) maxIdle() time.Duration { return limiter.idle }

func (limiter *concurrencyLimiter) sweep(now int64) { limiter.counts.Sweep(now) }
