package policy

import (
	"fmt"
	"math"
)

// loadRampIndex is the index of the load ramp among the components of its blueprint, behind those that make its signals
// out of the settings start and reset.
const loadRampIndex = 10

// sampler reads a sampler. No blueprint has one of its own.
func (c *circuit) sampler(o *object, id string, _ form) {
	sampler := Sampler{Component: Component{ID: id}}
	o.requiredObject("parameters").samplerParameters(&sampler)
	ports := o.requiredObject("in_ports")
	if share, at, ok := c.requiredInput(ports, "accept_percentage", percentage); ok {
		if sampler.AcceptPercentage = share; math.IsNaN(share) {
			// As an agent does: fail open, but let nothing into a ramp.
			if sampler.AcceptPercentage = 100; sampler.RampMode {
				sampler.AcceptPercentage = 0
			}
			at.warning("not a number, so that the sampler accepts %g percent", sampler.AcceptPercentage)
		}
	}
	ports.close()
	c.passThroughLabelValues(o, &sampler)
	o.close()
	c.policy.Samplers = append(c.policy.Samplers, sampler)
}

// loadRamp reads a load ramp of a circuit.
func (c *circuit) loadRamp(o *object, id string, _ form) {
	sampler := Sampler{Component: Component{ID: samplerOfRamp(id)}, Ramp: &Ramp{}}
	o.requiredObject("parameters").rampParameters(&sampler)
	ports := o.object("in_ports")
	sampler.Ramp.Start = c.on(ports, "forward")
	sampler.Ramp.Reset = c.on(ports, "reset")
	if c.on(ports, "backward") {
		v, _ := ports.get("backward")
		v.problem("found a signal that is on, expected one that is off: the ramps of the local engine do not go backward")
	}
	ports.close()
	o.ignore("out_ports")
	c.passThroughLabelValues(o, &sampler)
	o.close()
	c.policy.Samplers = append(c.policy.Samplers, sampler)
}

// samplerOfRamp returns the id of the sampler inside of a load ramp, which is the component that decides.
func samplerOfRamp(id string) string { return id + ".1" }

// on says whether a signal is there, valid, and not zero.
func (c *circuit) on(ports *object, key string) bool {
	number, _, ok := c.input(ports, key)
	return ok && number != 0 && !math.IsNaN(number)
}

// blueprintLoadRamp reads the values of the blueprint for load ramps.
func (c *circuit) blueprintLoadRamp(policy *object) {
	sampler := Sampler{Component: Component{ID: samplerOfRamp(fmt.Sprintf("root.%d", loadRampIndex))}, Ramp: &Ramp{}}
	policy.requiredObject("load_ramp").rampParameters(&sampler)
	sampler.Ramp.Start = policy.bool("start", false)
	if v, ok := c.configured("start"); ok {
		sampler.Ramp.Start, _ = v.bool()
	}
	if v, ok := c.configured("reset"); ok {
		sampler.Ramp.Reset, _ = v.bool()
	}
	if v, ok := c.configured("pass_through_label_values"); ok {
		sampler.PassThroughLabelValues = v.strings()
	}
	drivers := policy.object("drivers")
	for _, key := range []string{"promql_drivers", "average_latency_drivers", "percentile_latency_drivers"} {
		if v, ok := drivers.get(key); ok && len(v.list()) > 0 {
			v.problem(needsCluster)
		}
	}
	drivers.close()
	if v, ok := policy.get("kubelet_metrics"); ok {
		if o := v.object(); o != nil && len(o.order) > 0 {
			v.problem(needsCluster)
		}
	}
	c.policy.Samplers = append(c.policy.Samplers, sampler)
}

// rampParameters reads the sampler and the steps of a load ramp.
func (o *object) rampParameters(sampler *Sampler) {
	if o == nil {
		return
	}
	o.requiredObject("sampler").samplerParameters(sampler)
	sampler.RampMode = true
	if v, ok := o.required("steps", "a list of at least one step"); ok {
		steps := v.list()
		for _, element := range steps {
			if o := element.object(); o != nil {
				step := RampStep{TargetAcceptPercentage: o.number("target_accept_percentage", 0, percentage)}
				if v, ok := o.required("duration", `decimal seconds with the suffix s, such as "1s"`); ok {
					step.Duration, _ = v.duration()
				}
				o.close()
				sampler.Ramp.Steps = append(sampler.Ramp.Steps, step)
			}
		}
		if steps != nil && len(steps) == 0 {
			v.problem("found an empty list, expected at least one step")
		}
	}
	o.close()
}

// samplerParameters reads the parameters of a sampler.
func (o *object) samplerParameters(sampler *Sampler) {
	if o == nil {
		return
	}
	sampler.Selectors = o.selectors("selectors")
	sampler.SessionLabelKey = o.string("session_label_key", "")
	sampler.DeniedStatus = o.statusCode("denied_response_status_code")
	sampler.RampMode = o.bool("ramp_mode", false)
	o.close()
}

// passThroughLabelValues reads the values of the session label that are always admitted.
func (c *circuit) passThroughLabelValues(o *object, sampler *Sampler) {
	sampler.PassThroughLabelValues = o.strings("pass_through_label_values")
	if v, ok := c.configured(o.string("pass_through_label_values_config_key", "")); ok {
		sampler.PassThroughLabelValues = v.strings()
	}
}
