// Package abi has the numbers of the C ABI, for Go code that must not use cgo.
//
// Generated from abi/aperture.yaml; do not edit.
package abi

// Version is the version of the library.
const Version = "0.5.0"

// ABIVersion is the version of the C ABI.
const ABIVersion = 5

// Numbers that both sides of the ABI know; the header says what they mean.
const (
	DefaultCheckTimeoutNS   = 200000000
	MaxCheckTimeoutNS       = 86400000000000
	DefaultFlowEndTimeoutNS = 1000000000
	DefaultCacheTimeoutNS   = 1000000000
	MaxCacheValueBytes      = 4000000
	MaxCacheTtlNS           = 604800000000000
	MinKeepaliveTimeNS      = 300000000000
	DefaultCloseTimeoutNS   = 5000000000
	DefaultMaxPendingCalls  = 65536
	NoRetryAfter            = -1
)

// The sizes that the structs had when they came into the ABI. A caller that was compiled then has no larger ones.
const (
	SmallestError          = 1024
	SmallestProcessOptions = 24
	SmallestClientOptions  = 112
	SmallestFlowParams     = 56
	SmallestDecision       = 40
	SmallestEndResult      = 24
	SmallestCompletion     = 40
	SmallestStats          = 144
	SmallestAttribute      = 64
	SmallestCacheKeys      = 64
	SmallestCacheEntry     = 80
	SmallestCacheKey       = 56
)

// The kinds of handles.
const (
	// KindClient is the kind of an aperture_client.
	KindClient = 0 + 1
	// KindFlow is the kind of an aperture_flow.
	KindFlow = 1 + 1
	// KindCacheAnswer is the kind of an aperture_cache_answer.
	KindCacheAnswer = 2 + 1
	// KindCall is the kind of an aperture_call.
	KindCall = 3 + 1
)

// Code is an aperture_code.
type Code int32

// What a function returns. Errors are negative.
const (
	OK                     Code = 0   // The call did what it says.
	Pending                Code = 1   // The call goes on; its completion will be delivered.
	ErrorInvalidArgument   Code = -1  // An argument is wrong; the message names it and says what would be right.
	ErrorInvalidHandle     Code = -2  // The handle is NULL, of another kind, was closed, or never existed.
	ErrorClosed            Code = -3  // The client is being closed.
	ErrorAlreadyEnded      Code = -4  // The flow was ended before.
	ErrorUnreachable       Code = -5  // The agent could not be reached or did not answer; this is never a rejection.
	ErrorTimeout           Code = -6  // The time of the call ran out.
	ErrorCancelled         Code = -7  // The call was cancelled by aperture_call_cancel.
	ErrorPolicy            Code = -8  // A policy file of a local: address is missing or wrong; the message has file, line and column.
	ErrorBufferTooSmall    Code = -9  // The buffer is too small; the length that is needed was stored.
	ErrorResourceExhausted Code = -10 // The process has no more of something, such as file descriptors; or a signal handler has interrupted a call of the library on this thread, and makes another (every function).
	ErrorInternal          Code = -11 // A defect of the library; please report its message.
	ErrorForked            Code = -12 // The handle belongs to the process that this one was forked from. Make a new client here.
	ErrorAgent             Code = -13 // The agent answered, with an error about this one cache entry; the message is the agent's.
	ErrorNoAnswer          Code = -14 // The agent's answer says nothing about this cache entry: it was not asked for, or the flow was rejected before the agent looked.
)

// DecisionType is an aperture_decision_type.
type DecisionType int32

// What was decided about a flow.
const (
	Accepted    DecisionType = 0 // The flow may run.
	Rejected    DecisionType = 1 // The flow must not run.
	Unreachable DecisionType = 2 // Nothing was decided: the flow may run (fail-open), except in ramp mode.
)

// RejectReason is an aperture_reject_reason.
type RejectReason int32

// Which kind of component rejected a flow.
const (
	RejectReasonNone           RejectReason = 0 // The flow was not rejected.
	RejectReasonRateLimited    RejectReason = 1 // A rate limiter or a concurrency limiter.
	RejectReasonNoTokens       RejectReason = 2 // A scheduler.
	RejectReasonNotSampled     RejectReason = 3 // A sampler.
	RejectReasonNoMatchingRamp RejectReason = 4 // In ramp mode, no load ramp admitted the flow.
)

