package local

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/fairqueue"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/internal/guard"
)

// Check decides about a flow. A flow that must wait for tokens does so within request.Timeout and the deadline of ctx,
// and is rejected when that is over: a deadline never leaves a flow undecided. A flow whose ctx has ended takes nothing.
func (engine *Engine) Check(ctx context.Context, request *check.Request) (check.Answer, error) {
	if err := ctx.Err(); err != nil {
		return check.Answer{}, ended(err)
	}
	budget := request.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(deadline))
	}
	answer, waiting, err := engine.begin(request, budget, nil)
	if waiting == nil {
		return answer, err
	}
	select {
	case one := <-waiting.outcomes:
		return one.answer, one.err
	case <-ctx.Done():
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // at the deadline the flow is decided anyway
		waiting.Cancel()
	}
	one := <-waiting.outcomes
	return one.answer, one.err
}

// Start begins a check, as check.Starter says.
func (engine *Engine) Start(request *check.Request, decided func(check.Answer, error)) (check.Answer, check.Waiting, error) {
	answer, waiting, err := engine.begin(request, request.Timeout, decided)
	if waiting == nil {
		return answer, nil, err // not waiting: that would be a Waiting that is not nil
	}
	return answer, waiting, err
}

func ended(err error) error {
	reason := check.UnreachableCancelled
	if errors.Is(err, context.DeadlineExceeded) {
		reason = check.UnreachableTimeout
	}
	return &check.UnreachableError{Reason: reason, Err: err}
}

// begin decides about a flow, or returns its check, which waits. decided is called then; without it the check has a channel
// of outcomes.
//
// The groups of components are asked one after the other, until one rejects the flow:
//
//	group                                  reason            status  tokens given back
//	1. load ramps                          NO_MATCHING_RAMP  403     1 to 3 together
//	2. samplers                            NOT_SAMPLED       403
//	3. rate and concurrency limiters       RATE_LIMITED      429
//	4. concurrency schedulers              NO_TOKENS         503     4 alone
//	5. cache lookup                        a result that is found ends the check, accepted
//	6. quota schedulers                    NO_TOKENS         503     6 alone
func (engine *Engine) begin(request *check.Request, budget time.Duration, decided func(check.Answer, error)) (check.Answer, *flowCheck, error) {
	if engine.closed.Load() {
		return check.Answer{}, nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	now := engine.now()
	decision := &flowDecision{
		engine:  engine,
		request: request,
		start:   now,
		end:     now,
	}
	decision.limiters = decision.inline[:0]
	route := engine.policies.Load().routes[request.ControlPoint]
	if route == nil {
		route = &noRoute
	}
	if engine.limit(decision, route, request.RampMode, now) {
		if len(route.concurrencySchedulers)+len(route.quotaSchedulers) > 0 {
			c := &flowCheck{
				engine: engine, decision: decision, route: route, lookup: request.CacheLookup,
				deadline: now + int64(budget), decided: decided,
			}
			if decided == nil {
				c.outcomes = make(chan outcome, 1)
				c.decided = func(answer check.Answer, err error) { c.outcomes <- outcome{answer, err} }
			}
			if !c.proceed(now) {
				return check.Answer{}, c, nil
			}
			if c.failure != nil {
				return check.Answer{}, nil, c.failure
			}
		} else {
			engine.lookUp(decision, request.CacheLookup)
		}
	}
	return decision.answer(), nil, nil
}

var noRoute route

// limit questions the groups 1 to 3, which decide at once, and says whether the flow goes on.
func (engine *Engine) limit(decision *flowDecision, route *route, rampMode bool, now int64) bool {
	group := decide(decision, route.ramps, now)
	if rampMode && len(group) == 0 {
		engine.noMatchingRamp.Add(1)
		decision.rejected = true
		decision.reason = check.RejectReasonNoMatchingRamp
		return false
	}
	if decision.reject(group, check.RejectReasonNoMatchingRamp, checkv1.StatusCode_Forbidden) ||
		decision.reject(decide(decision, route.samplers, now), check.RejectReasonNotSampled, checkv1.StatusCode_Forbidden) ||
		decision.reject(decide(decision, route.limiters, now), check.RejectReasonRateLimited, checkv1.StatusCode_TooManyRequests) {
		revert(now, decision.limiters)
		return false
	}
	return true
}

// decide questions every component of a group, also after one has rejected the flow, and returns their decisions.
func decide(decision *flowDecision, group []candidate[decider], now int64) []limiterDecision {
	first := len(decision.limiters)
	for i := range group {
		if group[i].applies(decision.request.Labels) {
			group[i].part.decide(now, decision.request.Labels, decision.add())
		}
	}
	return decision.limiters[first:]
}

// flowCheck is a check on its way through the groups in which flows wait.
type flowCheck struct {
	engine   *Engine
	decision *flowDecision
	route    *route
	lookup   *checkv1.CacheLookupRequest
	deadline int64
	decided  func(check.Answer, error)
	outcomes chan outcome // of a check that a caller waits for

	step    step
	first   int   // the first decision of the group
	failure error // why there is no decision
	told    bool  // decided was called

	mu        sync.Mutex
	questions []question // of the group; each group has its own
	left      int        // of them that are not decided
	dropped   bool       // by one of them
	cancelled bool
	closed    bool // the engine was closed meanwhile
	defect    bool // a panic was caught
}

// outcome is what a check returns.
type outcome struct {
	answer check.Answer
	err    error
}

// step is where a check goes on.
type step uint8

const (
	beforeConcurrency step = iota
	afterConcurrency
	afterQuota
)

// question is what one scheduler is asked.
type question struct {
	fairqueue.Request
	check     *flowCheck
	scheduler *scheduler
	decision  int  // in the check's decision
	noted     bool // the answer is
}

// proceed goes on until the flow is decided, or until it waits: then it returns false, and goes on later.
func (c *flowCheck) proceed(now int64) bool {
	for {
		switch c.step {
		case beforeConcurrency:
			c.step = afterConcurrency
			if !c.schedule(now, c.route.concurrencySchedulers) {
				return false
			}
		case afterConcurrency:
			if c.conclude(now) || c.engine.lookUp(c.decision, c.lookup) {
				return true
			}
			c.step = afterQuota
			if !c.schedule(now, c.route.quotaSchedulers) {
				return false
			}
		case afterQuota:
			c.conclude(now)
			return true
		}
	}
}

// schedule questions the schedulers of a group, and returns false when the flow waits for one.
func (c *flowCheck) schedule(now int64, group []candidate[*scheduler]) bool {
	c.first = len(c.decision.limiters)
	var questions []question
	for i := range group {
		if !group[i].applies(c.decision.request.Labels) {
			continue
		}
		one := question{check: c, scheduler: group[i].part, decision: len(c.decision.limiters)}
		if one.scheduler.ask(c.decision.request.Labels, time.Duration(c.deadline-now), c.decision.add(), &one.Request) {
			questions = append(questions, one)
		}
	}
	if len(questions) == 0 {
		return true
	}
	c.mu.Lock()
	c.questions, c.left, c.dropped = questions, len(questions), false
	c.mu.Unlock()
	for i := range questions {
		one := &questions[i]
		one.Asker = one
		if c.stopping() {
			one.Budget = 0
		}
		// From here on the check may go on elsewhere, as soon as the last one is decided.
		if !one.scheduler.queue.Start(now, &one.Request) {
			if c.answered(one) {
				return true
			}
		} else if c.stopping() {
			one.scheduler.queue.Cancel(&one.Request)
		}
	}
	return false
}

// stopping says whether nobody waits for the group any more.
func (c *flowCheck) stopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped || c.cancelled
}

