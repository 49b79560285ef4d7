package policy

// dynamicConfig is a document that changes settings of a policy which runs already. In a cluster it is posted to the
// controller beside the policy.
type dynamicConfig struct {
	config *object
	name   value
	used   bool
}

// addDynamicConfig reads a document with a dynamic configuration. Its policy reads the settings.
func (l *loader) addDynamicConfig(o *object) {
	name := o.name("policy_name")
	at, _ := o.get("policy_name")
	config := o.requiredObject("dynamic_config")
	o.close()
	if name == "" || config == nil {
		return
	}
	if first, ok := l.dynamic[name]; ok {
		at.problem("second dynamic configuration of policy %s: first in %s:%d", quote(name), first.name.reader.file, first.name.node.Line)
		return
	}
	l.dynamic[name] = &dynamicConfig{config: config, name: at}
}

// dynamicConfig returns the dynamic configuration of a policy: the resource's own, or a document's, or nil.
func (l *loader) dynamicConfig(policy string, own *object) *object {
	document, ok := l.dynamic[policy]
	if !ok {
		return own
	}
	if document.used = true; own != nil {
		document.name.problem("second dynamic configuration of policy %s: first in %s:%d", quote(policy), own.reader.file, own.node.Line)
		return own
	}
	return document.config
}

// findUnusedDynamicConfigs reports those whose policy is not there.
func (l *loader) findUnusedDynamicConfigs() {
	for name, document := range l.dynamic {
		if !document.used {
			document.name.problem("no policy is named %s%s", quote(name), suggest(name, sortedKeys(l.names)))
		}
	}
}
