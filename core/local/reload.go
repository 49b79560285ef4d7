package local

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/fairqueue"
	"github.com/libaperture/libaperture/core/local/policy"
)

// reloadCounts count the readings of the files after the first.
type reloadCounts struct {
	done, failed atomic.Uint64
}

// Reload reads the files again. Policies that are the same keep their buckets, what is in flight and their queues; of
// those that have changed all begins anew, as with an agent, except that flows which wait are still decided by the former
// policy, and give back there what they hold. When something is refused, the error is a *LoadError and nothing changes.
func (engine *Engine) Reload() error {
	engine.reloading.Lock()
	defer engine.reloading.Unlock()
	if engine.closed.Load() {
		return &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	loaded, warnings, err := load(engine.paths)
	if err != nil {
		engine.reloads.failed.Add(1)
		return fmt.Errorf("the policies stay as they were: %w", err)
	}
	engine.replace(loaded, warnings)
	engine.reloads.done.Add(1)
	engine.options.Logger.Info("the policies were read again", slog.Int("policies", len(loaded)))
	return nil
}

// replace lets policies take the place of the former ones, of which it keeps the components that are still needed.
func (engine *Engine) replace(loaded []policy.Policy, warnings []Problem) {
	former := append(engine.stillNeeded(), engine.policies.Load().parts...)
	composed := engine.compose(loaded, warnings, former)
	kept := make(map[identity]bool, len(composed.parts))
	for _, one := range composed.parts {
		kept[one.common().identity] = true
	}
	retired := slices.DeleteFunc(former, func(one part) bool { return kept[one.common().identity] })
	engine.retired.Store(&retired)
	engine.policies.Store(composed)
	engine.sweeper.start(engine)
}

// stillNeeded returns the retired components that somebody waits for, or that have something in flight.
func (engine *Engine) stillNeeded() []part {
	var needed []part
	for _, one := range *engine.retired.Load() {
		queue := queueOf(one)
		holder, holds := one.(flowEnder)
		if queue != nil && queue.Counts().Waiting > 0 || holds && holder.inFlight(engine.now()) > 0 {
			needed = append(needed, one)
		}
	}
	return needed
}

// queueOf returns the queue of a scheduler, nil of other components.
func queueOf(one part) *fairqueue.Scheduler {
	switch one := one.(type) {
	case *scheduler:
		return one.queue
	case *concurrencyScheduler:
		return one.queue
	}
	return nil
}
