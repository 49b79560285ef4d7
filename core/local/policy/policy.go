// Package policy reads the policy files of an Aperture installation for the local engine: blueprint values, rendered
// policies, and Policy resources, as YAML documents.
//
// It is strict where a cluster would be silent: whatever the engine cannot do as written is refused with its place in
// the file, what was found and what was expected.
package policy

import (
	"regexp"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Policy is one policy of a file, as far as the local engine acts on it.
type Policy struct {
	Name string
	// Hash is the same for documents that differ only in comments, layout and the order of keys.
	Hash         string
	RateLimiters []RateLimiter
}

// RateLimiter is a token bucket per value of a flow label.
type RateLimiter struct {
	// ComponentID is the component's place in the policy's circuit.
	ComponentID string
	// Selectors choose the flows; one that matches is enough. There is at least one.
	Selectors []Selector

	BucketCapacity float64
	// FillAmount is added to a bucket per Interval.
	FillAmount     float64
	Interval       time.Duration
	ContinuousFill bool
	// DelayInitialFill holds the filling of a full bucket back for as long as filling it from empty takes.
	DelayInitialFill bool
	// MaxIdleTime is how long an unused bucket is kept, 0 for ever.
	MaxIdleTime time.Duration
	// LimitByLabelKey names the label whose values have a bucket each; when it is empty there is one bucket.
	LimitByLabelKey string
	// TokensLabelKey names the label that says how many tokens a flow takes; when it is empty each takes one.
	TokensLabelKey string
	// DeniedStatus is the HTTP status for rejected flows, Empty for the default.
	DeniedStatus checkv1.StatusCode
	// PassThrough accepts every flow.
	PassThrough bool
}

// AnyService is the service of a selector that looks at no service.
const AnyService = "any"

// Selector chooses flows.
type Selector struct {
	AgentGroup   string
	Service      string
	ControlPoint string
	// LabelMatcher is nil when every flow of the control point is meant.
	LabelMatcher *LabelMatcher
}

// LabelMatcher matches flow labels when all of its parts do.
type LabelMatcher struct {
	// Labels are keys with the value that each must have.
	Labels       []Label
	Requirements []Requirement
	// Expression is nil when there is none.
	Expression *Expression
}

// Label is a key and the value that it must have.
type Label struct {
	Key, Value string
}

// Operator relates a label to the values of a Requirement.
type Operator string

// The operators, named as in policies.
const (
	In           Operator = "In"
	NotIn        Operator = "NotIn"
	Exists       Operator = "Exists"
	DoesNotExist Operator = "DoesNotExist"
)

// Requirement is one entry of match_list (or match_expressions).
type Requirement struct {
	Key      string
	Operator Operator
	Values   []string
}

// Expression is a condition on labels. Exactly one of its parts is set.
type Expression struct {
	Not          *Expression
	All, Any     *ExpressionList
	LabelExists  string
	LabelEquals  *Label
	LabelMatches *LabelPattern
}

// ExpressionList holds the operands of all and any.
type ExpressionList struct {
	Of []Expression
}

// LabelPattern is a key and an expression that is found somewhere in its value.
type LabelPattern struct {
	Key   string
	Regex *regexp.Regexp
}
