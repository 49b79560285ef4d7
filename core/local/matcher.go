package local

import (
	"slices"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

// matches says whether labels are those that a matcher asks for. Values are compared as they are, and a label that is
// missing differs from one that is empty.
func matches(matcher *policy.LabelMatcher, labels check.Labels) bool {
	for _, label := range matcher.Labels {
		if !equals(labels, label.Key, label.Value) {
			return false
		}
	}
	for i := range matcher.Requirements {
		if !meets(&matcher.Requirements[i], labels) {
			return false
		}
	}
	return matcher.Expression == nil || holds(matcher.Expression, labels)
}

func equals(labels check.Labels, key, value string) bool {
	actual, ok := labels.Get(key)
	return ok && actual == value
}

func meets(requirement *policy.Requirement, labels check.Labels) bool {
	value, ok := labels.Get(requirement.Key)
	switch requirement.Operator {
	case policy.In:
		return ok && among(requirement.Values, value)
	case policy.NotIn:
		return !ok || !among(requirement.Values, value)
	case policy.Exists:
		return ok
	case policy.DoesNotExist:
		return !ok
	}
	return false
}

// among says whether a value is one of some. As in an Aperture agent, no values at all mean the empty value.
func among(values []string, value string) bool {
	if len(values) == 0 {
		return value == ""
	}
	return slices.Contains(values, value)
}

func holds(expression *policy.Expression, labels check.Labels) bool {
	switch {
	case expression.Not != nil:
		return !holds(expression.Not, labels)
	case expression.All != nil:
		for i := range expression.All.Of {
			if !holds(&expression.All.Of[i], labels) {
				return false
			}
		}
		return true
	case expression.Any != nil:
		for i := range expression.Any.Of {
			if holds(&expression.Any.Of[i], labels) {
				return true
			}
		}
		return false
	case expression.LabelEquals != nil:
		return equals(labels, expression.LabelEquals.Key, expression.LabelEquals.Value)
	case expression.LabelMatches != nil:
		value, ok := labels.Get(expression.LabelMatches.Key)
		return ok && expression.LabelMatches.Regex.MatchString(value)
	}
	_, ok := labels.Get(expression.LabelExists)
	return ok
}
