package core

import (
	"context"
	"time"

	"github.com/libaperture/libaperture/core/check"
)

// PreparedFlow is a flow whose arguments are right and that has not asked yet. It is the first half of StartFlow, for a
// caller that refuses bad arguments at once but asks on another goroutine.
type PreparedFlow struct {
	flow *Flow
}

// PrepareFlow checks the arguments of StartFlow. Its error is an *ArgumentError or ErrClosed.
func (c *Client) PrepareFlow(controlPoint string, params *FlowParams) (PreparedFlow, error) {
	return c.PrepareFlowIn(new(Flow), controlPoint, params)
}

// PrepareFlowIn is PrepareFlow for a flow that is part of something larger. The flow must be the zero value, and is not to
// be copied.
func (c *Client) PrepareFlowIn(flow *Flow, controlPoint string, params *FlowParams) (PreparedFlow, error) {
	flow.client = c
	sanitised, err := fillRequest(flow, controlPoint, params)
	if err != nil {
		return PreparedFlow{}, err
	}
	if c.closed.Load() {
		return PreparedFlow{}, ErrClosed
	}
	if sanitised {
		c.counts.sanitised.Add(1)
	}
	return PreparedFlow{flow}, nil
}

// Start asks whether the flow may run, as StartFlow does. It is called once, unless Begin is.
func (p PreparedFlow) Start(ctx context.Context) *Flow {
	flow := p.flow
	flow.asked()
	flow.answered(flow.client.decider.Check(ctx, &flow.request))
	flow.count()
	return flow
}

// Refuse makes the flow one without a decision, and counts it, for a caller that cannot even ask. It is called once, in
// place of Start and Begin. err may be nil.
func (p PreparedFlow) Refuse(reason check.UnreachableReason, err error) *Flow {
	p.flow.client.failOpen(p.flow, &check.UnreachableError{Reason: reason, Err: err})
	return p.flow
}

// asked notes that the decider is about to be asked. Nobody reads the time of a flow without a span.
func (f *Flow) asked() {
	if f.traced != nil {
		f.traced.start = time.Now()
	}
}

// answered notes what Check has returned.
func (f *Flow) answered(answer check.Answer, err error) {
	if err != nil {
		f.answer.InFlight = answer.InFlight
		f.unreachable = asUnreachable(err)
		return
	}
	if f.traced != nil {
		f.traced.workload = time.Since(f.traced.start)
	}
	f.answer = answer
}

// count counts a flow that was answered, and logs that there is no decision.
func (f *Flow) count() {
	c := f.client
	switch {
	case f.unreachable != nil:
		c.failOpen(f, f.unreachable)
	case f.answer.Rejected:
		c.counts.flows.of(f).rejected.Add(1)
	default:
		c.counts.flows.of(f).accepted.Add(1)
	}
}
