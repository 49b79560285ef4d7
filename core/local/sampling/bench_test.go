package sampling

import (
	"fmt"
	"testing"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

func BenchmarkDecide(b *testing.B) {
	ramp := &policy.Ramp{Start: true}
	for i := range 10 {
		ramp.Steps = append(ramp.Steps, policy.RampStep{TargetAcceptPercentage: float64(i), Duration: time.Hour})
	}
	labels := check.Labels{{Key: "tier", Value: "gold"}, {Key: "user_id", Value: "user-0001234"}}
	for _, benchmark := range []struct {
		name   string
		config policy.Sampler
	}{
		{"chance", policy.Sampler{AcceptPercentage: 50}},
		{"session", policy.Sampler{AcceptPercentage: 50, SessionLabelKey: "user_id"}},
		{"ramp", policy.Sampler{Ramp: ramp, SessionLabelKey: "user_id"}},
	} {
		now := int64(5 * time.Hour)
		b.Run(benchmark.name, func(b *testing.B) {
			sampler := New(benchmark.config, 0, Options{})
			b.ReportAllocs()
			for b.Loop() {
				sampler.Decide(now, labels)
			}
		})
		b.Run(fmt.Sprintf("%s/parallel", benchmark.name), func(b *testing.B) {
			sampler := New(benchmark.config, 0, Options{})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					sampler.Decide(now, labels)
				}
			})
		})
	}
}
