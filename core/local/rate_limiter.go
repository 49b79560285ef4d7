package local

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/bucket"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// rateLimiter limits flows by a token bucket per value of a label.
type rateLimiter struct {
	component
	limit          limitKey
	tokensLabelKey string
	buckets        *bucket.Table
	idle           time.Duration
}

func newRateLimiter(from *policy.Policy, config policy.RateLimiter, maxLabels int) *rateLimiter {
	limiter := &rateLimiter{
		limit:          limitKey{config.LimitByLabelKey, config.PassThrough},
		tokensLabelKey: config.TokensLabelKey,
		buckets:        newBuckets(&config.TokenBucket, maxLabels),
		idle:           config.MaxIdleTime,
	}
	limiter.init(from, config.Component)
	return limiter
}

// newBuckets returns the buckets that a component describes.
func newBuckets(config *policy.TokenBucket, maxLabels int) *bucket.Table {
	return bucket.NewTable(bucket.Parameters{
		Capacity:   config.BucketCapacity,
		Fill:       config.FillAmount,
		Interval:   config.Interval,
		Continuous: config.ContinuousFill,
		Delay:      config.DelayInitialFill,
	}, config.MaxIdleTime, maxLabels)
}

// decide takes the flow's tokens from the bucket of its label value.
func (limiter *rateLimiter) decide(now int64, labels check.Labels, decision *limiterDecision) {
	decision.by = limiter
	tokens := limiter.tokens(labels, limiter.tokensLabelKey)
	value, ok := limiter.limit.value(labels)
	if !ok {
		limiter.unlimited.Add(1)
		decision.reason = checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND
		decision.consumed = tokens
		return
	}
	taken := limiter.buckets.Take(now, value, tokens)
	decision.value = value
	decision.dropped = !taken.OK
	decision.wait = taken.Wait
	decision.remaining = taken.Remaining
	decision.current = taken.Current
	if taken.OK {
		decision.consumed = tokens
	}
}

// revert gives back what an accepted decision took.
func (limiter *rateLimiter) revert(now int64, decision *limiterDecision) {
	if decision.dropped || decision.reason != checkv1.LimiterDecision_LIMITER_REASON_UNSPECIFIED || decision.consumed == 0 {
		return
	}
	limiter.reverted.Add(1)
	limiter.buckets.GiveBack(now, decision.value, decision.consumed)
}

func (limiter *rateLimiter) describe(decision *limiterDecision, _ check.Labels) *checkv1.LimiterDecision {
	message := limiter.message(decision)
	message.WaitTime = durationpb.New(decision.wait)
	info := &checkv1.LimiterDecision_RateLimiterInfo{TokensInfo: decision.tokensInfo()}
	if decision.reason == checkv1.LimiterDecision_LIMITER_REASON_UNSPECIFIED {
		info.Label = limiter.limit.label(decision.value)
	}
	message.Details = &checkv1.LimiterDecision_RateLimiterInfo_{RateLimiterInfo: info}
	return message
}

func (limiter *rateLimiter) maxIdle() time.Duration { return limiter.idle }

func (limiter *rateLimiter) sweep(now int64) { limiter.buckets.Sweep(now) }
