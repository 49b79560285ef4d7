package sampling

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/libaperture/libaperture/core/local/policy"
)

// agent is the state machine that an agent moves on once a second, word for word, but for what it never does without
// drivers: going backward.
type agent struct {
	steps []policy.RampStep
	step  int
	count int64
	atEnd bool
}

func (a *agent) tick(forward, reset bool) {
	switch {
	case reset:
		a.step, a.count, a.atEnd = 0, 0, false
	case forward && !a.atEnd:
		a.count++
		if a.count != a.ticks() {
			return
		}
		a.step++
		a.count = 0
		if a.step == len(a.steps) {
			a.step--
			a.count = a.ticks() - 1
			a.atEnd = true
		}
	}
}

func (a *agent) ticks() int64 {
	if a.steps[a.step].Duration == 0 {
		return 1
	}
	return int64(math.Ceil(float64(a.steps[a.step].Duration) / float64(time.Second)))
}

// output is what an agent publishes.
func (a *agent) output() float64 {
	target := a.steps[a.step].TargetAcceptPercentage
	if a.step == 0 {
		return target
	}
	previous := a.steps[a.step-1].TargetAcceptPercentage
	if previous == target {
		return target
	}
	return previous + float64((target-previous)*(float64(a.count)/float64(a.ticks())))
}

// repaired is what an agent would publish that came to the last target at its end.
func (a *agent) repaired() float64 {
	if a.atEnd {
		return a.steps[len(a.steps)-1].TargetAcceptPercentage
	}
	return a.output()
}

func steps(targetsAndSeconds ...float64) []policy.RampStep {
	var steps []policy.RampStep
	for i := 0; i < len(targetsAndSeconds); i += 2 {
		steps = append(steps, policy.RampStep{
			TargetAcceptPercentage: targetsAndSeconds[i],
			Duration:               time.Duration(targetsAndSeconds[i+1] * float64(time.Second)),
		})
	}
	return steps
}

// epoch is when the ramps of the tests begin: no whole second of the clock.
const epoch = int64(1234567891)

const second = int64(time.Second)

func TestRampFollowsTrace(t *testing.T) {
	for name, test := range map[string]struct {
		steps []policy.RampStep
		// agent is what an agent publishes, one share a second. The ramp's share is the same when ramp is nil.
		agent, ramp []float64
	}{
		"the last target is reached at the end (D9)": {
			steps: steps(10, 2, 100, 3),
			agent: []float64{10, 10, 40, 70, 70, 70, 70},
			ramp:  []float64{10, 10, 40, 70, 100, 100, 100},
		},
		"a last step without a duration is reached (D9)": {
			steps: steps(0, 3, 100, 0),
			agent: []float64{0, 0, 0, 0, 0, 0},
			ramp:  []float64{0, 0, 0, 100, 100, 100},
		},
		"two equal steps at the end make both the same": {
			steps: steps(0, 0, 50, 2, 100, 2, 100, 1),
			agent: []float64{0, 25, 50, 75, 100, 100, 100},
		},
		"one step stays": {
			steps: steps(30, 2),
			agent: []float64{30, 30, 30, 30},
		},
		"one step without a duration stays": {
			steps: steps(30, 0),
			agent: []float64{30, 30},
		},
		"a share can fall": {
			steps: steps(100, 1, 0, 4, 0, 1),
			agent: []float64{100, 75, 50, 25, 0, 0},
		},
		"a share can rest on the way": {
			steps: steps(10, 1, 10, 2, 20, 2),
			agent: []float64{10, 10, 10, 15, 15, 15},
			ramp:  []float64{10, 10, 10, 15, 20, 20},
		},
		"a part of a second counts as one": {
			steps: steps(0, 0.001, 100, 3.001),
			agent: []float64{0, 25, 50, 75, 75, 75},
			ramp:  []float64{0, 25, 50, 75, 100, 100},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.ramp == nil {
				test.ramp = test.agent
			}
			agent := agent{steps: test.steps}
			ramp := NewRamp(policy.Ramp{Steps: test.steps, Start: true}, epoch)
			for i := range test.agent {
				agent.tick(true, false)
				assert.Equal(t, test.agent[i], agent.output(), "an agent after %d s", i)
				at := epoch + int64(i)*second
				assert.Equal(t, test.ramp[i], ramp.Percentage(at), "the ramp after %d s", i)
				assert.Equal(t, test.ramp[i], ramp.Percentage(at+second-1), "the ramp one nanosecond before %d s", i+1)
			}
			assert.Equal(t, test.ramp[len(test.ramp)-1], ramp.Percentage(math.MaxInt64))
		})
	}
}

