package local

import (
	"log/slog"
	"time"

	"github.com/libaperture/libaperture/internal/guard"
)

// Bounds for how often idle state is removed.
const (
	shortestSweep = time.Second
	longestSweep  = time.Minute
)

// sweeper removes the state of label values that were not used for long. An idle bucket counts as gone at once when it
// is used again; the sweeper gives back its memory.
type sweeper struct {
	ending chan struct{}
	ended  chan struct{}
}

// start begins sweeping, unless no limiter of the engine forgets anything.
func (sweeper *sweeper) start(engine *Engine, logger *slog.Logger) {
	interval := time.Duration(0)
	for _, limiter := range engine.limiters {
		if idle := limiter.config.MaxIdleTime; idle > 0 && (interval == 0 || idle < interval) {
			interval = idle
		}
	}
	if interval == 0 {
		return
	}
	interval = min(max(interval/8, shortestSweep), longestSweep)
	sweeper.ending = make(chan struct{})
	sweeper.ended = make(chan struct{})
	guard.Keep(logger, "local.sweeper", sweeper.ending,
		func() { sweeper.run(engine, interval) }, nil, func() { close(sweeper.ended) })
}

// run sweeps until stop.
func (sweeper *sweeper) run(engine *Engine, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-sweeper.ending:
			return
		case now := <-ticker.C:
			guard.Point("local.sweeper.sweep")
			for _, limiter := range engine.limiters {
				limiter.buckets.Sweep(int64(now.Sub(engine.epoch)))
			}
		}
	}
}

// stop ends the sweeping, and returns when it has ended.
func (sweeper *sweeper) stop() {
	if sweeper.ending != nil {
		close(sweeper.ending)
		<-sweeper.ended
	}
}
