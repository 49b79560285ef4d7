package bucket

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
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
		parameters Parameters
		operations []operation
	}{
		"A1 discrete fill comes at the end of intervals": {
			Parameters{Capacity: 10, Fill: 5},
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
			Parameters{Capacity: 10, Fill: 5, Continuous: true},
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
			Parameters{Capacity: 10, Fill: 5, Delay: true},
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
			Parameters{Capacity: 10, Fill: 5, Continuous: true, Delay: true},
			[]operation{
				{0, 10, true, 0, 0},
				{0, 1, false, 2200 * ms, 0},
				{2150 * ms, 2, false, 250 * ms, 0.75},
				{2400 * ms, 2, true, 0, 0},
			},
		},
		"the delay begins anew when the bucket is found full": {
			Parameters{Capacity: 10, Fill: 5, Continuous: true, Delay: true},
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
			Parameters{Capacity: 1, Continuous: true},
			[]operation{
				{0, 1, true, 0, 0},
				{0, 1, false, 0, 0},
				{time.Hour, 1, false, 0, 0},
				{time.Hour, -5, true, 0, 1},
			},
		},
		"A8 a large take that is refused takes nothing from small ones": {
			Parameters{Capacity: 10, Fill: 5, Continuous: true},
			[]operation{
				{0, 1, true, 0, 9},
				{0, 99, false, 18000 * ms, 9},
				{0, 1, true, 0, 8},
			},
		},
		"A9 a bucket without capacity refuses with a finite wait": {
			Parameters{Capacity: 0, Fill: 1, Continuous: true},
			[]operation{
				{0, 1, false, 1000 * ms, 0},
				{1000 * ms, 1, false, 1000 * ms, 0},
				{1000 * ms, 0, true, 0, 0},
			},
		},
		"neither capacity nor fill refuses everything": {
			Parameters{},
			[]operation{{0, 1, false, 0, 0}, {time.Hour, 0.1, false, 0, 0}},
		},
		"a wait is rounded up, so that tokens are there after it": {
			Parameters{Capacity: 3, Fill: 3, Interval: 2 * time.Second, Continuous: true},
			[]operation{
				{0, 3, true, 0, 0},
				{0, 1, false, 666666667, 0},
				{666666667, 1, true, 0, 5e-10},
			},
		},
		"what is given back stops at the capacity": {
			Parameters{Capacity: 10, Fill: 5},
			[]operation{{0, 2, true, 0, 8}, {0, -1, true, 0, 9}, {0, -100, true, 0, 10}},
		},
		"an operation that read the clock before another one fills nothing": {
			Parameters{Capacity: 10, Fill: 5, Continuous: true},
			[]operation{
				{1000 * ms, 10, true, 0, 0},
				{0, 1, false, 1200 * ms, 0},
				{1200 * ms, 1, true, 0, 0},
			},
		},
		"immense numbers give the longest wait": {
			Parameters{Capacity: math.MaxFloat64, Fill: math.SmallestNonzeroFloat64, Delay: true},
			[]operation{
				{0, math.MaxFloat64, true, 0, 0},
				{0, math.MaxFloat64, false, 2 * longestFill, 0},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			parameters := test.parameters
			if parameters.Interval == 0 {
				parameters.Interval = time.Second
			}
			bucket := New(&parameters, int64(test.operations[0].at))
			for i, operation := range test.operations {
				wait, ok := bucket.Take(&parameters, int64(operation.at), operation.take)
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
	parameters Parameters
	now        int // in eighths of a second
	available  float64
	// nextFill is when tokens come next; a delayed filling comes only after, not at, the time held.
	nextFill, held int
}

const eighth = time.Second / 8

func (model *modelBucket) interval() int { return int(model.parameters.Interval / eighth) }

func (model *modelBucket) advance(eighths int) {
	for range eighths {
		if model.parameters.Continuous && model.now >= model.held {
			model.available += model.parameters.Fill / float64(model.interval())
		}
		model.now++
		for !model.parameters.Continuous && model.now > model.held && model.now >= model.nextFill {
			model.available += model.parameters.Fill
			model.nextFill += model.interval()
		}
		model.available = min(model.available, model.parameters.Capacity)
	}
}

// hold begins the delay of a full bucket anew.
func (model *modelBucket) hold() {
	if !model.parameters.Delay || model.available != model.parameters.Capacity {
		return
	}
	model.held = model.now
	if model.parameters.Fill > 0 {
		intervals := model.parameters.Capacity / model.parameters.Fill
		if !model.parameters.Continuous {
			intervals = math.Ceil(intervals)
		}
		model.held += int(intervals * float64(model.interval()))
	}
	model.nextFill = model.held
}

func (model *modelBucket) take(n float64) bool {
	model.hold()
	if n > 0 && n > model.available {
		return false
	}
	model.available = min(model.available-n, model.parameters.Capacity)
	return true
}

// reserve takes n tokens if they are there within some eighths, and says after how many.
func (model *modelBucket) reserve(n float64, limit int) (wait int, ok bool) {
	model.hold()
	left := min(model.available-n, model.parameters.Capacity)
	if left < 0 && n > 0 {
		if model.parameters.Fill == 0 {
			return 0, false
		}
		later := *model
		for later.available = left; later.available < 0; wait++ {
			later.advance(1)
		}
		if wait > limit {
			return wait, false
		}
	}
	model.available = left
	return wait, true
}

func TestBucketAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parameters := Parameters{
			Capacity:   float64(8 * rapid.IntRange(0, 8).Draw(t, "capacity")),
			Fill:       float64(8 * rapid.IntRange(0, 3).Draw(t, "fill")),
			Interval:   rapid.SampledFrom([]time.Duration{eighth, time.Second, 4 * time.Second}).Draw(t, "interval"),
			Continuous: rapid.Bool().Draw(t, "continuous"),
			Delay:      rapid.Bool().Draw(t, "delay"),
		}
		if parameters.Delay && parameters.Fill > 0 {
			// So that a delay is a whole number of intervals.
			parameters.Capacity = parameters.Fill * float64(rapid.IntRange(0, 4).Draw(t, "fills"))
		}
		model := modelBucket{parameters: parameters, available: parameters.Capacity, nextFill: int(parameters.Interval / eighth)}
		bucket := New(&parameters, 0)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			model.advance(rapid.SampledFrom([]int{0, 0, 1, 2, 7, 8, 22}).Draw(t, "later"))
			now := int64(model.now) * int64(eighth)
			n := float64(rapid.IntRange(0, 600).Draw(t, "eighths of tokens")) / 8
			switch rapid.SampledFrom([]string{"take", "take", "reserve", "give back"}).Draw(t, "operation") {
			case "take":
				wait, ok := bucket.Take(&parameters, now, n)
				require.Equal(t, model.take(n), ok)
				require.GreaterOrEqual(t, wait, time.Duration(0))
				if !ok && n <= parameters.Capacity && parameters.Fill > 0 {
					later := bucket
					_, ok := later.Take(&parameters, now+int64(wait), n)
					require.True(t, ok, "refused again after the wait")
				}
			case "reserve":
				limit := rapid.IntRange(0, 100).Draw(t, "limit")
				expected, expectedOK := model.reserve(n, limit)
				wait, ok := bucket.Reserve(&parameters, now, n, time.Duration(limit)*eighth)
				require.Equal(t, expectedOK, ok)
				if expected == 0 {
					require.Zero(t, wait)
					break
				}
				require.Greater(t, wait, time.Duration(expected-1)*eighth)
				require.LessOrEqual(t, wait, time.Duration(expected)*eighth)
				if ok {
					require.GreaterOrEqual(t, bucket.Available(&parameters, now+int64(wait)), -1e-9, "there after the wait")
					require.Less(t, bucket.Available(&parameters, now+int64(wait)-1), 1e-9, "and not before")
				}
			case "give back":
				_, ok := bucket.Take(&parameters, now, -n)
				require.True(t, ok)
				model.take(-n)
			}
			require.Equal(t, model.available, bucket.available)
			require.LessOrEqual(t, bucket.available, parameters.Capacity)
		}
	})
}

