package abi

import (
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// code is an aperture_code.
type code int32

const (
	ok                     code = 0
	pending                code = 1
	errorInvalidArgument   code = -1
	errorInvalidHandle     code = -2
	errorClosed            code = -3
	errorAlreadyEnded      code = -4
	errorUnreachable       code = -5
	errorTimeout           code = -6
	errorCancelled         code = -7
	errorPolicy            code = -8
	errorBufferTooSmall    code = -9
	errorResourceExhausted code = -10
	errorInternal          code = -11
	errorForked            code = -12
)

const (
	accepted    = 0
	rejected    = 1
	unreachable = 2

	rejectReasonNone           = 0
	rejectReasonRateLimited    = 1
	rejectReasonNoMatchingRamp = 4

	unreachableTimeout       = 1
	unreachableUnavailable   = 2
	unreachableAgentError    = 3
	unreachableMisconfigured = 4
	unreachableClosed        = 6
	unreachableOverloaded    = 7

	flowStatusOK    = 0
	flowStatusError = 1

	completionStartFlow = 1
	completionFlowEnd   = 2
	completionWaitReady = 3
	completionClose     = 4

	logLevelDebug   = -2
	logLevelWarning = 0
	logLevelError   = 1

	noRetryAfter = -1
)

type text struct {
	data   *byte
	length uintptr
}

type label struct {
	key   text
	value text
}

type failure struct {
	structSize    uintptr
	code          code
	messageLength uint32
	message       [1008]byte
}

type clientOptions struct {
	structSize       uintptr
	address          text
	apiKey           text
	caFile           text
	serverName       text
	userAgent        text
	flowEndTimeoutNS int64
	maxPendingCalls  uint64
	insecure         int32
	telemetryOff     int32
}

type flowParams struct {
	structSize     uintptr
	controlPoint   text
	labels         *label
	labelCount     uintptr
	checkTimeoutNS int64
	rampMode       int32
	reserved       uint32
}

type decision struct {
	structSize        uintptr
	decision          int32
	shouldRun         int32
	rejectReason      int32
	unreachableReason int32
	httpStatus        int32
	reserved          uint32
	retryAfterNS      int64
}

type endResult struct {
	structSize      uintptr
	flowEndAnswered int32
	referenceCount  uint32
	returnedCount   uint32
	reserved        uint32
}

type completion struct {
	structSize uintptr
	kind       int32
	code       code
	tag        uint64
	call       handle
	flow       handle
}

type stats struct {
	structSize               uintptr
	flowsAccepted            uint64
	flowsRejected            uint64
	flowsUnreachable         uint64
	unreachableTimeout       uint64
	unreachableUnavailable   uint64
	unreachableAgentError    uint64
	unreachableMisconfigured uint64
	unreachableCancelled     uint64
	unreachableClosed        uint64
	unreachableOverloaded    uint64
	flowsEnded               uint64
	flowEndsFailed           uint64
	spansExported            uint64
	spansDropped             uint64
	spansQueued              uint64
	flowsSanitised           uint64
	callsPending             uint64
}

// textOf returns a text that lives as long as the struct it is put into.
func textOf(s string) text {
	if s == "" {
		return text{}
	}
	return text{unsafe.StringData(s), uintptr(len(s))}
}

// processOptions is an aperture_process_options.
type processOptions struct {
	structSize          uintptr
	logFD               int32
	logLevel            int32
	maxProcs            int32
	leaveSignalHandlers int32
}

func newProcessOptions() *processOptions {
	return &processOptions{structSize: unsafe.Sizeof(processOptions{})}
}

func newFailure() *failure       { return &failure{structSize: unsafe.Sizeof(failure{})} }
func newDecision() *decision     { return &decision{structSize: unsafe.Sizeof(decision{})} }
func newEndResult() *endResult   { return &endResult{structSize: unsafe.Sizeof(endResult{})} }
func newCompletion() *completion { return &completion{structSize: unsafe.Sizeof(completion{})} }

func optionsFor(address string) *clientOptions {
	return &clientOptions{structSize: unsafe.Sizeof(clientOptions{}), address: textOf(address), insecure: 1}
}

func paramsFor(controlPoint string, pairs ...string) *flowParams {
	params := &flowParams{structSize: unsafe.Sizeof(flowParams{}), controlPoint: textOf(controlPoint)}
	labels := make([]label, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		labels = append(labels, label{textOf(pairs[i]), textOf(pairs[i+1])})
	}
	params.labels, params.labelCount = unsafe.SliceData(labels), uintptr(len(labels))
	if len(labels) == 0 {
		params.labels = nil
	}
	return params
}

// text returns the message, up to its terminating NUL.
func (f *failure) text() string {
	message, _, _ := strings.Cut(string(f.message[:]), "\x00")
	return message
}

func TestStructsHaveTheLayoutOfTheHeader(t *testing.T) {
	mirrors := map[string]any{
		"text": text{}, "label": label{}, "error": failure{}, "client_options": clientOptions{}, "flow_params": flowParams{},
		"decision": decision{}, "end_result": endResult{}, "completion": completion{}, "stats": stats{},
		"process_options": processOptions{},
	}
	read := readLayout(t)
	require.Len(t, mirrors, len(read.Structs))
	for name, want := range read.Structs {
		t.Run(name, func(t *testing.T) {
			mirror := reflect.TypeOf(mirrors[name])
			require.NotNil(t, mirror, "no mirror")
			require.Equal(t, want.Size, mirror.Size())
			require.Equal(t, len(want.Fields), mirror.NumField())
			for field := range mirror.Fields() {
				in, known := want.Fields[snakeCase(field.Name)]
				require.True(t, known, "%s is not a field of the header", field.Name)
				require.Equal(t, in.Offset, field.Offset, field.Name)
				require.Equal(t, in.Size, field.Type.Size(), field.Name)
			}
		})
	}
}

// snakeCase turns apiKey into api_key and checkTimeoutNS into check_timeout_ns.
func snakeCase(name string) string {
	var snake strings.Builder
	lower := false
	for _, r := range name {
		if unicode.IsUpper(r) && lower {
			snake.WriteByte('_')
		}
		lower = !unicode.IsUpper(r)
		snake.WriteRune(unicode.ToLower(r))
	}
	return snake.String()
}

func TestConstantsHaveTheValuesOfTheHeader(t *testing.T) {
	read := readLayout(t)
	require.Equal(t, map[string]code{
		"OK": ok, "PENDING": pending, "ERROR_INVALID_ARGUMENT": errorInvalidArgument, "ERROR_INVALID_HANDLE": errorInvalidHandle,
		"ERROR_CLOSED": errorClosed, "ERROR_ALREADY_ENDED": errorAlreadyEnded, "ERROR_UNREACHABLE": errorUnreachable,
		"ERROR_TIMEOUT": errorTimeout, "ERROR_CANCELLED": errorCancelled, "ERROR_POLICY": errorPolicy,
		"ERROR_BUFFER_TOO_SMALL": errorBufferTooSmall, "ERROR_RESOURCE_EXHAUSTED": errorResourceExhausted,
		"ERROR_INTERNAL": errorInternal, "ERROR_FORKED": errorForked,
	}, read.Enums["code"])
	for enum, values := range map[string]map[string]code{
		"decision_type":      {"ACCEPTED": accepted, "REJECTED": rejected, "UNREACHABLE": unreachable},
		"reject_reason":      {"REJECT_REASON_NONE": rejectReasonNone, "REJECT_REASON_RATE_LIMITED": rejectReasonRateLimited, "REJECT_REASON_NO_MATCHING_RAMP": rejectReasonNoMatchingRamp},
		"unreachable_reason": {"UNREACHABLE_REASON_TIMEOUT": unreachableTimeout, "UNREACHABLE_REASON_UNAVAILABLE": unreachableUnavailable, "UNREACHABLE_REASON_AGENT_ERROR": unreachableAgentError, "UNREACHABLE_REASON_MISCONFIGURED": unreachableMisconfigured, "UNREACHABLE_REASON_CLOSED": unreachableClosed, "UNREACHABLE_REASON_OVERLOADED": unreachableOverloaded},
		"flow_status":        {"FLOW_STATUS_OK": flowStatusOK, "FLOW_STATUS_ERROR": flowStatusError},
		"log_level":          {"LOG_LEVEL_DEBUG": logLevelDebug, "LOG_LEVEL_WARNING": logLevelWarning, "LOG_LEVEL_ERROR": logLevelError},
		"completion_kind":    {"COMPLETION_START_FLOW": completionStartFlow, "COMPLETION_FLOW_END": completionFlowEnd, "COMPLETION_WAIT_READY": completionWaitReady, "COMPLETION_CLOSE": completionClose},
	} {
		for name, value := range values {
			require.Equal(t, value, read.Enums[enum][name], name)
		}
	}
	require.EqualValues(t, noRetryAfter, read.Constants["NO_RETRY_AFTER"])
}