// UnreachableReason is an aperture_unreachable_reason.
type UnreachableReason int32

// Why nothing was decided.
const (
	UnreachableReasonNone          UnreachableReason = 0 // There is a decision.
	UnreachableReasonTimeout       UnreachableReason = 1 // No answer came within the check timeout.
	UnreachableReasonUnavailable   UnreachableReason = 2 // There is no connection to the agent, or it broke.
	UnreachableReasonAgentError    UnreachableReason = 3 // The agent answered with an error of its own.
	UnreachableReasonMisconfigured UnreachableReason = 4 // The agent refuses this client, or its certificate is not trusted. This is the caller's to repair.
	UnreachableReasonCancelled     UnreachableReason = 5 // The caller gave up.
	UnreachableReasonClosed        UnreachableReason = 6 // The client was closed.
	UnreachableReasonOverloaded    UnreachableReason = 7 // Too many calls of this client were pending already.
)

// FlowStatus is an aperture_flow_status.
type FlowStatus int32

// How the work of a flow went.
const (
	FlowStatusOK    FlowStatus = 0 // It worked. This is the status of a flow that sets none.
	FlowStatusError FlowStatus = 1 // It failed.
)

// LogLevel is an aperture_log_level.
type LogLevel int32

// How serious a line of the log is. A level includes all that is more serious.
const (
	LogLevelDebug   LogLevel = -2 // What helps to find a defect.
	LogLevelInfo    LogLevel = -1 // What happens in ordinary operation.
	LogLevelWarning LogLevel = 0  // What an operator should know: decisions that could not be had, spans that were lost.
	LogLevelError   LogLevel = 1  // What an operator must repair, and defects of the library.
)

// CompletionKind is an aperture_completion_kind.
type CompletionKind int32

// Which asynchronous call a completion belongs to.
const (
	CompletionStartFlow   CompletionKind = 1 // aperture_start_flow_async
	CompletionFlowEnd     CompletionKind = 2 // aperture_flow_end_async
	CompletionWaitReady   CompletionKind = 3 // aperture_client_wait_ready_async
	CompletionClose       CompletionKind = 4 // aperture_client_close_async
	CompletionCacheLookup CompletionKind = 5 // aperture_cache_lookup_async
	CompletionCacheSet    CompletionKind = 6 // aperture_cache_set_async
	CompletionCacheDelete CompletionKind = 7 // aperture_cache_delete_async
)

// ConnectionState is an aperture_connection_state.
type ConnectionState int32

// How a client's connection to its agent is. An engine in this process is always ready.
const (
	ConnectionIdle       ConnectionState = 0 // There is no connection; one will be made at once.
	ConnectionConnecting ConnectionState = 1 // A connection is being made.
	ConnectionReady      ConnectionState = 2 // The agent can be asked.
	ConnectionFailing    ConnectionState = 3 // The last attempt to connect failed; another one follows.
	ConnectionClosed     ConnectionState = 4 // The client is closed, or is being closed.
)

// Compression is an aperture_compression.
type Compression int32

// How the messages to an agent are compressed.
const (
	CompressionNone Compression = 0 // Not at all.
	CompressionGzip Compression = 1 // With gzip.
)

// CacheScope is an aperture_cache_scope.
type CacheScope int32

// Which of an agent's caches an entry is in.
const (
	CacheResult CacheScope = 0 // The result cache: results of flows, for each control point its own.
	CacheGlobal CacheScope = 1 // The global cache, which all control points share.
)

// LookupStatus is an aperture_lookup_status.
type LookupStatus int32

// Whether the cache had an entry.
const (
	LookupMiss LookupStatus = 0 // It had none.
	LookupHit  LookupStatus = 1 // It had one; its value may be empty.
)

// AttributeKind is an aperture_attribute_kind.
type AttributeKind int32

// Which field of an aperture_attribute has its value.
const (
	AttributeText    AttributeKind = 0 // text
	AttributeInteger AttributeKind = 1 // integer
	AttributeNumber  AttributeKind = 2 // number
)
