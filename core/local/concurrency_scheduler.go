package local

import (
	"log/slog"
	"time"

	"github.com/libaperture/libaperture/core/local/fairqueue"
	"github.com/libaperture/libaperture/core/local/inflight"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/internal/guard"
)

// concurrencyScheduler lets flows wait until fewer are in flight.
type concurrencyScheduler struct {
	*scheduler
	counts *inflight.Table
}

func newConcurrencyScheduler(from *policy.Policy, config policy.ConcurrencyScheduler, engine *Engine) *concurrencyScheduler {
	counts := newCounts(&config.InFlight, engine.options.MaxLabels)
	store := &concurrency{counts: counts, most: config.MaxConcurrency, idle: sweptAfter(&config.InFlight), logger: engine.options.Logger}
	limit := limitKey{config.LimitByLabelKey, config.PassThrough}
	s := &concurrencyScheduler{newScheduler(from, config.Component, limit, config.Scheduler, store, engine), counts}
	s.self = s
	return s
}

// newCounts returns the counts that a component describes.
func newCounts(config *policy.InFlight, maxLabels int) *inflight.Table {
	return inflight.New(inflight.Parameters{
		MaxConcurrency: config.MaxConcurrency,
		Lifetime:       config.MaxInflightDuration,
		MaxIdle:        config.MaxIdleTime,
	}, maxLabels)
}

func (s *concurrencyScheduler) label(value string) string { return s.limit.label(value) }

func (s *concurrencyScheduler) inFlight(now int64) int { return inFlightIn(s.counts, now) }

func (s *concurrencyScheduler) end(now int64, label, requestID string) bool {
	return endIn(s.counts, s.limit, now, label, requestID)
}

// sweptAfter returns after which time there is something to sweep: flows that were in flight for too long are, also where
// no label value is ever forgotten.
func sweptAfter(config *policy.InFlight) time.Duration {
	if config.MaxIdleTime == 0 {
		return config.MaxInflightDuration
	}
	return min(config.MaxIdleTime, config.MaxInflightDuration)
}

// inFlightIn returns how many flows are in flight in the counts of a component.
func inFlightIn(counts *inflight.Table, now int64) int {
	counts.Sweep(now) // what has expired counts no more
	return counts.Counts().InFlight
}

// endIn gives back what a flow holds in the counts of a component.
func endIn(counts *inflight.Table, limit limitKey, now int64, label, requestID string) bool {
	value, ok := limit.named(label)
	return ok && counts.Return(now, value, requestID)
}

// concurrency are the counts of a concurrency scheduler.
type concurrency struct {
	counts *inflight.Table
	most   float64
	idle   time.Duration
	logger *slog.Logger
}

func (c *concurrency) Take(now int64, label string, n float64) fairqueue.Grant {
	return admitted(c.counts.Take(now, label, n))
}

func (c *concurrency) Await(now int64, label string, n float64, _ time.Duration, wake func()) (fairqueue.Grant, fairqueue.Turn) {
	taken := c.counts.TakeOrWait(now, label, n, func() {
		// Whoever has made the room may hold the lock of a queue.
		guard.Go(c.logger, "local.queue.wake", wake, func(any) { wake() }, nil)
	})
	return admitted(taken), fairqueue.Turn{After: taken.NextExpiry, Later: taken.Waiting}
}

func admitted(taken inflight.Taken) fairqueue.Grant {
	return fairqueue.Grant{OK: taken.OK, Remaining: taken.Remaining, Current: taken.Current, ID: taken.ID}
}

func (c *concurrency) Leave(label string) { _ = c.counts.StopWaiting(label) }

// Return is called for the flows that another component has rejected: of those that have the turn none is promised
// anything.
func (c *concurrency) Return(now int64, label string, _ float64, grant fairqueue.Grant) {
	c.counts.Return(now, label, grant.ID)
}

func (c *concurrency) details(message *checkv1.LimiterDecision, decision *limiterDecision, label string) {
	info := &checkv1.LimiterDecision_ConcurrencySchedulerInfo{
		Label: label, WorkloadIndex: decision.workload, Priority: decision.priority, RequestId: decision.requestID,
	}
	if decision.scheduled {
		info.TokensInfo = decision.tokensInfo()
	}
	message.Details = &checkv1.LimiterDecision_ConcurrencySchedulerInfo_{ConcurrencySchedulerInfo: info}
}

func (c *concurrency) maxIdle() time.Duration { return c.idle }

func (c *concurrency) sweep(now int64) { c.counts.Sweep(now) }
