package local

import (
	"time"

	"github.com/libaperture/libaperture/core/local/bucket"
	"github.com/libaperture/libaperture/core/local/fairqueue"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func newQuotaScheduler(from *policy.Policy, config policy.QuotaScheduler, engine *Engine) *scheduler {
	quota := &quota{buckets: newBuckets(&config.TokenBucket, engine.options.MaxLabels), idle: config.MaxIdleTime}
	return newScheduler(from, config.Component, limitKey{config.LimitByLabelKey, config.PassThrough}, config.Scheduler, quota, engine)
}

// quota are the buckets of a quota scheduler. A flow that has the turn takes its tokens before they are there, and waits
// until they are.
type quota struct {
	buckets *bucket.Table
	idle    time.Duration
}

func (q *quota) Take(now int64, label string, n float64) fairqueue.Grant {
	return granted(q.buckets.Take(now, label, n))
}

func (q *quota) Await(now int64, label string, n float64, limit time.Duration, _ func()) (fairqueue.Grant, fairqueue.Turn) {
	taken := q.buckets.Reserve(now, label, n, limit)
	return granted(taken), fairqueue.Turn{After: taken.Wait}
}

func granted(taken bucket.Taken) fairqueue.Grant {
	return fairqueue.Grant{OK: taken.OK, Remaining: taken.Remaining, Current: taken.Current}
}

// Leave does nothing: who has the turn has its tokens.
func (q *quota) Leave(string) {}

func (q *quota) Return(now int64, label string, n float64, _ fairqueue.Grant) {
	q.buckets.GiveBack(now, label, n)
}

func (q *quota) details(message *checkv1.LimiterDecision, decision *limiterDecision, label string) {
	info := &checkv1.LimiterDecision_QuotaSchedulerInfo{
		Label: label, WorkloadIndex: decision.workload, Priority: decision.priority,
	}
	if decision.scheduled {
		info.TokensInfo = decision.tokensInfo()
	}
	message.Details = &checkv1.LimiterDecision_QuotaSchedulerInfo_{QuotaSchedulerInfo: info}
}

func (q *quota) maxIdle() time.Duration { return q.idle }

func (q *quota) sweep(now int64) { q.buckets.Sweep(now) }
