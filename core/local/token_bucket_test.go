package local

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// operation is a take at some time after the bucket's first use, and what must come of it.
type operation struct {
	at        time.Duration
	take      float64
	ok        bool
	wait      time.Duration
	remaining float64
}

// The operations and times are those of traces that were measured on an agent. Where an agent remembers a refusal
// and answers by it instead of by the bucket, or makes tokens wait that are there, the expectation is the bucket's.
func TestBucketFollowsTrace(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		parameters bucketParameters
		operations []operation
	}{
		"A1 discrete fill comes at the end of intervals": {
			bucketParameters{capacity: 10, fill: 5},
			[]operation{
				{0, 10, true, 0, 0},
				{0, 1, false, 1000 * ms, 0},
				{0, 0, true, 0, 0},
				{200 * ms, 6, false, 1800 * ms, 0},
				{200 * ms, -3, true, 0, 3},
				{200 * ms, 1, true, 0, 2},
				{999 * ms, 3, false, 1 * ms, 2},
				{1050 * ms, 1, true, 0, 6},
				{2050 * ms, 1, true, 0, 9},
				{2050 * ms, 99, false, 17950 * ms, 9},
			},
		},
		"A2 continuous fill comes bit by bit": {
			bucketParameters{capacity: 10, fill: 5, continuous: true},
			[]operation{
				{0, 10, true, 0, 0},
				{0, 1, false, 200 * ms, 0},
				{0, 2, false, 400 * ms, 0},
				{250 * ms, 1, true, 0, 0.25},
				{250 * ms, -3, true, 0, 3.25},
				{60 * time.Second, 0, true, 0, 10},
			},
		},
		"A3 discrete fill with a delay comes right after the delay": {
			bucketParameters{capacity: 10, fill: 5, delay: true},
			[]operation{
				{0, 10, true, 0, 0},
				{0, 1, false, 3000 * ms, 0}, // one interval more than needed, as an agent answers
				{2000 * ms, 1, false, 1000 * ms, 0},
				{2000*ms + 1, 1, true, 0, 4},
				{2050 * ms, 2, true, 0, 2},
				{2999 * ms, 3, false, 1 * ms, 2},
				{3000 * ms, 3, true, 0, 4},
			},
		},
		"A4 continuous fill with a delay begins after the delay": {
			bucketParameters{capacity: 10, fill: 5, continuous: true, delay: true},
			[]operation{
				{0, 10, true, 0, 0},
				{0, 1, false, 2200 * ms, 0},
				{2150 * ms, 2, false, 250 * ms, 0.75},
				{2400 * ms, 2, true, 0, 0},
			},
		},
		"the delay begins anew when the bucket is found full": {
			bucketParameters{capacity: 10, fill: 5, continuous: true, delay: true},
			[]operation{
				{0, 10, true, 0, 0},
				{1000 * ms, 0, true, 0, 0},
				{4000 * ms, 0, true, 0, 10}, // full: filling waits until 6 s
				{5000 * ms, 10, true, 0, 0}, // still full: until 7 s
				{6500 * ms, 0, true, 0, 0},
				{7200 * ms, 1, true, 0, 0},
			},
		},
		"A5 without fill no wait helps": {
			bucketParameters{capacity: 1, continuous: true},
			[]operation{
				{0, 1, true, 0, 0},
				{0, 1, false, 0, 0},
				{time.Hour, 1, false, 0, 0},
				{time.Hour, -5, true, 0, 1},
			},
		},
		"A8 a large take that is refused takes nothing from small ones": {
			bucketParameters{capacity: 10, fill: 5, continuous: true},
			[]operation{
				{0, 1, true, 0, 9},
				{0, 99, false, 18000 * ms, 9},
				{0, 1, true, 0, 8},
			},
		},
		"A9 a bucket without capacity refuses with a finite wait": {
			bucketParameters{capacity: 0, fill: 1, continuous: true},
			[]operation{
				{0, 1, false, 1000 * ms, 0},
				{1000 * ms, 1, false, 1000 * ms, 0},
				{1000 * ms, 0, true, 0, 0},
			},
		},
		"neither capacity nor fill refuses everything": {
			bucketParameters{},
			[]operation{{0, 1, false, 0, 0}, {time.Hour, 0.1, false, 0, 0}},
		},
		"a wait is rounded up, so that tokens are there after it": {
			bucketParameters{capacity: 3, fill: 3, interval: 2 * time.Second, continuous: true},
			[]operation{
				{0, 3, true, 0, 0},
				{0, 1, false, 666666667, 0},
				{666666667, 1, true, 0, 5e-10},
			},
		},
		"what is given back stops at the capacity": {
			bucketParameters{capacity: 10, fill: 5},
			[]operation{{0, 2, true, 0, 8}, {0, -1, true, 0, 9}, {0, -100, true, 0, 10}},
		},
		"an operation that read the clock before another one fills nothing": {
			bucketParameters{capacity: 10, fill: 5, continuous: true},
			[]operation{
				{1000 * ms, 10, true, 0, 0},
				{0, 1, false, 1200 * ms, 0},
				{1200 * ms, 1, true, 0, 0},
			},
		},
		"immense numbers give the longest wait": {
			bucketParameters{capacity: math.MaxFloat64, fill: math.SmallestNonzeroFloat64, delay: true},
			[]operation{
				{0, math.MaxFloat64, true, 0, 0},
				{0, math.MaxFloat64, false, 2 * longestFill, 0},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			parameters := test.parameters
			if parameters.interval == 0 {
				parameters.interval = time.Second
			}
			bucket := newTokenBucket(&parameters, int64(test.operations[0].at))
			for i, operation := range test.operations {
				wait, ok := bucket.take(&parameters, int64(operation.at), operation.take)
				assert.Equal(t, operation.ok, ok, "accepted, operation %d", i)
				assert.Equal(t, operation.wait, wait, "wait, operation %d", i)
				assert.InDelta(t, operation.remaining, bucket.available, 1e-9, "remaining, operation %d", i)
			}
		})
	}
}

