package core

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/internal/guard"
)

// Decision says how a flow was decided.
type Decision int32

// The decisions.
const (
	// Accepted: the flow may run.
	Accepted Decision = iota
	// Rejected: the flow must not run.
	Rejected
	// Unreachable: no decision could be had. The flow may run unless it is in ramp mode.
	Unreachable
)

// String returns the decision as a word of a log or a metric.
func (d Decision) String() string {
	switch d {
	case Accepted:
		return "accepted"
	case Rejected:
		return "rejected"
	case Unreachable:
		return "unreachable"
	}
	return "unknown"
}

// Status says how the work that a flow guards went.
type Status int32

// The statuses.
const (
	// StatusOK is the status of a flow until another one is set.
	StatusOK Status = iota
	// StatusError marks work that failed.
	StatusError
)

// Flow is one piece of work that was asked about. It must be ended, whatever was decided: only then does the agent
// count it and get back what the flow holds. Its methods may be called from several goroutines at once.
type Flow struct {
	client      *Client
	request     check.Request
	answer      check.Answer            // of an unreachable flow only what it holds
	unreachable *check.UnreachableError // nil when there is a decision
	state       atomic.Uint32           // state bits

	traced     *traced                       // nil when the client exports no spans
	attributes atomic.Pointer[attributeList] // nil when there are none

	// The outcome of End, to be read once stateDone is set.
	endResult EndResult
	endErr    error
}

// traced is what only a span needs of a flow.
type traced struct {
	size     int           // of the request's texts, in bytes
	start    time.Time     // wall and monotonic clock, before the Check
	workload time.Duration // from start until the Check was answered
}

// The bits of Flow.state.
const (
	stateError     = 1 << iota // the status is StatusError
	stateEnding                // End was called
	stateFinishing             // Finish was called
	stateDone                  // End has an outcome
)

// Client returns the client that started the flow.
func (f *Flow) Client() *Client { return f.client }

// Decision returns how the flow was decided.
func (f *Flow) Decision() Decision {
	switch {
	case f.unreachable != nil:
		return Unreachable
	case f.answer.Rejected:
		return Rejected
	}
	return Accepted
}

// ShouldRun says whether the work may run: when the flow was accepted, and when no decision could be had, unless the
// flow is in ramp mode.
func (f *Flow) ShouldRun() bool {
	if f.unreachable != nil {
		return !f.request.RampMode
	}
	return !f.answer.Rejected
}

// RejectReason says why the flow was rejected. It is RejectReasonNone for every other flow, and when a rejection gives
// no reason.
func (f *Flow) RejectReason() check.RejectReason {
	if f.Decision() != Rejected {
		return check.RejectReasonNone
	}
	return f.answer.RejectReason
}

// UnreachableReason says why no decision could be had, UnreachableNone when there is one.
func (f *Flow) UnreachableReason() check.UnreachableReason {
	if f.unreachable == nil {
		return check.UnreachableNone
	}
	return f.unreachable.Reason
}

// Err returns nil when there is a decision, also when it is a rejection; otherwise a *check.UnreachableError.
func (f *Flow) Err() error {
	if f.unreachable == nil {
		return nil // not f.unreachable: that would be an error that is not nil
	}
	return f.unreachable
}

// HTTPStatus returns the status to answer an HTTP request with. It is 200 for work that should run. For a rejected flow
// it is the status that the policy configures, else 429 when a rate was exceeded, 503 when tokens ran out, and 403
// otherwise, as the agent answers proxies. It is 503 for a flow in ramp mode without a decision.
func (f *Flow) HTTPStatus() int {
	switch {
	case f.ShouldRun():
		return http.StatusOK
	case f.unreachable != nil:
		return http.StatusServiceUnavailable
	case f.answer.DeniedStatus != 0:
		return int(f.answer.DeniedStatus)
	}
	switch f.answer.RejectReason {
	case check.RejectReasonRateLimited:
		return http.StatusTooManyRequests
	case check.RejectReasonNoTokens:
		return http.StatusServiceUnavailable
	default:
		return http.StatusForbidden
	}
}

// RetryAfter returns how long to wait before the next try, and false when the decision does not say.
func (f *Flow) RetryAfter() (time.Duration, bool) {
	if f.Decision() != Rejected || !f.answer.HasWaitTime {
		return 0, false
	}
	return f.answer.WaitTime, true
}

// CheckResponse returns the decision's message, nil when there is no decision. The message is shared: it must not be
// changed.
func (f *Flow) CheckResponse() *checkv1.CheckResponse {
	if f.unreachable != nil {
		return nil
	}
	return f.answer.Response.CheckResponse()
}

// SetStatus says how the work went; the last call before End counts. A flow without a call is StatusOK. After End it
// returns ErrAlreadyEnded.
func (f *Flow) SetStatus(status Status) error {
	if status != StatusOK && status != StatusError {
		return &ArgumentError{"status", "is neither StatusOK (0) nor StatusError (1)"}
	}
	for {
		old := f.state.Load()
		if old&stateEnding != 0 {
			return ErrAlreadyEnded
		}
		state := old &^ stateError
		if status == StatusError {
			state |= stateError
		}
		if f.state.CompareAndSwap(old, state) {
			return nil
		}
	}
}

