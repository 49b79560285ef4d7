package baggage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/libaperture/libaperture/core/check"
)

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		header  string
		want    check.Labels
		dropped int
	}{
		"no header":                    {"", nil, 0},
		"one member":                   {"tier=gold", check.Labels{{Key: "tier", Value: "gold"}}, 0},
		"members in their order":       {"b=2,a=1", check.Labels{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}}, 0},
		"whitespace everywhere":        {" \ta\t = 1 ,\tb=2\t", check.Labels{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}, 0},
		"properties":                   {"a=1;p;q=2, b=2 ; p=\"x\"", check.Labels{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}, 0},
		"empty value":                  {"a=,b= ;p", check.Labels{{Key: "a"}, {Key: "b"}}, 0},
		"equals sign in a value":       {"a=b=c==", check.Labels{{Key: "a", Value: "b=c=="}}, 0},
		"key that occurs twice":        {"a=1,a=2", check.Labels{{Key: "a", Value: "1"}, {Key: "a", Value: "2"}}, 0},
		"keys differ by case":          {"A=1,a=2", check.Labels{{Key: "A", Value: "1"}, {Key: "a", Value: "2"}}, 0},
		"signs of a token":             {"!#$%&'*+-.^_`|~=1", check.Labels{{Key: "!#$%&'*+-.^_`|~", Value: "1"}}, 0},
		"key is not decoded":           {"a%20b=1", check.Labels{{Key: "a%20b", Value: "1"}}, 0},
		"empty members":                {",a=1,, ,b=2,", check.Labels{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}, 0},
		"plus sign":                    {"a=x+y,b=x%2By", check.Labels{{Key: "a", Value: "x+y"}, {Key: "b", Value: "x+y"}}, 0},
		"percent sign, once":           {"a=50%25,b=%2541", check.Labels{{Key: "a", Value: "50%"}, {Key: "b", Value: "%41"}}, 0},
		"text of another script":       {"name=Am%C3%A9lie%20%e6%97%a5", check.Labels{{Key: "name", Value: "Amélie 日"}}, 0},
		"what may not stand by itself": {"a=%22%2C%3B%5C%00", check.Labels{{Key: "a", Value: "\",;\\\x00"}}, 0},
		"no octet after the sign": {"a=%,b=%4,c=%zz%41,d=%4x,e=1%", check.Labels{
			{Key: "a", Value: "%"}, {Key: "b", Value: "%4"}, {Key: "c", Value: "%zzA"}, {Key: "d", Value: "%4x"}, {Key: "e", Value: "1%"},
		}, 0},
		"octets that are not UTF-8": {"a=x%FFy,b=%C3", check.Labels{{Key: "a", Value: "x\uFFFDy"}, {Key: "b", Value: "\uFFFD"}}, 0},

		"no equals sign":            {"a,b=2", check.Labels{{Key: "b", Value: "2"}}, 1},
		"equals sign in a property": {"a;p=1,b=2", check.Labels{{Key: "b", Value: "2"}}, 1},
		"no key":                    {"=1, =2,;=,b=2", check.Labels{{Key: "b", Value: "2"}}, 3},
		"space in a key":            {"a b=1,b=2", check.Labels{{Key: "b", Value: "2"}}, 1},
		"separator in a key":        {"a/b=1,(a)=1,b=2", check.Labels{{Key: "b", Value: "2"}}, 2},
		"letter that is not ASCII":  {"é=1,a=é,b=2", check.Labels{{Key: "b", Value: "2"}}, 2},
		"space in a value":          {"a=x y,b=2", check.Labels{{Key: "b", Value: "2"}}, 1},
		"quotes, backslashes":       {`a="x",a=\,b=2`, check.Labels{{Key: "b", Value: "2"}}, 2},
		"control characters":        {"a=\x00,a=x\ny,a=\x7f,b=2", check.Labels{{Key: "b", Value: "2"}}, 3},
		"bytes that are not UTF-8":  {"a=\xff,b=2", check.Labels{{Key: "b", Value: "2"}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			labels, dropped := Parse(test.header)
			assert.Equal(t, test.want, labels)
			assert.Equal(t, test.dropped, dropped)
		})
	}
}

func TestMembersBeyondTheLimitsAreDropped(t *testing.T) {
	many := make([]string, 0, 70)
	for i := range 70 {
		many = append(many, fmt.Sprintf("k%d=%d", i, i))
	}
	labels, dropped := Parse("wrong," + strings.Join(many, ","))
	assert.Len(t, labels, MaxMembers)
	assert.Equal(t, check.Label{Key: "k63", Value: "63"}, labels[63])
	assert.Equal(t, 7, dropped)

	half := strings.Repeat("v", MaxBytes/2-len("a="))
	labels, dropped = Parse("a=" + half + ",b=" + half[1:]) // 8192 bytes
	assert.Len(t, labels, 2)
	assert.Zero(t, dropped)
	labels, dropped = Parse("a=" + half + ",b=" + half)
	assert.Len(t, labels, 1)
	assert.Equal(t, 1, dropped)

	labels, dropped = Parse("a=1," + "b=" + strings.Repeat("v", MaxBytes) + ",c=3")
	assert.Equal(t, check.Labels{{Key: "a", Value: "1"}, {Key: "c", Value: "3"}}, labels, "one that is too long hides no other")
	assert.Equal(t, 1, dropped)

	_, dropped = Parse("a=1;" + strings.Repeat("p", MaxBytes))
	assert.Equal(t, 1, dropped, "properties count")
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "a=1", " a = 1 ;p, b=%41%zz%FF ,=,,c", "a=x+y;q=\"z\"", "%=%,%25=%2525", "a=\xff", strings.Repeat("a=1,", 70)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		labels, dropped := Parse(header)
		if len(labels) > MaxMembers {
			t.Fatalf("%d labels", len(labels))
		}
		if members := strings.Count(header, ",") + 1; dropped < 0 || len(labels)+dropped > members {
			t.Fatalf("%d labels and %d dropped of %d members", len(labels), dropped, members)
		}
		for _, label := range labels {
			if label.Key == "" || strings.ContainsAny(label.Key, " \t,;=\"\\") || !utf8.ValidString(label.Key) || !utf8.ValidString(label.Value) {
				t.Fatalf("label %q", label)
			}
		}
		// What a header says is what it says when it is written again by the specification.
		again := write(labels)
		if len(again) > MaxBytes {
			return // it has more codes than before
		}
		same, dropped := Parse(again)
		if dropped != 0 || !slices.Equal(labels, same) {
			t.Fatalf("%q became %q by %q", labels, same, again)
		}
	})
}

// write returns the header of labels. Every byte of a value is written as a code.
func write(labels check.Labels) string {
	members := make([]string, 0, len(labels))
	for _, label := range labels {
		var value strings.Builder
		for i := range len(label.Value) {
			fmt.Fprintf(&value, "%%%02X", label.Value[i])
		}
		members = append(members, label.Key+"="+value.String())
	}
	return strings.Join(members, ",")
}
