// Package local decides about flows in the process, as the data plane of an Aperture agent would: by policies from
// files, without a cluster.
//
// docs/local-engine.md lists what the engine takes, and where it differs from an agent on purpose.
//
//	policy     reads the files
//	labels     keeps state by the values of a label, within bounds
//	bucket     token buckets
//	inflight   counts of what is in flight
//	fairqueue  lets flows wait in the order of weighted fair queueing
//	sampling   admits a share of the flows, and raises it
//	cache      result and global caches
//
// The engine itself leads a flow through the components (check.go) and words the answer (decision.go).
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/cache"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The defaults and limits of Options.
const (
	// DefaultMaxLabels is how many label values a component keeps state for, unless Options say otherwise.
	DefaultMaxLabels = 1_000_000
	// MostLabels is the greatest MaxLabels.
	MostLabels = 1 << 30

	// DefaultMaxWaiting is how many flows may wait in a scheduler, unless Options say otherwise.
	DefaultMaxWaiting = 100_000
	// MostWaiting is the greatest MaxWaiting.
	MostWaiting = 1 << 30

	// DefaultCacheBytes is how much memory the caches take at most, unless Options say otherwise: 64 MiB.
	DefaultCacheBytes = cache.DefaultMaxBytes
	// LeastCacheBytes is the smallest CacheBytes, 1 MiB: in much less than that values that clients may store do not fit.
	LeastCacheBytes = 1 << 20
	// MostCacheBytes is the greatest CacheBytes, 1 TiB.
	MostCacheBytes int64 = 1 << 40
)

// Options of an Engine.
type Options struct {
	// AgentGroup is the group whose selectors count, compared exactly. When it is empty, those of every group do.
	AgentGroup string
	// Services are what the flows belong to: a selector counts when it names one of them, or "any".
	Services []string
	// MaxLabels is how many label values each component keeps state for, 0 for DefaultMaxLabels. When there are more, the
	// one that was not used for longest is forgotten, so that its bucket is full when it comes again; that is counted.
	// The values are spread over lists, so that the first may be forgotten when there are a few percent less.
	MaxLabels int
	// MaxWaiting is how many flows may wait in each scheduler, 0 for DefaultMaxWaiting. A flow that would have to wait
	// beside them is rejected, which is counted.
	MaxWaiting int
	// CacheBytes is how much memory the result cache and the global cache take together at most, 0 for
	// DefaultCacheBytes. When they are full, the entry that was not used for longest goes; that is counted.
	CacheBytes int64
	// Remote says that a network lies between the engine and its callers: schedulers decide earlier than the deadline, by
	// their decision_deadline_margin, so that the answer arrives in time.
	Remote bool
	// Logger is told about defects of the engine. Without one nobody is.
	Logger *slog.Logger
}

// LoadError says why a policy file was refused.
type LoadError = policy.LoadError

// Problem is one thing that is wrong with a policy file, or that the engine ignores in it.
type Problem = policy.Problem

var (
	errClosed = errors.New("the local engine is closed")
	errDefect = &check.UnreachableError{
		Reason: check.UnreachableAgentError, Err: errors.New("a defect of the local engine: deciding about the flow panicked"),
	}
)

// Engine decides by the policies of files. It implements check.Starter.
type Engine struct {
	paths    []string
	options  Options
	policies atomic.Pointer[policies]

	// epoch is where the engine's own clock begins, which no change of the wall clock moves.
	epoch          time.Time
	cache          *cache.Cache
	noMatchingRamp atomic.Uint64

	closed  atomic.Bool
	sweeper sweeper

	// reloading guards what only changes of the policies touch.
	reloading sync.Mutex
	// retired are the components of former policies for which somebody waits, or something is in flight.
	retired atomic.Pointer[[]part]
	reloads reloadCounts
}

var _ check.Starter = (*Engine)(nil)

