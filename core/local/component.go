package local

import (
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// identity tells a component from all others, and from those of other versions of its policy.
type identity struct {
	policy, hash, component string
}

// component is what all components have that decide about flows.
type component struct {
	identity
	config policy.Component

	// unlimited counts the flows that took nothing: without the label, or because the component passes all through.
	unlimited atomic.Uint64
	// reverted counts the admissions that were taken back because another component rejected the flow.
	reverted atomic.Uint64
	// invalidTokens counts the tokens labels that are no number of tokens.
	invalidTokens atomic.Uint64
}

func (c *component) init(from *policy.Policy, config policy.Component) {
	c.identity = identity{from.Name, from.Hash, config.ID}
	c.config = config
}

func (c *component) common() *component { return c }

// message returns what every component says of a decision.
func (c *component) message(decision *limiterDecision) *checkv1.LimiterDecision {
	return &checkv1.LimiterDecision{
		PolicyName:               c.policy,
		PolicyHash:               c.hash,
		ComponentId:              c.component,
		Dropped:                  decision.dropped,
		Reason:                   decision.reason,
		DeniedResponseStatusCode: c.config.DeniedStatus,
	}
}

// decider is a component that decides at once.
type decider interface {
	part
	// decide fills a decision that is zero.
	decide(now int64, labels check.Labels, decision *limiterDecision)
}

// part is a component of a policy.
type part interface {
	common() *component
	// describe makes the message of a decision about a flow with some labels.
	describe(decision *limiterDecision, labels check.Labels) *checkv1.LimiterDecision
	// revert takes an admission back.
	revert(now int64, decision *limiterDecision)
	// maxIdle is after which time there may be something to sweep, 0 for never, and sweep removes what is not needed.
	maxIdle() time.Duration
	sweep(now int64)
	snapshot(now int64) ComponentSnapshot
}

// limitKey says which label the state of a component is kept by.
type limitKey struct {
	key         string // empty: there is one state
	passThrough bool
}

// value returns which state a flow counts in, and whether it counts in any.
func (limit limitKey) value(labels check.Labels) (string, bool) {
	switch {
	case limit.passThrough:
		return "", false
	case limit.key == "":
		return "", true
	}
	return labels.Get(limit.key)
}

const defaultLabel = "default"

// label returns the name of a state in a message.
func (limit limitKey) label(value string) string {
	if limit.key == "" {
		return defaultLabel
	}
	return limit.key + ":" + value
}

// named returns the value of a state by its name, and false for a name that none can have.
func (limit limitKey) named(label string) (string, bool) {
	if limit.key == "" {
		return "", label == defaultLabel
	}
	value, ok := strings.CutPrefix(label, limit.key+":")
	return value, ok
}

// number reads a label that is a number which is finite and not negative: an infinite or negative number of tokens would
// switch a limiter off for everybody with the same label value. A label that is not counts as absent.
func (c *component) number(labels check.Labels, key string) (float64, bool) {
	if key == "" {
		return 0, false
	}
	text, ok := labels.Get(key)
	if !ok {
		return 0, false
	}
	switch number, err := strconv.ParseFloat(text, 64); {
	case err != nil || math.IsNaN(number) || math.IsInf(number, 0) || number < 0:
		c.invalidTokens.Add(1)
		return 0, false
	case number == 0:
		return 0, true // not -0, which would show on the wire
	default:
		return number, true
	}
}

// tokens returns how many tokens a flow takes.
func (c *component) tokens(labels check.Labels, key string) float64 {
	if tokens, ok := c.number(labels, key); ok {
		return tokens
	}
	return 1
}
