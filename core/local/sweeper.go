package local

import (
	"sync"
	"time"

	"github.com/libaperture/libaperture/internal/guard"
)

// Bounds for how often idle state is removed.
const (
	shortestSweep = time.Second
	longestSweep  = time.Minute
)

// sweeper removes the state of label values that were not used for long. Idle state counts as gone at once when it is
// used again; the sweeper gives back its memory.
type sweeper struct {
	once   sync.Once
	ending chan struct{}
	ended  chan struct{}
}

// start begins sweeping, unless it has begun, or no component of the engine forgets anything.
func (sweeper *sweeper) start(engine *Engine) {
	if engine.sweepInterval() == 0 {
		return
	}
	sweeper.once.Do(func() {
		sweeper.ending = make(chan struct{})
		sweeper.ended = make(chan struct{})
		guard.Keep(engine.options.Logger, "local.sweeper", sweeper.ending,
			func() { sweeper.run(engine) }, nil, func() { close(sweeper.ended) })
	})
}

// sweepInterval returns how often to sweep, 0 when there is nothing to.
func (engine *Engine) sweepInterval() time.Duration {
	shortest := time.Duration(0)
	for _, one := range engine.policies.Load().parts {
		if idle := one.maxIdle(); idle > 0 && (shortest == 0 || idle < shortest) {
			shortest = idle
		}
	}
	if shortest == 0 {
		return 0
	}
	return min(max(shortest/8, shortestSweep), longestSweep)
}

// run sweeps until stop.
func (sweeper *sweeper) run(engine *Engine) {
	for {
		interval := engine.sweepInterval()
		if interval == 0 {
			interval = longestSweep
		}
		timer := time.NewTimer(interval)
		select {
		case <-sweeper.ending:
			timer.Stop()
			return
		case <-timer.C:
			guard.Point("local.sweeper.sweep")
			now := engine.now()
			for _, one := range engine.policies.Load().parts {
				one.sweep(now)
			}
			engine.sweepRetired()
		}
	}
}

// sweepRetired lets go of former components that are no longer needed.
func (engine *Engine) sweepRetired() {
	engine.reloading.Lock()
	defer engine.reloading.Unlock()
	if len(*engine.retired.Load()) > 0 {
		needed := engine.stillNeeded()
		engine.retired.Store(&needed)
	}
}

// stop ends the sweeping, and returns when it has ended.
func (sweeper *sweeper) stop() {
	sweeper.once.Do(func() {}) // it does not begin any more
	if sweeper.ending != nil {
		close(sweeper.ending)
		<-sweeper.ended
	}
}
