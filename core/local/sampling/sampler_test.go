package sampling

import (
	"hash/fnv"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

func TestHashIsFNV1a(t *testing.T) {
	for value, want := range map[string]uint32{
		"":        2166136261,
		"a":       3826002220,
		"b":       3876335077,
		"foobar":  3214735720,
		"user-1":  4115888500,
		"gold":    3966162835,
		"é":       513665217,
		"b0ccrhg": 0,
		"t5fayv1": math.MaxUint32,
	} {
		assert.Equal(t, want, hash(value), "%q", value)
	}
	rapid.Check(t, func(t *rapid.T) {
		value := string(rapid.SliceOf(rapid.Byte()).Draw(t, "value"))
		standard := fnv.New32a()
		_, _ = standard.Write([]byte(value))
		if standard.Sum32() != hash(value) {
			t.Fatalf("%q: %d, expected %d", value, hash(value), standard.Sum32())
		}
	})
}

func session(value string) check.Labels {
	return check.Labels{{Key: "tier", Value: "free"}, {Key: "session", Value: value}}
}

// always is a source of chance that gives one number.
func always(number float64) Options {
	return Options{Random: func() float64 { return number }}
}

func TestSamplerAdmitsShare(t *testing.T) {
	const almostOne = 1 - 1.0/(1<<53)
	for name, test := range map[string]struct {
		percentage float64
		key        string
		labels     check.Labels
		random     float64
		want       bool
	}{
		"session of the smallest hash, at nothing":         {0, "session", session("b0ccrhg"), almostOne, true},
		"any other session, at nothing":                    {0, "session", session("a"), 0, false},
		"session of the largest hash, at everything":       {100, "session", session("t5fayv1"), almostOne, true},
		"session of the largest hash, at almost all":       {99.99999, "session", session("t5fayv1"), 0, false},
		"session just below a half":                        {50, "session", session("d2jailn"), almostOne, true},
		"session just above a half":                        {50, "session", session("074cpxe"), 0, false},
		"session of hash 2166136261, just above its share": {50.4343, "session", session(""), almostOne, true},
		"session of hash 2166136261, just below its share": {50.4342, "session", session(""), 0, false},
		"chance without the label, below the share":        {50, "session", check.Labels{{Key: "tier", Value: "b0ccrhg"}}, 0.499, true},
		"chance without the label, above the share":        {50, "session", check.Labels{{Key: "tier", Value: "b0ccrhg"}}, 0.501, false},
		"chance without a key, below the share":            {50, "", session("t5fayv1"), 0.499, true},
		"chance without a key, above the share":            {50, "", session("b0ccrhg"), 0.501, false},
		"chance without a key but with an empty one":       {50, "", check.Labels{{Key: "", Value: "b0ccrhg"}}, 0.501, false},
		"the smallest chance, at nothing":                  {0, "", nil, 0, false},
		"the largest chance, at everything":                {100, "", nil, almostOne, true},
		"the last of two values counts":                    {50, "session", append(session("b0ccrhg"), session("t5fayv1")...), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			sampler := New(policy.Sampler{AcceptPercentage: test.percentage, SessionLabelKey: test.key}, 0, always(test.random))
			assert.Equal(t, test.want, sampler.Decide(0, test.labels))
			accepted, rejected := sampler.Counts()
			assert.Equal(t, test.want, accepted == 1 && rejected == 0)
			assert.Equal(t, !test.want, accepted == 0 && rejected == 1)
		})
	}
}