// What is admitted in any time is at most the capacity and what is filled meanwhile. Reserved tokens are admitted when
// they are there. Discrete fills may come at both ends.
func TestBucketAdmitsNoMoreThanAllowed(t *testing.T) {
	type admission struct {
		at int64
		n  float64
	}
	rapid.Check(t, func(t *rapid.T) {
		parameters := Parameters{
			Capacity:   rapid.Float64Range(0, 100).Draw(t, "capacity"),
			Fill:       rapid.Float64Range(0, 50).Draw(t, "fill"),
			Interval:   time.Duration(rapid.Int64Range(1000, int64(3*time.Second)).Draw(t, "interval")),
			Continuous: rapid.Bool().Draw(t, "continuous"),
			Delay:      rapid.Bool().Draw(t, "delay"),
		}
		bucket, now := New(&parameters, 0), int64(0)
		var admitted []admission
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, int64(time.Second)).Draw(t, "later")
			n := rapid.Float64Range(0, parameters.Capacity).Draw(t, "tokens")
			if rapid.Bool().Draw(t, "take") {
				if _, ok := bucket.Take(&parameters, now, n); ok {
					admitted = append(admitted, admission{now, n})
				}
			} else if wait, ok := bucket.Reserve(&parameters, now, n, 10*time.Second); ok {
				admitted = append(admitted, admission{now + int64(wait), n})
			}
		}
		slices.SortStableFunc(admitted, func(a, b admission) int { return cmp.Compare(a.at, b.at) })
		for first := range admitted {
			sum := 0.0
			for _, last := range admitted[first:] {
				sum += last.n
				// Waits are in whole nanoseconds, and a fill after a delay comes one late.
				intervals := float64(last.at-admitted[first].at+1) / float64(parameters.Interval)
				if !parameters.Continuous {
					intervals = math.Floor(intervals) + 1
				}
				allowed := parameters.Capacity + parameters.Fill*intervals
				require.LessOrEqual(t, sum, allowed*(1+1e-9))
			}
		}
	})
}

