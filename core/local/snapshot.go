package local

import (
	"encoding/json"

	"github.com/libaperture/libaperture/core/local/bucket"
	"github.com/libaperture/libaperture/core/local/fairqueue"
	"github.com/libaperture/libaperture/core/local/inflight"
	"github.com/libaperture/libaperture/core/local/labels"
)

// Snapshot is what an engine has counted since it was opened. As JSON it has the same fields in snake case; that form
// only grows.
type Snapshot struct {
	// NoMatchingRamp counts the flows that were rejected because they asked for a load ramp, and none matched.
	NoMatchingRamp uint64 `json:"no_matching_ramp"`
	// Reloads and ReloadsFailed count the readings of the policy files after the first.
	Reloads       uint64 `json:"reloads"`
	ReloadsFailed uint64 `json:"reloads_failed"`
	// Cache is what the result cache and the global cache have counted together.
	Cache CacheSnapshot `json:"cache"`
	// Components are those of all policies, in the order of their policies.
	Components []ComponentSnapshot `json:"components"`
}

// CacheSnapshot is what the caches have counted.
type CacheSnapshot struct {
	// Hits and Misses count the keys that were looked up.
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
	Stored uint64 `json:"stored"`
	// Evicted counts the entries that were given up because the caches were full, Expired those whose time was over, and
	// Refused the keys that were answered with an error.
	Evicted uint64 `json:"evicted"`
	Expired uint64 `json:"expired"`
	Refused uint64 `json:"refused"`
	// Entries and Bytes are what the caches hold now, and the memory that they take.
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
}

// Kind says what a component is, in the words of the policy language.
type Kind string

// The kinds of components.
const (
	KindSampler              Kind = "sampler"
	KindRateLimiter          Kind = "rate_limiter"
	KindConcurrencyLimiter   Kind = "concurrency_limiter"
	KindConcurrencyScheduler Kind = "concurrency_scheduler"
	KindQuotaScheduler       Kind = "quota_scheduler"
)

// ComponentSnapshot is what one component has counted. A flow that several components looked at counts at each of them.
type ComponentSnapshot struct {
	Policy    string `json:"policy"`
	Component string `json:"component"`
	Kind      Kind   `json:"kind"`
	// Accepted and Rejected count the decisions that asked for tokens, or for a share.
	Accepted uint64 `json:"accepted"`
	Rejected uint64 `json:"rejected"`
	// Unlimited counts the flows that were accepted without asking: they do not carry the label by which the component
	// keeps its state, or the policy lets everything pass.
	Unlimited uint64 `json:"unlimited"`
	// Reverted counts the accepted decisions that were taken back because another component rejected the flow.
	Reverted uint64 `json:"reverted"`
	// InvalidTokens counts the labels for tokens or a priority that are no such number, and did not count.
	InvalidTokens uint64 `json:"invalid_tokens"`
	// Labels is how many label values have a state now.
	Labels int `json:"labels"`
	// Evicted counts the states that were given up for others because there were too many.
	Evicted uint64 `json:"evicted"`
	// Expired counts the states that were given up because they were idle.
	Expired uint64 `json:"expired"`

	// Bucket is nil for a component without token buckets.
	Bucket *BucketSnapshot `json:"bucket,omitempty"`
	// InFlight is nil for a component that keeps nothing in flight.
	InFlight *InFlightSnapshot `json:"in_flight,omitempty"`
	// Queue is nil for a component in which no flow waits.
	Queue *QueueSnapshot `json:"queue,omitempty"`
	// AcceptPercentage is the share of a sampler, from 0 to 100; nil for other components.
	AcceptPercentage *float64 `json:"accept_percentage,omitempty"`
}

// BucketSnapshot is how full the buckets are that were used last.
type BucketSnapshot struct {
	// Capacity is that of each bucket, in tokens.
	Capacity float64 `json:"capacity"`
	// Looked is at how many buckets the engine has looked, and Available the sum of the tokens in them.
	Looked    int     `json:"looked"`
	Available float64 `json:"available"`
}

// InFlightSnapshot is what is in flight.
type InFlightSnapshot struct {
	// MaxConcurrency is that of each label value, in tokens.
	MaxConcurrency float64 `json:"max_concurrency"`
	// Flows and Tokens are in flight now, of all label values together.
	Flows  int     `json:"flows"`
	Tokens float64 `json:"tokens"`
	// Returned, Expired and Forgotten count the flows that are no longer in flight: ended, too old, or of a label value
	// that was given up for others.
	Returned  uint64 `json:"returned"`
	Expired   uint64 `json:"expired"`
	Forgotten uint64 `json:"forgotten"`
	// Overflowed counts the flows that were rejected because too many of all label values were in flight.
	Overflowed uint64 `json:"overflowed"`
}

