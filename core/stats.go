package core

import (
	"sync/atomic"
	"unsafe"

	"github.com/libaperture/libaperture/core/check"
)

// UnreachableReasons is the number of reasons that check.UnreachableReason knows, UnreachableNone included.
const UnreachableReasons = int(check.UnreachableOverloaded) + 1

// Stats count what a client did since it was made. Flows that were started and not ended yet are
// FlowsAccepted + FlowsRejected + FlowsUnreachable - FlowsEnded.
type Stats struct {
	FlowsAccepted    uint64
	FlowsRejected    uint64
	FlowsUnreachable uint64
	// UnreachableByReason splits FlowsUnreachable; it is indexed by check.UnreachableReason.
	UnreachableByReason [UnreachableReasons]uint64
	FlowsEnded          uint64
	// FlowsNeverEnded counts flows whose caller was gone before it had ended them; they count as ended too.
	FlowsNeverEnded uint64
	// FlowEndsFailed counts flows whose FlowEnd failed: what they held stays taken until the policy's
	// max_inflight_duration has passed.
	FlowEndsFailed uint64
	// FlowsSanitised counts flows with a label that was not UTF-8 and was repaired.
	FlowsSanitised uint64
	// CacheCalls counts the calls of CacheLookup, CacheSet and CacheDelete, and CacheCallsFailed those of them for which
	// the agent could not be reached or answered with an error.
	CacheCalls       uint64
	CacheCallsFailed uint64
	SpansExported    uint64
	// SpansDropped counts spans that were lost: the queue was full, the agent refused them or stayed away, or the
	// client was closed.
	SpansDropped uint64
	// SpansQueued is the number of spans that wait now, or are under way.
	SpansQueued uint64
}

// flowCounts are what every flow counts in. Each thread counts in a stripe of its own, as far as that can be known, since
// threads that add to the same memory slow each other down.
type flowCounts struct {
	_       [64]byte // what is before it is read by every flow
	stripes [16]flowStripe
}

type flowStripe struct {
	accepted, rejected, ended atomic.Uint64
	_                         [40]byte
}

// pageBits is the size of the pages from which Go makes small objects. Each of its processors has one of its own.
const pageBits = 13

// of returns the stripe to count a flow in, which is the same as long as the flow lives.
func (counts *flowCounts) of(flow *Flow) *flowStripe {
	return &counts.stripes[uintptr(unsafe.Pointer(flow))>>pageBits%uintptr(len(counts.stripes))]
}

// counters are the counts of a client.
type counters struct {
	flows                 flowCounts
	endsFailed, sanitised atomic.Uint64
	neverEnded            atomic.Uint64
	cacheCalls            atomic.Uint64
	cacheCallsFailed      atomic.Uint64
	unreachable           [UnreachableReasons]atomic.Uint64
}

// Stats returns the counts so far. Each is exact; together they are not of one instant.
func (c *Client) Stats() Stats {
	stats := Stats{
		FlowsNeverEnded:  c.counts.neverEnded.Load(),
		FlowEndsFailed:   c.counts.endsFailed.Load(),
		FlowsSanitised:   c.counts.sanitised.Load(),
		CacheCalls:       c.counts.cacheCalls.Load(),
		CacheCallsFailed: c.counts.cacheCallsFailed.Load(),
	}
	for i := range c.counts.flows.stripes {
		stripe := &c.counts.flows.stripes[i]
		stats.FlowsAccepted += stripe.accepted.Load()
		stats.FlowsRejected += stripe.rejected.Load()
		stats.FlowsEnded += stripe.ended.Load()
	}
	for reason := range c.counts.unreachable {
		stats.UnreachableByReason[reason] = c.counts.unreachable[reason].Load()
		stats.FlowsUnreachable += stats.UnreachableByReason[reason]
	}
	if c.telemetry != nil {
		stats.SpansExported, stats.SpansDropped, stats.SpansQueued = c.telemetry.counts()
	}
	return stats
}
