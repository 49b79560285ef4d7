package sampling

import (
	"sort"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/local/policy"
)

// tick is how often an agent moves a ramp on.
const tick = int64(time.Second)

// Ramp is a share of flows that rises, or falls, step by step. Nothing runs in the background: the share follows from
// the time. All methods may be called from several goroutines at once. Times are nanoseconds since an epoch that the
// caller chooses, on a monotonic clock.
//
// At every moment the share is what an agent would publish that moved the ramp on when it began and once a second from
// then on. The first step lasts its duration; each other one goes in a straight line, second by second, from the target
// before it to its own, and a step without a duration takes one second. One second before all durations have passed an
// agent stops for ever, one tick short of the last target (D9); the Ramp is at the last target from that moment on.
type Ramp struct {
	steps []rampStep
	// ticks is the number of the tick that ends the ramp, last the share from there on.
	ticks int64
	last  float64

	progress atomic.Pointer[rampProgress]
}

// rampStep leads from one share to another one.
type rampStep struct {
	// first is the number of the tick that enters the step. Ticks count from 1; the ramp enters its first step before.
	first, ticks int64
	from, to     float64
}

// rampProgress says how far a ramp is. It never changes.
type rampProgress struct {
	// since is the time at which the ramp had gone on for done.
	since, done int64
	running     bool
}

// NewRamp makes a ramp that begins now if config.Start says so and config.Reset does not object. config has one step at
// least.
func NewRamp(config policy.Ramp, now int64) *Ramp {
	ramp := &Ramp{steps: make([]rampStep, len(config.Steps))}
	ramp.last = config.Steps[0].TargetAcceptPercentage
	for i, step := range config.Steps {
		ticks := (int64(step.Duration)-1)/tick + 1 // rounded up, and 1 for no duration
		ramp.steps[i] = rampStep{first: ramp.ticks, ticks: ticks, from: ramp.last, to: step.TargetAcceptPercentage}
		ramp.ticks += ticks
		ramp.last = step.TargetAcceptPercentage
	}
	ramp.progress.Store(&rampProgress{since: now})
	ramp.Set(now, config.Start, config.Reset)
	return ramp
}

// Set changes the settings that a ramp keeps its place under: without start it stays where it is, to the nanosecond, and
// with start it goes on from there. With reset it is back at its begin at once, whatever start says, and stays there
// until it is set without reset.
func (ramp *Ramp) Set(now int64, start, reset bool) {
	for {
		old := ramp.progress.Load()
		// A caller may have read the clock a little before the one that came first.
		now := max(now, old.since)
		progress := &rampProgress{since: now, done: old.at(now), running: start && !reset}
		if reset {
			progress.done = 0
		}
		if ramp.progress.CompareAndSwap(old, progress) {
			return
		}
	}
}

// Percentage returns the share at a time, from 0 to 100.
func (ramp *Ramp) Percentage(now int64) float64 {
	// Held at the begin, an agent has made no tick, here it counts as one: the share is the first target either way.
	n := ramp.progress.Load().at(now)/tick + 1
	if n >= ramp.ticks {
		return ramp.last
	}
	step := &ramp.steps[sort.Search(len(ramp.steps), func(i int) bool { return ramp.steps[i].first > n })-1]
	// In the order in which an agent computes it; the conversion keeps processors from rounding once instead of twice.
	return step.from + float64((step.to-step.from)*(float64(n-step.first)/float64(step.ticks)))
}

// at returns how long the ramp has gone on.
func (progress *rampProgress) at(now int64) int64 {
	if !progress.running {
		return progress.done
	}
	return progress.done + max(now-progress.since, 0)
}
