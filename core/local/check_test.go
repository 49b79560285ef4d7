package local

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The policies of these tests are about the control point "checkout", and keep one state unless they say otherwise.

func everywhere(id string) policy.Component {
	return policy.Component{ID: id, Selectors: []policy.Selector{{ControlPoint: "checkout", Service: policy.AnyService}}}
}

func buckets(capacity, perSecond float64) policy.TokenBucket {
	return policy.TokenBucket{BucketCapacity: capacity, FillAmount: perSecond, Interval: time.Second, ContinuousFill: true}
}

func equal() policy.Scheduler {
	return policy.Scheduler{DefaultWorkload: policy.WorkloadParameters{Priority: 1, Tokens: 1}, TokensLabelKey: "tokens"}
}

func quotaPolicy(capacity, perSecond float64) policy.Policy {
	return policy.Policy{Name: "quota", Hash: "h", QuotaSchedulers: []policy.QuotaScheduler{{
		Component: everywhere("root.0"), TokenBucket: buckets(capacity, perSecond), Scheduler: equal(),
	}}}
}

func concurrencyPolicy(most float64) policy.Policy {
	return policy.Policy{Name: "concurrency", Hash: "h", ConcurrencySchedulers: []policy.ConcurrencyScheduler{{
		Component: everywhere("root.0"),
		InFlight:  policy.InFlight{MaxConcurrency: most, MaxInflightDuration: 10 * time.Second},
		Scheduler: equal(),
	}}}
}

func engineOf(t *testing.T, policies ...policy.Policy) *Engine {
	t.Helper()
	engine := newEngine(policies, nil, Options{})
	t.Cleanup(func() { assert.NoError(t, engine.Close()) })
	return engine
}

// ask starts a flow that may wait for at most a time, and returns its message.
func askFor(t *testing.T, engine *Engine, timeout time.Duration, labels ...check.Label) (*checkv1.CheckResponse, check.Answer) {
	t.Helper()
	answer, err := engine.Check(t.Context(), &check.Request{ControlPoint: "checkout", Labels: labels, Timeout: timeout})
	require.NoError(t, err)
	return answer.Response.CheckResponse(), answer
}

func end(t *testing.T, engine *Engine, answer check.Answer) []bool {
	t.Helper()
	response, err := engine.FlowEnd(t.Context(), &checkv1.FlowEndRequest{ControlPoint: "checkout", InflightRequests: answer.InFlight}, time.Second)
	require.NoError(t, err)
	var returned []bool
	for _, status := range response.GetTokenReturnStatuses() {
		assert.Empty(t, status.GetError())
		returned = append(returned, status.GetReturned())
	}
	return returned
}

// figures are the outcome of a flow: the milliseconds it has waited, whether it was accepted, and the tokens.
type figures struct {
	waited    int64
	accepted  bool
	remaining float64
	current   float64
	consumed  float64
}

func quotaFigures(t *testing.T, engine *Engine, timeout time.Duration, labels ...check.Label) figures {
	t.Helper()
	start := time.Now()
	response, _ := askFor(t, engine, timeout, labels...)
	require.Len(t, response.GetLimiterDecisions(), 1)
	decision := response.GetLimiterDecisions()[0]
	tokens := decision.GetQuotaSchedulerInfo().GetTokensInfo()
	if info := decision.GetConcurrencySchedulerInfo(); info != nil {
		tokens = info.GetTokensInfo()
	}
	assert.Equal(t, decision.GetDropped(), response.GetDecisionType() == checkv1.CheckResponse_DECISION_TYPE_REJECTED)
	return figures{time.Since(start).Milliseconds(), !decision.GetDropped(), tokens.GetRemaining(), tokens.GetCurrent(), tokens.GetConsumed()}
}

// Trace C1 of the specification: a bucket of 5, with 5 a second.
func TestQuotaSchedulerTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := engineOf(t, quotaPolicy(5, 5))
		assert.Equal(t, figures{0, true, 4, 1, 1}, quotaFigures(t, engine, 20*time.Millisecond))
		assert.Equal(t, figures{0, true, 0, 0, 0}, quotaFigures(t, engine, time.Second, check.Label{Key: "tokens", Value: "0"}))
		for left := 3.0; left >= 0; left-- {
			assert.Equal(t, figures{0, true, left, 5 - left, 1}, quotaFigures(t, engine, time.Second))
		}
		for range 3 {
			got := quotaFigures(t, engine, time.Second)
			assert.Equal(t, figures{200, true, -1, 6, 1}, got)
		}
		assert.Equal(t, figures{0, false, 0, 5, 0}, quotaFigures(t, engine, 199*time.Millisecond), "the tokens cannot come in time")
		assert.Equal(t, figures{0, false, 0, 5, 0}, quotaFigures(t, engine, 0))
		time.Sleep(200 * time.Millisecond)
		assert.Equal(t, figures{0, true, 0, 5, 1}, quotaFigures(t, engine, 0), "what is there is had without a wait (D2)")
	})
}