// Open loads the policies of YAML files and of folders with such files. Without a path the engine has no policies, and
// accepts every flow that does not ask for a load ramp. When something is refused, the error is a *LoadError with
// everything that is wrong.
func Open(paths []string, options Options) (*Engine, error) {
	switch {
	case options.MaxLabels < 0 || options.MaxLabels > MostLabels:
		return nil, fmt.Errorf("MaxLabels is %d, expected a number from 1 to %d, or 0 for the default", options.MaxLabels, MostLabels)
	case options.MaxWaiting < 0 || options.MaxWaiting > MostWaiting:
		return nil, fmt.Errorf("MaxWaiting is %d, expected a number from 1 to %d, or 0 for the default", options.MaxWaiting, MostWaiting)
	case options.CacheBytes != 0 && options.CacheBytes < LeastCacheBytes || options.CacheBytes > MostCacheBytes:
		return nil, fmt.Errorf("CacheBytes is %d, expected a number of bytes from %d to %d, or 0 for the default",
			options.CacheBytes, LeastCacheBytes, MostCacheBytes)
	}
	loaded, warnings, err := load(paths)
	if err != nil {
		return nil, err
	}
	engine := newEngine(loaded, warnings, options)
	engine.paths = slices.Clone(paths)
	return engine, nil
}

func load(paths []string) ([]policy.Policy, []Problem, error) {
	if len(paths) == 0 {
		return nil, nil, nil
	}
	return policy.LoadFiles(paths...)
}

func newEngine(loaded []policy.Policy, warnings []Problem, options Options) *Engine {
	if options.MaxLabels == 0 {
		options.MaxLabels = DefaultMaxLabels
	}
	if options.MaxWaiting == 0 {
		options.MaxWaiting = DefaultMaxWaiting
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	options.Services = slices.Clone(options.Services)
	engine := &Engine{options: options, epoch: time.Now(), cache: cache.New(options.CacheBytes)}
	engine.retired.Store(&[]part{})
	engine.policies.Store(engine.compose(loaded, warnings, nil))
	engine.sweeper.start(engine)
	return engine
}

// now returns the time of the engine's clock.
func (engine *Engine) now() int64 { return int64(time.Since(engine.epoch)) }

// wallTime returns when it was a time of the engine's clock, by what the wall clock says now.
func (engine *Engine) wallTime(at int64) time.Time {
	now := time.Now()
	return now.Add(time.Duration(at) - now.Sub(engine.epoch))
}

// Warnings lists what the policy files say and the engine ignores.
func (engine *Engine) Warnings() []Problem { return slices.Clone(engine.policies.Load().warnings) }

// Immediate returns true: only a Check may wait.
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

// Close ends the engine and forgets its state. Flows that wait are told so in the order of their queues. It may be called
// more than once.
func (engine *Engine) Close() error {
	if engine.closed.Swap(true) {
		return nil
	}
	engine.reloading.Lock()
	parts := append(slices.Clone(engine.policies.Load().parts), *engine.retired.Load()...)
	engine.reloading.Unlock()
	for _, one := range parts {
		if queue := queueOf(one); queue != nil {
			queue.Close()
		}
	}
	engine.sweeper.stop()
	engine.cache.Clear()
	return nil
}

// FlowEnd gives back what flows hold in flight.
func (engine *Engine) FlowEnd(_ context.Context, request *checkv1.FlowEndRequest, _ time.Duration) (*checkv1.FlowEndResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	now := engine.now()
	response := &checkv1.FlowEndResponse{}
	for _, reference := range request.GetInflightRequests() {
		status := &checkv1.TokenReturnStatus{InflightRequestRef: reference}
		switch ender := engine.ender(reference); {
		case reference.GetRequestId() == "":
			status.Error = "request id cannot be empty"
		case ender == nil:
			status.Error = "flow ender not found for limiter id"
		default:
			status.Returned = ender.end(now, reference.GetLabel(), reference.GetRequestId())
		}
		response.TokenReturnStatuses = append(response.TokenReturnStatuses, status)
	}
	return response, nil
}

// ender returns the component that a flow was admitted by, nil when there is none.
func (engine *Engine) ender(reference *checkv1.InflightRequestRef) flowEnder {
	id := identity{reference.GetPolicyName(), reference.GetPolicyHash(), reference.GetComponentId()}
	if ender, ok := engine.policies.Load().enders[id]; ok {
		return ender
	}
	for _, one := range *engine.retired.Load() {
		if ender, ok := one.(flowEnder); ok && one.common().identity == id {
			return ender
		}
	}
	return nil
}
