// Package check holds the words that the client and the two ways of deciding have in common: what is asked of a flow,
// what is answered, and the interface behind which an Aperture agent and the local engine are the same thing.
//
// It depends on neither, so that core/agent and core/local need not know each other or the client.
package check

import (
	"context"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Label is one key and value that describe a flow.
type Label struct {
	Key, Value string
}

// Labels describe a flow. When a key occurs more than once, its last value counts, as if the labels had been put into
// a map one after the other.
type Labels []Label

// Get returns the value of a label and whether the flow carries it. A label with an empty value is carried.
func (labels Labels) Get(key string) (string, bool) {
	for i := len(labels) - 1; i >= 0; i-- {
		if labels[i].Key == key {
			return labels[i].Value, true
		}
	}
	return "", false
}

// Map returns the labels as a map, the form that they have on the wire.
func (labels Labels) Map() map[string]string {
	m := make(map[string]string, len(labels))
	for _, label := range labels {
		m[label.Key] = label.Value
	}
	return m
}

// Request asks whether a flow may run. Its strings are valid UTF-8. A Decider may keep it, with its Labels, for as long as
// the Answer is in use; nobody changes it meanwhile.
type Request struct {
	// ControlPoint names the place in the service that the flow guards.
	ControlPoint string
	Labels       Labels
	// RampMode rejects the flow unless a load ramp admits it.
	RampMode bool
	// Timeout bounds the decision. It is always positive.
	Timeout time.Duration
	// CacheLookup names the cache entries to read along with the decision; nil reads none.
	CacheLookup *checkv1.CacheLookupRequest
}

// RejectReason says which kind of component rejected a flow. The values are those of the wire.
type RejectReason int32

// The reasons for a rejection.
const (
	RejectReasonNone           = RejectReason(checkv1.CheckResponse_REJECT_REASON_NONE)
	RejectReasonRateLimited    = RejectReason(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED)
	RejectReasonNoTokens       = RejectReason(checkv1.CheckResponse_REJECT_REASON_NO_TOKENS)
	RejectReasonNotSampled     = RejectReason(checkv1.CheckResponse_REJECT_REASON_NOT_SAMPLED)
	RejectReasonNoMatchingRamp = RejectReason(checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP)
)

// Answer is a decision. The fields that every flow reads are plain values; the whole message is made only when it is
// asked for.
type Answer struct {
	Rejected     bool
	RejectReason RejectReason
	// DeniedStatus is the HTTP status that the decision carries for a rejected flow, 0 when it carries none.
	DeniedStatus int32
	// WaitTime is how long a rejected caller should wait before it tries again; HasWaitTime tells 0 from unset.
	WaitTime    time.Duration
	HasWaitTime bool
	// InFlight lists the admissions that the flow holds until FlowEnd gives them back.
	InFlight []*checkv1.InflightRequestRef
	// CacheLookup is what the caches had under the keys of the request, nil when they were not asked. It is shared:
	// nobody changes it.
	CacheLookup *checkv1.CacheLookupResponse
	// Response makes the decision's message. It is never nil and may be called from any goroutine, at any time.
	// The message is shared: nobody changes it.
	Response Responder
}

// Responder makes the whole message of a decision on demand.
type Responder interface {
	CheckResponse() *checkv1.CheckResponse
}

// Decider decides about flows. All methods may be called from several goroutines at once.
type Decider interface {
	// Check decides, or says with an *UnreachableError why no decision could be had; the Answer then says no more than
	// what the flow holds all the same. It returns within request.Timeout, or when ctx ends.
	Check(ctx context.Context, request *Request) (Answer, error)
	// FlowEnd gives back what the flow holds. It returns within timeout, or when ctx ends. Its error is an
	// *UnreachableError.
	FlowEnd(ctx context.Context, request *checkv1.FlowEndRequest, timeout time.Duration) (*checkv1.FlowEndResponse, error)
	// CacheLookup reads cache entries without a flow. It returns within timeout, or when ctx ends. Its error is an
	// *UnreachableError; what is wrong with one key is in the answer to that key.
	CacheLookup(ctx context.Context, request *checkv1.CacheLookupRequest, timeout time.Duration) (*checkv1.CacheLookupResponse, error)
	// CacheUpsert stores cache entries. It is bounded, and fails, as CacheLookup.
	CacheUpsert(ctx context.Context, request *checkv1.CacheUpsertRequest, timeout time.Duration) (*checkv1.CacheUpsertResponse, error)
	// CacheDelete removes cache entries. It is bounded, and fails, as CacheLookup.
	CacheDelete(ctx context.Context, request *checkv1.CacheDeleteRequest, timeout time.Duration) (*checkv1.CacheDeleteResponse, error)
	// Immediate says whether FlowEnd, WaitReady and the cache calls always answer without waiting for anything, so that a
	// caller on an event loop may call them there. It says nothing about Check, which may wait all the same.
	Immediate() bool
	// State says how it stands with the way to a decision, at this moment.
	State() State
	// WaitReady returns nil as soon as a decision can be had, or the reason why not when ctx ends.
	WaitReady(ctx context.Context) error
	// Close ends everything that the Decider started. Calls in progress end with UnreachableClosed.
	Close() error
}

// Starter is a Decider that lets a flow wait without a goroutine that waits with it.
type Starter interface {
	Decider
	// Start begins a check. When it decides at once it returns the same as Check, and a nil Waiting. Otherwise it returns
	// a Waiting, and calls decided later, once, with what Check would return: from a goroutine of its own, which decided
	// must not keep. It may call it before it returns.
	Start(request *Request, decided func(Answer, error)) (Answer, Waiting, error)
}

// Reloader is a Decider whose policies can be read again while it runs.
type Reloader interface {
	// Reload reads them. When it returns an error, they are as they were.
	Reload() error
}

// Snapshotter is a Decider that tells what it has counted.
type Snapshotter interface {
	// SnapshotJSON returns it as a JSON document.
	SnapshotJSON() ([]byte, error)
}

// Waiting is a check that waits.
type Waiting interface {
	// Cancel ends the wait with UnreachableCancelled, unless it has ended. It does not wait for decided to return.
	Cancel()
}

// State says how it stands with the way to a decision. It may have changed when it is looked at: it is for an operator's
// eyes and a service's health, and no condition for a flow, which says by itself why it has no decision.
type State int32

// The states. The local engine is StateReady until it is closed.
const (
	// StateIdle: there is no connection to the agent, and the next one has not been begun. It does not last.
	StateIdle State = iota
	// StateConnecting: a connection is being made. A flow waits for it, within its timeout.
	StateConnecting
	// StateReady: a decision can be had.
	StateReady
	// StateFailing: the last connection could not be made, and the next try waits for its time. A flow fails open at
	// once.
	StateFailing
	// StateClosed: the client is closed, for ever.
	StateClosed
)

// String returns the state as a word of a log or a metric.
func (state State) String() string {
	switch state {
	case StateIdle:
		return "idle"
	case StateConnecting:
		return "connecting"
	case StateReady:
		return "ready"
	case StateFailing:
		return "failing"
	case StateClosed:
		return "closed"
	}
	return "unknown"
}

// UnreachableReason says why no decision could be had.
type UnreachableReason int32

// The reasons why a flow is Unreachable. The first three are outages; Misconfigured is the caller's to repair.
const (
	// UnreachableNone: there is a decision.
	UnreachableNone UnreachableReason = iota
	// UnreachableTimeout: no answer came within the timeout.
	UnreachableTimeout
	// UnreachableUnavailable: there is no connection to the agent, or it broke.
	UnreachableUnavailable
	// UnreachableAgentError: the agent answered with an error of its own.
	UnreachableAgentError
	// UnreachableMisconfigured: the agent refuses the client: not authenticated, not permitted, or it does not know
	// the service (gRPC codes UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT, UNIMPLEMENTED), or its
	// certificate is not trusted.
	UnreachableMisconfigured
	// UnreachableCancelled: the caller gave up.
	UnreachableCancelled
	// UnreachableClosed: the client was closed.
	UnreachableClosed
	// UnreachableOverloaded: too many calls of this client were waiting already.
	UnreachableOverloaded
)

// String returns the reason as a word of a log or a metric.
func (reason UnreachableReason) String() string {
	switch reason {
	case UnreachableNone:
		return "none"
	case UnreachableTimeout:
		return "timeout"
	case UnreachableUnavailable:
		return "unavailable"
	case UnreachableAgentError:
		return "agent_error"
	case UnreachableMisconfigured:
		return "misconfigured"
	case UnreachableCancelled:
		return "cancelled"
	case UnreachableClosed:
		return "closed"
	case UnreachableOverloaded:
		return "overloaded"
	}
	return "unknown"
}

// UnreachableError says why no decision could be had. It never means that the flow was rejected.
type UnreachableError struct {
	Reason UnreachableReason
	Err    error
}

// Error returns the reason and its cause.
func (e *UnreachableError) Error() string {
	if e.Err == nil {
		return "unreachable: " + e.Reason.String()
	}
	return "unreachable: " + e.Reason.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }
