package policy

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Defaults of the policy language.
const (
	defaultMaxIdleTime            = 7200 * time.Second
	defaultDecisionDeadlineMargin = 10 * time.Millisecond
	defaultAgentGroup             = "aperture-cloud"
)

// rule says which numbers a value may have.
type rule struct {
	accepts  func(float64) bool
	expected string
}

var (
	notNegative = rule{func(x float64) bool { return x >= 0 }, "a number that is not negative"}
	positive    = rule{func(x float64) bool { return x > 0 }, "a number that is more than 0"}
	percentage  = rule{func(x float64) bool { return x >= 0 && x <= 100 }, "a number from 0 to 100"}
)

// number returns a finite number by a rule, or fallback.
func (o *object) number(key string, fallback float64, rule rule) float64 {
	if v, ok := o.get(key); ok {
		if number, ok := v.number(); ok {
			if !rule.accepts(number) {
				v.expected(rule.expected)
			}
			return number
		}
	}
	return fallback
}

// amount is a number that a component is configured with from outside.
type amount struct {
	key string
	to  *float64
}

// amounts reads the amounts of a component, which are all required, and what stands only in this form of it.
func (c *circuit) amounts(o *object, form form, passThrough *bool, amounts ...amount) {
	if form == valuesForm {
		for _, amount := range amounts {
			if _, ok := o.required(amount.key, "a number"); ok {
				*amount.to = o.number(amount.key, 0, notNegative)
			}
		}
		o.object("alerter").alerter()
		return
	}
	o.ignore("out_ports")
	ports := o.requiredObject("in_ports")
	for _, amount := range amounts {
		number, at, ok := c.requiredInput(ports, amount.key, notNegative)
		if ok && math.IsNaN(number) {
			at.warning("not a number, so that the component lets every flow pass")
			*passThrough = true
		} else if ok {
			*amount.to = number
		}
	}
	if on, _, ok := c.input(ports, "pass_through"); ok && on != 0 && !math.IsNaN(on) {
		*passThrough = true
	}
	ports.close()
}

// requiredInput returns the value of an input port by a rule. It may be not a number.
func (c *circuit) requiredInput(ports *object, key string, rule rule) (float64, value, bool) {
	if _, ok := ports.required(key, "constant_signal"); !ok {
		return 0, value{}, false
	}
	number, at, ok := c.input(ports, key)
	if ok && !math.IsNaN(number) && !rule.accepts(number) {
		at.problem("found %s, expected %s", strconv.FormatFloat(number, 'g', -1, 64), rule.expected)
	}
	return number, at, ok
}

// alerter checks the settings of alerts, which nothing here sends.
func (o *object) alerter() {
	o.string("alert_name", "")
	o.string("severity", "")
	o.duration("resolve_timeout", 0)
	o.strings("alert_channels")
	o.labels("labels")
	o.close()
}

// requestParameters returns the label that says how many tokens a flow takes, and the status for rejected flows.
func (o *object) requestParameters() (tokensLabelKey string, denied checkv1.StatusCode) {
	request := o.object("request_parameters")
	tokensLabelKey = request.string("tokens_label_key", "")
	denied = request.statusCode("denied_response_status_code")
	request.close()
	return tokensLabelKey, denied
}

// statusCode returns an HTTP status, which policies write as a name.
func (o *object) statusCode(key string) checkv1.StatusCode {
	v, ok := o.get(key)
	if !ok {
		return checkv1.StatusCode_Empty
	}
	if number, err := strconv.ParseInt(v.node.Value, 10, 32); err == nil {
		if name, ok := checkv1.StatusCode_name[int32(number)]; ok {
			v.expected("the status by its name: " + name)
			return checkv1.StatusCode_Empty
		}
	}
	name, ok := v.string()
	if !ok {
		return checkv1.StatusCode_Empty
	}
	code, ok := checkv1.StatusCode_value[name]
	if !ok {
		v.problem("unknown status %s, expected a name such as TooManyRequests%s", quote(name),
			suggest(name, slices.Collect(maps.Keys(checkv1.StatusCode_value))))
	}
	return checkv1.StatusCode(code)
}