// Trace C2 as it should be: a flow waits for as long as it may (D3, D4), and is woken by the end of another.
func TestConcurrencySchedulerTrace(t *testing.T) {
	for _, timeout := range []time.Duration{15, 100, 500, 1000, 3000} {
		t.Run(fmt.Sprint(int(timeout)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := engineOf(t, concurrencyPolicy(1))
				assert.Equal(t, figures{0, true, 1, 0, 1}, quotaFigures(t, engine, time.Second))
				assert.Equal(t, figures{int64(timeout), false, 0, 1, 0}, quotaFigures(t, engine, timeout*time.Millisecond))
			})
		})
	}
	for _, after := range []time.Duration{20, 300, 900} {
		t.Run(fmt.Sprint("free after ", int(after)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := engineOf(t, concurrencyPolicy(1))
				_, first := askFor(t, engine, time.Second)
				require.Len(t, first.InFlight, 1)
				time.AfterFunc(after*time.Millisecond, func() { assert.Equal(t, []bool{true}, end(t, engine, first)) })
				assert.Equal(t, figures{int64(after), true, 1, 0, 1}, quotaFigures(t, engine, time.Second))
				assert.Equal(t, []bool{false}, end(t, engine, first), "a second end")
			})
		})
	}
	t.Run("free by its age", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			engine := engineOf(t, concurrencyPolicy(1))
			_, first := askFor(t, engine, time.Second)
			time.Sleep(9 * time.Second)
			got := quotaFigures(t, engine, 5*time.Second)
			assert.True(t, got.accepted)
			assert.InDelta(t, 1000, got.waited, 1)
			assert.Equal(t, []bool{false}, end(t, engine, first))
		})
	})
}

func TestMessagesOfSchedulers(t *testing.T) {
	limited := quotaPolicy(1, 0)
	limited.QuotaSchedulers[0].LimitByLabelKey = "user"
	limited.QuotaSchedulers[0].DeniedStatus = checkv1.StatusCode_PaymentRequired
	passing := quotaPolicy(1, 0)
	passing.Name = "passing"
	passing.QuotaSchedulers[0].PassThrough = true
	held := concurrencyPolicy(1)
	held.ConcurrencySchedulers[0].LimitByLabelKey = "user"
	engine := engineOf(t, limited, passing, held)

	response, answer := askFor(t, engine, 0, check.Label{Key: "user", Value: "alice"})
	require.Len(t, response.GetLimiterDecisions(), 3, "the concurrency scheduler is first")
	concurrency := response.GetLimiterDecisions()[0].GetConcurrencySchedulerInfo()
	assert.Equal(t, "user:alice", concurrency.GetLabel())
	assert.Equal(t, "default", concurrency.GetWorkloadIndex())
	assert.Equal(t, 1.0, concurrency.GetPriority())
	assert.NotEmpty(t, concurrency.GetRequestId())
	require.Len(t, answer.InFlight, 1)
	assert.Equal(t, &checkv1.InflightRequestRef{
		PolicyName: "concurrency", PolicyHash: "h", ComponentId: "root.0", Label: "user:alice", RequestId: concurrency.GetRequestId(), Tokens: 1,
	}, answer.InFlight[0])
	quota := response.GetLimiterDecisions()[1]
	assert.Equal(t, "user:alice", quota.GetQuotaSchedulerInfo().GetLabel())
	assert.Equal(t, checkv1.StatusCode_PaymentRequired, quota.GetDeniedResponseStatusCode())
	assert.Nil(t, quota.GetWaitTime())
	passed := response.GetLimiterDecisions()[2]
	assert.Empty(t, passed.GetQuotaSchedulerInfo().GetLabel())
	assert.Equal(t, "default", passed.GetQuotaSchedulerInfo().GetWorkloadIndex())
	assert.Nil(t, passed.GetQuotaSchedulerInfo().GetTokensInfo())
	assert.Equal(t, checkv1.LimiterDecision_LIMITER_REASON_UNSPECIFIED, passed.GetReason())
	end(t, engine, answer)

	response, answer = askFor(t, engine, 0, check.Label{Key: "user", Value: "alice"})
	assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, response.GetRejectReason())
	assert.Equal(t, checkv1.StatusCode_PaymentRequired, response.GetDeniedResponseStatusCode())
	assert.Nil(t, response.GetWaitTime())
	require.Len(t, answer.InFlight, 1, "what an earlier group has admitted stays with the flow (D11)")
	assert.Equal(t, []bool{true}, end(t, engine, answer))

	response, answer = askFor(t, engine, 0)
	assert.Equal(t, checkv1.CheckResponse_DECISION_TYPE_ACCEPTED, response.GetDecisionType())
	assert.Empty(t, answer.InFlight)
	for _, one := range response.GetLimiterDecisions()[:2] {
		assert.Equal(t, checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND, one.GetReason())
		assert.Nil(t, one.GetQuotaSchedulerInfo().GetTokensInfo())
		assert.Nil(t, one.GetConcurrencySchedulerInfo().GetTokensInfo())
	}
}