// EndResult is what End has to tell.
type EndResult struct {
	// Response is the answer to FlowEnd, nil when the flow held nothing to give back.
	Response *checkv1.FlowEndResponse
}

// End ends the flow: it gives back what the flow holds and queues its span. It returns within Options.FlowEndTimeout,
// or when ctx ends while it waits. A ctx that has ended before the call does not stop it: work is often ended because
// its context was.
//
// The flow is ended even when End returns an error: an error is a *check.UnreachableError when what the flow holds
// could not be given back, and ErrAlreadyEnded when the flow was ended before.
func (f *Flow) End(ctx context.Context) (EndResult, error) {
	ending, err := f.BeginEnd()
	if err != nil {
		return EndResult{}, err
	}
	return ending.Finish(ctx)
}

// EndingFlow is a flow that is ended but may still hold something. It is the second half of End, for a caller that
// learns at once whether the flow was ended before but waits for the agent on another goroutine.
type EndingFlow struct {
	flow *Flow
}

// BeginEnd ends the flow, except for what it holds. Its error is ErrAlreadyEnded.
func (f *Flow) BeginEnd() (EndingFlow, error) {
	old := f.state.Or(stateEnding)
	if old&stateEnding != 0 {
		return EndingFlow{}, ErrAlreadyEnded
	}
	c := f.client
	begun := false
	defer func() {
		if !begun { // a panic: nobody can finish the end, but what the flow holds must go back
			finish := func() { _, _ = EndingFlow{f}.Finish(context.Background()) }
			guard.Go(c.logger, "core.flow.give_back", finish, func(any) { finish() }, nil)
		}
	}()
	c.counts.flows.of(f).ended.Add(1)
	guard.Point("core.flow.end")
	if f.traced != nil && f.unreachable == nil {
		// Before FlowEnd, whose duration is not the work's, and whose failure must not lose the span.
		attributes, size := f.takeAttributes()
		c.telemetry.add(span{
			response:   f.answer.Response,
			start:      f.traced.start.UnixNano(),
			workload:   f.traced.workload,
			end:        time.Since(f.traced.start),
			failed:     old&stateError != 0,
			attributes: attributes,
		}, f.traced.size+size)
	}
	begun = true
	return EndingFlow{f}, nil
}

// BeginAbandoned ends a flow whose caller is gone without having ended it, as BeginEnd does, with StatusError, and counts
// it in Stats.FlowsNeverEnded.
func (f *Flow) BeginAbandoned() (EndingFlow, error) {
	if err := f.SetStatus(StatusError); err != nil {
		return EndingFlow{}, err
	}
	ending, err := f.BeginEnd()
	if err == nil {
		f.client.counts.neverEnded.Add(1)
	}
	return ending, err
}

// Finish gives back what the flow holds, as End does. A second Finish does nothing and returns ErrAlreadyEnded.
func (e EndingFlow) Finish(ctx context.Context) (EndResult, error) {
	f := e.flow
	if f.state.Or(stateFinishing)&stateFinishing != 0 {
		return EndResult{}, ErrAlreadyEnded
	}
	defer f.state.Or(stateDone)
	if len(f.answer.InFlight) > 0 {
		f.endErr = errEndPanicked // for those who read the outcome, should a panic pass through
		f.endResult.Response, f.endErr = f.giveBack(ctx)
	}
	return f.endResult, f.endErr
}

// errEndPanicked is the outcome of an End at which the library panicked.
var errEndPanicked = errors.New("a defect of the library: giving back what the flow holds panicked")

// giveBack sends FlowEnd.
func (f *Flow) giveBack(ctx context.Context) (*checkv1.FlowEndResponse, error) {
	c := f.client
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	request := &checkv1.FlowEndRequest{ControlPoint: f.request.ControlPoint, InflightRequests: f.answer.InFlight}
	response, err := c.decider.FlowEnd(ctx, request, c.flowEndTimeout)
	if err != nil {
		c.counts.endsFailed.Add(1)
		unreachable := asUnreachable(err)
		c.logUnreachable("what a flow holds could not be given back", f.request.ControlPoint, unreachable)
		return nil, unreachable
	}
	return response, nil
}

// EndNeedsCall says whether End may have to wait for an answer, so that an event loop knows whether it can call End
// inline. It is false once End was called.
func (f *Flow) EndNeedsCall() bool {
	return len(f.answer.InFlight) > 0 && !f.client.immediate && f.state.Load()&stateEnding == 0
}

// EndResult returns the outcome of End, and false while there is none.
func (f *Flow) EndResult() (EndResult, error, bool) {
	if f.state.Load()&stateDone == 0 {
		return EndResult{}, nil, false
	}
	return f.endResult, f.endErr, true
}
