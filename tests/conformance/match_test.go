package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// absent stands for a member that is not there.
type absent struct{}

// matcher compares data with what a case expects of it. Scalars must be the same; an array must have the same length; an
// object may have more members than are expected, and one that is expected as null must not be there. An object with one
// member whose name begins with "$" asks for something else: see README.md.
type matcher struct {
	// texts compares everything as text, for answers of drivers, which have nothing else.
	texts bool
	// defaults takes a member that has the default of its type as one that is not there: some languages have no other
	// form for a field that is unset. Numbers are compared by value then, since some languages write 1 as 1.0.
	defaults bool
}

// match returns what is wrong, one line each, with the path to it; nothing when got is as expected.
func (m matcher) match(path string, want, got any) []string {
	if object, ok := want.(map[string]any); ok {
		if name, argument, ok := special(object); ok {
			return m.matchSpecial(path, name, argument, got)
		}
		return m.matchObject(path, object, got)
	}
	if list, ok := want.([]any); ok {
		return m.matchList(path, list, got)
	}
	if want == nil {
		if got == nil || got == (absent{}) || m.defaults && isDefault(got) {
			return nil
		}
		return wrong(path, "nothing", got)
	}
	if m.texts {
		want = fmt.Sprint(want)
	}
	if want != got && !(m.defaults && sameNumber(want, got)) {
		return wrong(path, show(want), got)
	}
	return nil
}

// sameNumber says whether two values are numbers, and the same.
func sameNumber(want, got any) bool {
	a, isNumber := want.(json.Number)
	b, alsoNumber := got.(json.Number)
	x, err := a.Float64()
	y, otherErr := b.Float64()
	return isNumber && alsoNumber && err == nil && otherErr == nil && x == y
}

// special returns the name and the argument of an object that asks for something else than its members.
func special(object map[string]any) (name string, argument any, ok bool) {
	if len(object) == 1 {
		for name, argument := range object {
			return name, argument, strings.HasPrefix(name, "$")
		}
	}
	return "", nil, false
}

func (m matcher) matchObject(path string, want map[string]any, got any) []string {
	object, ok := got.(map[string]any)
	if !ok {
		return wrong(path, "an object", got)
	}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		member, ok := object[name]
		if !ok {
			member = absent{}
		}
		problems = append(problems, m.match(path+"."+name, want[name], member)...)
	}
	return problems
}

func (m matcher) matchList(path string, want []any, got any) []string {
	list, ok := got.([]any)
	if !ok || len(list) != len(want) {
		return wrong(path, fmt.Sprintf("a list of %d", len(want)), got)
	}
	var problems []string
	for i := range want {
		problems = append(problems, m.match(fmt.Sprintf("%s[%d]", path, i), want[i], list[i])...)
	}
	return problems
}

func (m matcher) matchSpecial(path, name string, argument, got any) []string {
	as := name + " " + show(argument)
	text, isText := got.(string)
	switch name {
	case "$any":
		if got != (absent{}) && !(m.defaults && isDefault(got)) {
			return nil
		}
	case "$contains":
		if part, ok := argument.(string); ok && isText && strings.Contains(text, part) {
			return nil
		}
	case "$lacks":
		if part, ok := argument.(string); ok && isText && !strings.Contains(text, part) {
			return nil
		}
	case "$bytes":
		if want, err := unescape(argument); err == nil && isText && text == want {
			return nil
		}
	case "$range":
		if inRange(argument, got) {
			return nil
		}
	case "$all":
		if list, ok := argument.([]any); ok {
			var problems []string
			for _, want := range list {
				problems = append(problems, m.match(path, want, got)...)
			}
			return problems
		}
	case "$one_of":
		if list, ok := argument.([]any); ok && slices.ContainsFunc(list, func(want any) bool { return len(m.match(path, want, got)) == 0 }) {
			return nil
		}
	case "$each": // a list of at least one
		if list, ok := got.([]any); ok && len(list) > 0 {
			var problems []string
			for i := range list {
				problems = append(problems, m.match(fmt.Sprintf("%s[%d]", path, i), argument, list[i])...)
			}
			return problems
		}
	case "$exactly": // an object without further members
		if want, ok := argument.(map[string]any); ok {
			problems := m.match(path, argument, got)
			if object, ok := got.(map[string]any); ok {
				for _, name := range slices.Sorted(maps.Keys(object)) {
					if _, ok := want[name]; !ok {
						problems = append(problems, wrong(path+"."+name, "nothing", object[name])...)
					}
				}
			}
			return problems
		}
	case "$message": // a text that is the JSON of a message, in which some languages write fields that are unset
		var value any
		if isText && decode([]byte(text), &value) == nil {
			return matcher{defaults: true}.match(path, argument, value)
		}
	case "$time":
		want, isTime := nanosecondsOf(argument)
		if number, ok := nanosecondsOf(got); ok && isTime && number == want {
			return nil
		}
	}
	return wrong(path, as, got)
}

