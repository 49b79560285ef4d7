package policy

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"
)

// signal is what a component puts out under a name. Its value is not a number when it is invalid, as in a cluster.
type signal struct {
	// component is the kind of the component.
	component string
	// constant is false when a cluster computes the signal.
	constant bool
	// inputs of a variable are one constant.
	inputs []port

	visited bool
	value   float64
	problem string // why there is no value
}

// port is an input of a component: a signal, or a constant.
type port struct {
	// at is where the signal or the constant stands.
	at     value
	signal string // "" for a constant
	value  float64
}

// combination reads a component that puts out a constant, or combines some.
func (c *circuit) combination(kind string, v value) {
	o := v.object()
	if o == nil {
		return
	}
	s := &signal{component: kind, constant: true}
	switch kind {
	case "variable":
		constant, ok := o.required("constant_output", "a mapping")
		if configured, isConfigured := c.configured(o.string("config_key", "")); isConfigured {
			if ok {
				constant.constantSignal()
			}
			constant, ok = configured, true
		}
		if ok {
			s.inputs = append(s.inputs, constant.constantSignal())
		}
	case "bool_variable":
		on := o.bool("constant_output", false)
		if configured, ok := c.configured(o.string("config_key", "")); ok {
			on, _ = configured.bool()
		}
		s.inputs = append(s.inputs, port{at: v, value: truth(on)})
	case "inverter":
		inputs := o.object("in_ports")
		s.inputs = inputs.ports("input")
		inputs.close()
	default:
		inputs := o.object("in_ports")
		for _, input := range inputs.list("inputs") {
			if p, ok := input.port(); ok {
				s.inputs = append(s.inputs, p)
			}
		}
		inputs.close()
	}
	outputs := o.object("out_ports")
	output := outputs.object("output")
	if name, ok := output.get("signal_name"); ok {
		c.addSignal(name, s)
	}
	output.close()
	outputs.close()
	o.close()
}

func truth(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// addSignal gives a signal its name.
func (c *circuit) addSignal(name value, s *signal) {
	text, ok := name.string()
	if !ok || text == "" {
		return
	}
	if first, ok := c.signals[text]; ok {
		name.problem("signal %s is there twice: another %s has it", quote(text), first.component)
		return
	}
	c.signals[text] = s
}

// signalsOfCluster notes the signals of a component that only a cluster has, wherever its output ports are.
func (c *circuit) signalsOfCluster(kind string, component value) {
	for key, child := range component.children() {
		if key != "out_ports" {
			c.signalsOfCluster(kind, child)
			continue
		}
		for _, port := range child.children() {
			for key, name := range port.children() {
				if key == "signal_name" {
					c.addSignal(name, &signal{component: kind})
				}
			}
		}
	}
}

// children returns the keys and values of a mapping, and nothing for any other value.
func (v value) children() iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		for i := 0; i+1 < len(v.node.Content) && v.node.Kind == yaml.MappingNode; i += 2 {
			key := v.node.Content[i].Value
			if !yield(key, value{v.reader, v.child(key), resolve(v.node.Content[i+1])}) {
				return
			}
		}
	}
}

// ports returns the port of a key, if it is there.
func (o *object) ports(key string) []port {
	if v, ok := o.get(key); ok {
		if p, ok := v.port(); ok {
			return []port{p}
		}
	}
	return nil
}

// port reads an input port.
func (v value) port() (port, bool) {
	o := v.object()
	if o == nil {
		return port{}, false
	}
	defer o.close()
	name, isSignal := o.get("signal_name")
	constant, isConstant := o.get("constant_signal")
	switch {
	case isSignal == isConstant:
		v.problem("expected either signal_name or constant_signal")
		return port{}, false
	case isConstant:
		p := constant.constantSignal()
		return p, p.at.node != nil
	}
	text, ok := name.string()
	return port{at: name, signal: text}, ok
}

// constantSignal reads a number, or a special value. The port has no place when there is neither.
func (v value) constantSignal() port {
	o := v.object()
	defer o.close()
	number, isNumber := o.get("value")
	special, isSpecial := o.get("special_value")
	switch {
	case o == nil:
	case isNumber == isSpecial:
		o.problem("expected either value or special_value")
	case isNumber:
		if number, ok := number.number(); ok {
			return port{at: value{v.reader, o.child("value"), o.fields["value"].value}, value: number}
		}
	default:
		// Infinite amounts would be of no use: nothing fills up to them, and pass_through says better what is meant.
		if text, ok := special.string(); ok && text != "NaN" {
			special.expected("NaN, or a finite number under the key value")
		} else if ok {
			return port{at: special, value: math.NaN()}
		}
	}
	return port{}
}

// input returns the value of an input port of a component for flow control, and where it stands.
func (c *circuit) input(ports *object, key string) (float64, value, bool) {
	v, ok := ports.get(key)
	if !ok {
		return 0, value{}, false
	}
	p, ok := v.port()
	if !ok {
		return 0, value{}, false
	}
	number, problem := c.value(p)
	if problem != "" {
		p.at.problem("%s", problem)
		return 0, value{}, false
	}
	return number, p.at, true
}

// value returns the value of a port, or why there is none.
func (c *circuit) value(p port) (float64, string) {
	if p.signal == "" {
		return p.value, ""
	}
	s, ok := c.signals[p.signal]
	if !ok {
		return 0, fmt.Sprintf("no component puts out the signal %s%s", quote(p.signal), suggest(p.signal, sortedKeys(c.signals)))
	}
	if s.visited {
		return s.value, s.problem
	}
	s.visited, s.problem = true, fmt.Sprintf("signal %s depends on itself, expected one that is constant", quote(p.signal))
	if s.constant {
		s.value, s.problem = c.combine(s)
	} else {
		s.problem = fmt.Sprintf("signal %s of a component %s is %s", quote(p.signal), s.component, needsCluster)
	}
	return s.value, s.problem
}

// combine computes a signal out of its inputs. What is invalid counts as unknown: it is the result unless the other
// inputs decide alone.
func (c *circuit) combine(s *signal) (float64, string) {
	var inputs []float64
	for _, input := range s.inputs {
		number, problem := c.value(input)
		if problem != "" {
			return 0, problem
		}
		inputs = append(inputs, number)
	}
	isZero := func(x float64) bool { return x == 0 }
	isTrue := func(x float64) bool { return x != 0 && !math.IsNaN(x) }
	unknown := slices.ContainsFunc(inputs, math.IsNaN)
	switch {
	case s.component == "and" && slices.ContainsFunc(inputs, isZero):
		return 0, ""
	case s.component == "or" && slices.ContainsFunc(inputs, isTrue):
		return 1, ""
	case (s.component == "and" || s.component == "or") && unknown:
		return math.NaN(), ""
	case s.component == "and":
		return 1, ""
	case s.component == "or":
		return 0, ""
	case s.component == "inverter" && len(inputs) > 0 && !unknown:
		return truth(inputs[0] == 0), ""
	case s.component == "inverter":
		return math.NaN(), ""
	}
	// A variable has one input. Of those of first_valid, the first that is valid counts.
	if i := slices.IndexFunc(inputs, func(x float64) bool { return !math.IsNaN(x) }); i >= 0 {
		return inputs[i], ""
	}
	return math.NaN(), ""
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
