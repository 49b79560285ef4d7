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
	// Hash is the same for documents that differ only in comments, layout and the order of keys. What a Policy resource
	// says under dynamicConfig is not in it: an agent takes it over without forgetting anything.
	Hash string

	Samplers              []Sampler
	RateLimiters          []RateLimiter
	ConcurrencyLimiters   []ConcurrencyLimiter
	ConcurrencySchedulers []ConcurrencyScheduler
	QuotaSchedulers       []QuotaScheduler
}

// Components returns how many components the policy has.
func (policy *Policy) Components() int {
	return len(policy.Samplers) + len(policy.RateLimiters) + len(policy.ConcurrencyLimiters) +
		len(policy.ConcurrencySchedulers) + len(policy.QuotaSchedulers)
}

// Component is what all components have that decide about flows.
type Component struct {
	// ID is the component's place in the policy's circuit, such as "root.0".
	ID string
	// Selectors choose the flows; one that matches is enough. There is at least one.
	Selectors []Selector
	// DeniedStatus is the HTTP status for rejected flows, Empty for the default.
	DeniedStatus checkv1.StatusCode
}

// RateLimiter rejects the flows for which a token bucket has no tokens.
type RateLimiter struct {
	Component
	TokenBucket
	// TokensLabelKey names the label that says how many tokens a flow takes; when it is empty each takes one.
	TokensLabelKey string
}

// TokenBucket describes a bucket per value of a flow label.
type TokenBucket struct {
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
	// PassThrough accepts every flow.
	PassThrough bool
}

// ConcurrencyLimiter rejects the flows that come while too many are in flight.
type ConcurrencyLimiter struct {
	Component
	InFlight
	// TokensLabelKey names the label that says how many tokens a flow takes; when it is empty each takes one.
	TokensLabelKey string
}

// InFlight describes a count of the tokens in flight per value of a flow label.
type InFlight struct {
	// MaxConcurrency is how many tokens may be in flight. A flow is admitted as long as fewer are, whatever it takes.
	MaxConcurrency float64
	// MaxInflightDuration is after which time a flow that nobody has ended counts no more. It is positive.
	MaxInflightDuration time.Duration
	// MaxIdleTime is how long an unused count is kept, 0 for ever.
	MaxIdleTime time.Duration
	// LimitByLabelKey names the label whose values have a count each; when it is empty there is one count.
	LimitByLabelKey string
	// PassThrough accepts every flow.
	PassThrough bool
}

// ConcurrencyScheduler lets flows wait until fewer are in flight.
type ConcurrencyScheduler struct {
	Component
	InFlight
	Scheduler
}

// QuotaScheduler lets flows wait until a token bucket has tokens for them.
type QuotaScheduler struct {
	Component
	TokenBucket
	Scheduler
}

// Scheduler says in which order flows wait, and for how long.
type Scheduler struct {
	// Workloads are looked at in order: the first that matches counts.
	Workloads []Workload
	// DefaultWorkload is that of the flows that match none.
	DefaultWorkload WorkloadParameters
	// DecisionDeadlineMargin is how much earlier than the deadline of a caller behind a network a flow is decided.
	DecisionDeadlineMargin time.Duration
	// The labels that say how many tokens a flow takes, its priority, the name of its workload, and among whom a
	// workload is shared fairly; when a key is empty no label does.
	TokensLabelKey, PriorityLabelKey, WorkloadLabelKey, FairnessLabelKey string
}

// Workload is one kind of work of a Scheduler.
type Workload struct {
	// Label is the name of the workload, or its index in decimal when it has none.
	Label   string
	Matcher *LabelMatcher
	WorkloadParameters
}

// WorkloadParameters say how the flows of a workload are treated.
type WorkloadParameters struct {
	// Priority is positive; twice the priority is twice the share.
	Priority float64
	// Tokens is how many a flow takes, unless a label says it; 0 is taken for 1.
	Tokens float64
	// QueueTimeout bounds how long a flow waits, nil by its caller's deadline only. At 0 it does not wait.
	QueueTimeout *time.Duration
}

// Sampler admits a share of the flows.
type Sampler struct {
	Component
	// SessionLabelKey names the label whose values are admitted or not as a whole; when it is empty chance decides about
	// each flow.
	SessionLabelKey string
	// RampMode: flows in ramp mode are admitted by such a sampler only.
	RampMode bool
	// PassThroughLabelValues are the values of the session label that are always admitted.
	PassThroughLabelValues []string
	// AcceptPercentage is the share, from 0 to 100. A load ramp computes it instead.
	AcceptPercentage float64
	// Ramp is nil for a sampler with a constant share.
	Ramp *Ramp
}

// Ramp raises the share of a sampler step by step.
type Ramp struct {
	// Steps has one step at least.
	Steps []RampStep
	// Start lets the ramp go on; without it the ramp stays where it is. Reset puts it back to its begin, and holds it there.
	Start, Reset bool
}

// RampStep is reached from the step before it in a time; the first one stays for its time.
type RampStep struct {
	// TargetAcceptPercentage is from 0 to 100.
	TargetAcceptPercentage float64
	Duration               time.Duration
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
