package fakeagent

import (
	"context"
	"encoding/binary"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// flowControl is the service that decides.
type flowControl struct {
	checkv1.UnimplementedFlowControlServiceServer
	agent *Agent
}

func (s *flowControl) Check(ctx context.Context, request *checkv1.CheckRequest) (*checkv1.CheckResponse, error) {
	a := s.agent
	a.recordCheck(ctx, request)
	response, err := a.decide(ctx, request)
	if err != nil {
		if ctx.Err() != nil {
			a.recordCancelled()
		}
		_ = a.journal.record(JournalFailed, 0) // the caller is told no decision
		return nil, err
	}
	kind := JournalAccepted
	if response.GetDecisionType() == checkv1.CheckResponse_DECISION_TYPE_REJECTED {
		kind = JournalRejected
	}
	return response, a.journal.record(kind, 0)
}

// decide returns the answer to a Check.
func (a *Agent) decide(ctx context.Context, request *checkv1.CheckRequest) (*checkv1.CheckResponse, error) {
	behaviour := *a.behaviour.Load()
	if a.options.ObeyLabels {
		var err error
		if behaviour, err = behaviour.obey(request.GetLabels()); err != nil {
			return nil, err
		}
	}
	if err := behaviour.Check.suffer(ctx); err != nil {
		return nil, err
	}
	response := behaviour.Response
	if response == nil {
		response = &checkv1.CheckResponse{ControlPoint: request.GetControlPoint(), ExpectEnd: request.GetExpectEnd()}
	}
	if behaviour.InFlight > 0 {
		response = a.withInFlight(response, behaviour.InFlight)
	}
	return response, nil
}

func (s *flowControl) FlowEnd(ctx context.Context, request *checkv1.FlowEndRequest) (*checkv1.FlowEndResponse, error) {
	behaviour := s.agent.behaviour.Load()
	s.agent.recordFlowEnd(ctx, request)
	if err := behaviour.FlowEnd.suffer(ctx); err != nil {
		return nil, err
	}
	response := &checkv1.FlowEndResponse{}
	for _, ref := range request.GetInflightRequests() {
		response.TokenReturnStatuses = append(response.TokenReturnStatuses, &checkv1.TokenReturnStatus{InflightRequestRef: ref, Returned: true})
	}
	return response, s.agent.journal.record(JournalFlowEnd, 0)
}

func (a *Agent) export(ctx context.Context, request *tracev1.TracesData) (any, error) {
	behaviour := a.behaviour.Load()
	if err := behaviour.Export.suffer(ctx); err != nil {
		return nil, err
	}
	a.recordSpans(ctx, request)
	return partialSuccess(behaviour.RejectSpans), a.journal.record(JournalSpan, spanIDs(request)...)
}

// spanIDs returns the ids of the spans as numbers.
func spanIDs(request *tracev1.TracesData) []uint64 {
	var ids []uint64
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				var id [8]byte
				copy(id[:], span.GetSpanId())
				ids = append(ids, binary.LittleEndian.Uint64(id[:]))
			}
		}
	}
	return ids
}
