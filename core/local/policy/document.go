package policy

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Blueprints by what becomes of them here.
const rateLimitingBlueprint = "rate-limiting/base"

var (
	laterBlueprints = []string{
		"quota-scheduling/base", "concurrency-limiting/base", "concurrency-scheduling/base", "load-ramping/base",
	}
	// clusterBlueprints are the first parts of the names of blueprints that need signals of a cluster.
	clusterBlueprints = []string{"load-scheduling/", "auto-scaling/"}
)

const (
	needsCluster = "unsupported: needs an Aperture cluster"
	notYet       = "not supported yet by the local engine"
)

// blueprintComponents is how many components the rate-limiting blueprint puts in front of those of `components`: the
// rate limiter, a decider and an alerter.
const blueprintComponents = 3

// document reads one document of any kind. It returns where the policy's name stands.
func (r *reader) document(root value) (Policy, *yaml.Node) {
	o := root.object()
	switch {
	case o == nil:
		return Policy{}, root.node
	case o.has("blueprint"):
		return o.blueprint()
	case o.has("kind") || o.has("apiVersion"):
		return o.resource()
	case o.has("circuit") || o.has("resources"):
		policy := Policy{Name: nameOf(r.file), Hash: hashOf(root.node)}
		o.policyBody(&policy)
		return policy, root.node
	}
	o.problem("not a policy: expected blueprint values (keys blueprint and policy), a resource of kind Policy, or a " +
		"rendered policy (keys circuit and resources)")
	return Policy{}, root.node
}

// blueprint reads blueprint values.
func (o *object) blueprint() (policy Policy, at *yaml.Node) {
	at = o.node
	name, _ := o.get("blueprint")
	text, ok := name.string()
	switch {
	case !ok:
		return policy, at
	case slices.Contains(laterBlueprints, text):
		name.problem("%s is %s, expected %s", quote(text), notYet, rateLimitingBlueprint)
		return policy, at
	case slices.ContainsFunc(clusterBlueprints, func(first string) bool { return strings.HasPrefix(text, first) }):
		name.problem("%s is %s", quote(text), needsCluster)
		return policy, at
	case text != rateLimitingBlueprint:
		name.problem("unknown blueprint %s%s", quote(text), suggest(text, append([]string{rateLimitingBlueprint}, laterBlueprints...)))
		return policy, at
	}
	o.ignore("uri")
	if body := o.requiredObject("policy"); body != nil {
		policy.Hash = hashOf(body.node)
		policy.Name = body.name("policy_name")
		if field, ok := body.fields["policy_name"]; ok {
			at = field.value
		}
		if section := body.requiredObject("rate_limiter"); section != nil {
			policy.RateLimiters = append(policy.RateLimiters, section.blueprintRateLimiter())
		}
		body.components("components", blueprintComponents, &policy)
		body.object("resources").resources()
		body.close()
	}
	o.close()
	return policy, at
}

// resource reads a Kubernetes resource of kind Policy.
func (o *object) resource() (policy Policy, at *yaml.Node) {
	at = o.node
	kind, ok := o.required("kind", "Policy")
	if !ok {
		return policy, at
	}
	if text, ok := kind.string(); ok && text != "Policy" {
		kind.expected("Policy")
	}
	o.ignore("apiVersion", "status")
	if dynamic, ok := o.get("dynamicConfig"); ok {
		o.reader.warning(dynamic.node, "dynamicConfig is ignored")
	}
	if metadata := o.requiredObject("metadata"); metadata != nil {
		// The other keys are Kubernetes' own.
		policy.Name = metadata.name("name")
		if field, ok := metadata.fields["name"]; ok {
			at = field.value
		}
	}
	if spec := o.requiredObject("spec"); spec != nil {
		policy.Hash = hashOf(spec.node)
		spec.policyBody(&policy)
	}
	o.close()
	return policy, at
}

// policyBody reads a rendered policy.
func (o *object) policyBody(policy *Policy) {
	circuit := o.object("circuit")
	circuit.duration("evaluation_interval", 0)
	circuit.components("components", 0, policy)
	circuit.close()
	o.object("resources").resources()
	o.close()
}

