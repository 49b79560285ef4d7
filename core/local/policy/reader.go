package policy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// reader reads values out of YAML documents and collects everything that is wrong with them.
type reader struct {
	file     string
	problems []Problem
	warnings []Problem
}

func (r *reader) problem(at *yaml.Node, format string, arguments ...any) {
	if len(r.problems) == mostCollected {
		return
	}
	r.problems = append(r.problems, r.at(at, format, arguments...))
}

func (r *reader) warning(at *yaml.Node, format string, arguments ...any) {
	r.warnings = append(r.warnings, r.at(at, format, arguments...))
}

func (r *reader) at(at *yaml.Node, format string, arguments ...any) Problem {
	return Problem{File: r.file, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, arguments...)}
}

// value is a node and the path of keys that leads to it.
type value struct {
	reader *reader
	path   string
	node   *yaml.Node
}

func (v value) problem(format string, arguments ...any) {
	if v.path != "" {
		format, arguments = "%s: "+format, append([]any{v.path}, arguments...)
	}
	v.reader.problem(v.node, format, arguments...)
}

func (v value) warning(format string, arguments ...any) {
	v.reader.warning(v.node, "%s: "+format, append([]any{v.path}, arguments...)...)
}

func (v value) expected(what string) {
	v.problem("found %s, expected %s", describe(v.node), what)
}

func (v value) child(key string) string {
	if v.path == "" {
		return key
	}
	return v.path + "." + key
}

// string returns the text of a string.
func (v value) string() (string, bool) {
	if v.node.Kind == yaml.ScalarNode {
		switch v.node.ShortTag() {
		case "!!str":
			return v.node.Value, true
		case "!!int", "!!float", "!!bool", "!!timestamp":
			v.expected("a string: put it into quotes")
			return "", false
		}
	}
	v.expected("a string")
	return "", false
}

func (v value) bool() (bool, bool) {
	var b bool
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!bool" && v.node.Decode(&b) == nil {
		return b, true
	}
	v.expected("true or false")
	return false, false
}

// number returns a finite number.
func (v value) number() (float64, bool) {
	var number float64
	if v.node.Kind == yaml.ScalarNode && (v.node.ShortTag() == "!!int" || v.node.ShortTag() == "!!float") &&
		v.node.Decode(&number) == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
		return number, true
	}
	v.expected("a finite number")
	return 0, false
}

// duration returns a duration that is not negative.
func (v value) duration() (time.Duration, bool) {
	const expected = `decimal seconds with the suffix s, such as "0.5s"`
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!str" {
		d, err := parseDuration(v.node.Value)
		switch err {
		case nil:
			return d, true
		case errLongDuration:
			v.expected("at most " + strconv.FormatInt(int64(math.MaxInt64/time.Second), 10) + "s")
			return 0, false
		}
	}
	v.expected(expected)
	return 0, false
}

// list returns the elements of a list.
func (v value) list() []value {
	if v.node.Kind != yaml.SequenceNode {
		v.expected("a list")
		return nil
	}
	elements := make([]value, len(v.node.Content))
	for i, node := range v.node.Content {
		elements[i] = value{reader: v.reader, path: fmt.Sprintf("%s[%d]", v.path, i), node: resolve(node)}
	}
	return elements
}

// strings returns the elements of a list of strings.
func (v value) strings() []string {
	var texts []string
	for _, element := range v.list() {
		if text, ok := element.string(); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// object returns a mapping, or nil, of which everything can be asked in vain, when the value is none.
func (v value) object() *object {
	if v.node.Kind != yaml.MappingNode {
		v.expected("a mapping")
		return nil
	}
	o := &object{value: v, fields: make(map[string]field, len(v.node.Content)/2)}
	var merges []*yaml.Node
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, content := v.node.Content[i], v.node.Content[i+1]
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			merges = append(merges, content)
			continue
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			value{v.reader, v.path, key}.problem("found %s, expected a string as the key", describe(key))
			continue
		}
		if first, ok := o.fields[key.Value]; ok {
			value{v.reader, v.path, key}.problem("key %s is there twice: first in line %d", quote(key.Value), first.key.Line)
			continue
		}
		o.add(key, content)
	}
	for _, node := range merges {
		o.merge(node)
	}
	return o
}

// object is a mapping whose keys are asked for one by one. Those that nobody asked for are unknown.
type object struct {
	value
	fields map[string]field
	// order holds the keys as they stand in the file.
	order []string
	known []string
}

type field struct {
	key, value *yaml.Node
}

func (o *object) add(key, content *yaml.Node) {
	o.fields[key.Value] = field{key: key, value: resolve(content)}
	o.order = append(o.order, key.Value)
}

