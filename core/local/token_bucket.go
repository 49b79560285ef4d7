package local

import (
	"math"
	"time"
)

// bucketParameters are what all buckets of one limiter have in common.
type bucketParameters struct {
	capacity float64
	// fill tokens are added per interval: bit by bit when continuous, else all at once at the interval's end.
	fill       float64
	interval   time.Duration
	continuous bool
	// delay holds the filling of a full bucket back until a whole capacity would have been filled.
	delay bool
}

// noStart is the startFill of a bucket whose filling is not held back.
const noStart = math.MinInt64

// longestFill bounds computed waiting times, so that adding two of them cannot overflow: about 73 years.
const longestFill = time.Duration(1 << 61)

// tokenBucket is the state of one label value. Times are nanoseconds since the engine started.
type tokenBucket struct {
	available float64
	lastFill  int64
	// startFill is when a delayed filling begins; nothing is filled up to and including this time.
	startFill int64
}

func newTokenBucket(parameters *bucketParameters, now int64) tokenBucket {
	return tokenBucket{available: parameters.capacity, lastFill: now, startFill: noStart}
}

// take removes n tokens or, when there are too few, leaves the bucket as it is and returns how long it takes until
// they are there. A negative n gives tokens back. A wait of 0 on a refusal means that no wait would help: nothing is
// ever filled.
func (bucket *tokenBucket) take(parameters *bucketParameters, now int64, n float64) (wait time.Duration, ok bool) {
	bucket.fastForward(parameters, now)
	if parameters.delay && bucket.available == parameters.capacity {
		bucket.holdFilling(parameters, now)
	}
	left := bucket.available - n
	if n > 0 && left < 0 {
		return bucket.waitFor(parameters, now, -left), false
	}
	bucket.available = min(left, parameters.capacity)
	return 0, true
}

// fastForward adds what was filled since the last operation.
func (bucket *tokenBucket) fastForward(parameters *bucketParameters, now int64) {
	// Callers read the clock before they lock, so that one may be a little late.
	elapsed := now - bucket.lastFill
	if now <= bucket.startFill || elapsed <= 0 {
		return
	}
	if parameters.continuous {
		bucket.available += parameters.fill * float64(elapsed) / float64(parameters.interval)
		bucket.lastFill = now
	} else if fills := elapsed / int64(parameters.interval); fills > 0 {
		bucket.available += parameters.fill * float64(fills)
		bucket.lastFill += fills * int64(parameters.interval)
	}
	bucket.available = min(bucket.available, parameters.capacity)
}

// holdFilling delays the filling of a full bucket. With a discrete fill the first one comes right after the delay.
func (bucket *tokenBucket) holdFilling(parameters *bucketParameters, now int64) {
	bucket.startFill = now + int64(parameters.fillTime(parameters.capacity))
	bucket.lastFill = bucket.startFill
	if !parameters.continuous {
		bucket.lastFill -= int64(parameters.interval)
	}
}

// waitFor returns how long the filling of a deficit takes. During a discrete delay this is one interval more than
// needed: real agents answer so, and a caller that waits longer is never refused again.
func (bucket *tokenBucket) waitFor(parameters *bucketParameters, now int64, deficit float64) time.Duration {
	if parameters.fill == 0 {
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

// fillTime returns how long it takes to fill some tokens, in whole nanoseconds. It rounds up: a wait that is a fraction
// of a nanosecond short would end in one more refusal.
func (parameters *bucketParameters) fillTime(tokens float64) time.Duration {
	if parameters.fill == 0 {
		return 0
	}
	intervals := tokens / parameters.fill
	if !parameters.continuous {
		intervals = math.Ceil(intervals)
	}
	nanoseconds := math.Ceil(intervals * float64(parameters.interval))
	if nanoseconds >= float64(longestFill) {
		return longestFill
	}
	return time.Duration(nanoseconds)
}
