package local

import (
	"slices"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

// route holds the limiters of one control point, in the order of their policies. The engine asks them in groups; there
// is a list for each group that it knows.
type route struct {
	limiters []candidate
}

// candidate is a limiter that applies to the flows of a control point that one of its matchers matches.
type candidate struct {
	limiter *rateLimiter
	// matchers is empty when every flow of the control point matches.
	matchers []*policy.LabelMatcher
}

func (candidate *candidate) applies(labels check.Labels) bool {
	if len(candidate.matchers) == 0 {
		return true
	}
	return slices.ContainsFunc(candidate.matchers, func(matcher *policy.LabelMatcher) bool { return matches(matcher, labels) })
}

// addLimiter adds a limiter to the routes of its control points. Agent group and services are the engine's, so their
// part of the selectors is decided here once.
func addLimiter(routes map[string]*route, limiter *rateLimiter, options *Options) {
	for _, selector := range limiter.config.Selectors {
		if !selects(&selector, options) {
			continue
		}
		target := routes[selector.ControlPoint]
		if target == nil {
			target = &route{}
			routes[selector.ControlPoint] = target
		}
		last := len(target.limiters) - 1
		switch {
		case last < 0 || target.limiters[last].limiter != limiter:
			added := candidate{limiter: limiter}
			if selector.LabelMatcher != nil {
				added.matchers = []*policy.LabelMatcher{selector.LabelMatcher}
			}
			target.limiters = append(target.limiters, added)
		case selector.LabelMatcher == nil:
			target.limiters[last].matchers = nil
		case len(target.limiters[last].matchers) > 0:
			target.limiters[last].matchers = append(target.limiters[last].matchers, selector.LabelMatcher)
		}
	}
}

func selects(selector *policy.Selector, options *Options) bool {
	if options.AgentGroup != "" && selector.AgentGroup != options.AgentGroup {
		return false
	}
	return selector.Service == policy.AnyService || slices.Contains(options.Services, selector.Service)
}