func TestSamplerAdmitsSessionsByTheirHashAlone(t *testing.T) {
	const sessions = 20_000
	for _, percentage := range []int64{0, 1, 10, 20, 25, 50, 75, 90, 99, 100} {
		sampler := New(policy.Sampler{AcceptPercentage: float64(percentage), SessionLabelKey: "session"}, 0, Options{})
		for i := range sessions {
			value := "user-" + strconv.Itoa(i)
			standard := fnv.New32a()
			_, _ = standard.Write([]byte(value))
			share := big.NewRat(int64(standard.Sum32()), math.MaxUint32)
			want := share.Cmp(big.NewRat(percentage, 100)) <= 0
			if sampler.Decide(0, session(value)) != want {
				t.Errorf("%q at %d %%: %v", value, percentage, !want)
			}
		}
		accepted, rejected := sampler.Counts()
		assert.Equal(t, uint64(sessions), accepted+rejected)
		// FNV-1a spreads names that differ in their last bytes only a little unevenly.
		assert.InDelta(t, percentage, float64(accepted)*100/sessions, 2)
	}
}

func TestSamplerAdmitsShareByChance(t *testing.T) {
	const flows = 100_000
	for _, percentage := range []float64{0, 1, 25, 50, 99.5, 100} {
		sampler := New(policy.Sampler{AcceptPercentage: percentage}, 0, Options{Random: rand.New(rand.NewPCG(1, 2)).Float64})
		for range flows {
			sampler.Decide(0, nil)
		}
		accepted, _ := sampler.Counts()
		assert.InDelta(t, percentage, float64(accepted)*100/flows, 0.5)
	}
}

func TestSamplerHasChanceOfItsOwn(t *testing.T) {
	sampler := New(policy.Sampler{AcceptPercentage: 50}, 0, Options{})
	for range 1000 { // all alike once in 2^999 runs
		sampler.Decide(0, nil)
	}
	accepted, rejected := sampler.Counts()
	assert.NotZero(t, accepted)
	assert.NotZero(t, rejected)
}

func TestSamplerPassesLabelValuesThrough(t *testing.T) {
	for name, ramp := range map[string]*policy.Ramp{
		"with a constant share":  nil,
		"with a load ramp (D10)": {Steps: steps(0, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			config := policy.Sampler{Ramp: ramp, SessionLabelKey: "session", PassThroughLabelValues: []string{"t5fayv1", "tester"}}
			sampler := New(config, 0, always(0))
			assert.True(t, sampler.Decide(0, session("t5fayv1")))
			assert.True(t, sampler.Decide(0, session("tester")))
			assert.False(t, sampler.Decide(0, session("other")))
			assert.False(t, sampler.Decide(0, check.Labels{{Key: "tier", Value: "tester"}}))
			assert.False(t, sampler.Decide(0, nil))

			config.PassThroughLabelValues = []string{""}
			sampler = New(config, 0, always(0))
			assert.True(t, sampler.Decide(0, nil), "no label is as an empty one")
			assert.True(t, sampler.Decide(0, session("")))
			assert.False(t, sampler.Decide(0, session("other")))

			config.SessionLabelKey = ""
			assert.True(t, New(config, 0, always(0)).Decide(0, session("other")), "no key is as an empty value")
		})
	}
}

func TestSamplerFollowsItsRamp(t *testing.T) {
	sampler := New(policy.Sampler{
		SessionLabelKey:  "session",
		AcceptPercentage: 77,
		Ramp:             &policy.Ramp{Steps: steps(0, 1, 100, 4), Start: true},
	}, epoch, always(0.6))
	// "user-1" has the hash of a share of 95.83 %.
	for i, want := range []struct {
		percentage          float64
		byChance, bySession bool
	}{{0, false, false}, {25, false, false}, {50, false, false}, {75, true, false}, {100, true, true}} {
		now := epoch + int64(i)*second
		assert.Equal(t, want.percentage, sampler.Percentage(now))
		assert.Equal(t, want.byChance, sampler.Decide(now, nil), "after %d s", i)
		assert.Equal(t, want.bySession, sampler.Decide(now, session("user-1")), "after %d s", i)
	}
}

