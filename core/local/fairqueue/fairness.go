package fairqueue

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// fairnessBuckets is among how many the values of a fairness label are spread.
	fairnessBuckets = 256
	// fairnessPeriod is after which time the values are spread anew, so that two that share a bucket do not share it for
	// ever.
	fairnessPeriod = 5 * time.Minute
)

// fairness spreads the values of fairness labels over buckets.
type fairness struct {
	mu    sync.Mutex
	seed  maphash.Seed
	since int64
	drawn bool
}

// bucket returns the bucket of a value, noFairness for an empty one.
func (fair *fairness) bucket(now int64, value string) int16 {
	if value == "" {
		return noFairness
	}
	fair.mu.Lock()
	if !fair.drawn || now-fair.since > int64(fairnessPeriod) {
		fair.seed, fair.since, fair.drawn = maphash.MakeSeed(), now, true
	}
	seed := fair.seed
	fair.mu.Unlock()
	return int16(maphash.String(seed, value) % fairnessBuckets)
}
