package local

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// modelComponent is a component whose tokens do not come back by themselves: a bucket that nothing fills, or a count of
// what is in flight.
type modelComponent struct {
	id       string
	capacity float64
	counts   bool // what is in flight
	taken    float64
}

// admits says whether a flow may take n tokens: from a bucket those that are there, and with a count any number as long as
// it is not full.
func (c *modelComponent) admits(n float64) bool {
	if c.counts {
		return c.taken < c.capacity
	}
	return c.taken+n <= c.capacity
}

// modelGroups are the limiters, the concurrency schedulers and the quota schedulers.
type modelGroups [3][]*modelComponent

// check takes n tokens from every component of a group, or from none of it, and goes on to the next group while there is
// enough. It returns what the flow holds in flight.
func (groups *modelGroups) check(n float64) (held []*modelComponent, accepted bool) {
	for _, group := range groups {
		if slices.ContainsFunc(group, func(c *modelComponent) bool { return !c.admits(n) }) {
			return held, false
		}
		for _, c := range group {
			c.taken += n
			if c.counts {
				held = append(held, c)
			}
		}
	}
	return held, true
}

// drawComponents makes up to three components of each kind, in the engine's form and in the model's.
func drawComponents(t *rapid.T) (policy.Policy, *modelGroups) {
	made := policy.Policy{Name: "p", Hash: "h"}
	groups := &modelGroups{}
	number := 0
	draw := func(group int, counts bool, add func(policy.Component, float64)) {
		for range rapid.IntRange(0, 3).Draw(t, "components") {
			c := &modelComponent{id: fmt.Sprint("root.", number), capacity: float64(rapid.IntRange(0, 20).Draw(t, "capacity")), counts: counts}
			number++
			groups[group] = append(groups[group], c)
			add(everywhere(c.id), c.capacity)
		}
	}
	inFlight := func(most float64) policy.InFlight {
		return policy.InFlight{MaxConcurrency: most, MaxInflightDuration: time.Hour}
	}
	draw(0, false, func(component policy.Component, capacity float64) {
		made.RateLimiters = append(made.RateLimiters,
			policy.RateLimiter{Component: component, TokenBucket: buckets(capacity, 0), TokensLabelKey: "tokens"})
	})
	draw(0, true, func(component policy.Component, capacity float64) {
		made.ConcurrencyLimiters = append(made.ConcurrencyLimiters,
			policy.ConcurrencyLimiter{Component: component, InFlight: inFlight(capacity), TokensLabelKey: "tokens"})
	})
	draw(1, true, func(component policy.Component, capacity float64) {
		made.ConcurrencySchedulers = append(made.ConcurrencySchedulers,
			policy.ConcurrencyScheduler{Component: component, InFlight: inFlight(capacity), Scheduler: equal()})
	})
	draw(2, false, func(component policy.Component, capacity float64) {
		made.QuotaSchedulers = append(made.QuotaSchedulers,
			policy.QuotaScheduler{Component: component, TokenBucket: buckets(capacity, 0), Scheduler: equal()})
	})
	return made, groups
}

// Whatever is admitted, rejected, taken back and ended: each component has given out what the flows hold, and no more.
func TestTokensAreConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made, groups := drawComponents(t)
		engine := newEngine([]policy.Policy{made}, nil, Options{})
		defer func() { require.NoError(t, engine.Close()) }()
		type flow struct {
			tokens float64
			held   []*modelComponent
			answer check.Answer
		}
		var flows []flow
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(flows) > 0 && rapid.Bool().Draw(t, "end one") {
				i := rapid.IntRange(0, len(flows)-1).Draw(t, "which")
				_, err := engine.FlowEnd(context.Background(), &checkv1.FlowEndRequest{InflightRequests: flows[i].answer.InFlight}, time.Second)
				require.NoError(t, err)
				for _, c := range flows[i].held {
					c.taken -= flows[i].tokens
				}
				flows = slices.Delete(flows, i, i+1)
			} else {
				tokens := rapid.IntRange(1, 6).Draw(t, "tokens")
				request := &check.Request{ControlPoint: "checkout", Labels: check.Labels{{Key: "tokens", Value: strconv.Itoa(tokens)}}}
				answer, err := engine.Check(context.Background(), request)
				require.NoError(t, err)
				held, accepted := groups.check(float64(tokens))
				require.Equal(t, accepted, !answer.Rejected)
				flows = append(flows, flow{float64(tokens), held, answer})
			}
			given := make(map[string]float64)
			for _, one := range engine.Snapshot().Components {
				if one.InFlight != nil {
					given[one.Component] = one.InFlight.Tokens
				} else if one.Bucket.Looked > 0 {
					given[one.Component] = one.Bucket.Capacity - one.Bucket.Available
				}
			}
			for _, group := range groups {
				for _, c := range group {
					require.Equal(t, c.taken, given[c.id], c.id)
				}
			}
		}
	})
}
