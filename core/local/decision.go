package local

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

const (
	controlPointTypeLabel = "aperture.control_point_type"
	// controlPointType is that of flows which an SDK starts.
	controlPointType = "feature"
)

// flowDecision is a decision about a flow, from which its message can be made at any time. It keeps the request's
// labels, as check.Request allows.
type flowDecision struct {
	services     []string
	controlPoint string
	labels       check.Labels
	lookup       *checkv1.CacheLookupRequest
	start        time.Time
	duration     time.Duration

	rejected bool
	reason   check.RejectReason
	// deniedStatus and wait are set on rejections only.
	deniedStatus checkv1.StatusCode
	wait         time.Duration

	limiters []limiterDecision
	// inline holds the limiters' decisions of most flows, so that they need no memory of their own.
	inline [1]limiterDecision
}

// limiterDecision is what one limiter decided.
type limiterDecision struct {
	limiter                      *rateLimiter
	value                        string
	wait                         time.Duration
	remaining, current, consumed float64
	reason                       checkv1.LimiterDecision_LimiterReason
	dropped                      bool
}

// add returns the place for one more limiter's decision.
func (decision *flowDecision) add() *limiterDecision {
	decision.limiters = append(decision.limiters, limiterDecision{})
	return &decision.limiters[len(decision.limiters)-1]
}

// answer returns the decision in the client's terms.
func (decision *flowDecision) answer() check.Answer {
	return check.Answer{
		Rejected:     decision.rejected,
		RejectReason: decision.reason,
		DeniedStatus: int32(decision.deniedStatus),
		WaitTime:     decision.wait,
		HasWaitTime:  decision.wait > 0,
		Response:     decision,
	}
}

// CheckResponse makes the decision's message, a new one with each call.
func (decision *flowDecision) CheckResponse() *checkv1.CheckResponse {
	labels := decision.labels.Map()
	keys := make([]string, 0, len(labels))
	for key := range labels {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	labels[controlPointTypeLabel] = controlPointType
	response := &checkv1.CheckResponse{
		Start:                    timestamppb.New(decision.start),
		End:                      timestamppb.New(decision.start.Add(decision.duration)),
		Services:                 decision.services,
		ControlPoint:             decision.controlPoint,
		FlowLabelKeys:            keys,
		TelemetryFlowLabels:      labels,
		RejectReason:             checkv1.CheckResponse_RejectReason(decision.reason),
		DeniedResponseStatusCode: decision.deniedStatus,
		// The client ends every flow itself.
		ExpectEnd: true,
	}
	if decision.rejected {
		response.DecisionType = checkv1.CheckResponse_DECISION_TYPE_REJECTED
	} else {
		response.CacheLookupResponse = missed(decision.lookup) // a flow that is rejected never comes to the caches
	}
	if decision.wait > 0 {
		response.WaitTime = durationpb.New(decision.wait)
	}
	for i := range decision.limiters {
		response.LimiterDecisions = append(response.LimiterDecisions, decision.limiters[i].message())
	}
	return response
}

func (decision *limiterDecision) message() *checkv1.LimiterDecision {
	limiter := decision.limiter
	label := ""
	if decision.reason == checkv1.LimiterDecision_LIMITER_REASON_UNSPECIFIED {
		label = limiter.label(decision.value)
	}
	return &checkv1.LimiterDecision{
		PolicyName:               limiter.policyName,
		PolicyHash:               limiter.policyHash,
		ComponentId:              limiter.componentID,
		Dropped:                  decision.dropped,
		Reason:                   decision.reason,
		DeniedResponseStatusCode: limiter.config.DeniedStatus,
		WaitTime:                 durationpb.New(decision.wait),
		Details: &checkv1.LimiterDecision_RateLimiterInfo_{RateLimiterInfo: &checkv1.LimiterDecision_RateLimiterInfo{
			Label: label,
			TokensInfo: &checkv1.LimiterDecision_TokensInfo{
				Remaining: decision.remaining,
				Current:   decision.current,
				Consumed:  decision.consumed,
			},
		}},
	}
}