// F1, and what becomes of it between an agent's ticks.
func TestRampIsHeldResumedAndReset(t *testing.T) {
	type event struct {
		at           time.Duration
		set          bool
		start, reset bool
		want         float64
	}
	const s, ns = time.Second, time.Nanosecond
	for name, test := range map[string]struct {
		start, reset bool
		events       []event
	}{
		"a pause holds": {start: true, events: []event{
			{at: 2 * s, want: 40},
			{at: 2 * s, set: true, want: 40},
			{at: 100 * s, want: 40},
			{at: 100 * s, set: true, start: true, want: 40},
			{at: 101*s - ns, want: 40},
			{at: 101 * s, want: 70},
			{at: 102 * s, want: 100},
		}},
		"a pause holds the part of a second that has passed": {start: true, events: []event{
			{at: 2700 * time.Millisecond, set: true, want: 40},
			{at: 50 * s, set: true, start: true, want: 40},
			{at: 50*s + 300*time.Millisecond - ns, want: 40},
			{at: 50*s + 300*time.Millisecond, want: 70},
		}},
		"a ramp that is not started stays at its begin": {events: []event{
			{at: 0, want: 10},
			{at: 100 * s, want: 10},
			{at: 100 * s, set: true, start: true, want: 10},
			{at: 102*s - ns, want: 10},
			{at: 102 * s, want: 40},
		}},
		"a reset returns at once, and holds": {start: true, events: []event{
			{at: 3 * s, want: 70},
			{at: 3*s + 1, set: true, start: true, reset: true, want: 10},
			{at: 100 * s, want: 10},
			{at: 100 * s, set: true, start: true, want: 10},
			{at: 102*s - ns, want: 10},
			{at: 102 * s, want: 40},
		}},
		"a reset returns from the end": {start: true, events: []event{
			{at: 100 * s, want: 100},
			{at: 100 * s, set: true, reset: true, want: 10},
			{at: 200 * s, set: true, want: 10},
			{at: 300 * s, want: 10},
			{at: 300 * s, set: true, start: true, want: 10},
			{at: 302 * s, want: 40},
		}},
		"a reset from the first moment holds": {start: true, reset: true, events: []event{
			{at: 100 * s, want: 10},
			{at: 100 * s, set: true, start: true, want: 10},
			{at: 102 * s, want: 40},
		}},
		"the same settings again change nothing": {start: true, events: []event{
			{at: 1500 * time.Millisecond, set: true, start: true, want: 10},
			{at: 2*s - ns, set: true, start: true, want: 10},
			{at: 2 * s, set: true, start: true, want: 40},
			{at: 3 * s, want: 70},
			{at: 3500 * time.Millisecond, set: true, want: 70},
			{at: 100 * s, set: true, want: 70},
			{at: 100 * s, set: true, start: true, want: 70},
			{at: 100*s + 500*time.Millisecond, want: 100},
		}},
		"a clock that was read a little early gains and loses nothing": {start: true, events: []event{
			{at: -1 * s, want: 10},
			{at: 2500 * time.Millisecond, set: true, want: 40},
			{at: 2 * s, set: true, start: true, want: 40},
			{at: 1 * s, want: 40},
			{at: 3*s - ns, want: 40},
			{at: 3 * s, want: 70},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ramp := NewRamp(policy.Ramp{Steps: steps(10, 2, 100, 3), Start: test.start, Reset: test.reset}, epoch)
			for _, event := range test.events {
				at := epoch + int64(event.at)
				if event.set {
					ramp.Set(at, event.start, event.reset)
				}
				assert.Equal(t, event.want, ramp.Percentage(at), "after %s", event.at)
			}
		})
	}
}

func TestLongestRampDoesNotOverflow(t *testing.T) {
	const longest = 9223372036 // seconds
	ramp := NewRamp(policy.Ramp{Steps: steps(0, 0, 100, longest, 0, longest, 100, longest), Start: true}, 0)
	assert.InDelta(t, 50, ramp.Percentage(longest/2*second), 1e-6)
	assert.InDelta(t, 100, ramp.Percentage(math.MaxInt64), 1e-6)
}

