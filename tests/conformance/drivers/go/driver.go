// Driver runs the conformance cases with package core. This is the protocol; operations.go has what a step can ask for. See
// tests/conformance/README.md.
package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libaperture/libaperture/core"
)

func main() {
	d := newDriver()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		var s step
		for _, word := range words[1:] {
			s.set(word)
		}
		said, err := d.do(words[0], &s)
		if err != nil {
			said = failure(err)
		}
		fmt.Println(strings.Join(said.words(""), " "))
	}
}

// step has the arguments of all operations.
type step struct {
	core.Options
	core.FlowParams
	Client, Flow                              int
	ControlPoint, GlobalCacheKey, Key, Status string
	Telemetry                                 string
	Timeout, TTL                              time.Duration
	Value                                     []byte
	Attribute                                 any // string, int64 or float64
}

// set sets the field that a word is about. One that there is not is an option of other languages.
func (s *step) set(word string) {
	name, text, _ := strings.Cut(word, "=")
	name, isLiteral := strings.CutSuffix(name, ":")
	name, member, _ := strings.Cut(name, ".")
	text, member = unescape(text), unescape(member)
	name = strings.NewReplacer("_ns", "", "[]", "", "_", "", "certificate", "cert").Replace(name)
	field := reflect.ValueOf(s).Elem().FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, name) })
	if !field.IsValid() {
		return
	}
	integer, notInteger := strconv.ParseInt(text, 10, 64)
	switch field := field.Addr().Interface().(type) {
	case *string:
		*field = text
	case *[]byte:
		*field = []byte(text)
	case *bool:
		*field = text == "true"
	case *int:
		*field = int(integer)
	case *time.Duration:
		*field = time.Duration(integer)
	case *core.Compression:
		*field = map[string]core.Compression{"gzip": core.CompressionGzip}[text]
	case *[]string:
		*field = append(*field, text)
	case *[]core.MetadataEntry:
		*field = append(*field, core.MetadataEntry{Key: member, Value: text})
	case *map[string]string:
		if *field == nil {
			*field = map[string]string{}
		}
		(*field)[member] = text
	case *any:
		switch number, _ := strconv.ParseFloat(text, 64); {
		case !isLiteral:
			*field = text
		case notInteger == nil:
			*field = integer
		default:
			*field = number
		}
	}
}

// answer is what there is to say of a step. Members that are answers have their names before those of their members.
type answer map[string]any

func (a answer) words(prefix string) (words []string) {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if members, ok := a[name].(answer); ok {
			words = append(words, members.words(prefix+name+".")...)
		} else {
			words = append(words, escape(prefix+name)+"="+escape(fmt.Sprint(a[name])))
		}
	}
	return words
}

func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func unescape(text string) string {
	text, _ = url.PathUnescape(text) // the runner has escaped it
	return text
}
