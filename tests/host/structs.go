package host

import (
	"strings"
	"unsafe"
)

// Code is an aperture_code.
type Code int32

// The codes.
const (
	OK                     Code = 0
	Pending                Code = 1
	ErrorInvalidArgument   Code = -1
	ErrorInvalidHandle     Code = -2
	ErrorClosed            Code = -3
	ErrorAlreadyEnded      Code = -4
	ErrorUnreachable       Code = -5
	ErrorTimeout           Code = -6
	ErrorCancelled         Code = -7
	ErrorPolicy            Code = -8
	ErrorBufferTooSmall    Code = -9
	ErrorResourceExhausted Code = -10
	ErrorInternal          Code = -11
	ErrorForked            Code = -12
)

// The other constants of the header.
const (
	Accepted    = 0
	Rejected    = 1
	Unreachable = 2

	RejectReasonNone           = 0
	RejectReasonRateLimited    = 1
	RejectReasonNoMatchingRamp = 4

	UnreachableTimeout       = 1
	UnreachableUnavailable   = 2
	UnreachableAgentError    = 3
	UnreachableMisconfigured = 4
	UnreachableClosed        = 6
	UnreachableOverloaded    = 7

	FlowStatusOK    = 0
	FlowStatusError = 1

	CompletionStartFlow = 1
	CompletionFlowEnd   = 2
	CompletionWaitReady = 3
	CompletionClose     = 4

	LogLevelDebug   = -2
	LogLevelWarning = 0
	LogLevelError   = 1

	NoRetryAfter = -1
)

// Text is an aperture_text.
type Text struct {
	Data   *byte
	Length uintptr
}

// Label is an aperture_label.
type Label struct {
	Key   Text
	Value Text
}

// Failure is an aperture_error.
type Failure struct {
	StructSize    uintptr
	Code          Code
	MessageLength uint32
	Message       [1008]byte
}

// ClientOptions is an aperture_client_options.
type ClientOptions struct {
	StructSize       uintptr
	Address          Text
	APIKey           Text
	CAFile           Text
	ServerName       Text
	UserAgent        Text
	FlowEndTimeoutNS int64
	MaxPendingCalls  uint64
	Insecure         int32
	TelemetryOff     int32
}

// FlowParams is an aperture_flow_params.
type FlowParams struct {
	StructSize     uintptr
	ControlPoint   Text
	Labels         *Label
	LabelCount     uintptr
	CheckTimeoutNS int64
	RampMode       int32
	Reserved       uint32
}

// Decision is an aperture_decision.
type Decision struct {
	StructSize        uintptr
	Decision          int32
	ShouldRun         int32
	RejectReason      int32
	UnreachableReason int32
	HTTPStatus        int32
	Reserved          uint32
	RetryAfterNS      int64
}

// EndResult is an aperture_end_result.
type EndResult struct {
	StructSize      uintptr
	FlowEndAnswered int32
	ReferenceCount  uint32
	ReturnedCount   uint32
	Reserved        uint32
}

// Completion is an aperture_completion.
type Completion struct {
	StructSize uintptr
	Kind       int32
	Code       Code
	Tag        uint64
	Call       Handle
	Flow       Handle
}

// Stats is an aperture_stats.
type Stats struct {
	StructSize               uintptr
	FlowsAccepted            uint64
	FlowsRejected            uint64
	FlowsUnreachable         uint64
	UnreachableTimeout       uint64
	UnreachableUnavailable   uint64
	UnreachableAgentError    uint64
	UnreachableMisconfigured uint64
	UnreachableCancelled     uint64
	UnreachableClosed        uint64
	UnreachableOverloaded    uint64
	FlowsEnded               uint64
	FlowEndsFailed           uint64
	SpansExported            uint64
	SpansDropped             uint64
	SpansQueued              uint64
	FlowsSanitised           uint64
	CallsPending             uint64
}

// TextOf returns a text that lives as long as the struct it is put into.
func TextOf(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{unsafe.StringData(s), uintptr(len(s))}
}

// ProcessOptions is an aperture_process_options.
type ProcessOptions struct {
	StructSize          uintptr
	LogFD               int32
	LogLevel            int32
	MaxProcs            int32
	LeaveSignalHandlers int32
}

// NewProcessOptions and the functions below return structs with their size set.
func NewProcessOptions() *ProcessOptions {
	return &ProcessOptions{StructSize: unsafe.Sizeof(ProcessOptions{})}
}

func NewFailure() *Failure       { return &Failure{StructSize: unsafe.Sizeof(Failure{})} }
func NewDecision() *Decision     { return &Decision{StructSize: unsafe.Sizeof(Decision{})} }
func NewEndResult() *EndResult   { return &EndResult{StructSize: unsafe.Sizeof(EndResult{})} }
func NewCompletion() *Completion { return &Completion{StructSize: unsafe.Sizeof(Completion{})} }

// OptionsFor returns options of a client that speaks plaintext.
func OptionsFor(address string) *ClientOptions {
	return &ClientOptions{StructSize: unsafe.Sizeof(ClientOptions{}), Address: TextOf(address), Insecure: 1}
}

// ParamsFor returns the parameters of a flow with labels, which are keys and values in turn.
func ParamsFor(controlPoint string, pairs ...string) *FlowParams {
	params := &FlowParams{StructSize: unsafe.Sizeof(FlowParams{}), ControlPoint: TextOf(controlPoint)}
	labels := make([]Label, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		labels = append(labels, Label{TextOf(pairs[i]), TextOf(pairs[i+1])})
	}
	params.Labels, params.LabelCount = unsafe.SliceData(labels), uintptr(len(labels))
	if len(labels) == 0 {
		params.Labels = nil
	}
	return params
}

// Text returns the message, up to its terminating NUL.
func (f *Failure) Text() string {
	message, _, _ := strings.Cut(string(f.Message[:]), "\x00")
	return message
}
