// Package sampling admits a share of the flows, constant or rising along a load ramp.
package sampling

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

// Options of a Sampler.
type Options struct {
	// Random returns a number that is uniform in [0, 1), from several goroutines at once. Nil is that of math/rand/v2,
	// which takes no lock.
	Random func() float64
}

// Sampler admits a share of the flows. All methods may be called from several goroutines at once. Times are nanoseconds
// since an epoch that the caller chooses, on a monotonic clock.
type Sampler struct {
	sessionLabelKey string
	random          func() float64
	// percentage is the share of a sampler without a ramp.
	percentage  float64
	ramp        *Ramp
	passThrough atomic.Pointer[map[string]struct{}]

	accepted, rejected counter
}

// counter is a count of its own cache line, so that threads that count different things do not slow each other, nor
// those that read what is beside it.
type counter struct {
	_ [56]byte
	atomic.Uint64
	_ [56]byte
}

// New makes a sampler. A ramp that is started begins now.
func New(config policy.Sampler, now int64, options Options) *Sampler {
	sampler := &Sampler{
		sessionLabelKey: config.SessionLabelKey,
		random:          options.Random,
		percentage:      config.AcceptPercentage,
	}
	if sampler.random == nil {
		sampler.random = rand.Float64
	}
	if config.Ramp != nil {
		sampler.ramp = NewRamp(*config.Ramp, now)
	}
	sampler.setPassThrough(config.PassThroughLabelValues)
	return sampler
}

// Set takes over what a policy may change without a new hash: the values that are always admitted, and whether the ramp
// goes on. Everything else is as it was; the counts and the place of the ramp stay.
func (sampler *Sampler) Set(now int64, config policy.Sampler) {
	sampler.setPassThrough(config.PassThroughLabelValues)
	if sampler.ramp != nil && config.Ramp != nil {
		sampler.ramp.Set(now, config.Ramp.Start, config.Ramp.Reset)
	}
}

func (sampler *Sampler) setPassThrough(values []string) {
	set := make(map[string]struct{}, len(values))
	for _, value := range values {
		set[value] = struct{}{}
	}
	sampler.passThrough.Store(&set)
}

// Decide says whether a flow is admitted, and counts it. It allocates nothing.
func (sampler *Sampler) Decide(now int64, labels check.Labels) bool {
	accepted := sampler.admits(now, labels)
	if accepted {
		sampler.accepted.Add(1)
	} else {
		sampler.rejected.Add(1)
	}
	return accepted
}

func (sampler *Sampler) admits(now int64, labels check.Labels) bool {
	session, ok := sampler.session(labels)
	if passThrough := *sampler.passThrough.Load(); len(passThrough) > 0 {
		if _, pass := passThrough[session]; pass {
			return true
		}
	}
	share := sampler.Percentage(now) / 100
	if !ok {
		// An agent accepts when the two are equal, which at 0 % would admit a flow now and then.
		return sampler.random() < share
	}
	// Agents and all samplers choose the same sessions: this expression is a contract, with its bounds.
	return float64(hash(session))/math.MaxUint32 <= share
}

// session returns the value of the session label, and whether the flow has one.
func (sampler *Sampler) session(labels check.Labels) (string, bool) {
	if sampler.sessionLabelKey == "" {
		return "", false
	}
	return labels.Get(sampler.sessionLabelKey)
}

// Label returns the name of the flow's session in a decision's message: key and value of the session label, empty where
// there is none.
func (sampler *Sampler) Label(labels check.Labels) string {
	session, _ := sampler.session(labels)
	return sampler.sessionLabelKey + ":" + session
}

// Percentage returns the share of the flows that is admitted at a time, from 0 to 100.
func (sampler *Sampler) Percentage(now int64) float64 {
	if sampler.ramp != nil {
		return sampler.ramp.Percentage(now)
	}
	return sampler.percentage
}

// Counts returns how many flows were accepted and rejected. Each is exact; together they are not of one instant.
func (sampler *Sampler) Counts() (accepted, rejected uint64) {
	return sampler.accepted.Load(), sampler.rejected.Load()
}

// hash is FNV-1a with 32 bits. That of hash/fnv wants its input as bytes, which would have to be copied.
func hash(value string) uint32 {
	h := uint32(2166136261)
	for i := range len(value) {
		h = (h ^ uint32(value[i])) * 16777619
	}
	return h
}
