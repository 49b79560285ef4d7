package local

import (
	"slices"
	"sync/atomic"
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

// flowDecision is a decision about a flow, from which its message can be made at any time.
type flowDecision struct {
	engine      *Engine
	request     *check.Request
	cacheLookup *checkv1.CacheLookupResponse // nil when nothing was looked up
	// By the engine's clock. A decision that needed no wait has its start as its end: to read the clock once more would
	// be a noticeable part of its cost.
	start, end int64

	// deniedStatus and wait are set on rejections only.
	wait         time.Duration
	deniedStatus checkv1.StatusCode
	reason       check.RejectReason
	rejected     bool

	message atomic.Pointer[checkv1.CheckResponse]

	limiters []limiterDecision
	// inline holds the decisions of most flows, so that they need no memory of their own.
	inline [1]limiterDecision
}

// limiterDecision is what one component decided.
type limiterDecision struct {
	by                           part
	value                        string // of the label by which the component keeps its state
	wait                         time.Duration
	remaining, current, consumed float64

	// requestID names what the flow holds in flight, or would hold had it not been dropped.
	requestID string

	// Of schedulers.
	priority float64
	workload string

	reason    checkv1.LimiterDecision_LimiterReason
	dropped   bool
	scheduled bool // false for a flow that passed a scheduler without tokens
}

// add returns the place for one more limiter's decision.
func (decision *flowDecision) add() *limiterDecision {
	decision.limiters = append(decision.limiters, limiterDecision{})
	return &decision.limiters[len(decision.limiters)-1]
}

// reject rejects the flow, if a component has dropped it: the status is that of the first one that names a status, in the
// order of the policies, and the wait is the longest.
func (decision *flowDecision) reject(group []limiterDecision, reason check.RejectReason, status checkv1.StatusCode) bool {
	dropped := false
	for i := range group {
		one := &group[i]
		decision.wait = max(decision.wait, one.wait)
		if !one.dropped {
			continue
		}
		dropped = true
		if decision.deniedStatus == checkv1.StatusCode_Empty {
			decision.deniedStatus = one.by.common().config.DeniedStatus
		}
	}
	if !dropped {
		decision.wait = 0
		return false
	}
	decision.rejected = true
	decision.reason = reason
	if decision.deniedStatus == checkv1.StatusCode_Empty {
		decision.deniedStatus = status
	}
	return true
}

// revert takes back what the components of a group have admitted.
func revert(now int64, group []limiterDecision) {
	for i := range group {
		group[i].by.revert(now, &group[i])
	}
}

// answer returns the decision in the client's terms.
func (decision *flowDecision) answer() check.Answer {
	return check.Answer{
		Rejected:     decision.rejected,
		RejectReason: decision.reason,
		DeniedStatus: int32(decision.deniedStatus),
		WaitTime:     decision.wait,
		HasWaitTime:  decision.wait > 0,
		InFlight:     decision.inFlight(),
		CacheLookup:  decision.cacheLookup,
		Response:     decision,
	}
}

// inFlight returns what the flow holds. A flow that a later group rejected keeps what earlier groups have admitted.
func (decision *flowDecision) inFlight() []*checkv1.InflightRequestRef {
	var references []*checkv1.InflightRequestRef
	for i := range decision.limiters {
		one := &decision.limiters[i]
		if one.requestID == "" || one.dropped {
			continue
		}
		holder, ok := one.by.(flowEnder)
		if !ok {
			continue
		}
		by := one.by.common()
		references = append(references, &checkv1.InflightRequestRef{
			PolicyName:  by.policy,
			PolicyHash:  by.hash,
			ComponentId: by.component,
			Label:       holder.label(one.value),
			RequestId:   one.requestID,
			Tokens:      one.consumed,
		})
	}
	return references
}

// CheckResponse returns the decision's message, which is made when it is asked for first.
func (decision *flowDecision) CheckResponse() *checkv1.CheckResponse {
	if decision.message.Load() == nil {
		decision.message.CompareAndSwap(nil, decision.makeMessage())
	}
	return decision.message.Load()
}

func (decision *flowDecision) makeMessage() *checkv1.CheckResponse {
	labels := decision.request.Labels.Map()
	keys := make([]string, 0, len(labels))
	for key := range labels {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	labels[controlPointTypeLabel] = controlPointType
	start := decision.engine.wallTime(decision.start)
	response := &checkv1.CheckResponse{
		Start:                    timestamppb.New(start),
		End:                      timestamppb.New(start.Add(time.Duration(decision.end - decision.start))),
		Services:                 decision.engine.options.Services,
		ControlPoint:             decision.request.ControlPoint,
		FlowLabelKeys:            keys,
		TelemetryFlowLabels:      labels,
		RejectReason:             checkv1.CheckResponse_RejectReason(decision.reason),
		DeniedResponseStatusCode: decision.deniedStatus,
		// The client ends every flow itself.
		ExpectEnd:           true,
		CacheLookupResponse: decision.cacheLookup,
	}
	if decision.rejected {
		response.DecisionType = checkv1.CheckResponse_DECISION_TYPE_REJECTED
	}
	if decision.wait > 0 {
		response.WaitTime = durationpb.New(decision.wait)
	}
	for i := range decision.limiters {
		one := &decision.limiters[i]
		response.LimiterDecisions = append(response.LimiterDecisions, one.by.describe(one, decision.request.Labels))
	}
	return response
}

// tokensInfo returns the figures of a decision.
func (decision *limiterDecision) tokensInfo() *checkv1.LimiterDecision_TokensInfo {
	return &checkv1.LimiterDecision_TokensInfo{
		Remaining: decision.remaining,
		Current:   decision.current,
		Consumed:  decision.consumed,
	}
}
