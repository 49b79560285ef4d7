package policy

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// selectors reads a list of selectors, of which there must be one at least.
func (o *object) selectors(key string) []Selector {
	v, ok := o.required(key, "a list of at least one selector")
	if !ok {
		return nil
	}
	var selectors []Selector
	elements := v.list()
	for _, element := range elements {
		if o := element.object(); o != nil {
			selectors = append(selectors, Selector{
				ControlPoint: o.name("control_point"),
				AgentGroup:   o.string("agent_group", defaultAgentGroup),
				Service:      o.string("service", AnyService),
				LabelMatcher: o.object("label_matcher").labelMatcher(),
			})
			o.close()
		}
	}
	if elements != nil && len(elements) == 0 {
		v.problem("found an empty list, expected at least one selector")
	}
	return selectors
}

func (o *object) labelMatcher() *LabelMatcher {
	if o == nil {
		return nil
	}
	matcher := &LabelMatcher{Labels: o.labels("match_labels")}
	// match_expressions is the old name, and counts only when there is nothing under the new one.
	list, old := o.requirements("match_list"), o.requirements("match_expressions")
	if list == nil {
		list = old
	}
	matcher.Requirements = list
	if v, ok := o.get("expression"); ok {
		matcher.Expression = v.expression()
	}
	o.close()
	return matcher
}

func (o *object) requirements(key string) []Requirement {
	var requirements []Requirement
	for _, element := range o.list(key) {
		o := element.object()
		requirement := Requirement{Key: o.name("key"), Operator: o.operator(), Values: o.strings("values")}
		o.close()
		requirements = append(requirements, requirement)
	}
	return requirements
}

var operators = []string{string(In), string(NotIn), string(Exists), string(DoesNotExist)}

func (o *object) operator() Operator {
	expected := "one of " + strings.Join(operators, ", ")
	v, ok := o.required("operator", expected)
	if !ok {
		return ""
	}
	text, ok := v.string()
	if ok && !slices.Contains(operators, text) {
		v.expected(expected)
	}
	return Operator(text)
}

var expressionKinds = []string{"not", "all", "any", "label_exists", "label_equals", "label_matches"}

// expression reads a condition on labels.
func (v value) expression() *Expression {
	o := v.object()
	if o == nil {
		return nil
	}
	var present []string
	for _, kind := range expressionKinds {
		if o.has(kind) {
			present = append(present, kind)
		}
	}
	o.close()
	if len(present) != 1 {
		found := "none"
		if len(present) > 1 {
			found = strings.Join(present, " and ") + " together"
		}
		v.problem("found %s, expected exactly one of %s", found, strings.Join(expressionKinds, ", "))
		return nil
	}
	part, _ := o.get(present[0])
	expression := &Expression{}
	switch present[0] {
	case "not":
		expression.Not = part.expression()
	case "all":
		expression.All = part.expressionList()
	case "any":
		expression.Any = part.expressionList()
	case "label_exists":
		expression.LabelExists = o.name("label_exists")
	case "label_equals":
		equals := part.object()
		expression.LabelEquals = &Label{Key: equals.name("label"), Value: equals.string("value", "")}
		equals.close()
	case "label_matches":
		matches := part.object()
		expression.LabelMatches = &LabelPattern{Key: matches.name("label"), Regex: matches.regex("regex")}
		matches.close()
	}
	return expression
}

func (v value) expressionList() *ExpressionList {
	o := v.object()
	list := &ExpressionList{}
	for _, element := range o.list("of") {
		if expression := element.expression(); expression != nil {
			list.Of = append(list.Of, *expression)
		}
	}
	o.close()
	return list
}

func (o *object) regex(key string) *regexp.Regexp {
	const expected = "a regular expression in Go's syntax (RE2)"
	v, ok := o.required(key, expected)
	if !ok {
		return nil
	}
	text, ok := v.string()
	if !ok {
		return nil
	}
	compiled, err := regexp.Compile(text)
	if syntaxError := (*syntax.Error)(nil); errors.As(err, &syntaxError) {
		v.expected(fmt.Sprintf("%s: %s in %s", expected, syntaxError.Code, quote(syntaxError.Expr)))
	}
	return compiled
}