func TestReservation(t *testing.T) {
	const ms = time.Millisecond
	perSecond := Parameters{Capacity: 1, Fill: 1, Interval: time.Second, Continuous: true}
	for name, test := range map[string]struct {
		parameters Parameters
		limit      time.Duration
		ok         []bool
		wait       []time.Duration
		remaining  []float64
	}{
		"A7 waits up to the limit": {
			perSecond, 1500 * ms,
			[]bool{true, true, false, false},
			[]time.Duration{0, 1000 * ms, 2000 * ms, 2000 * ms},
			[]float64{0, -1, -1, -1},
		},
		"no wait is allowed": {perSecond, 0, []bool{true, false}, []time.Duration{0, 1000 * ms}, []float64{0, 0}},
		"nothing is ever filled": {
			Parameters{Capacity: 1, Interval: time.Second}, time.Hour,
			[]bool{true, false}, []time.Duration{0, 0}, []float64{0, 0},
		},
		"discrete fill comes right after the delay": {
			Parameters{Capacity: 2, Fill: 1, Interval: time.Second, Delay: true}, time.Hour,
			[]bool{true, true, true, true},
			[]time.Duration{0, 0, 2000*ms + 1, 3000 * ms},
			[]float64{1, 0, -1, -2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bucket := New(&test.parameters, 0)
			for i := range test.ok {
				wait, ok := bucket.Reserve(&test.parameters, 0, 1, test.limit)
				assert.Equal(t, test.ok[i], ok, "accepted, reservation %d", i)
				assert.Equal(t, test.wait[i], wait, "wait, reservation %d", i)
				assert.InDelta(t, test.remaining[i], bucket.available, 1e-9, "remaining, reservation %d", i)
			}
		})
	}
}
