package local

import (
	"math"
	"strconv"
	"sync/atomic"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/bucket"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// rateLimiter limits flows by a token bucket per value of a label.
type rateLimiter struct {
	policyName, policyHash, componentID string

	config  policy.RateLimiter
	buckets *bucket.Table

	// unlimited counts the flows that took nothing: without the label, or because the limiter passes all through.
	unlimited atomic.Uint64
	// invalidTokens counts the tokens labels that are no number of tokens.
	invalidTokens atomic.Uint64
}

func newRateLimiter(from *policy.Policy, config policy.RateLimiter, maxLabels int) *rateLimiter {
	parameters := bucket.Parameters{
		Capacity:   config.BucketCapacity,
		Fill:       config.FillAmount,
		Interval:   config.Interval,
		Continuous: config.ContinuousFill,
		Delay:      config.DelayInitialFill,
	}
	return &rateLimiter{
		policyName:  from.Name,
		policyHash:  from.Hash,
		componentID: config.ID,
		config:      config,
		buckets:     bucket.NewTable(parameters, config.MaxIdleTime, maxLabels),
	}
}

// decide takes the flow's tokens from the bucket of its label value.
func (limiter *rateLimiter) decide(now int64, labels check.Labels, decision *limiterDecision) {
	decision.limiter = limiter
	tokens := limiter.tokens(labels)
	value, ok := limiter.value(labels)
	if !ok {
		limiter.unlimited.Add(1)
		decision.reason = checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND
		decision.consumed = tokens
		return
	}
	result := limiter.buckets.Take(now, value, tokens)
	decision.value = value
	decision.dropped = !result.OK
	decision.wait = result.Wait
	decision.remaining = result.Remaining
	decision.current = result.Current
	if result.OK {
		decision.consumed = tokens
	}
}

// revert gives back what an accepted decision took.
func (limiter *rateLimiter) revert(now int64, decision *limiterDecision) {
	if decision.dropped || decision.reason != checkv1.LimiterDecision_LIMITER_REASON_UNSPECIFIED || decision.consumed == 0 {
		return
	}
	limiter.buckets.GiveBack(now, decision.value, decision.consumed)
}

// value returns which bucket a flow takes from, and whether it takes from any.
func (limiter *rateLimiter) value(labels check.Labels) (string, bool) {
	switch {
	case limiter.config.PassThrough:
		return "", false
	case limiter.config.LimitByLabelKey == "":
		return "", true
	}
	return labels.Get(limiter.config.LimitByLabelKey)
}

// label returns the name of a bucket in a decision's message.
func (limiter *rateLimiter) label(value string) string {
	if limiter.config.LimitByLabelKey == "" {
		return "default"
	}
	return limiter.config.LimitByLabelKey + ":" + value
}

// tokens returns how many tokens a flow takes. A label that is no number of tokens counts as 1; an infinite or negative
// number would switch the limiter off for everybody with the same label value.
func (limiter *rateLimiter) tokens(labels check.Labels) float64 {
	if limiter.config.TokensLabelKey == "" {
		return 1
	}
	text, ok := labels.Get(limiter.config.TokensLabelKey)
	if !ok {
		return 1
	}
	switch tokens, err := strconv.ParseFloat(text, 64); {
	case err != nil || math.IsNaN(tokens) || math.IsInf(tokens, 0) || tokens < 0:
		limiter.invalidTokens.Add(1)
		return 1
	case tokens == 0:
		return 0 // not -0, which would show on the wire
	default:
		return tokens
	}
}
