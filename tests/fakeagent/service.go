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
	record(ctx, a, &a.recorded.CheckCount, &a.recorded.Checks, request)
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
	behaviour := a.behaviourFor(rpcCheck)
	if a.options.ObeyLabels {
		obedient, err := behaviour.obey(request.GetLabels())
		if err != nil {
			return nil, err
		}
		behaviour = &obedient
	}
	if err := behaviour.Check.suffer(ctx); err != nil {
		return nil, err
	}
	response := behaviour.Response
	if response == nil {
		response = &checkv1.CheckResponse{ControlPoint: request.GetControlPoint(), ExpectEnd: request.GetExpectEnd()}
		if lookup := request.GetCacheLookupRequest(); lookup != nil {
			response.CacheLookupResponse = a.cache.lookup(request.GetControlPoint(), lookup)
		}
	}
	if behaviour.InFlight > 0 {
		response = a.withInFlight(response, behaviour.InFlight)
	}
	return response, nil
}

func (s *flowControl) FlowEnd(ctx context.Context, request *checkv1.FlowEndRequest) (*checkv1.FlowEndResponse, error) {
	a := s.agent
	record(ctx, a, &a.recorded.FlowEndCount, &a.recorded.FlowEnds, request)
	behaviour := a.behaviourFor(rpcFlowEnd)
	if err := behaviour.FlowEnd.suffer(ctx); err != nil {
		return nil, err
	}
	response := behaviour.FlowEndResponse
	if response == nil {
		response = &checkv1.FlowEndResponse{}
		for _, ref := range request.GetInflightRequests() {
			response.TokenReturnStatuses = append(response.TokenReturnStatuses, &checkv1.TokenReturnStatus{InflightRequestRef: ref, Returned: true})
		}
	}
	return response, a.journal.record(JournalFlowEnd, 0)
}

func (s *flowControl) CacheLookup(ctx context.Context, request *checkv1.CacheLookupRequest) (*checkv1.CacheLookupResponse, error) {
	a := s.agent
	record(ctx, a, &a.recorded.CacheLookupCount, &a.recorded.CacheLookups, request)
	behaviour := a.behaviourFor(rpcCacheLookup)
	if err := behaviour.CacheLookup.suffer(ctx); err != nil {
		return nil, err
	}
	if response := behaviour.CacheLookupResponse; response != nil {
		return response, nil
	}
	return a.cache.lookup(request.GetControlPoint(), request), nil
}

func (s *flowControl) CacheUpsert(ctx context.Context, request *checkv1.CacheUpsertRequest) (*checkv1.CacheUpsertResponse, error) {
	a := s.agent
	record(ctx, a, &a.recorded.CacheUpsertCount, &a.recorded.CacheUpserts, request)
	behaviour := a.behaviourFor(rpcCacheUpsert)
	if err := behaviour.CacheUpsert.suffer(ctx); err != nil {
		return nil, err
	}
	if response := behaviour.CacheUpsertResponse; response != nil {
		return response, nil
	}
	return a.cache.upsert(request), nil
}

func (s *flowControl) CacheDelete(ctx context.Context, request *checkv1.CacheDeleteRequest) (*checkv1.CacheDeleteResponse, error) {
	a := s.agent
	record(ctx, a, &a.recorded.CacheDeleteCount, &a.recorded.CacheDeletes, request)
	behaviour := a.behaviourFor(rpcCacheDelete)
	if err := behaviour.CacheDelete.suffer(ctx); err != nil {
		return nil, err
	}
	if response := behaviour.CacheDeleteResponse; response != nil {
		return response, nil
	}
	return a.cache.remove(request), nil
}

func (a *Agent) export(ctx context.Context, request *tracev1.TracesData) (any, error) {
	behaviour := a.behaviourFor(rpcExport)
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