func TestWorkloads(t *testing.T) {
	zero := time.Duration(0)
	config := quotaPolicy(100, 0)
	config.QuotaSchedulers[0].Scheduler = policy.Scheduler{
		Workloads: []policy.Workload{
			{
				Label: "gold", Matcher: &policy.LabelMatcher{Labels: []policy.Label{{Key: "tier", Value: "gold"}}},
				WorkloadParameters: policy.WorkloadParameters{Priority: 10, Tokens: 2, QueueTimeout: &zero},
			},
			{
				Label: "1", Matcher: &policy.LabelMatcher{Requirements: []policy.Requirement{{Key: "tier", Operator: policy.Exists}}},
				WorkloadParameters: policy.WorkloadParameters{Priority: 3},
			},
		},
		DefaultWorkload: policy.WorkloadParameters{Priority: 1, Tokens: 4},
		TokensLabelKey:  "tokens", PriorityLabelKey: "priority", WorkloadLabelKey: "workload",
	}
	for name, test := range map[string]struct {
		labels   check.Labels
		workload string
		priority float64
		tokens   float64
	}{
		"none":                   {nil, "default", 1, 4},
		"first that matches":     {check.Labels{{Key: "tier", Value: "gold"}}, "gold", 10, 2},
		"by its index":           {check.Labels{{Key: "tier", Value: "iron"}}, "1", 3, 1},
		"a label's name":         {check.Labels{{Key: "tier", Value: "gold"}, {Key: "workload", Value: "mine"}}, "mine", 10, 2},
		"an empty name":          {check.Labels{{Key: "workload", Value: ""}}, "", 1, 4},
		"a label's tokens":       {check.Labels{{Key: "tokens", Value: "7.5"}}, "default", 1, 7.5},
		"tokens that are none":   {check.Labels{{Key: "tokens", Value: "NaN"}}, "default", 1, 4},
		"a label's priority":     {check.Labels{{Key: "priority", Value: "2.5"}}, "default", 2.5, 4},
		"a priority of 0":        {check.Labels{{Key: "priority", Value: "0"}}, "default", 1, 4},
		"a priority that's none": {check.Labels{{Key: "priority", Value: "high"}}, "default", 1, 4},
	} {
		t.Run(name, func(t *testing.T) {
			engine := engineOf(t, config)
			response, _ := askFor(t, engine, time.Second, test.labels...)
			info := response.GetLimiterDecisions()[0].GetQuotaSchedulerInfo()
			assert.Equal(t, test.workload, info.GetWorkloadIndex())
			assert.Equal(t, test.priority, info.GetPriority())
			assert.Equal(t, test.tokens, info.GetTokensInfo().GetConsumed())
		})
	}
}

