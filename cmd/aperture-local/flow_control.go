package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// defaultTimeout bounds a call that carries no deadline. An agent would let such a call wait for ever.
const defaultTimeout = 10 * time.Second

// flowControl answers the calls of clients with the decisions of an engine.
type flowControl struct {
	checkv1.UnimplementedFlowControlServiceServer
	decider  check.Decider
	metrics  *metrics
	activity *activity
}

// Check decides about a flow.
func (s *flowControl) Check(ctx context.Context, request *checkv1.CheckRequest) (*checkv1.CheckResponse, error) {
	timeout, err := remaining(ctx)
	if err != nil {
		s.metrics.checkFailed.Inc()
		s.activity.failed.Add(1)
		return nil, err
	}
	labels := make(check.Labels, 0, len(request.GetLabels()))
	for key, value := range request.GetLabels() {
		labels = append(labels, check.Label{Key: key, Value: value})
	}
	answer, err := s.decider.Check(ctx, &check.Request{
		ControlPoint: request.GetControlPoint(),
		Labels:       labels,
		RampMode:     request.GetRampMode(),
		Timeout:      timeout,
		CacheLookup:  request.GetCacheLookupRequest(),
	})
	if err != nil {
		s.metrics.checkFailed.Inc()
		s.activity.failed.Add(1)
		return nil, statusOf(err)
	}
	if answer.Rejected {
		s.metrics.checkRejected.Inc()
	} else {
		s.metrics.checkAccepted.Inc()
	}
	response := answer.Response.CheckResponse()
	s.activity.note(response)
	if response.GetExpectEnd() != request.GetExpectEnd() {
		response = proto.CloneOf(response) // a decision's message is shared
		response.ExpectEnd = request.GetExpectEnd()
	}
	return response, nil
}

// FlowEnd gives back what a flow holds.
func (s *flowControl) FlowEnd(ctx context.Context, request *checkv1.FlowEndRequest) (*checkv1.FlowEndResponse, error) {
	s.metrics.flowEnds.Inc()
	return passOn(ctx, request, s.decider.FlowEnd)
}

// CacheLookup reads cache entries.
func (s *flowControl) CacheLookup(ctx context.Context, request *checkv1.CacheLookupRequest) (*checkv1.CacheLookupResponse, error) {
	return passOn(ctx, request, s.decider.CacheLookup)
}

// CacheUpsert stores cache entries.
func (s *flowControl) CacheUpsert(ctx context.Context, request *checkv1.CacheUpsertRequest) (*checkv1.CacheUpsertResponse, error) {
	return passOn(ctx, request, s.decider.CacheUpsert)
}

// CacheDelete removes cache entries.
func (s *flowControl) CacheDelete(ctx context.Context, request *checkv1.CacheDeleteRequest) (*checkv1.CacheDeleteResponse, error) {
	return passOn(ctx, request, s.decider.CacheDelete)
}

// passOn makes a call of the engine for a client.
func passOn[Request, Response any](ctx context.Context, request Request, call func(context.Context, Request, time.Duration) (Response, error)) (response Response, err error) {
	timeout, err := remaining(ctx)
	if err != nil {
		return response, err
	}
	if response, err = call(ctx, request, timeout); err != nil {
		return response, statusOf(err)
	}
	return response, nil
}

// remaining returns how long a call may take: a positive time, or the error of a call that is too late.
func remaining(ctx context.Context) (time.Duration, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return defaultTimeout, nil
	}
	timeout := time.Until(deadline)
	if timeout <= 0 {
		return 0, status.Error(codes.DeadlineExceeded, "the deadline passed before the call was looked at")
	}
	return timeout, nil
}

// statusOf returns the gRPC error of an engine's error.
func statusOf(err error) error {
	code := codes.Internal
	if unreachable := (*check.UnreachableError)(nil); errors.As(err, &unreachable) {
		switch unreachable.Reason {
		case check.UnreachableTimeout:
			code = codes.DeadlineExceeded
		case check.UnreachableCancelled:
			code = codes.Canceled
		case check.UnreachableClosed, check.UnreachableUnavailable:
			code = codes.Unavailable
		case check.UnreachableOverloaded:
			code = codes.ResourceExhausted
		}
	}
	return status.Error(code, err.Error())
}
