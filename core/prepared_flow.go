package core

import (
	"context"
	"time"
)

// PreparedFlow is a flow whose arguments are right and that has not asked yet. It is the first half of StartFlow, for a
// caller that refuses bad arguments at once but asks on another goroutine.
type PreparedFlow struct {
	flow *Flow
}

// PrepareFlow checks the arguments of StartFlow. Its error is an *ArgumentError or ErrClosed.
func (c *Client) PrepareFlow(controlPoint string, params FlowParams) (PreparedFlow, error) {
	flow := &Flow{client: c}
	sanitised, err := fillRequest(flow, controlPoint, &params)
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

// Start asks whether the flow may run, as StartFlow does. It is called once.
func (p PreparedFlow) Start(ctx context.Context) *Flow {
	flow := p.flow
	c := flow.client
	// Nobody reads the time of a flow without a span.
	if c.telemetry != nil {
		flow.start = time.Now()
	}
	answer, err := c.decider.Check(ctx, &flow.request)
	if err != nil {
		flow.answer.InFlight = answer.InFlight
		c.failOpen(flow, asUnreachable(err))
		return flow
	}
	if c.telemetry != nil {
		flow.workload = time.Since(flow.start)
	}
	flow.answer = answer
	if answer.Rejected {
		c.counts.rejected.Add(1)
	} else {
		c.counts.accepted.Add(1)
	}
	return flow
}