// Decided is called when a scheduler has decided about a flow that has waited.
func (q *question) Decided(*fairqueue.Request) {
	c := q.check
	guard.Do(c.engine.options.Logger, "local.check.decided", func() {
		if c.answered(q) && c.proceed(c.engine.now()) {
			c.deliver()
		}
	}, func(any) {
		c.mu.Lock()
		c.defect = true
		c.mu.Unlock()
		c.stop()
		if c.answered(q) && !c.told {
			c.failure = errDefect
			revert(c.engine.now(), c.decision.limiters)
			c.deliver()
		}
	})
}

// answered notes the answer to a question, and says whether it was the last one of the group.
func (c *flowCheck) answered(q *question) bool {
	c.mu.Lock()
	if q.noted {
		defer c.mu.Unlock()
		return c.left == 0
	}
	q.noted = true
	q.scheduler.decided(&c.decision.limiters[q.decision], &q.Request)
	c.closed = c.closed || q.Outcome == fairqueue.Closed
	others := q.Outcome != fairqueue.Admitted && !c.dropped
	c.dropped = c.dropped || others
	c.mu.Unlock()
	if others {
		c.stop()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left == 0
}

// Cancel ends the wait, as check.Waiting says.
func (c *flowCheck) Cancel() {
	c.mu.Lock()
	c.cancelled = true
	c.mu.Unlock()
	c.stop()
}

// stop takes the flow out of the queues. A request that does not wait stays as it is.
func (c *flowCheck) stop() {
	c.mu.Lock()
	questions := c.questions
	c.mu.Unlock()
	for i := range questions {
		questions[i].scheduler.queue.Cancel(&questions[i].Request)
	}
}

// conclude ends a group, and says whether the flow is decided by it. A flow that nobody waits for gives back all.
func (c *flowCheck) conclude(now int64) bool {
	if c.failure = c.interrupted(); c.failure != nil {
		revert(now, c.decision.limiters)
		return true
	}
	group := c.decision.limiters[c.first:]
	if !c.decision.reject(group, check.RejectReasonNoTokens, checkv1.StatusCode_ServiceUnavailable) {
		return false
	}
	revert(now, group)
	return true
}

// interrupted says why the flow is not decided.
func (c *flowCheck) interrupted() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cancelled:
		return &check.UnreachableError{Reason: check.UnreachableCancelled, Err: context.Canceled}
	case c.defect:
		return errDefect
	case c.closed:
		return &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	return nil
}

// deliver tells the outcome of a flow that has waited.
func (c *flowCheck) deliver() {
	c.decision.end = c.engine.now()
	c.told = true
	if c.failure != nil {
		c.decided(check.Answer{}, c.failure)
		return
	}
	c.decided(c.decision.answer(), nil)
}
