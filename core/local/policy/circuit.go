package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// circuit is what the components of a policy share while they are read.
type circuit struct {
	policy *Policy
	// dynamic is nil when there is no dynamic configuration.
	dynamic *object
	signals map[string]*signal
}

// form is where a component has its amounts.
type form int

const (
	// valuesForm is that of blueprint values: in keys of its own.
	valuesForm form = iota
	// renderedForm is that of a circuit: in input ports.
	renderedForm
)

// componentReader reads a component and adds it to the policy.
type componentReader = func(c *circuit, o *object, id string, form form)

// reaction is what the loader does about a component.
type reaction int

const (
	ignored reaction = iota
	// signalOnly components compute signals out of those of a cluster.
	signalOnly
	// combines: the component computes a signal that is constant when its inputs are.
	combines
	cannotDo
	// decides: the component is one for flow control.
	decides
)

var componentKinds = map[string]reaction{
	"flow_control": decides,

	"alerter": ignored, "decider": ignored,

	"auto_scale": cannotDo, "nested_circuit": cannotDo,

	"and": combines, "bool_variable": combines, "first_valid": combines, "inverter": combines, "or": combines,
	"variable": combines,

	"arithmetic_combinator": signalOnly, "differentiator": signalOnly, "ema": signalOnly, "extrapolator": signalOnly,
	"gradient_controller": signalOnly, "holder": signalOnly, "integrator": signalOnly, "max": signalOnly,
	"min": signalOnly, "nested_signal_egress": signalOnly, "nested_signal_ingress": signalOnly,
	"pid_controller": signalOnly, "polynomial_range_function": signalOnly, "pulse_generator": signalOnly,
	"query": signalOnly, "signal_generator": signalOnly, "sma": signalOnly, "switcher": signalOnly,
	"unary_operator": signalOnly,
}

// flowControlKinds has nil for those that need a cluster.
var flowControlKinds = map[string]componentReader{
	"concurrency_limiter":   (*circuit).concurrencyLimiter,
	"concurrency_scheduler": (*circuit).concurrencyScheduler,
	"load_ramp":             (*circuit).loadRamp,
	"quota_scheduler":       (*circuit).quotaScheduler,
	"rate_limiter":          (*circuit).rateLimiter,
	"sampler":               (*circuit).sampler,

	"adaptive_load_scheduler": nil, "aiad_load_scheduler": nil, "aimd_load_scheduler": nil, "load_scheduler": nil,
	"private": nil, "range_driven_load_scheduler": nil,
}

// read reads the body of a rendered policy.
func (c *circuit) read(body *object) {
	circuit := body.object("circuit")
	circuit.duration("evaluation_interval", 0)
	c.components(circuit, 0)
	circuit.close()
	body.object("resources").resources()
	body.close()
}

// components reads a circuit's components, of which the first has the given index. Those for flow control come last,
// since their inputs may be signals of any other.
func (c *circuit) components(o *object, first int) {
	c.signals = make(map[string]*signal)
	var flowControl []func()
	for i, element := range o.list("components") {
		component := element.object()
		kind, v, ok := onlyKey(component, componentKinds)
		if !ok {
			continue
		}
		switch componentKinds[kind] {
		case combines:
			c.combination(kind, v)
			continue
		case cannotDo:
			v.problem(needsCluster)
		case signalOnly:
			v.warning("ignored by the local engine, which has no signals")
			c.knowConfigKeys(v)
		case decides:
			var read componentReader
			if kind, v, ok = onlyKey(v.object(), flowControlKinds); !ok {
				continue
			}
			if read = flowControlKinds[kind]; read == nil {
				v.problem(needsCluster)
				break
			}
			flowControl = append(flowControl, func() {
				if o := v.object(); o != nil {
					read(c, o, fmt.Sprintf("root.%d", first+i), renderedForm)
				}
			})
		}
		c.signalsOfCluster(kind, v)
	}
	for _, read := range flowControl {
		read()
	}
}

// knowConfigKeys accepts the keys with which a component that is ignored can be configured dynamically.
func (c *circuit) knowConfigKeys(component value) {
	for key, v := range component.children() {
		if strings.HasSuffix(key, "config_key") {
			c.dynamic.ignore(v.node.Value)
		}
	}
}

// configured returns what the dynamic configuration says under the key of a component's setting.
func (c *circuit) configured(key string) (value, bool) {
	if key == "" {
		return value{}, false
	}
	return c.dynamic.get(key)
}

// onlyKey returns the one key of a mapping that must have exactly one of some keys, and its value.
func onlyKey[T any](o *object, kinds map[string]T) (string, value, bool) {
	if o == nil {
		return "", value{}, false
	}
	o.ignore(slices.Collect(maps.Keys(kinds))...)
	o.close()
	present := slices.DeleteFunc(slices.Clone(o.order), func(key string) bool {
		_, known := kinds[key]
		return !known
	})
	switch {
	case len(o.order) == 0:
		o.problem("found nothing, expected one kind of component")
	case len(present) > 1:
		o.problem("found %s together, expected one kind of component", strings.Join(present, " and "))
	}
	if len(present) != 1 {
		return "", value{}, false
	}
	return present[0], value{reader: o.reader, path: o.child(present[0]), node: o.fields[present[0]].value}, true
}
