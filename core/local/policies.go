package local

import (
	"github.com/libaperture/libaperture/core/local/policy"
)

// policies are what the files say at one time: the components, and the way to them. They do not change; another reading
// of the files makes others, which take over the components of policies that are the same.
type policies struct {
	routes   map[string]*route
	parts    []part
	enders   map[identity]flowEnder
	warnings []Problem
}

// flowEnder is a component that keeps flows in flight.
type flowEnder interface {
	part
	// label returns the name of a state, by which end finds it again.
	label(value string) string
	// inFlight returns how many flows are in flight.
	inFlight(now int64) int
	// end gives back what a flow holds, and says whether it held it.
	end(now int64, label, requestID string) bool
}

// compose makes the components of policies, and takes those that are the same from former ones.
func (engine *Engine) compose(loaded []policy.Policy, warnings []Problem, former []part) *policies {
	composed := &policies{
		routes:   make(map[string]*route),
		enders:   make(map[identity]flowEnder),
		warnings: warnings,
	}
	known := make(map[identity]part, len(former))
	for _, one := range former {
		known[one.common().identity] = one
	}
	for i := range loaded {
		from := &loaded[i]
		for _, config := range from.Samplers {
			s := taken(known, from, config.ID, func() *sampler { return newSampler(from, config, engine.now()) })
			s.Set(engine.now(), config) // what dynamicConfig says may be another
			composed.add(s)
			addTo[decider](composed.routes, &engine.options, s, func(r *route) *[]candidate[decider] {
				if config.RampMode {
					return &r.ramps
				}
				return &r.samplers
			})
		}
		for _, config := range from.RateLimiters {
			l := taken(known, from, config.ID, func() *rateLimiter { return newRateLimiter(from, config, engine.options.MaxLabels) })
			composed.add(l)
			addTo[decider](composed.routes, &engine.options, l, limitersOf)
		}
		for _, config := range from.ConcurrencyLimiters {
			l := taken(known, from, config.ID, func() *concurrencyLimiter { return newConcurrencyLimiter(from, config, engine.options.MaxLabels) })
			composed.add(l)
			addTo[decider](composed.routes, &engine.options, l, limitersOf)
		}
		for _, config := range from.ConcurrencySchedulers {
			s := taken(known, from, config.ID, func() *concurrencyScheduler { return newConcurrencyScheduler(from, config, engine) })
			composed.add(s)
			addTo(composed.routes, &engine.options, s.scheduler, func(r *route) *[]candidate[*scheduler] { return &r.concurrencySchedulers })
		}
		for _, config := range from.QuotaSchedulers {
			s := taken(known, from, config.ID, func() *scheduler { return newQuotaScheduler(from, config, engine) })
			composed.add(s)
			addTo(composed.routes, &engine.options, s, func(r *route) *[]candidate[*scheduler] { return &r.quotaSchedulers })
		}
	}
	return composed
}

func limitersOf(r *route) *[]candidate[decider] { return &r.limiters }

// taken returns the component of a policy that was there already, or makes it.
func taken[P part](known map[identity]part, from *policy.Policy, id string, create func() P) P {
	if one, ok := known[identity{from.Name, from.Hash, id}].(P); ok {
		return one
	}
	return create()
}

func (p *policies) add(one part) {
	p.parts = append(p.parts, one)
	if ender, ok := one.(flowEnder); ok {
		p.enders[one.common().identity] = ender
	}
}