func TestSamplerTakesOverSettings(t *testing.T) {
	config := policy.Sampler{
		SessionLabelKey:        "session",
		PassThroughLabelValues: []string{"first"},
		Ramp:                   &policy.Ramp{Steps: steps(0, 2, 100, 4), Start: true},
	}
	sampler := New(config, epoch, Options{})
	assert.Equal(t, 25.0, sampler.Percentage(epoch+2*second))
	assert.True(t, sampler.Decide(epoch, session("first")))
	assert.False(t, sampler.Decide(epoch, session("second")))

	config.PassThroughLabelValues = []string{"second"}
	config.Ramp = &policy.Ramp{Steps: config.Ramp.Steps}
	sampler.Set(epoch+2*second, config)
	assert.Equal(t, 25.0, sampler.Percentage(epoch+100*second), "held")
	assert.False(t, sampler.Decide(epoch, session("t5fayv1")))
	assert.True(t, sampler.Decide(epoch, session("second")))

	config.Ramp = &policy.Ramp{Steps: config.Ramp.Steps, Start: true}
	sampler.Set(epoch+100*second, config)
	assert.Equal(t, 50.0, sampler.Percentage(epoch+101*second), "resumed")

	config.Ramp = &policy.Ramp{Steps: config.Ramp.Steps, Start: true, Reset: true}
	sampler.Set(epoch+102*second, config)
	assert.Equal(t, 0.0, sampler.Percentage(epoch+200*second), "reset")

	config.Ramp = &policy.Ramp{Steps: config.Ramp.Steps, Start: true}
	sampler.Set(epoch+200*second, config)
	sampler.Set(epoch+202*second, policy.Sampler{})
	assert.Equal(t, 50.0, sampler.Percentage(epoch+203*second), "settings without a ramp leave it alone")

	accepted, rejected := sampler.Counts()
	assert.Equal(t, uint64(2), accepted)
	assert.Equal(t, uint64(2), rejected)

	constant := New(policy.Sampler{AcceptPercentage: 30}, 0, Options{})
	constant.Set(0, config)
	assert.Equal(t, 30.0, constant.Percentage(0), "a sampler without a ramp gets none")
}

func TestSamplerNamesSession(t *testing.T) {
	for name, test := range map[string]struct {
		key    string
		labels check.Labels
		want   string
	}{
		"key and value": {"session", session("alice"), "session:alice"},
		"empty value":   {"session", session(""), "session:"},
		"no label":      {"session", nil, "session:"},
		"no key":        {"", session("alice"), ":"},
		"empty key":     {"", check.Labels{{Key: "", Value: "alice"}}, ":"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, New(policy.Sampler{SessionLabelKey: test.key}, 0, Options{}).Label(test.labels))
		})
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	labels := session("alice")
	for name, config := range map[string]policy.Sampler{
		"chance":       {AcceptPercentage: 50},
		"session":      {AcceptPercentage: 50, SessionLabelKey: "session"},
		"pass through": {SessionLabelKey: "session", PassThroughLabelValues: []string{"alice"}},
		"ramp":         {SessionLabelKey: "session", Ramp: &policy.Ramp{Steps: steps(0, 1, 100, 1000), Start: true}},
	} {
		t.Run(name, func(t *testing.T) {
			sampler := New(config, 0, Options{})
			now := int64(0)
			assert.Zero(t, testing.AllocsPerRun(100, func() {
				now += second
				sampler.Decide(now, labels)
			}))
		})
	}
}

func TestSamplerCountsEveryFlowOfManyAtOnce(t *testing.T) {
	config := policy.Sampler{SessionLabelKey: "session", Ramp: &policy.Ramp{Steps: steps(50, 1), Start: true}}
	sampler := New(config, 0, Options{})
	begin := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			<-begin
			for i := range 50_000 {
				value := []string{"b0ccrhg", "t5fayv1"}[i%2]
				if sampler.Decide(int64(i), session(value)) != (i%2 == 0) {
					t.Errorf("flow %d", i)
				}
				if i%100 == 0 {
					sampler.Set(int64(i), config)
				}
			}
		})
	}
	close(begin)
	group.Wait()
	accepted, rejected := sampler.Counts()
	assert.Equal(t, uint64(100_000), accepted)
	assert.Equal(t, uint64(100_000), rejected)
}
