package local

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLabelMatcher(t *testing.T) {
	for name, test := range map[string]struct {
		matcher string
		labels  []string
		matches bool
	}{
		"no conditions": {`{}`, nil, true},

		"match_labels: equal":             {`{match_labels: {a: "1", b: "2"}}`, []string{"b", "2", "a", "1", "c", "3"}, true},
		"match_labels: one differs":       {`{match_labels: {a: "1", b: "2"}}`, []string{"a", "1", "b", "3"}, false},
		"match_labels: one is missing":    {`{match_labels: {a: "1", b: "2"}}`, []string{"a", "1"}, false},
		"match_labels: case counts":       {`{match_labels: {a: x}}`, []string{"a", "X"}, false},
		"match_labels: spaces count":      {`{match_labels: {a: x}}`, []string{"a", "x "}, false},
		"match_labels: empty":             {`{match_labels: {a: ""}}`, []string{"a", ""}, true},
		"match_labels: missing not empty": {`{match_labels: {a: ""}}`, nil, false},

		"In: one of the values":            {`{match_list: [{key: a, operator: In, values: [x, y]}]}`, []string{"a", "y"}, true},
		"In: none of the values":           {`{match_list: [{key: a, operator: In, values: [x, y]}]}`, []string{"a", "z"}, false},
		"In: part of a value":              {`{match_list: [{key: a, operator: In, values: [xyz]}]}`, []string{"a", "xy"}, false},
		"In: values are no patterns":       {`{match_list: [{key: a, operator: In, values: ["x*"]}]}`, []string{"a", "xx"}, false},
		"In: trailing newline":             {`{match_list: [{key: a, operator: In, values: [x]}]}`, []string{"a", "x\n"}, false},
		"In: missing":                      {`{match_list: [{key: a, operator: In, values: [x, ""]}]}`, nil, false},
		"In: no values, empty":             {`{match_list: [{key: a, operator: In}]}`, []string{"a", ""}, true},
		"In: no values, not empty":         {`{match_list: [{key: a, operator: In, values: []}]}`, []string{"a", "x"}, false},
		"NotIn: one of the values":         {`{match_list: [{key: a, operator: NotIn, values: [x]}]}`, []string{"a", "x"}, false},
		"NotIn: none of the values":        {`{match_list: [{key: a, operator: NotIn, values: [x]}]}`, []string{"a", "y"}, true},
		"NotIn: trailing newline":          {`{match_list: [{key: a, operator: NotIn, values: [x]}]}`, []string{"a", "x\n"}, true},
		"NotIn: missing":                   {`{match_list: [{key: a, operator: NotIn, values: [x]}]}`, nil, true},
		"NotIn: no values, empty":          {`{match_list: [{key: a, operator: NotIn}]}`, []string{"a", ""}, false},
		"Exists: there":                    {`{match_list: [{key: a, operator: Exists, values: [x]}]}`, []string{"a", "y"}, true},
		"Exists: there and empty":          {`{match_list: [{key: a, operator: Exists}]}`, []string{"a", ""}, true},
		"Exists: missing":                  {`{match_list: [{key: a, operator: Exists}]}`, []string{"b", ""}, false},
		"DoesNotExist: there":              {`{match_list: [{key: a, operator: DoesNotExist, values: [x]}]}`, []string{"a", "y"}, false},
		"DoesNotExist: missing":            {`{match_list: [{key: a, operator: DoesNotExist}]}`, nil, true},
		"requirements: all must hold":      {`{match_list: [{key: a, operator: Exists}, {key: b, operator: Exists}]}`, []string{"a", ""}, false},
		"match_expressions: holds":         {`{match_expressions: [{key: a, operator: Exists}]}`, []string{"a", ""}, true},
		"match_expressions: does not hold": {`{match_expressions: [{key: a, operator: Exists}]}`, nil, false},
		"match_list before expressions":    {`{match_expressions: [{key: a, operator: Exists}], match_list: [{key: b, operator: Exists}]}`, []string{"b", ""}, true},
		"empty match_list counts as none":  {`{match_expressions: [{key: a, operator: Exists}], match_list: []}`, nil, false},

		"label_exists: there":                {`{expression: {label_exists: a}}`, []string{"a", ""}, true},
		"label_exists: missing":              {`{expression: {label_exists: a}}`, nil, false},
		"label_equals: equal":                {`{expression: {label_equals: {label: a, value: x}}}`, []string{"a", "x"}, true},
		"label_equals: differs":              {`{expression: {label_equals: {label: a, value: x}}}`, []string{"a", "xx"}, false},
		"label_equals: missing not empty":    {`{expression: {label_equals: {label: a, value: ""}}}`, nil, false},
		"label_matches: found inside":        {`{expression: {label_matches: {label: a, regex: "b+"}}}`, []string{"a", "abbc"}, true},
		"label_matches: not found":           {`{expression: {label_matches: {label: a, regex: "^b"}}}`, []string{"a", "abbc"}, false},
		"label_matches: missing":             {`{expression: {label_matches: {label: a, regex: ".*"}}}`, nil, false},
		"label_matches: $ before no newline": {`{expression: {label_matches: {label: a, regex: "^x$"}}}`, []string{"a", "x\n"}, false},
		"not: holds":                         {`{expression: {not: {label_exists: a}}}`, nil, true},
		"not: does not hold":                 {`{expression: {not: {label_exists: a}}}`, []string{"a", ""}, false},
		"all: every one":                     {`{expression: {all: {of: [{label_exists: a}, {label_exists: b}]}}}`, []string{"a", "", "b", ""}, true},
		"all: one fails":                     {`{expression: {all: {of: [{label_exists: a}, {label_exists: b}]}}}`, []string{"a", ""}, false},
		"all: empty":                         {`{expression: {all: {of: []}}}`, nil, true},
		"any: one":                           {`{expression: {any: {of: [{label_exists: a}, {label_exists: b}]}}}`, []string{"b", ""}, true},
		"any: none":                          {`{expression: {any: {of: [{label_exists: a}, {label_exists: b}]}}}`, []string{"c", ""}, false},
		"any: empty":                         {`{expression: {any: {}}}`, []string{"a", ""}, false},
		"nested":                             {`{expression: {not: {any: {of: [{all: {of: [{label_exists: a}, {not: {label_exists: b}}]}}]}}}}`, []string{"a", "", "b", ""}, true},
		"labels, list and expression: all":   {`{match_labels: {a: "1"}, match_list: [{key: b, operator: Exists}], expression: {label_exists: c}}`, []string{"a", "1", "b", "", "c", ""}, true},
		"labels, list and expression: label": {`{match_labels: {a: "1"}, match_list: [{key: b, operator: Exists}], expression: {label_exists: c}}`, []string{"b", "", "c", ""}, false},
		"labels, list and expression: list":  {`{match_labels: {a: "1"}, match_list: [{key: b, operator: Exists}], expression: {label_exists: c}}`, []string{"a", "1", "c", ""}, false},
		"labels, list and expression: expr.": {`{match_labels: {a: "1"}, match_list: [{key: b, operator: Exists}], expression: {label_exists: c}}`, []string{"a", "1", "b", ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := open(t, limiter{name: "p", selectors: "{control_point: checkout, label_matcher: " + test.matcher + "}"})
			decisions := ask(t, engine, test.labels...).Response.CheckResponse().GetLimiterDecisions()
			assert.Equal(t, test.matches, len(decisions) == 1)
		})
	}
}
