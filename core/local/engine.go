// Package local decides about flows in the process, as the data plane of an Aperture agent would: by policies from a
// file, without a cluster.
//
// docs/local-engine.md lists what the engine takes, and where it differs from an agent on purpose.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// DefaultMaxLabels is how many label values a limiter keeps state for, unless Options say otherwise.
const DefaultMaxLabels = 1_000_000

// MostLabels is the most that Options may ask for.
const MostLabels = 1 << 30

// Options of an Engine.
type Options struct {
	// AgentGroup is the group whose selectors count, compared exactly. When it is empty, those of every group do.
	AgentGroup string
	// Services are what the flows belong to: a selector counts when it names one of them, or "any".
	Services []string
	// MaxLabels is how many label values each limiter keeps state for, 0 for DefaultMaxLabels. When there are more, the
	// one that was not used for longest is forgotten, so that its bucket is full when it comes again; that is counted.
	// The values are spread over lists, so that the first may be forgotten when there are a few percent less.
	MaxLabels int
	// Logger is told about defects of the engine. Without one nobody is.
	Logger *slog.Logger
}

// LoadError says why a policy file was refused.
type LoadError = policy.LoadError

// Problem is one thing that is wrong with a policy file, or that the engine ignores in it.
type Problem = policy.Problem

var errClosed = errors.New("the local engine is closed")

// Engine decides by the policies of a file. It implements check.Decider.
type Engine struct {
	services []string
	limiters []*rateLimiter
	// routes has the limiters of each control point that a policy names.
	routes   map[string]*route
	warnings []Problem

	// epoch is where the engine's own clock begins, which no change of the wall clock moves.
	epoch          time.Time
	noMatchingRamp atomic.Uint64

	closed  atomic.Bool
	sweeper sweeper
}

var _ check.Decider = (*Engine)(nil)

// Open loads the policies of a YAML file. An empty path opens an engine without policies, which accepts every flow
// that does not ask for a load ramp. When the file is refused, the error is a *LoadError with everything that is wrong.
func Open(path string, options Options) (*Engine, error) {
	switch {
	case options.MaxLabels < 0 || options.MaxLabels > MostLabels:
		return nil, fmt.Errorf("MaxLabels is %d, expected a number from 1 to %d, or 0 for the default", options.MaxLabels, MostLabels)
	case options.MaxLabels == 0:
		options.MaxLabels = DefaultMaxLabels
	}
	var policies []policy.Policy
	var warnings []Problem
	if path != "" {
		var err error
		if policies, warnings, err = policy.LoadFile(path); err != nil {
			return nil, err
		}
	}
	return newEngine(policies, warnings, options), nil
}

