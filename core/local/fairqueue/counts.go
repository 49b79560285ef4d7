package fairqueue

import (
	"sync/atomic"
	"time"
)

// WaitBounds are the upper bounds of the classes of WaitCounts, in ascending order. Longer waits have a class of their own.
var WaitBounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Counts is what a scheduler has counted.
type Counts struct {
	Admitted, Refused, TimedOut, Full, Cancelled, Closed uint64
	// Waiting is how many requests wait now.
	Waiting int
	// Waits has how many requests have waited for how long, by the classes of WaitBounds.
	Waits [len(WaitBounds) + 1]uint64
	// Waited is the sum of all waits.
	Waited time.Duration
}

// Counts returns what the scheduler has counted.
func (scheduler *Scheduler) Counts() Counts {
	counts := &scheduler.counts
	result := Counts{
		Admitted:  counts.outcomes[Admitted].Load(),
		Refused:   counts.outcomes[Refused].Load(),
		TimedOut:  counts.outcomes[TimedOut].Load(),
		Full:      counts.outcomes[Full].Load(),
		Cancelled: counts.outcomes[Cancelled].Load(),
		Closed:    counts.outcomes[Closed].Load(),
		Waiting:   int(scheduler.waiting.Load()),
		Waited:    time.Duration(counts.waited.Load()),
	}
	for i := range counts.waits {
		result.Waits[i] = counts.waits[i].Load()
	}
	return result
}

type counts struct {
	outcomes [Closed + 1]atomic.Uint64
	waits    [len(WaitBounds) + 1]atomic.Uint64
	waited   atomic.Int64
}

func (counts *counts) add(outcome Outcome) { counts.outcomes[outcome].Add(1) }

func (counts *counts) addWait(wait time.Duration) {
	class := 0
	for class < len(WaitBounds) && wait > WaitBounds[class] {
		class++
	}
	counts.waits[class].Add(1)
	counts.waited.Add(int64(wait))
}