// inRange says whether a number, or a text that is one, is between the two of a list.
func inRange(limits, got any) bool {
	list, ok := limits.([]any)
	if !ok || len(list) != 2 {
		return false
	}
	number, err := json.Number(fmt.Sprint(got)).Float64()
	low, lowErr := json.Number(fmt.Sprint(list[0])).Float64()
	high, highErr := json.Number(fmt.Sprint(list[1])).Float64()
	return err == nil && lowErr == nil && highErr == nil && low <= number && number <= high
}

// isDefault says whether a value is what a field of its type is when it is unset.
func isDefault(value any) bool {
	switch value := value.(type) {
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return slices.Contains([]any{"", false, json.Number("0"), json.Number("0.0")}, value)
}

// nanosecondsOf returns what a time means, or how long a duration lasts: both as a text, or as seconds and nanoseconds.
func nanosecondsOf(value any) (nanoseconds int64, ok bool) {
	switch value := value.(type) {
	case string:
		if duration, err := time.ParseDuration(value); err == nil {
			return int64(duration), true
		}
		moment, err := time.Parse(time.RFC3339Nano, value)
		return moment.UnixNano(), err == nil
	case map[string]any:
		seconds, secondsErr := json.Number(fmt.Sprint(value["seconds"])).Int64()
		nanos, nanosErr := json.Number(fmt.Sprint(value["nanos"])).Int64()
		return seconds*int64(time.Second) + nanos, secondsErr == nil && nanosErr == nil
	}
	return 0, false
}

// unescape returns the bytes that a text stands for, with %FF for those that JSON has no text for.
func unescape(text any) (string, error) { return url.PathUnescape(fmt.Sprint(text)) }

func wrong(path, want string, got any) []string {
	return []string{fmt.Sprintf("%s is %s; want %s", path, show(got), want)}
}

// show returns data as it is written in a case.
func show(value any) string {
	if value == (absent{}) {
		return "not there"
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// decode reads JSON, with its numbers as they are written.
func decode(text []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	return decoder.Decode(value)
}

func TestMatcher(t *testing.T) {
	got := `{"text":"a rejection","number":7,"double":7.0,"list":[1,2],"object":{"a":"1","b":"2"},"null":null,"none":[],
		"wait":"1.050s","span":{"seconds":1,"nanos":50000000},"moment":"2024-01-02T03:04:05.500Z",
		"message":"{\"n\":1.0,\"zero\":0,\"empty\":\"\",\"none\":[]}"}`
	for want, problem := range map[string]string{
		`{"text":"a rejection","number":7}`:   "",
		`{"text":"another"}`:                  `.text is "a rejection"; want "another"`,
		`{"number":7.0}`:                      `.number is 7; want 7.0`,
		`{"number":"7"}`:                      `.number is 7; want "7"`,
		`{"missing":null,"null":null}`:        "",
		`{"text":null}`:                       `.text is "a rejection"; want nothing`,
		`{"missing":"here"}`:                  `.missing is not there; want "here"`,
		`{"list":[1,2]}`:                      "",
		`{"list":[1]}`:                        `.list is [1,2]; want a list of 1`,
		`{"list":[1,3]}`:                      `.list[1] is 2; want 3`,
		`{"list":{"$each":{"$range":[1,2]}}}`: "",
		`{"list":{"$each":1}}`:                `.list[1] is 2; want 1`,
		`{"none":{"$each":1}}`:                `.none is []; want $each 1`,
		`{"object":{"a":"1"}}`:                "",
		`{"object":{"$exactly":{"a":"1"}}}`:   `.object.b is "2"; want nothing`,
		`{"text":{"$contains":"reject"}}`:     "",
		`{"text":{"$contains":"accept"}}`:     `.text is "a rejection"; want $contains "accept"`,
		`{"text":{"$lacks":"accept"}}`:        "",
		`{"text":{"$lacks":"reject"}}`:        `.text is "a rejection"; want $lacks "reject"`,
		`{"missing":{"$lacks":"reject"}}`:     `.missing is not there; want $lacks "reject"`,
		`{"number":{"$range":[7,8]}}`:         "",
		`{"number":{"$range":[8,9]}}`:         `.number is 7; want $range [8,9]`,
		`{"text":{"$range":[8,9]}}`:           `.text is "a rejection"; want $range [8,9]`,
		`{"number":{"$any":true}}`:            "",
		`{"missing":{"$any":true}}`:           `.missing is not there; want $any true`,
		`{"number":{"$one_of":[6,7]}}`:        "",
		`{"number":{"$one_of":[6,8]}}`:        `.number is 7; want $one_of [6,8]`,
		`{"text":{"$bytes":"a%20rejection"}}`: "",
		`{"text":{"$bytes":"a%FFrejection"}}`: `.text is "a rejection"; want $bytes "a%FFrejection"`,
		`{"message":{"$message":{"n":1,"zero":null,"empty":null,"none":null,"missing":null}}}`: "",
		`{"message":{"$message":{"n":2}}}`:                `.message.n is 1.0; want 2`,
		`{"message":{"$message":{"n":null}}}`:             `.message.n is 1.0; want nothing`,
		`{"message":{"$message":{"n":{"$any":true}}}}`:    "",
		`{"message":{"$message":{"zero":{"$any":true}}}}`: `.message.zero is 0; want $any true`,
		`{"text":{"$message":{"n":2}}}`:                   `.text is "a rejection"; want $message {"n":2}`,
		`{"number":null}`:                                 `.number is 7; want nothing`,
		`{"wait":{"$time":"1.05s"},"span":{"$time":"1.05s"},"moment":{"$time":"2024-01-02T03:04:05.5Z"}}`: "",
		`{"wait":{"$time":"1.5s"}}`:              `.wait is "1.050s"; want $time "1.5s"`,
		`{"span":{"$time":"1s"}}`:                `.span is {"nanos":50000000,"seconds":1}; want $time "1s"`,
		`{"text":{"$time":"1s"}}`:                `.text is "a rejection"; want $time "1s"`,
		`{"number":{"$nonsense":7}}`:             `.number is 7; want $nonsense 7`,
		`{"number":{"$all":[7,{"$any":false}]}}`: "",
		`{"number":{"$all":[7,8]}}`:              `.number is 7; want 8`,
	} {
		var problems []string
		if problem != "" {
			problems = []string{problem}
		}
		assert.Equal(t, problems, matcher{}.match("", parse(t, want), parse(t, got)), want)
	}
	assert.Empty(t, matcher{texts: true}.match("", parse(t, `{"a":429,"b":true}`), map[string]any{"a": "429", "b": "true"}))
}

func parse(t *testing.T, text string) (value any) {
	require.NoError(t, decode([]byte(text), &value))
	return value
}
