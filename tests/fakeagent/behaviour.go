package fakeagent

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Behaviour says how calls are answered. The zero value accepts every flow.
type Behaviour struct {
	// Response answers Check; nil accepts the flow and looks into the caches for it. It is sent as it is, with InFlight
	// added to a copy of it.
	Response *checkv1.CheckResponse
	// InFlight adds that many decisions of a concurrency limiter, each with a request id of its own.
	InFlight int
	// FlowEndResponse answers FlowEnd; nil says that all tokens were given back.
	FlowEndResponse *checkv1.FlowEndResponse
	// These answer the calls to the caches, which then stay as they are; nil leaves the answer to the agent's own caches.
	CacheLookupResponse *checkv1.CacheLookupResponse
	CacheUpsertResponse *checkv1.CacheUpsertResponse
	CacheDeleteResponse *checkv1.CacheDeleteResponse

	Check       Trouble
	FlowEnd     Trouble
	CacheLookup Trouble
	CacheUpsert Trouble
	CacheDelete Trouble
	Export      Trouble
	// RejectSpans is how many spans each Export says it refused.
	RejectSpans int64
}

// Trouble is what goes wrong with a call.
type Trouble struct {
	// Delay passes before the call is answered.
	Delay time.Duration
	// Hang answers only when the caller has given up.
	Hang bool
	// Error fails the call with this code and Message.
	Error   codes.Code
	Message string
	// Garbage answers with bytes that are no message.
	Garbage bool
}

// Rejection returns a response that rejects a flow. A status of 0 and a negative wait are left out.
func Rejection(reason checkv1.CheckResponse_RejectReason, denied int32, wait time.Duration) *checkv1.CheckResponse {
	response := &checkv1.CheckResponse{
		DecisionType:             checkv1.CheckResponse_DECISION_TYPE_REJECTED,
		RejectReason:             reason,
		DeniedResponseStatusCode: checkv1.StatusCode(denied),
	}
	if wait >= 0 {
		response.WaitTime = durationpb.New(wait)
	}
	return response
}

// suffer does what goes wrong with a call; nil when nothing does.
func (t *Trouble) suffer(ctx context.Context) error {
	if t.Hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if t.Delay > 0 {
		timer := time.NewTimer(t.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	if t.Error != codes.OK {
		return status.Error(t.Error, t.Message)
	}
	if t.Garbage {
		return errGarbage
	}
	return nil
}
