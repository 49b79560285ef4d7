package core

import (
	"context"
	"sync"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/internal/guard"
)

// WaitingFlow is a flow that waits for its decision without a goroutine. Whoever began it awaits it or refuses it, once.
type WaitingFlow struct {
	flow    *Flow
	waiting check.Waiting

	mu      sync.Mutex
	decided bool // the flow has been answered
	refused bool // the flow has become one without a decision, whatever the answer
	ready   func()
}

// CanBegin says whether PreparedFlow.Begin may be called. Otherwise a flow that waits needs a goroutine, in which
// PreparedFlow.Start does.
func (c *Client) CanBegin() bool { return c.starter != nil }

// Begin asks whether the flow may run, for a caller that must not wait. It returns the flow when it is decided at once,
// and else what waits. It is called once, unless Start is, and only if Client.CanBegin.
func (p PreparedFlow) Begin() (*Flow, *WaitingFlow) {
	flow := p.flow
	w := &WaitingFlow{flow: flow}
	flow.asked()
	answer, waiting, err := flow.client.starter.Start(&flow.request, w.answered)
	if waiting != nil {
		w.waiting = waiting
		return nil, w
	}
	flow.answered(answer, err)
	flow.count()
	return flow, nil
}

// answered is what the decider calls when the wait is over.
func (w *WaitingFlow) answered(answer check.Answer, err error) {
	w.mu.Lock()
	refused, ready := w.refused, w.ready
	if !refused {
		w.flow.answered(answer, err)
		w.decided = true
	}
	w.mu.Unlock()
	switch {
	case refused:
		w.flow.client.returnUnseen(w.flow.request.ControlPoint, answer)
	case ready != nil:
		ready()
	}
}

// Await lets the flow wait, and calls ready once when it can be taken, in a goroutine of the decider, which ready must
// not keep; a panic must not leave it. Await returns true, and ready is not called, when the flow can be taken already.
func (w *WaitingFlow) Await(ready func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = ready
	return w.decided
}

// Flow takes the flow, once, when Await says that it can be taken.
func (w *WaitingFlow) Flow() *Flow {
	w.flow.count()
	return w.flow
}

// Cancel ends the wait, unless it has ended: the flow is Unreachable then, by UnreachableCancelled.
func (w *WaitingFlow) Cancel() { w.waiting.Cancel() }

// Refuse takes the flow without waiting, in place of Await: it is one without a decision, unless it was decided meanwhile.
// What it is granted all the same is given back. err may be nil.
func (w *WaitingFlow) Refuse(reason check.UnreachableReason, err error) *Flow {
	w.mu.Lock()
	refused := !w.decided
	w.refused = refused
	w.mu.Unlock()
	if refused {
		w.flow.unreachable = &check.UnreachableError{Reason: reason, Err: err}
		w.waiting.Cancel()
	}
	return w.Flow()
}

// returnUnseen gives back what an answer grants to a flow that nobody will end.
func (c *Client) returnUnseen(controlPoint string, answer check.Answer) {
	if len(answer.InFlight) == 0 {
		return
	}
	unseen := EndingFlow{&Flow{client: c, request: check.Request{ControlPoint: controlPoint}, answer: answer}}
	finish := func() { _, _ = unseen.Finish(context.Background()) }
	guard.Go(c.logger, "core.flow.give_back", finish, func(any) { finish() }, nil)
}
