// Package bucket has token buckets by label value, as rate limiters and quota schedulers use them.
package bucket

import (
	"math"
	"time"
)

// Parameters are what all buckets of one limiter have in common. All numbers are finite and not negative.
type Parameters struct {
	Capacity float64
	// Fill tokens are added per Interval, which is positive: bit by bit when Continuous, else all at once at the
	// interval's end.
	Fill       float64
	Interval   time.Duration
	Continuous bool
	// Delay holds the filling of a full bucket back until a whole capacity would have been filled.
	Delay bool
}

// noStart is the startFill of a bucket whose filling is not held back.
const noStart = math.MinInt64

// longestFill bounds computed waiting times, so that adding two of them cannot overflow: about 73 years.
const longestFill = time.Duration(1 << 61)

// Bucket is the state of one label value. Times are nanoseconds since some epoch.
type Bucket struct {
	available float64
	lastFill  int64
	// startFill is when a delayed filling begins; nothing is filled up to and including this time.
	startFill int64
}

// New returns a full bucket.
func New(parameters *Parameters, now int64) Bucket {
	return Bucket{available: parameters.Capacity, lastFill: now, startFill: noStart}
}

// Take removes n tokens or, when there are too few, leaves the bucket as it is and returns how long it takes until
// they are there. A negative n gives tokens back. A wait of 0 on a refusal means that no wait would help: nothing is
// ever filled.
func (bucket *Bucket) Take(parameters *Parameters, now int64, n float64) (wait time.Duration, ok bool) {
	bucket.fastForward(parameters, now)
	if parameters.Delay && bucket.available == parameters.Capacity {
		bucket.holdFilling(parameters, now)
	}
	left := bucket.available - n
	if n > 0 && left < 0 {
		return bucket.waitFor(parameters, now, -left), false
	}
	bucket.available = min(left, parameters.Capacity)
	return 0, true
}

// Reserve removes n tokens, also when there are too few, and returns how long it takes until they are there. It leaves the
// bucket as it is when that is longer than the limit, or never, for which it returns 0. n is not negative.
func (bucket *Bucket) Reserve(parameters *Parameters, now int64, n float64, limit time.Duration) (wait time.Duration, ok bool) {
	bucket.fastForward(parameters, now)
	if parameters.Delay && bucket.available == parameters.Capacity {
		bucket.holdFilling(parameters, now)
	}
	left := bucket.available - n
	if n > 0 && left < 0 {
		wait = bucket.fillIn(parameters, now, -left)
		if parameters.Fill == 0 || wait > limit {
			return wait, false
		}
	}
	bucket.available = left
	return wait, true
}

// Available returns how many tokens the bucket has at a time. It changes nothing.
func (bucket Bucket) Available(parameters *Parameters, now int64) float64 {
	bucket.fastForward(parameters, now)
	return bucket.available
}

// fastForward adds what was filled since the last operation.
func (bucket *Bucket) fastForward(parameters *Parameters, now int64) {
	// Callers read the clock before they lock, so that one may be a little late.
	elapsed := now - bucket.lastFill
	if now <= bucket.startFill || elapsed <= 0 {
		return
	}
	if parameters.Continuous {
		bucket.available += parameters.Fill * float64(elapsed) / float64(parameters.Interval)
		bucket.lastFill = now
	} else if fills := elapsed / int64(parameters.Interval); fills > 0 {
		bucket.available += parameters.Fill * float64(fills)
		bucket.lastFill += fills * int64(parameters.Interval)
	}
	bucket.available = min(bucket.available, parameters.Capacity)
}

// holdFilling delays the filling of a full bucket. With a discrete fill the first one comes right after the delay.
func (bucket *Bucket) holdFilling(parameters *Parameters, now int64) {
	bucket.startFill = now + int64(parameters.fillTime(parameters.Capacity))
	bucket.lastFill = bucket.startFill
	if !parameters.Continuous {
		bucket.lastFill -= int64(parameters.Interval)
	}
}

// waitFor returns how long a refused caller should wait for the filling of a deficit. During a discrete delay this is one
// interval more than needed: real agents answer so, and a caller that waits longer is never refused again.
func (bucket *Bucket) waitFor(parameters *Parameters, now int64, deficit float64) time.Duration {
	if parameters.Fill == 0 {
		return 0
	}
	wait := parameters.fillTime(deficit)
	if now <= bucket.startFill {
		wait += time.Duration(bucket.startFill - now)
	} else {
		wait -= time.Duration(now - bucket.lastFill)
	}
	return max(wait, 0)
}

// fillIn returns how long the filling of a deficit takes.
func (bucket *Bucket) fillIn(parameters *Parameters, now int64, deficit float64) time.Duration {
	wait := bucket.waitFor(parameters, now, deficit)
	if parameters.Fill > 0 && now <= bucket.startFill && !parameters.Continuous {
		// The first fill comes a nanosecond after the delay.
		wait = max(wait-parameters.Interval, time.Duration(bucket.startFill-now)+1)
	}
	return wait
}

// fillTime returns how long it takes to fill some tokens, in whole nanoseconds. It rounds up: a wait that is a fraction
// of a nanosecond short would end in one more refusal.
func (parameters *Parameters) fillTime(tokens float64) time.Duration {
	if parameters.Fill == 0 {
		return 0
	}
	intervals := tokens / parameters.Fill
	if !parameters.Continuous {
		intervals = math.Ceil(intervals)
	}
	nanoseconds := math.Ceil(intervals * float64(parameters.Interval))
	if nanoseconds >= float64(longestFill) {
		return longestFill
	}
	return time.Duration(nanoseconds)
}