// modelBucket is a token bucket that lives through time eighth by eighth of a second. All of its figures are multiples
// of an eighth, which floating point holds exactly.
type modelBucket struct {
	parameters bucketParameters
	now        int // in eighths of a second
	available  float64
	// nextFill is when tokens come next; a delayed filling comes only after, not at, the time held.
	nextFill, held int
}

const eighth = time.Second / 8

func (model *modelBucket) interval() int { return int(model.parameters.interval / eighth) }

func (model *modelBucket) advance(eighths int) {
	for range eighths {
		if model.parameters.continuous && model.now >= model.held {
			model.available += model.parameters.fill / float64(model.interval())
		}
		model.now++
		for !model.parameters.continuous && model.now > model.held && model.now >= model.nextFill {
			model.available += model.parameters.fill
			model.nextFill += model.interval()
		}
		model.available = min(model.available, model.parameters.capacity)
	}
}

func (model *modelBucket) take(n float64) bool {
	if model.parameters.delay && model.available == model.parameters.capacity {
		model.held = model.now
		if model.parameters.fill > 0 {
			intervals := model.parameters.capacity / model.parameters.fill
			if !model.parameters.continuous {
				intervals = math.Ceil(intervals)
			}
			model.held += int(intervals * float64(model.interval()))
		}
		model.nextFill = model.held
	}
	if n > 0 && n > model.available {
		return false
	}
	model.available = min(model.available-n, model.parameters.capacity)
	return true
}

func TestBucketAgreesWithModel(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		parameters := bucketParameters{
			capacity:   float64(random.IntN(9) * 8),
			fill:       float64(random.IntN(4)) * 8,
			interval:   []time.Duration{eighth, time.Second, 4 * time.Second}[random.IntN(3)],
			continuous: random.IntN(2) == 0,
			delay:      random.IntN(2) == 0,
		}
		if parameters.delay && parameters.fill > 0 {
			parameters.capacity = parameters.fill * float64(random.IntN(5)) // so that a delay is a whole number of intervals
		}
		model := modelBucket{parameters: parameters, available: parameters.capacity, nextFill: int(parameters.interval / eighth)}
		bucket := newTokenBucket(&parameters, 0)
		for step := range 200 {
			model.advance(random.IntN(3) * random.IntN(12))
			n := float64(random.IntN(80)-10) / 8 * float64(1+random.IntN(8))
			now := int64(model.now) * int64(eighth)
			wait, ok := bucket.take(&parameters, now, n)
			require.Equal(t, model.take(n), ok, "seed %d, step %d: take %v of %v with %+v", seed, step, n, model.available, parameters)
			require.Equal(t, model.available, bucket.available, "seed %d, step %d: remaining after taking %v with %+v", seed, step, n, parameters)
			require.GreaterOrEqual(t, wait, time.Duration(0))
			if !ok && n <= parameters.capacity && parameters.fill > 0 {
				later := bucket
				_, ok := later.take(&parameters, now+int64(wait), n)
				require.True(t, ok, "seed %d, step %d: refused %v again after the wait of %v with %+v", seed, step, n, wait, parameters)
			}
		}
	}
}

// What is admitted over a time is at most the capacity and what is filled meanwhile.
func TestBucketAdmitsNoMoreThanAllowed(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 2))
		parameters := bucketParameters{
			capacity:   random.Float64() * 100,
			fill:       random.Float64() * 50,
			interval:   time.Duration(1 + random.Int64N(int64(3*time.Second))),
			continuous: random.IntN(2) == 0,
			delay:      random.IntN(2) == 0,
		}
		bucket, now, admitted := newTokenBucket(&parameters, 0), int64(0), 0.0
		for range 500 {
			now += random.Int64N(int64(time.Second))
			n := random.ExpFloat64() * parameters.capacity / 4
			wait, ok := bucket.take(&parameters, now, n)
			if ok {
				admitted += n
			} else if n <= parameters.capacity {
				later := bucket
				_, ok := later.take(&parameters, now+int64(wait)+1, n)
				require.True(t, ok, "seed %d: refused again after the wait", seed)
			}
			filled := parameters.fill * float64(now) / float64(parameters.interval)
			require.LessOrEqual(t, admitted, (parameters.capacity+filled)*(1+1e-9), "seed %d", seed)
			require.True(t, bucket.available >= 0 && bucket.available <= parameters.capacity, "seed %d: %v remaining", seed, bucket.available)
		}
	}
}