// merge adds what a merge key (<<) refers to; the mapping's own keys stay.
func (o *object) merge(node *yaml.Node) {
	node = resolve(node)
	switch node.Kind {
	case yaml.SequenceNode:
		for _, element := range node.Content {
			o.merge(element)
		}
	case yaml.MappingNode:
		merged := value{o.reader, o.path, node}.object()
		for _, key := range merged.order {
			if _, ok := o.fields[key]; !ok {
				o.add(merged.fields[key].key, merged.fields[key].value)
			}
		}
	default:
		value{o.reader, o.path, node}.expected("a mapping to merge")
	}
}

// get returns the value of a key. A null counts as absent.
func (o *object) get(key string) (value, bool) {
	if o == nil {
		return value{}, false
	}
	o.known = append(o.known, key)
	if !o.holds(key) {
		return value{}, false
	}
	return value{reader: o.reader, path: o.child(key), node: o.fields[key].value}, true
}

// holds says whether one of some keys is there, without asking for it.
func (o *object) holds(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		field, ok := o.fields[key]
		return ok && (field.value.Kind != yaml.ScalarNode || field.value.ShortTag() != "!!null")
	})
}

// required returns the value of a key that must be there.
func (o *object) required(key, what string) (value, bool) {
	v, ok := o.get(key)
	if !ok && o != nil {
		o.problem("missing %s: expected %s", quote(key), what)
	}
	return v, ok
}

// has says whether a key is there, and counts as asking for it.
func (o *object) has(key string) bool {
	_, ok := o.get(key)
	return ok
}

// ignore accepts keys without looking at their values.
func (o *object) ignore(keys ...string) {
	if o != nil {
		o.known = append(o.known, keys...)
	}
}

func (o *object) string(key, fallback string) string {
	if v, ok := o.get(key); ok {
		if text, ok := v.string(); ok {
			return text
		}
	}
	return fallback
}

// name returns a required string that is not empty.
func (o *object) name(key string) string {
	v, ok := o.required(key, "a string that is not empty")
	if !ok {
		return ""
	}
	text, ok := v.string()
	if ok && text == "" {
		v.expected("a string that is not empty")
	}
	return text
}

func (o *object) bool(key string, fallback bool) bool {
	if v, ok := o.get(key); ok {
		if b, ok := v.bool(); ok {
			return b
		}
	}
	return fallback
}

// positiveDuration returns a required duration that is more than 0.
func (o *object) positiveDuration(key string) time.Duration {
	v, ok := o.required(key, `decimal seconds with the suffix s, such as "1s"`)
	if !ok {
		return 0
	}
	duration, ok := v.duration()
	if ok && duration == 0 {
		v.expected("more than 0s")
	}
	return duration
}

func (o *object) duration(key string, fallback time.Duration) time.Duration {
	if v, ok := o.get(key); ok {
		if d, ok := v.duration(); ok {
			return d
		}
	}
	return fallback
}

// object returns the mapping of a key, or nil.
func (o *object) object(key string) *object {
	if v, ok := o.get(key); ok {
		return v.object()
	}
	return nil
}

func (o *object) requiredObject(key string) *object {
	if v, ok := o.required(key, "a mapping"); ok {
		return v.object()
	}
	return nil
}

func (o *object) list(key string) []value {
	if v, ok := o.get(key); ok {
		return v.list()
	}
	return nil
}

func (o *object) strings(key string) []string {
	if v, ok := o.get(key); ok {
		return v.strings()
	}
	return nil
}

// labels returns a mapping of strings to strings, in the order of the file.
func (o *object) labels(key string) []Label {
	mapping := o.object(key)
	if mapping == nil {
		return nil
	}
	var labels []Label
	for _, key := range mapping.order {
		v := value{reader: o.reader, path: mapping.child(key), node: mapping.fields[key].value}
		if text, ok := v.string(); ok {
			labels = append(labels, Label{Key: key, Value: text})
		}
	}
	return labels
}

// close reports the keys that nobody asked for. It is called after the last question.
func (o *object) close() {
	if o == nil {
		return
	}
	known := make(map[string]bool, len(o.known))
	for _, key := range o.known {
		known[key] = true
	}
	for _, key := range o.order {
		if !known[key] && len(o.reader.problems) < mostCollected {
			value{o.reader, o.path, o.fields[key].key}.problem("unknown key %s%s", quote(key), suggest(key, o.known))
		}
	}
}

// resolve follows an alias. checkSize has made sure that aliases end.
func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// describe says what was found, short enough for a message.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return describe(node.Alias)
	}
	switch tag := node.ShortTag(); tag {
	case "!!str":
		return quote(node.Value)
	case "!!int", "!!float":
		return "the number " + shorten(node.Value)
	case "!!bool":
		return "the truth value " + shorten(node.Value)
	case "!!timestamp":
		return "the date " + shorten(node.Value)
	case "!!null":
		return "nothing"
	default:
		return fmt.Sprintf("a value with the tag %s", shorten(tag))
	}
}

func quote(text string) string { return strconv.Quote(shorten(text)) }

// shorten cuts text that is too long for a message.
func shorten(text string) string {
	const longest = 64
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}