func drawSteps(t *rapid.T) []policy.RampStep {
	duration := rapid.OneOf(
		rapid.Int64Range(0, 6*second),
		rapid.Map(rapid.Int64Range(0, 6), func(seconds int64) int64 { return seconds * second }),
	)
	target := rapid.OneOf(rapid.Float64Range(0, 100), rapid.SampledFrom([]float64{0, 50, 100}))
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.RampStep {
		return policy.RampStep{
			TargetAcceptPercentage: target.Draw(t, "target"),
			Duration:               time.Duration(duration.Draw(t, "duration")),
		}
	}), 1, 8).Draw(t, "steps")
}

func TestRampEqualsAgentAtEveryTick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := drawSteps(t)
		agent := agent{steps: steps}
		ramp := NewRamp(policy.Ramp{Steps: steps, Start: true}, epoch)
		for now := epoch; now < epoch+60*second; now += second {
			agent.tick(true, false)
			at := now + rapid.Int64Range(0, second-1).Draw(t, "after the tick")
			if !agent.atEnd && agent.output() != ramp.Percentage(at) {
				t.Fatalf("%v at %v: %v, an agent %v", steps, time.Duration(at-epoch), ramp.Percentage(at), agent.output())
			}
			if agent.repaired() != ramp.Percentage(at) {
				t.Fatalf("%v at %v: %v, expected %v", steps, time.Duration(at-epoch), ramp.Percentage(at), agent.repaired())
			}
		}
	})
}

// ticker moves an agent on at its begin and once for each second that it goes on.
type ticker struct {
	agent
	running bool
	// next is the time of the next tick, or when the ticker is held what is left of the second that is to end with it.
	next int64
}

func (ticker *ticker) advance(now int64) {
	for ticker.running && ticker.next <= now {
		ticker.tick(true, false)
		ticker.next += second
	}
}

func (ticker *ticker) set(now int64, start, reset bool) {
	ticker.advance(now)
	if ticker.running {
		ticker.next -= now
	}
	if reset {
		ticker.tick(false, true)
		ticker.next = 0
	}
	if ticker.running = start && !reset; ticker.running {
		ticker.next += now
	}
	ticker.advance(now)
}

func TestRampEqualsAgentUnderAnySettings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := drawSteps(t)
		start, reset := rapid.Bool().Draw(t, "start"), rapid.Bool().Draw(t, "reset")
		ticker := &ticker{agent: agent{steps: steps}}
		ticker.set(epoch, start, reset)
		ramp := NewRamp(policy.Ramp{Steps: steps, Start: start, Reset: reset}, epoch)
		now := epoch
		pause := rapid.OneOf(
			rapid.Int64Range(0, 5*second),
			rapid.Map(rapid.Int64Range(0, 5), func(seconds int64) int64 { return seconds * second }),
		)
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			now += pause.Draw(t, "pause")
			if rapid.Bool().Draw(t, "set") {
				start := rapid.Bool().Draw(t, "start")
				reset := rapid.IntRange(0, 4).Draw(t, "reset") == 0
				ticker.set(now, start, reset)
				ramp.Set(now, start, reset)
			}
			ticker.advance(now)
			if ticker.repaired() != ramp.Percentage(now) {
				t.Fatalf("%v at %v: %v, expected %v", steps, time.Duration(now-epoch), ramp.Percentage(now), ticker.repaired())
			}
		}
	})
}

func TestRampLosesNoTimeWhenSetByManyAtOnce(t *testing.T) {
	ramp := NewRamp(policy.Ramp{Steps: steps(0, 0, 100, 100), Start: true}, 0)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for now := range 40 * second / 1e6 {
				ramp.Set(now*1e6, true, false)
				if share := ramp.Percentage(now * 1e6); share < float64(now/1000)-1e-9 {
					t.Errorf("%v after %d ms", share, now)
					return
				}
			}
		})
	}
	group.Wait()
	assert.Equal(t, 40.0, ramp.Percentage(40*second))
}

func TestRampForgetsNoResetWhenSetByManyAtOnce(t *testing.T) {
	for range 1000 {
		ramp := NewRamp(policy.Ramp{Steps: steps(0, 0, 100, 100), Start: true}, 0)
		begin := make(chan struct{})
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				<-begin
				for range 10 {
					ramp.Set(50*second, true, i == 0)
				}
			})
		}
		close(begin)
		group.Wait()
		if share := ramp.Percentage(50 * second); share != 0 {
			t.Fatalf("%v after a reset", share)
		}
	}
}