func TestQueueTimeoutAndMargin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timeout := 300 * time.Millisecond
		config := concurrencyPolicy(1)
		config.ConcurrencySchedulers[0].DefaultWorkload.QueueTimeout = &timeout
		config.ConcurrencySchedulers[0].DecisionDeadlineMargin = 10 * time.Millisecond
		engine := engineOf(t, config)
		askFor(t, engine, 0)
		assert.Equal(t, int64(300), quotaFigures(t, engine, time.Second).waited)
		assert.Equal(t, int64(100), quotaFigures(t, engine, 100*time.Millisecond).waited)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		answer, err := engine.Check(ctx, &check.Request{ControlPoint: "checkout", Timeout: time.Second})
		require.NoError(t, err, "a deadline decides")
		assert.True(t, answer.Rejected)
		assert.Equal(t, 50*time.Millisecond, time.Since(start))

		remote := newEngine([]policy.Policy{config}, nil, Options{Remote: true})
		defer remote.Close()
		askFor(t, remote, time.Second)
		assert.Equal(t, int64(90), quotaFigures(t, remote, 100*time.Millisecond).waited, "the answer must arrive in time")
	})
}

// What a later group rejects keeps the tokens of earlier ones; within a group they go back (section 4).
func TestReverts(t *testing.T) {
	rate := policy.RateLimiter{Component: everywhere("root.0"), TokenBucket: buckets(10, 0)}
	empty := policy.RateLimiter{Component: everywhere("root.1"), TokenBucket: buckets(0, 1)}
	roomy := quotaPolicy(10, 0).QuotaSchedulers[0]
	drained := quotaPolicy(0, 0.001).QuotaSchedulers[0]
	drained.ID = "root.9"
	engine := engineOf(t, policy.Policy{Name: "p", Hash: "h", RateLimiters: []policy.RateLimiter{rate}, QuotaSchedulers: []policy.QuotaScheduler{roomy, drained}})
	response, _ := askFor(t, engine, 0)
	assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, response.GetRejectReason())
	assert.Equal(t, checkv1.StatusCode_ServiceUnavailable, response.GetDeniedResponseStatusCode())
	require.Len(t, response.GetLimiterDecisions(), 3, "all decisions are told")
	response, _ = askFor(t, engine, 0)
	assert.Equal(t, 8.0, response.GetLimiterDecisions()[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining(), "stays taken")
	assert.Equal(t, 9.0, response.GetLimiterDecisions()[1].GetQuotaSchedulerInfo().GetTokensInfo().GetRemaining(), "went back")

	engine = engineOf(t, policy.Policy{Name: "p", Hash: "h", RateLimiters: []policy.RateLimiter{rate, empty}})
	for range 2 {
		response, _ = askFor(t, engine, 0)
		assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, response.GetRejectReason())
		assert.Equal(t, 9.0, response.GetLimiterDecisions()[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining(), "went back")
	}
}

// The components of a group are asked side by side: the rejection by one ends the wait for the other at once.
func TestRejectionEndsTheWaitForAnother(t *testing.T) {
	for _, order := range []string{"fast first", "slow first"} {
		t.Run(order, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := concurrencyPolicy(1).ConcurrencySchedulers[0]
				fast := concurrencyPolicy(1).ConcurrencySchedulers[0]
				roomy := concurrencyPolicy(5).ConcurrencySchedulers[0]
				timeout := 100 * time.Millisecond
				fast.ID, fast.DefaultWorkload.QueueTimeout = "root.1", &timeout
				roomy.ID = "root.2"
				group := []policy.ConcurrencyScheduler{roomy, slow, fast}
				if order == "fast first" {
					group = []policy.ConcurrencyScheduler{fast, slow, roomy}
				}
				engine := engineOf(t, policy.Policy{Name: "p", Hash: "h", ConcurrencySchedulers: group})
				_, first := askFor(t, engine, 0)
				require.False(t, first.Rejected)
				start := time.Now()
				second, answer := askFor(t, engine, time.Second)
				assert.Equal(t, 100*time.Millisecond, time.Since(start))
				assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, second.GetRejectReason())
				assert.Len(t, second.GetLimiterDecisions(), 3)
				assert.Equal(t, []bool{false}, end(t, engine, answer), "what was admitted beside the rejection went back")
				assert.Equal(t, []bool{true, true, true}, end(t, engine, first))
				for _, one := range engine.Snapshot().Components {
					assert.Zero(t, one.InFlight.Flows)
					assert.Zero(t, one.Queue.Waiting)
				}
			})
		})
	}
}

func TestCancelGivesBackAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := concurrencyPolicy(5)
		config.QuotaSchedulers = quotaPolicy(1, 0.1).QuotaSchedulers
		config.RateLimiters = []policy.RateLimiter{{Component: everywhere("root.2"), TokenBucket: buckets(10, 0)}}
		engine := engineOf(t, config)
		_, first := askFor(t, engine, 0)
		require.False(t, first.Rejected)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := engine.Check(ctx, &check.Request{ControlPoint: "checkout", Timeout: time.Hour})
		assert.Equal(t, time.Second, time.Since(start))
		unreachable := &check.UnreachableError{}
		require.ErrorAs(t, err, &unreachable)
		assert.Equal(t, check.UnreachableCancelled, unreachable.Reason)
		for _, one := range engine.Snapshot().Components {
			if one.InFlight != nil {
				assert.Equal(t, 1, one.InFlight.Flows)
			}
		}
		time.Sleep(9 * time.Second)
		response, _ := askFor(t, engine, 0)
		assert.Equal(t, 8.0, response.GetLimiterDecisions()[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining())
		assert.Equal(t, checkv1.CheckResponse_DECISION_TYPE_ACCEPTED, response.GetDecisionType(), "the token came at 10 s")
	})
}

func TestWaitingFlowsHaveNoGoroutine(t *testing.T) {
	const flows = 10_000
	engine := engineOf(t, concurrencyPolicy(1))
	_, holder := askFor(t, engine, 0)
	var order []int
	var mu sync.Mutex
	reasons := make(map[check.UnreachableReason]int)
	waiting := make([]check.Waiting, flows)
	before := runtime.NumGoroutine()
	for i := range flows {
		request := &check.Request{ControlPoint: "checkout", Timeout: time.Hour}
		_, wait, err := engine.Start(request, func(answer check.Answer, err error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
			unreachable := &check.UnreachableError{}
			if assert.ErrorAs(t, err, &unreachable) {
				reasons[unreachable.Reason]++
			}
		})
		require.NoError(t, err)
		require.NotNil(t, wait)
		waiting[i] = wait
	}
	assert.Less(t, runtime.NumGoroutine(), before+10)
	assert.Equal(t, flows, engine.Snapshot().Components[0].Queue.Waiting)
	for i := range flows / 2 {
		waiting[i].Cancel()
		waiting[i].Cancel()
	}
	require.NoError(t, engine.Close())
	require.Len(t, order, flows)
	for i, flow := range order {
		require.Equal(t, i, flow, "in their order")
	}
	assert.Equal(t, map[check.UnreachableReason]int{check.UnreachableCancelled: flows / 2, check.UnreachableClosed: flows / 2}, reasons)
	_, err := engine.FlowEnd(t.Context(), &checkv1.FlowEndRequest{InflightRequests: holder.InFlight}, time.Second)
	assert.Error(t, err)
}

func TestStartDecidesAtOnce(t *testing.T) {
	engine := engineOf(t, quotaPolicy(1, 0))
	for _, rejected := range []bool{false, true} {
		answer, waiting, err := engine.Start(&check.Request{ControlPoint: "checkout"}, func(check.Answer, error) { t.Error("told twice") })
		require.NoError(t, err)
		assert.Nil(t, waiting)
		assert.Equal(t, rejected, answer.Rejected)
	}
	_, waiting, err := engine.Start(&check.Request{ControlPoint: "elsewhere"}, nil)
	require.NoError(t, err)
	assert.Nil(t, waiting)
}

// However flows come, go and give up, no more are in flight than may be, and in the end nothing is.
func TestManyFlowsAtOnce(t *testing.T) {
	config := concurrencyPolicy(3)
	config.QuotaSchedulers = quotaPolicy(5, 20_000).QuotaSchedulers
	engine := engineOf(t, config)
	var running, most, ran atomic.Int64
	var group sync.WaitGroup
	for worker := range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if (worker+i)%5 == 0 {
					go cancel()
				}
				answer, err := engine.Check(ctx, &check.Request{ControlPoint: "checkout", Timeout: time.Duration(i%4) * time.Millisecond})
				if err == nil && !answer.Rejected {
					most.Store(max(most.Load(), running.Add(1)))
					ran.Add(1)
					runtime.Gosched()
					running.Add(-1)
				}
				if err == nil {
					end(t, engine, answer)
				}
				cancel()
			}
		}()
	}
	group.Wait()
	assert.LessOrEqual(t, most.Load(), int64(3))
	assert.Positive(t, ran.Load())
	for _, one := range engine.Snapshot().Components {
		assert.Zero(t, one.Queue.Waiting)
		if one.InFlight != nil {
			assert.Zero(t, one.InFlight.Flows)
		}
	}
}
