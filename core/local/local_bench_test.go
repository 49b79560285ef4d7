package local

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

// The benchmarks are for profiles of the engine alone; bench/ratios.py compares whole flows with others.

func benchmarkEngine(b *testing.B) *Engine {
	b.Helper()
	engine := newEngine([]policy.Policy{{
		Name: "benchmark", Hash: "0", RateLimiters: []policy.RateLimiter{{
			Component: policy.Component{
				ID:        "root.0",
				Selectors: []policy.Selector{{ControlPoint: "checkout", Service: policy.AnyService}},
			},
			TokenBucket: policy.TokenBucket{
				BucketCapacity:  10,
				FillAmount:      1e6,
				Interval:        time.Second,
				ContinuousFill:  true,
				MaxIdleTime:     2 * time.Hour,
				LimitByLabelKey: "user_id",
			},
		}},
	}}, nil, Options{MaxLabels: DefaultMaxLabels})
	b.Cleanup(func() { _ = engine.Close() })
	return engine
}

// flow is a request with a key that changes. The key's text is written in place, since a service has just made its
// labels when it starts a flow, and the cost of reading cold text is not the engine's.
type flow struct {
	check.Request
	labels [2]check.Label
	key    [12]byte
}

func newFlow() *flow {
	f := &flow{labels: [2]check.Label{{Key: "tier", Value: "gold"}, {Key: "user_id"}}, key: [12]byte([]byte("user-0000000"))}
	f.labels[1].Value = unsafe.String(&f.key[0], len(f.key))
	f.Request = check.Request{ControlPoint: "checkout", Labels: f.labels[:], Timeout: 200 * time.Millisecond}
	return f
}

// visit sets the key of a step, in an order that caches cannot guess.
func (f *flow) visit(step, keys int) {
	id := uint64(step) * 0x9e3779b97f4a7c15 >> 20 % uint64(keys)
	for i := len(f.key) - 1; i >= len("user-"); i-- {
		f.key[i] = byte('0' + id%10)
		id /= 10
	}
}

func (f *flow) check(b *testing.B, engine *Engine) {
	if _, err := engine.Check(context.Background(), &f.Request); err != nil {
		b.Error(err)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		b.Run("keys="+strconv.Itoa(keys), func(b *testing.B) {
			engine, f := benchmarkEngine(b), newFlow()
			for i := range keys * 4 {
				f.visit(i, keys)
				f.check(b, engine)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				f.visit(i, keys)
				f.check(b, engine)
			}
		})
	}
}

func BenchmarkCheckParallel(b *testing.B) {
	const keys = 10_000
	engine := benchmarkEngine(b)
	b.ReportAllocs()
	var workers atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		f := newFlow()
		for i := int(workers.Add(1)) << 32; pb.Next(); i++ {
			f.visit(i, keys)
			f.check(b, engine)
		}
	})
}

func BenchmarkCheckResponse(b *testing.B) {
	engine, f := benchmarkEngine(b), newFlow()
	answer, err := engine.Check(b.Context(), &f.Request)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = answer.Response.CheckResponse()
	}
}
