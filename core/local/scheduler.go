package local

import (
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/fairqueue"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// defaultWorkload is the label of the flows that match no workload.
const defaultWorkload = "default"

// scheduler is a component that lets flows wait.
type scheduler struct {
	component
	self   part // what the policy knows
	limit  limitKey
	rules  policy.Scheduler
	store  store
	queue  *fairqueue.Scheduler
	margin time.Duration
}

// store are the tokens of a scheduler, and what differs between the kinds of schedulers.
type store interface {
	fairqueue.Tokens
	details(message *checkv1.LimiterDecision, decision *limiterDecision, label string)
	maxIdle() time.Duration
	sweep(now int64)
	// fill adds what there is to tell of the tokens.
	fill(now int64, snapshot *ComponentSnapshot)
}

func newScheduler(from *policy.Policy, config policy.Component, limit limitKey, rules policy.Scheduler, store store, engine *Engine) *scheduler {
	s := &scheduler{limit: limit, rules: rules, store: store}
	s.init(from, config)
	s.self = s
	if engine.options.Remote {
		s.margin = rules.DecisionDeadlineMargin
	}
	s.queue = fairqueue.New(store, fairqueue.Options{
		Epoch: engine.epoch, MaxWaiting: engine.options.MaxWaiting, Logger: engine.options.Logger,
	})
	return s
}

// ask fills a decision with what is known before anybody waits, and the request to wait with. It returns false when the
// flow passes without one.
func (s *scheduler) ask(labels check.Labels, budget time.Duration, decision *limiterDecision, request *fairqueue.Request) bool {
	decision.by = s.self
	decision.workload = defaultWorkload
	if s.limit.passThrough {
		s.unlimited.Add(1)
		return false
	}
	value, ok := s.limit.value(labels)
	if !ok {
		s.unlimited.Add(1)
		decision.reason = checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND
		return false
	}
	label, parameters := s.workload(labels)
	tokens := 1.0
	if parameters.Tokens != 0 {
		tokens = parameters.Tokens
	}
	if number, ok := s.number(labels, s.rules.TokensLabelKey); ok {
		tokens = number
	}
	priority := parameters.Priority
	if number, ok := s.number(labels, s.rules.PriorityLabelKey); ok && number > 0 {
		priority = number
	}
	budget -= s.margin
	if parameters.QueueTimeout != nil {
		budget = min(budget, *parameters.QueueTimeout)
	}
	decision.value, decision.workload, decision.priority, decision.scheduled = value, label, priority, true
	request.Label, request.Workload, request.Priority, request.Tokens, request.Budget = value, label, priority, tokens, budget
	if key := s.rules.FairnessLabelKey; key != "" {
		request.Fairness, _ = labels.Get(key)
	}
	return true
}

// workload returns the name of a flow's workload, and how its flows are treated.
func (s *scheduler) workload(labels check.Labels) (string, *policy.WorkloadParameters) {
	label, parameters := defaultWorkload, &s.rules.DefaultWorkload
	for i := range s.rules.Workloads {
		if workload := &s.rules.Workloads[i]; matches(workload.Matcher, labels) {
			label, parameters = workload.Label, &workload.WorkloadParameters
			break
		}
	}
	if key := s.rules.WorkloadLabelKey; key != "" {
		if own, ok := labels.Get(key); ok {
			label = own
		}
	}
	return label, parameters
}

// decided fills a decision with the answer to its request.
func (s *scheduler) decided(decision *limiterDecision, request *fairqueue.Request) {
	decision.dropped = request.Outcome != fairqueue.Admitted
	decision.remaining, decision.current = request.Grant.Remaining, request.Grant.Current
	if !decision.dropped {
		decision.requestID = request.Grant.ID
		decision.consumed = request.Tokens
	}
}

func (s *scheduler) revert(now int64, decision *limiterDecision) {
	if decision.dropped || !decision.scheduled || decision.consumed == 0 && decision.requestID == "" {
		return
	}
	s.reverted.Add(1)
	s.store.Return(now, decision.value, decision.consumed, fairqueue.Grant{OK: true, ID: decision.requestID})
}

func (s *scheduler) describe(decision *limiterDecision, _ check.Labels) *checkv1.LimiterDecision {
	message := s.message(decision)
	label := ""
	if decision.scheduled {
		label = s.limit.label(decision.value)
	}
	s.store.details(message, decision, label)
	return message
}

func (s *scheduler) maxIdle() time.Duration { return s.store.maxIdle() }

func (s *scheduler) sweep(now int64) { s.store.sweep(now) }
