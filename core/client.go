// Package core is the client of Aperture flow control in plain Go: it asks an Aperture agent, or the engine in this
// process, whether a piece of work may run, and tells it when the work has ended.
//
//	client, err := core.NewClient(core.Options{Address: "localhost:8080", Insecure: true})
//	...
//	defer client.Close(ctx)
//
//	flow, err := client.StartFlow(ctx, "checkout", core.FlowParams{Labels: map[string]string{"user_id": id}})
//	if err != nil {
//		return err // an argument is wrong, or the client is closed
//	}
//	defer flow.End(ctx)
//	if !flow.ShouldRun() {
//		return retryLater(flow.HTTPStatus())
//	}
//
// A client that cannot reach its agent lets the work run; the flow says so as Unreachable, and Stats counts it.
package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/libaperture/libaperture/core/check"
)

// Client asks for decisions. It is made once and shared: all methods may be called from several goroutines at once.
type Client struct {
	decider        check.Decider
	starter        check.Starter // the decider, if it is one
	immediate      bool          // decider.Immediate()
	telemetry      *telemetry    // nil when no spans are exported
	flowEndTimeout time.Duration
	logger         *slog.Logger
	owner          any
	quiet          [UnreachableReasons]logLimit

	closed atomic.Bool
	done   chan struct{} // closed when Close has done its work
	counts counters
}

// agentDecider is a Decider across a connection: it takes spans as well, and its calls can be ended before it is
// closed, so that the spans can still be sent.
type agentDecider interface {
	check.Decider
	// Export sends spans. It returns when ctx ends at the latest.
	Export(ctx context.Context, spans *tracev1.TracesData) (rejected int64, err error)
	// EndCalls ends the calls in progress, all but FlowEnd and Export, with UnreachableClosed, and refuses new ones.
	EndCalls()
	// AwaitReturns waits until no FlowEnd is in progress, or ctx ends.
	AwaitReturns(ctx context.Context)
}

// NewClient returns a client for the address. It starts to connect in the background and never waits for the network;
// use WaitReady to wait for the connection. The error is an *ArgumentError, or says what is wrong with a policy file.
func NewClient(options Options) (*Client, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	decider, err := open(&options)
	if err != nil {
		return nil, err
	}
	return newClient(decider, &options), nil
}

// newClient returns a client of a decider, for options with their defaults.
func newClient(decider check.Decider, options *Options) *Client {
	c := &Client{
		decider:        decider,
		immediate:      decider.Immediate(),
		flowEndTimeout: options.FlowEndTimeout,
		logger:         options.Logger,
		owner:          options.Owner,
		done:           make(chan struct{}),
	}
	c.starter, _ = decider.(check.Starter)
	if agent, ok := decider.(agentDecider); ok && !options.TelemetryOff {
		c.telemetry = startTelemetry(agent, options)
	}
	return c
}

// FlowParams describe a flow. The zero value is a flow without labels and with the default timeout.
type FlowParams struct {
	// Labels describe the flow to the policies. Text that is not UTF-8 is repaired with U+FFFD, and counted.
	Labels map[string]string
	// LabelList is the same for a caller that has labels as a list. The client keeps it while the flow is in use, so
	// it must not be changed. When a key occurs more than once its last value counts, and a key of Labels wins.
	LabelList check.Labels
	// Baggage is the value of a W3C baggage header, whose members are labels too. A label of Labels or LabelList with the
	// same key wins: what a remote caller sends must not replace what the service says. Malformed members are left out.
	Baggage string
	// ResultCacheKey and GlobalCacheKeys are looked up with the decision, for Flow.ResultCache and Flow.GlobalCache.
	ResultCacheKey  string
	GlobalCacheKeys []string
	// RampMode rejects the flow unless a load ramp admits it, also when no decision can be had.
	RampMode bool
	// CheckTimeout bounds the decision; 0 is DefaultCheckTimeout, and more than MaxCheckTimeout is cut to it. The
	// agent needs some of it: with less than 20 ms it rejects flows that a rate limiter or scheduler looks at.
	CheckTimeout time.Duration
}

// StartFlow asks whether the work at a control point may run. It returns within params.CheckTimeout, or when ctx ends.
//
// The error is an *ArgumentError or ErrClosed. Everything else that can go wrong is in the flow: its Decision is
// Unreachable.
func (c *Client) StartFlow(ctx context.Context, controlPoint string, params FlowParams) (*Flow, error) {
	prepared, err := c.PrepareFlow(controlPoint, &params)
	if err != nil {
		return nil, err
	}
	return prepared.Start(ctx), nil
}

// failOpen makes a flow one without a decision.
func (c *Client) failOpen(flow *Flow, unreachable *check.UnreachableError) {
	if unreachable.Reason <= check.UnreachableNone || int(unreachable.Reason) >= UnreachableReasons {
		unreachable = &check.UnreachableError{Reason: check.UnreachableAgentError, Err: unreachable}
	}
	flow.unreachable = unreachable
	c.counts.unreachable[unreachable.Reason].Add(1)
	c.logUnreachable("a flow has no decision", flow.request.ControlPoint, unreachable)
}

// Owner returns Options.Owner.
func (c *Client) Owner() any { return c.owner }

// Immediate says whether End, WaitReady and the cache calls never wait for anything, so that an event loop may call them.
// It says nothing about StartFlow.
func (c *Client) Immediate() bool { return c.immediate }

// State says how it stands with the way to a decision, at this moment. It waits for nothing.
func (c *Client) State() check.State {
	if c.closed.Load() {
		return check.StateClosed
	}
	return c.decider.State()
}

// WaitReady returns nil as soon as a decision can be had, or when ctx ends the reason why not, a
// *check.UnreachableError.
func (c *Client) WaitReady(ctx context.Context) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if err := c.decider.WaitReady(ctx); err != nil {
		return asUnreachable(err)
	}
	return nil
}

// Close wakes every call that waits for a decision, sends the spans of the flows that were ended, lets the ends that are
// under way give back what their flows hold, and closes the connection. It
// returns when ctx ends at the latest, or after DefaultCloseTimeout when ctx has no deadline; spans that could not be
// sent by then are dropped, counted, and an error. Flows that are ended later lose their span, which is counted.
// Another Close waits for the first.
func (c *Client) Close(ctx context.Context) (closing error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultCloseTimeout)
		defer cancel()
	}
	if !c.closed.CompareAndSwap(false, true) {
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("waiting for another Close: %w", ctx.Err())
		}
	}
	defer close(c.done)
	var flushed error
	// Deferred: a client whose spans are lost to a panic must not keep its connection and its goroutines as well.
	defer func() {
		if err := errors.Join(flushed, c.decider.Close()); err != nil {
			closing = fmt.Errorf("closing the client: %w", err)
		}
	}()
	agent, remote := c.decider.(agentDecider)
	if remote {
		agent.EndCalls()
	}
	if c.telemetry != nil {
		flushed = c.telemetry.close(ctx)
	}
	if remote {
		agent.AwaitReturns(ctx)
	}
	return nil
}