func newEngine(policies []policy.Policy, warnings []Problem, options Options) *Engine {
	engine := &Engine{
		services: slices.Clone(options.Services),
		routes:   make(map[string]*route),
		warnings: warnings,
		epoch:    time.Now(),
	}
	for i := range policies {
		for _, config := range policies[i].RateLimiters {
			limiter := newRateLimiter(&policies[i], config, options.MaxLabels)
			engine.limiters = append(engine.limiters, limiter)
			addLimiter(engine.routes, limiter, &options)
		}
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	engine.sweeper.start(engine, options.Logger)
	return engine
}

// Warnings lists what the policy file says and the engine ignores.
func (engine *Engine) Warnings() []Problem { return slices.Clone(engine.warnings) }

// Immediate returns true: nothing in the engine waits.
func (engine *Engine) Immediate() bool { return true }

// State is StateReady until the engine is closed.
func (engine *Engine) State() check.State {
	if engine.closed.Load() {
		return check.StateClosed
	}
	return check.StateReady
}

// WaitReady returns nil, or an error when the engine is closed.
func (engine *Engine) WaitReady(context.Context) error {
	if engine.closed.Load() {
		return &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	return nil
}

// Close ends the engine and forgets its state. It may be called more than once.
func (engine *Engine) Close() error {
	if !engine.closed.Swap(true) {
		engine.sweeper.stop()
	}
	return nil
}

// Check decides about a flow. It never waits, so that neither the deadline of ctx nor request.Timeout shortens a
// decision; a flow whose ctx has ended takes nothing.
func (engine *Engine) Check(ctx context.Context, request *check.Request) (check.Answer, error) {
	if engine.closed.Load() {
		return check.Answer{}, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	if err := ctx.Err(); err != nil {
		reason := check.UnreachableCancelled
		if errors.Is(err, context.DeadlineExceeded) {
			reason = check.UnreachableTimeout
		}
		return check.Answer{}, &check.UnreachableError{Reason: reason, Err: err}
	}
	start := time.Now()
	decision := &flowDecision{
		services:     engine.services,
		controlPoint: request.ControlPoint,
		labels:       request.Labels,
		lookup:       request.CacheLookup,
		start:        start,
	}
	decision.limiters = decision.inline[:0]
	engine.decide(decision, request.RampMode, int64(start.Sub(engine.epoch)))
	decision.duration = time.Since(start)
	return decision.answer(), nil
}

// decide asks the groups of limiters one after the other, until one rejects the flow:
//
//	group                                  reason            status  tokens given back
//	1. load ramps                          NO_MATCHING_RAMP  403     1 to 3 together
//	2. samplers                            NOT_SAMPLED       403
//	3. rate and concurrency limiters       RATE_LIMITED      429
//	4. concurrency schedulers              NO_TOKENS         503     4 alone
//	5. cache lookup                        a result that is found ends the check, accepted
//	6. quota schedulers                    NO_TOKENS         503     6 alone
//
// Of these, the engine has the rate limiters so far, and the rule that a flow in ramp mode needs a load ramp.
func (engine *Engine) decide(decision *flowDecision, rampMode bool, now int64) {
	if rampMode {
		engine.noMatchingRamp.Add(1)
		decision.rejected = true
		decision.reason = check.RejectReasonNoMatchingRamp
		return
	}
	route := engine.routes[decision.controlPoint]
	if route == nil {
		return
	}
	decideGroup(decision, route.limiters, now)
	if decision.rejected {
		decision.reason = check.RejectReasonRateLimited
		if decision.deniedStatus == checkv1.StatusCode_Empty {
			decision.deniedStatus = checkv1.StatusCode_TooManyRequests
		}
		for i := range decision.limiters {
			decision.limiters[i].limiter.revert(now, &decision.limiters[i])
		}
	}
}

// decideGroup asks every limiter of a group, also after one has rejected the flow, and merges their decisions: the
// status is that of the first rejection that has one, in the order of the policies, and the wait is the longest.
func decideGroup(decision *flowDecision, group []candidate, now int64) {
	for i := range group {
		if !group[i].applies(decision.labels) {
			continue
		}
		one := decision.add()
		group[i].limiter.decide(now, decision.labels, one)
		if !one.dropped {
			continue
		}
		decision.rejected = true
		decision.wait = max(decision.wait, one.wait)
		if decision.deniedStatus == checkv1.StatusCode_Empty {
			decision.deniedStatus = one.limiter.config.DeniedStatus
		}
	}
}

// FlowEnd answers each reference. No component that the engine has keeps a flow in flight, so none is found.
func (engine *Engine) FlowEnd(_ context.Context, request *checkv1.FlowEndRequest, _ time.Duration) (*checkv1.FlowEndResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	response := &checkv1.FlowEndResponse{}
	for _, reference := range request.GetInflightRequests() {
		status := &checkv1.TokenReturnStatus{InflightRequestRef: reference, Error: "flow ender not found for limiter id"}
		if reference.GetRequestId() == "" {
			status.Error = "request id cannot be empty"
		}
		response.TokenReturnStatuses = append(response.TokenReturnStatuses, status)
	}
	return response, nil
}
