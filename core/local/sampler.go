package local

import (
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/local/sampling"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// sampler admits a share of the flows, constant or along a load ramp.
type sampler struct {
	component
	*sampling.Sampler
}

func newSampler(from *policy.Policy, config policy.Sampler, now int64) *sampler {
	s := &sampler{Sampler: sampling.New(config, now, sampling.Options{})}
	s.init(from, config.Component)
	return s
}

func (s *sampler) decide(now int64, labels check.Labels, decision *limiterDecision) {
	decision.by = s
	decision.dropped = !s.Decide(now, labels)
}

// revert does nothing: a share is not used up.
func (s *sampler) revert(int64, *limiterDecision) {}

func (s *sampler) describe(decision *limiterDecision, labels check.Labels) *checkv1.LimiterDecision {
	message := s.message(decision)
	message.Details = &checkv1.LimiterDecision_SamplerInfo_{
		SamplerInfo: &checkv1.LimiterDecision_SamplerInfo{Label: s.Label(labels)},
	}
	return message
}

func (s *sampler) maxIdle() time.Duration { return 0 }

func (s *sampler) sweep(int64) {}

func (s *sampler) snapshot(now int64) ComponentSnapshot {
	snapshot := s.counted(KindSampler)
	snapshot.Accepted, snapshot.Rejected = s.Counts()
	percentage := s.Percentage(now)
	snapshot.AcceptPercentage = &percentage
	return snapshot
}
