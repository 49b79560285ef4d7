package agent

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// response is an agent's message as a check.Responder.
type response checkv1.CheckResponse

// CheckResponse returns the message as it came.
func (r *response) CheckResponse() *checkv1.CheckResponse { return (*checkv1.CheckResponse)(r) }

// answer reads an agent's message. What makes no sense in it is taken as unset, save for the decision itself.
func answer(message *checkv1.CheckResponse) (check.Answer, error) {
	a := check.Answer{
		InFlight:    inFlight(message.GetLimiterDecisions()),
		CacheLookup: message.GetCacheLookupResponse(),
		Response:    (*response)(message),
	}
	switch message.GetDecisionType() {
	case checkv1.CheckResponse_DECISION_TYPE_ACCEPTED:
		return a, nil
	case checkv1.CheckResponse_DECISION_TYPE_REJECTED:
		a.Rejected = true
	default:
		return check.Answer{InFlight: a.InFlight}, &check.UnreachableError{
			Reason: check.UnreachableAgentError,
			Err:    fmt.Errorf("the agent answered with decision %d, which is neither accepted nor rejected", message.GetDecisionType()),
		}
	}
	if reason := check.RejectReason(message.GetRejectReason()); reason >= check.RejectReasonNone && reason <= check.RejectReasonNoMatchingRamp {
		a.RejectReason = reason
	}
	if code := int32(message.GetDeniedResponseStatusCode()); code >= 100 && code <= 599 {
		a.DeniedStatus = code
	}
	if wait := message.GetWaitTime(); isWait(wait) {
		a.WaitTime, a.HasWaitTime = wait.AsDuration(), true
	}
	return a, nil
}

// isWait says whether a duration is set and one that can be waited for.
func isWait(wait *durationpb.Duration) bool {
	return wait != nil && wait.IsValid() && wait.AsDuration() >= 0
}

// inFlight returns what the flow holds. A decision that dropped the flow holds nothing, although the agent gives it a
// request id; neither does one whose label the flow does not carry. A flow that another stage rejected keeps what
// earlier stages admitted, so rejected flows may hold something too.
func inFlight(decisions []*checkv1.LimiterDecision) []*checkv1.InflightRequestRef {
	var refs []*checkv1.InflightRequestRef
	for _, decision := range decisions {
		if decision.GetDropped() || decision.GetReason() == checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND {
			continue
		}
		var label, requestID string
		var tokens *checkv1.LimiterDecision_TokensInfo
		switch details := decision.GetDetails().(type) {
		case *checkv1.LimiterDecision_ConcurrencyLimiterInfo_:
			info := details.ConcurrencyLimiterInfo
			label, requestID, tokens = info.GetLabel(), info.GetRequestId(), info.GetTokensInfo()
		case *checkv1.LimiterDecision_ConcurrencySchedulerInfo_:
			info := details.ConcurrencySchedulerInfo
			label, requestID, tokens = info.GetLabel(), info.GetRequestId(), info.GetTokensInfo()
		}
		if requestID == "" {
			continue
		}
		refs = append(refs, &checkv1.InflightRequestRef{
			PolicyName:  decision.GetPolicyName(),
			PolicyHash:  decision.GetPolicyHash(),
			ComponentId: decision.GetComponentId(),
			Label:       label,
			RequestId:   requestID,
			Tokens:      tokens.GetConsumed(),
		})
	}
	return refs
}
