package local

import (
	"slices"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

// route holds the components of one control point by the groups in which they are asked, each in the order of the
// policies.
type route struct {
	ramps                 []candidate[decider]
	samplers              []candidate[decider]
	limiters              []candidate[decider]
	concurrencySchedulers []candidate[*scheduler]
	quotaSchedulers       []candidate[*scheduler]
}

// candidate is a component that applies to the flows of a control point that one of its matchers matches.
type candidate[P part] struct {
	part P
	// matchers is empty when every flow of the control point matches.
	matchers []*policy.LabelMatcher
}

func (c *candidate[P]) applies(labels check.Labels) bool {
	if len(c.matchers) == 0 {
		return true
	}
	return slices.ContainsFunc(c.matchers, func(matcher *policy.LabelMatcher) bool { return matches(matcher, labels) })
}

// addTo adds a component to a group of the routes of its control points. Agent group and services are the engine's, so
// their part of the selectors is decided here once.
func addTo[P part](routes map[string]*route, options *Options, part P, group func(*route) *[]candidate[P]) {
	chosen := make(map[string]*candidate[P])
	for _, selector := range part.common().config.Selectors {
		if !selects(&selector, options) {
			continue
		}
		target := routes[selector.ControlPoint]
		if target == nil {
			target = &route{}
			routes[selector.ControlPoint] = target
		}
		one := chosen[selector.ControlPoint]
		switch {
		case one == nil:
			added := candidate[P]{part: part}
			if selector.LabelMatcher != nil {
				added.matchers = []*policy.LabelMatcher{selector.LabelMatcher}
			}
			list := group(target)
			*list = append(*list, added)
			chosen[selector.ControlPoint] = &(*list)[len(*list)-1]
		case selector.LabelMatcher == nil:
			one.matchers = nil
		case len(one.matchers) > 0:
			one.matchers = append(one.matchers, selector.LabelMatcher)
		}
	}
}

func selects(selector *policy.Selector, options *Options) bool {
	if options.AgentGroup != "" && selector.AgentGroup != options.AgentGroup {
		return false
	}
	return selector.Service == policy.AnyService || slices.Contains(options.Services, selector.Service)
}
