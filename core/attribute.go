package core

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"unicode/utf8"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
)

// The limits of a flow's attributes.
const (
	MaxAttributes         = 64
	MaxAttributeKeyBytes  = 256
	MaxAttributeTextBytes = 1 << 16
)

// reservedPrefix begins the keys that an agent gives a meaning to.
const reservedPrefix = "aperture."

// Attribute is a key and a value that a flow's span has beside those of this package. TextAttribute, IntegerAttribute and
// NumberAttribute make it.
type Attribute struct {
	key   string
	value *commonv1.AnyValue
	size  int
}

// TextAttribute returns an attribute with a text, of at most MaxAttributeTextBytes. Bytes that are not UTF-8 are replaced
// by U+FFFD.
func TextAttribute(key, text string) Attribute {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return Attribute{key, &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: text}}, len(text)}
}

// IntegerAttribute returns an attribute with an integer.
func IntegerAttribute(key string, value int64) Attribute {
	return Attribute{key, &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: value}}, 0}
}

// NumberAttribute returns an attribute with a number, which must be finite.
func NumberAttribute(key string, value float64) Attribute {
	return Attribute{key, &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: value}}, 0}
}

// check finds mistakes in an attribute.
func (a *Attribute) check() error {
	switch {
	case a.value == nil:
		return &ArgumentError{"attribute", "has no value; make it with TextAttribute, IntegerAttribute or NumberAttribute"}
	case a.key == "" || len(a.key) > MaxAttributeKeyBytes:
		return &ArgumentError{"attribute key", fmt.Sprintf("has %d bytes; must have 1 to %d", len(a.key), MaxAttributeKeyBytes)}
	case !utf8.ValidString(a.key):
		return &ArgumentError{"attribute key", "is not UTF-8"}
	case strings.HasPrefix(a.key, reservedPrefix):
		return &ArgumentError{"attribute key", fmt.Sprintf("%q begins with %q, which belongs to the library", a.key, reservedPrefix)}
	case a.size > MaxAttributeTextBytes:
		return &ArgumentError{"attribute text", fmt.Sprintf("has %d bytes; the limit is %d", a.size, MaxAttributeTextBytes)}
	}
	if number, ok := a.value.GetValue().(*commonv1.AnyValue_DoubleValue); ok {
		if math.IsNaN(number.DoubleValue) || math.IsInf(number.DoubleValue, 0) {
			return &ArgumentError{"attribute number", fmt.Sprintf("is %v; must be finite", number.DoubleValue)}
		}
	}
	return nil
}

// attributeList holds the attributes of a flow.
type attributeList struct {
	mu   sync.Mutex
	list []Attribute
}

// SetAttribute gives the flow's span an attribute, such as the number of tokens that a request used: flux meters of
// policies can measure integers and numbers. The last value of a key counts. The error is an *ArgumentError, also for
// more than MaxAttributes different keys, or ErrAlreadyEnded.
func (f *Flow) SetAttribute(attribute Attribute) error {
	if err := attribute.check(); err != nil {
		return err
	}
	attributes := f.attributes.Load()
	if attributes == nil {
		f.attributes.CompareAndSwap(nil, &attributeList{})
		attributes = f.attributes.Load()
	}
	attributes.mu.Lock()
	defer attributes.mu.Unlock()
	if f.state.Load()&stateEnding != 0 {
		return ErrAlreadyEnded
	}
	for i := range attributes.list {
		if attributes.list[i].key == attribute.key {
			attributes.list[i] = attribute
			return nil
		}
	}
	if len(attributes.list) >= MaxAttributes {
		return &ArgumentError{"attribute", fmt.Sprintf("is one too many; a flow has at most %d", MaxAttributes)}
	}
	attributes.list = append(attributes.list, attribute)
	return nil
}

// takeAttributes returns the attributes of a flow that is ending, and their size in bytes.
func (f *Flow) takeAttributes() (attributes []Attribute, size int) {
	taken := f.attributes.Load()
	if taken == nil {
		return nil, 0
	}
	taken.mu.Lock()
	defer taken.mu.Unlock()
	for i := range taken.list {
		size += len(taken.list[i].key) + taken.list[i].size + bytesPerLabel
	}
	return taken.list, size
}