// QueueSnapshot is how flows have waited.
type QueueSnapshot struct {
	// Waiting is how many flows wait now.
	Waiting int `json:"waiting"`
	// The rejected flows by their reason: the tokens could not come in time, the time was over, too many waited; and those
	// that gave up.
	Refused   uint64 `json:"refused"`
	TimedOut  uint64 `json:"timed_out"`
	Full      uint64 `json:"full"`
	Cancelled uint64 `json:"cancelled"`
	// Waits counts the flows that have waited, by the upper bounds of their waits in seconds, in ascending order. The last
	// class has no bound, and 0 for it.
	Waits []WaitClass `json:"waits"`
	// WaitedSeconds is the sum of all waits.
	WaitedSeconds float64 `json:"waited_seconds"`
}

// WaitClass is how many flows have waited for how long.
type WaitClass struct {
	UpTo  float64 `json:"up_to"`
	Flows uint64  `json:"flows"`
}

// Snapshot returns what the engine has counted. The figures of one component belong together only nearly: flows go on
// meanwhile.
func (engine *Engine) Snapshot() Snapshot {
	now := engine.now()
	parts := engine.policies.Load().parts
	snapshot := Snapshot{
		NoMatchingRamp: engine.noMatchingRamp.Load(),
		Reloads:        engine.reloads.done.Load(),
		ReloadsFailed:  engine.reloads.failed.Load(),
		Cache:          CacheSnapshot(engine.cache.Counts()),
		Components:     make([]ComponentSnapshot, 0, len(parts)),
	}
	for _, one := range parts {
		snapshot.Components = append(snapshot.Components, one.snapshot(now))
	}
	return snapshot
}

// SnapshotJSON returns the snapshot as JSON.
func (engine *Engine) SnapshotJSON() ([]byte, error) { return json.Marshal(engine.Snapshot()) }

// counted returns what every component counts.
func (c *component) counted(kind Kind) ComponentSnapshot {
	return ComponentSnapshot{
		Policy:        c.policy,
		Component:     c.component,
		Kind:          kind,
		Unlimited:     c.unlimited.Load(),
		Reverted:      c.reverted.Load(),
		InvalidTokens: c.invalidTokens.Load(),
	}
}

func (s *scheduler) snapshot(now int64) ComponentSnapshot {
	counts := s.queue.Counts()
	snapshot := s.counted("")
	snapshot.Accepted = counts.Admitted
	snapshot.Rejected = counts.Refused + counts.TimedOut + counts.Full
	snapshot.Queue = &QueueSnapshot{
		Waiting:       counts.Waiting,
		Refused:       counts.Refused,
		TimedOut:      counts.TimedOut,
		Full:          counts.Full,
		Cancelled:     counts.Cancelled,
		WaitedSeconds: counts.Waited.Seconds(),
	}
	for i, flows := range counts.Waits {
		class := WaitClass{Flows: flows}
		if i < len(fairqueue.WaitBounds) {
			class.UpTo = fairqueue.WaitBounds[i].Seconds()
		}
		snapshot.Queue.Waits = append(snapshot.Queue.Waits, class)
	}
	s.store.fill(now, &snapshot)
	return snapshot
}

// countedLabels adds what a table of label values has counted.
func (snapshot *ComponentSnapshot) countedLabels(counts labels.Counts) {
	snapshot.Labels, snapshot.Evicted, snapshot.Expired = counts.Labels, counts.Evicted, counts.Expired
}

func (limiter *rateLimiter) snapshot(now int64) ComponentSnapshot {
	counts := limiter.buckets.Counts()
	snapshot := limiter.counted(KindRateLimiter)
	snapshot.Accepted, snapshot.Rejected = counts.Accepted, counts.Rejected
	snapshot.countedLabels(counts.Counts)
	snapshot.Bucket = levelOf(limiter.buckets, now)
	return snapshot
}

func levelOf(buckets *bucket.Table, now int64) *BucketSnapshot {
	level := buckets.Level(now)
	return &BucketSnapshot{Capacity: buckets.Capacity(), Looked: level.Labels, Available: level.Available}
}

func (q *quota) fill(now int64, snapshot *ComponentSnapshot) {
	snapshot.Kind = KindQuotaScheduler
	snapshot.countedLabels(q.buckets.Counts().Counts)
	snapshot.Bucket = levelOf(q.buckets, now)
}

func (limiter *concurrencyLimiter) snapshot(int64) ComponentSnapshot {
	counts := limiter.counts.Counts()
	snapshot := limiter.counted(KindConcurrencyLimiter)
	snapshot.Accepted, snapshot.Rejected = counts.Accepted, counts.Rejected
	snapshot.countedLabels(counts.Labels)
	snapshot.InFlight = inFlightOf(&counts, limiter.most)
	return snapshot
}

func (c *concurrency) fill(_ int64, snapshot *ComponentSnapshot) {
	counts := c.counts.Counts()
	snapshot.Kind = KindConcurrencyScheduler
	snapshot.countedLabels(counts.Labels)
	snapshot.InFlight = inFlightOf(&counts, c.most)
}

func inFlightOf(counts *inflight.Counts, most float64) *InFlightSnapshot {
	return &InFlightSnapshot{
		MaxConcurrency: most,
		Flows:          counts.InFlight,
		Tokens:         counts.Tokens,
		Returned:       counts.Returned,
		Expired:        counts.Expired,
		Forgotten:      counts.Forgotten,
		Overflowed:     counts.Overflowed,
	}
}
