package host

import (
	"strings"
	"time"
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
	ErrorAgent             Code = -13
	ErrorNoAnswer          Code = -14
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
	CompletionLookup    = 5
	CompletionSet       = 6
	CompletionDelete    = 7

	ConnectionConnecting = 1
	ConnectionReady      = 2
	ConnectionClosed     = 4

	CacheResult = 0
	CacheGlobal = 1

	LookupMiss = 0
	LookupHit  = 1

	AttributeText    = 0
	AttributeInteger = 1
	AttributeNumber  = 2

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

	CAPem                 Text
	ClientCertificateFile Text
	ClientKeyFile         Text
	ClientCertificatePEM  Text
	ClientKeyPEM          Text
	Metadata              *Label
	MetadataCount         uintptr
	KeepaliveTimeNS       int64
	KeepaliveTimeoutNS    int64
	TelemetryQueue        uint64
	TelemetryBatch        uint64
	TelemetryIntervalNS   int64
	Compression           int32
	SkipVerify            int32
	MaxLabels             uint64
	MaxWaiting            uint64
	CacheBytes            uint64
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

	Baggage             Text
	ResultCacheKey      Text
	GlobalCacheKeys     *Text
	GlobalCacheKeyCount uintptr
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

	Answer        Handle
	MessageLength uint32
	Message       [460]byte
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
	FlowsNeverEnded          uint64
	CacheCalls               uint64
	CacheCallsFailed         uint64
}

// Attribute is an aperture_attribute.
type Attribute struct {
	StructSize uintptr
	Key        Text
	Kind       int32
	Reserved   uint32
	Text       Text
	Integer    int64
	Number     float64
}

// CacheKeys is an aperture_cache_keys.
type CacheKeys struct {
	StructSize     uintptr
	ControlPoint   Text
	ResultKey      Text
	GlobalKeys     *Text
	GlobalKeyCount uintptr
	TimeoutNS      int64
}

// CacheEntry is an aperture_cache_entry.
type CacheEntry struct {
	StructSize   uintptr
	ControlPoint Text
	Key          Text
	Value        Text // an aperture_bytes has the same shape
	TtlNS        int64
	TimeoutNS    int64
	Scope        int32
	Reserved     uint32
}

// CacheKey is an aperture_cache_key.
type CacheKey struct {
	StructSize   uintptr
	ControlPoint Text
	Key          Text
	TimeoutNS    int64
	Scope        int32
	Reserved     uint32
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

// KeysFor returns the key of a result to look up, and keys of the global cache.
func KeysFor(controlPoint, resultKey string, globalKeys ...string) *CacheKeys {
	keys := make([]Text, len(globalKeys))
	for i, key := range globalKeys {
		keys[i] = TextOf(key)
	}
	return &CacheKeys{StructSize: unsafe.Sizeof(CacheKeys{}), ControlPoint: TextOf(controlPoint), ResultKey: TextOf(resultKey),
		GlobalKeys: unsafe.SliceData(keys), GlobalKeyCount: uintptr(len(keys))}
}

// EntryFor returns a result to store for an hour.
func EntryFor(controlPoint, key, value string) *CacheEntry {
	return &CacheEntry{StructSize: unsafe.Sizeof(CacheEntry{}), ControlPoint: TextOf(controlPoint), Key: TextOf(key),
		Value: TextOf(value), TtlNS: int64(time.Hour)}
}

// KeyFor returns the key of a result to delete.
func KeyFor(controlPoint, key string) *CacheKey {
	return &CacheKey{StructSize: unsafe.Sizeof(CacheKey{}), ControlPoint: TextOf(controlPoint), Key: TextOf(key)}
}

// IntegerAttribute returns an attribute of a flow.
func IntegerAttribute(key string, value int64) *Attribute {
	return &Attribute{StructSize: unsafe.Sizeof(Attribute{}), Key: TextOf(key), Kind: AttributeInteger, Integer: value}
}

// Text returns the message, up to its terminating NUL.
func (f *Failure) Text() string { return upToNUL(f.Message[:]) }

// Text returns the message, up to its terminating NUL.
func (c *Completion) Text() string { return upToNUL(c.Message[:]) }

func upToNUL(message []byte) string {
	text, _, _ := strings.Cut(string(message), "\x00")
	return text
}
