// Package baggage reads the labels that a request carries in its W3C Baggage header (https://www.w3.org/TR/baggage/).
package baggage

import (
	"strings"

	"github.com/libaperture/libaperture/core/check"
)

// The limits of the specification: what every platform passes on.
const (
	// MaxMembers is how many labels a header gives.
	MaxMembers = 64
	// MaxBytes is how long the members that they are made of, with the commas between them, are together.
	MaxBytes = 8192
)

// Parse returns the members of a header as labels, in their order, and how many it dropped: those that are malformed,
// and those that are beyond MaxMembers or MaxBytes. A header comes from somebody else, so that nothing in it is an
// error. Several headers of one request are joined with commas before.
//
// Keys are taken as they are. Values are percent-decoded once; a plus sign stays one, and so does a percent sign that
// begins no octet. Octets that are not UTF-8 become U+FFFD. What follows a semicolon is ignored. When a key occurs more
// than once all its values are returned, of which the last one counts, as always with check.Labels.
func Parse(header string) (labels check.Labels, dropped int) {
	size := 0
	for member := range strings.SplitSeq(header, ",") {
		member = strings.Trim(member, whitespace)
		if member == "" {
			continue // lists of HTTP may have empty elements, which mean nothing
		}
		label, ok := parseMember(member)
		if !ok || len(labels) == MaxMembers || size+len(member) > MaxBytes {
			dropped++
			continue
		}
		size += len(member) + len(",")
		labels = append(labels, label)
	}
	return labels, dropped
}

// whitespace is what may be around keys and values.
const whitespace = " \t"

// parseMember reads `key = value; properties`, and says whether it is well-formed before the properties.
func parseMember(member string) (check.Label, bool) {
	pair, _, _ := strings.Cut(member, ";")
	key, value, ok := strings.Cut(pair, "=")
	key, value = strings.Trim(key, whitespace), strings.Trim(value, whitespace)
	if !ok || key == "" || !consistsOf(key, isTokenByte) || !consistsOf(value, isValueByte) {
		return check.Label{}, false
	}
	return check.Label{Key: key, Value: decode(value)}, true
}

// consistsOf says whether all bytes of a text are of a kind.
func consistsOf(text string, kind func(byte) bool) bool {
	for i := range len(text) {
		if !kind(text[i]) {
			return false
		}
	}
	return true
}

// isTokenByte says whether a byte can be in a key: a letter, a digit, or one of the signs of RFC 9110's tokens.
func isTokenByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// isValueByte says whether a byte can be in a value: visible ASCII save for quotes, commas, semicolons and backslashes.
func isValueByte(b byte) bool {
	return '!' <= b && b <= '~' && b != '"' && b != ',' && b != ';' && b != '\\'
}

// decode returns a value with its octets in place of their codes.
func decode(value string) string {
	if strings.IndexByte(value, '%') < 0 {
		return value
	}
	decoded := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		b := value[i]
		if b == '%' && i+2 < len(value) {
			high, low := digit(value[i+1]), digit(value[i+2])
			if high >= 0 && low >= 0 {
				b = byte(high<<4 | low)
				i += 2
			}
		}
		decoded = append(decoded, b)
	}
	return strings.ToValidUTF8(string(decoded), "\uFFFD")
}

// digit returns the value of a hexadecimal digit, a negative number for any other byte.
func digit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}
