package policy

import (
	"maps"
	"slices"
	"strings"
)

// valuesReader reads the values of one blueprint.
type valuesReader struct {
	// components is how many components it puts in front of those of the key components.
	components int
	// read reads the keys of the policy that no other blueprint has.
	read func(c *circuit, policy *object)
}

// The four limiters have a decider and an alerter behind them, which nobody here needs.
var blueprints = map[string]valuesReader{
	"concurrency-limiting/base":   {3, section("concurrency_limiter", (*circuit).concurrencyLimiter)},
	"concurrency-scheduling/base": {3, section("concurrency_scheduler", (*circuit).concurrencyScheduler)},
	"load-ramping/base":           {loadRampIndex + 1, (*circuit).blueprintLoadRamp},
	"quota-scheduling/base":       {3, section("quota_scheduler", (*circuit).quotaScheduler)},
	"rate-limiting/base":          {3, section("rate_limiter", (*circuit).rateLimiter)},
}

// section reads the one component of a blueprint, which is the first of its circuit.
func section(key string, read componentReader) func(*circuit, *object) {
	return func(c *circuit, policy *object) {
		if o := policy.requiredObject(key); o != nil {
			read(c, o, "root.0", valuesForm)
		}
	}
}

// clusterBlueprints are the first parts of the names of blueprints that need signals of a cluster.
var clusterBlueprints = []string{"load-scheduling/", "auto-scaling/"}

const needsCluster = "unsupported: needs an Aperture cluster"

// kind is what a document is known by.
type kind int

const (
	unknownKind kind = iota
	blueprintKind
	resourceKind
	renderedKind
	dynamicKind
)

func (o *object) kind() kind {
	switch {
	case o.holds("blueprint"):
		return blueprintKind
	case o.holds("kind", "apiVersion"):
		return resourceKind
	case o.holds("circuit", "resources"):
		return renderedKind
	case o.holds("dynamic_config"):
		return dynamicKind
	}
	return unknownKind
}

// policy reads a document that describes a policy.
func (l *loader) policy(document *object, kind kind) (policy Policy) {
	switch kind {
	case blueprintKind:
		l.blueprint(document, &policy)
	case resourceKind:
		l.resource(document, &policy)
	case renderedKind:
		policy.Name, policy.Hash = nameOf(document.reader.file), hashOf(document.node)
		l.checkName(policy.Name, document.value)
		c := &circuit{policy: &policy, dynamic: l.dynamicConfig(policy.Name, nil)}
		c.read(document)
		c.dynamic.close()
	default:
		document.problem("not a policy: expected blueprint values (keys blueprint and policy), a resource of kind Policy, " +
			"a rendered policy (keys circuit and resources), or a dynamic configuration (keys policy_name and dynamic_config)")
	}
	return policy
}

// blueprint reads blueprint values.
func (l *loader) blueprint(o *object, policy *Policy) {
	name, _ := o.get("blueprint")
	text, ok := name.string()
	if !ok {
		return
	}
	blueprint, ok := blueprints[text]
	switch {
	case slices.ContainsFunc(clusterBlueprints, func(first string) bool { return strings.HasPrefix(text, first) }):
		name.problem("%s is %s", quote(text), needsCluster)
		return
	case !ok:
		name.problem("unknown blueprint %s%s", quote(text), suggest(text, slices.Collect(maps.Keys(blueprints))))
		return
	}
	o.ignore("uri")
	if body := o.requiredObject("policy"); body != nil {
		policy.Hash = hashOf(body.node)
		policy.Name = l.name(body, "policy_name")
		c := &circuit{policy: policy, dynamic: l.dynamicConfig(policy.Name, nil)}
		blueprint.read(c, body)
		c.components(body, blueprint.components)
		body.object("resources").resources()
		body.close()
		c.dynamic.close()
	}
	o.close()
}

// resource reads a Kubernetes resource of kind Policy.
func (l *loader) resource(o *object, policy *Policy) {
	kind, ok := o.required("kind", "Policy")
	if !ok {
		return
	}
	if text, ok := kind.string(); ok && text != "Policy" {
		kind.expected("Policy")
	}
	o.ignore("apiVersion", "status")
	if metadata := o.requiredObject("metadata"); metadata != nil {
		// The other keys are Kubernetes' own.
		policy.Name = l.name(metadata, "name")
	}
	dynamic := l.dynamicConfig(policy.Name, o.object("dynamicConfig"))
	if spec := o.requiredObject("spec"); spec != nil {
		policy.Hash = hashOf(spec.node)
		c := &circuit{policy: policy, dynamic: dynamic}
		c.read(spec)
		c.dynamic.close()
	}
	o.close()
}

// name reads the name of a policy, which no other has.
func (l *loader) name(o *object, key string) string {
	name := o.name(key)
	if v, ok := o.get(key); ok {
		l.checkName(name, v)
	}
	return name
}

// resources reads what a policy sets up beside its circuit, none of which takes part in a decision.
func (o *object) resources() {
	flowControl := o.object("flow_control")
	for key, o := range map[string]*object{
		"classifiers": flowControl, "flux_meters": flowControl, "infra_meters": o, "telemetry_collectors": o,
	} {
		if v, ok := o.get(key); ok && len(v.node.Content) > 0 {
			v.warning("ignored by the local engine")
		}
	}
	flowControl.close()
	o.close()
}