// resources reads what a policy sets up beside its circuit, none of which takes part in a decision.
func (o *object) resources() {
	flowControl := o.object("flow_control")
	for key, o := range map[string]*object{
		"classifiers": flowControl, "flux_meters": flowControl, "infra_meters": o, "telemetry_collectors": o,
	} {
		if v, ok := o.get(key); ok && len(v.node.Content) > 0 {
			o.reader.warning(v.node, "%s: ignored by the local engine", v.path)
		}
	}
	flowControl.close()
	o.close()
}

// components reads a circuit's components; the first has the given index.
func (o *object) components(key string, first int, policy *Policy) {
	for i, element := range o.list(key) {
		component := element.object()
		kind, ok := component.onlyKey(componentKinds)
		if !ok {
			continue
		}
		v := value{reader: element.reader, path: component.child(kind), node: component.fields[kind].value}
		switch componentKinds[kind] {
		case cannotDo:
			v.problem(needsCluster)
		case signalOnly:
			// Inputs of flow-control components must be constant, so none of them uses this signal.
			v.reader.warning(v.node, "%s: ignored by the local engine, which has no signals", v.path)
		case decides:
			v.flowControl(fmt.Sprintf("root.%d", first+i), policy)
		}
	}
}

// flowControl reads a flow-control component.
func (v value) flowControl(componentID string, policy *Policy) {
	o := v.object()
	kind, ok := o.onlyKey(flowControlKinds)
	if !ok {
		return
	}
	component := value{reader: v.reader, path: o.child(kind), node: o.fields[kind].value}
	switch flowControlKinds[kind] {
	case cannotDo:
		component.problem(needsCluster)
	case cannotDoYet:
		component.problem(notYet)
	case decides:
		if o := component.object(); o != nil {
			policy.RateLimiters = append(policy.RateLimiters, o.renderedRateLimiter(componentID))
		}
	}
}

// reaction is what the loader does about a component.
type reaction int

const (
	ignored reaction = iota
	// signalOnly components compute signals, which no component here can use.
	signalOnly
	cannotDo
	cannotDoYet
	// decides: the engine has the component.
	decides
)

var componentKinds = map[string]reaction{
	"flow_control": decides,

	"alerter": ignored, "decider": ignored,

	"auto_scale": cannotDo, "nested_circuit": cannotDo,

	"and": signalOnly, "arithmetic_combinator": signalOnly, "bool_variable": signalOnly, "differentiator": signalOnly,
	"ema": signalOnly, "extrapolator": signalOnly, "first_valid": signalOnly, "gradient_controller": signalOnly,
	"holder": signalOnly, "integrator": signalOnly, "inverter": signalOnly, "max": signalOnly, "min": signalOnly,
	"nested_signal_egress": signalOnly, "nested_signal_ingress": signalOnly, "or": signalOnly,
	"pid_controller": signalOnly, "polynomial_range_function": signalOnly, "pulse_generator": signalOnly,
	"query": signalOnly, "signal_generator": signalOnly, "sma": signalOnly, "switcher": signalOnly,
	"unary_operator": signalOnly, "variable": signalOnly,
}

var flowControlKinds = map[string]reaction{
	"rate_limiter": decides,

	"concurrency_limiter": cannotDoYet, "concurrency_scheduler": cannotDoYet, "load_ramp": cannotDoYet,
	"quota_scheduler": cannotDoYet, "sampler": cannotDoYet,

	"adaptive_load_scheduler": cannotDo, "aiad_load_scheduler": cannotDo, "aimd_load_scheduler": cannotDo,
	"load_scheduler": cannotDo, "private": cannotDo, "range_driven_load_scheduler": cannotDo,
}

// onlyKey returns the one key of a mapping that must have exactly one of some keys.
func (o *object) onlyKey(kinds map[string]reaction) (string, bool) {
	if o == nil {
		return "", false
	}
	for kind := range kinds {
		o.ignore(kind)
	}
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
	return strings.Join(present, ""), len(present) == 1
}
