package main

// #include "aperture.h"
import "C"

import (
	"math"
	"time"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/capi/internal/guest"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
)

// maxLabels bounds a label count, so that a count that was never set is recognised before memory is read.
const maxLabels = 1 << 20

// sized checks the struct_size of a struct that the caller fills or wants filled. A smaller struct than this library's
// comes from an older header, but none is smaller than the first one. A larger struct comes from a newer header; what
// this library does not know must be zero in it.
func sized(name string, pointer unsafe.Pointer, size C.size_t, smallest, known uintptr) error {
	if uintptr(size) < smallest {
		return invalidArgument("%s: struct_size is %d; the struct has %d bytes (use its _INIT macro)", name, size, known)
	}
	if uintptr(size) > known+(1<<16) || uintptr(size)%structAlignment != 0 {
		return invalidArgument("%s: struct_size is %d, which no version of the struct has (use its _INIT macro)", name, size)
	}
	if uintptr(size) <= known {
		return nil
	}
	for _, b := range unsafe.Slice((*byte)(unsafe.Add(pointer, known)), uintptr(size)-known) {
		if b != 0 {
			return invalidArgument("%s: struct_size is %d and sets what this library (version %s) does not know; it knows %d bytes",
				name, size, abi.Version, known)
		}
	}
	return nil
}

// structAlignment divides the size of every sized struct: its fields are, at least, 64 bits wide in pairs.
const structAlignment = 8

// whole returns a struct as this library knows it: fields that the caller's older struct lacks are zero.
func whole[T any](in *T, size C.size_t) T {
	var full T
	known := unsafe.Sizeof(full)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&full)), known), unsafe.Slice((*byte)(unsafe.Pointer(in)), min(uintptr(size), known)))
	return full
}

// copyOut writes a struct to the caller's, which may be an older or a newer one, up to its size.
func copyOut[T any](out, full *T, size C.size_t) {
	count := min(uintptr(size), unsafe.Sizeof(*full))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(out)), count), unsafe.Slice((*byte)(unsafe.Pointer(full)), count))
}

// has says whether a struct of the caller has a field that is new.
func has(size C.size_t, offset, fieldSize uintptr) bool {
	return uintptr(size) >= offset+fieldSize
}

// maxOptionLength bounds an option's text, for the same reason: no path, key or name is as long.
const maxOptionLength = 1 << 20

// text returns a copy of an option's text.
func text(name string, in C.aperture_text) (string, error) {
	if err := checkText(name, in); err != nil {
		return "", err
	}
	if in.length > maxOptionLength {
		return "", invalidArgument("%s: the length is %d; the limit is %d", name, in.length, maxOptionLength)
	}
	return C.GoStringN(in.data, C.int(in.length)), nil
}

func checkText(name string, in C.aperture_text) error {
	if in.length > math.MaxInt32 {
		return invalidArgument("%s: the length is %d; the limit is %d", name, in.length, math.MaxInt32)
	}
	if in.data == nil && in.length > 0 {
		return invalidArgument("%s: the pointer is NULL but the length is %d", name, in.length)
	}
	return nil
}

// flowRequest reads flow parameters. All texts are copied into one piece of memory.
func flowRequest(in *C.aperture_flow_params) (controlPoint string, params core.FlowParams, err error) {
	if in == nil {
		return "", params, invalidArgument("params: must not be NULL")
	}
	if err := sized("params", unsafe.Pointer(in), in.struct_size, abi.SmallestFlowParams, C.sizeof_aperture_flow_params); err != nil {
		return "", params, err
	}
	if in.struct_size < C.sizeof_aperture_flow_params {
		older := whole(in, in.struct_size)
		in = &older
	}
	if in.reserved != 0 {
		return "", params, invalidArgument("params.reserved: is %d; must be 0", in.reserved)
	}
	if err := checkText("params.control_point", in.control_point); err != nil {
		return "", params, err
	}
	if params.RampMode, err = boolean("params.ramp_mode", in.ramp_mode); err != nil {
		return "", params, err
	}
	if in.label_count > maxLabels {
		return "", params, invalidArgument("params.label_count: is %d; the limit is %d", in.label_count, maxLabels)
	}
	if in.labels == nil && in.label_count > 0 {
		return "", params, invalidArgument("params.labels: is NULL but label_count is %d", in.label_count)
	}
	if err := checkText("params.baggage", in.baggage); err != nil {
		return "", params, err
	}
	// A header comes from somebody else, who must not be able to make the call fail: what is over the limit is left out.
	params.Baggage = C.GoStringN(in.baggage.data, C.int(min(in.baggage.length, maxOptionLength)))
	if params.ResultCacheKey, err = cacheKeyText("params.result_cache_key", in.result_cache_key); err != nil {
		return "", params, err
	}
	if params.GlobalCacheKeys, err = cacheKeyTexts("params.global_cache_keys", in.global_cache_keys, in.global_cache_key_count); err != nil {
		return "", params, err
	}
	params.CheckTimeout = time.Duration(in.check_timeout_ns)

	labels := unsafe.Slice(in.labels, int(in.label_count))
	total := int(in.control_point.length)
	for i := range labels {
		if err := checkText("params.labels: a key", labels[i].key); err != nil {
			return "", params, err
		}
		if err := checkText("params.labels: a value", labels[i].value); err != nil {
			return "", params, err
		}
		total += int(labels[i].key.length) + int(labels[i].value.length)
		if total > core.MaxRequestBytes {
			break // core refuses it by its size; nothing is gained by copying more
		}
	}
	if total > core.MaxRequestBytes {
		return "", params, invalidArgument("params.labels: labels and control point have more than %d bytes, the limit of one request", core.MaxRequestBytes)
	}
	copied := make([]byte, 0, total)
	take := func(in C.aperture_text) string {
		if in.length == 0 {
			return ""
		}
		start := len(copied)
		copied = append(copied, unsafe.Slice((*byte)(unsafe.Pointer(in.data)), int(in.length))...)
		return unsafe.String(&copied[start], int(in.length))
	}
	controlPoint = take(in.control_point)
	if len(labels) > 0 {
		params.LabelList = make(check.Labels, len(labels))
		for i := range labels {
			params.LabelList[i] = check.Label{Key: take(labels[i].key), Value: take(labels[i].value)}
		}
	}
	return controlPoint, params, nil
}

// clientOptions reads the options of a client.
func clientOptions(in *C.aperture_client_options) (options core.Options, maxPending uint64, err error) {
	if in == nil {
		return options, 0, invalidArgument("options: must not be NULL")
	}
	if err := sized("options", unsafe.Pointer(in), in.struct_size, abi.SmallestClientOptions, C.sizeof_aperture_client_options); err != nil {
		return options, 0, err
	}
	given := whole(in, in.struct_size)
	in = &given
	for _, field := range []struct {
		name string
		in   C.aperture_text
		to   *string
	}{
		{"options.address", in.address, &options.Address},
		{"options.api_key", in.api_key, &options.APIKey},
		{"options.ca_file", in.ca_file, &options.CAFile},
		{"options.server_name", in.server_name, &options.ServerName},
		{"options.user_agent", in.user_agent, &options.UserAgent},
		{"options.ca_pem", in.ca_pem, &options.CAPEM},
		{"options.client_certificate_file", in.client_certificate_file, &options.ClientCertFile},
		{"options.client_key_file", in.client_key_file, &options.ClientKeyFile},
		{"options.client_certificate_pem", in.client_certificate_pem, &options.ClientCertPEM},
		{"options.client_key_pem", in.client_key_pem, &options.ClientKeyPEM},
	} {
		if *field.to, err = text(field.name, field.in); err != nil {
			return options, 0, err
		}
	}
	if options.Insecure, err = boolean("options.insecure", in.insecure); err != nil {
		return options, 0, err
	}
	if options.TelemetryOff, err = boolean("options.telemetry_off", in.telemetry_off); err != nil {
		return options, 0, err
	}
	if options.SkipVerify, err = boolean("options.skip_verify", in.skip_verify); err != nil {
		return options, 0, err
	}
	if options.TelemetryQueue, err = number("options.telemetry_queue", in.telemetry_queue); err != nil {
		return options, 0, err
	}
	if options.TelemetryBatch, err = number("options.telemetry_batch", in.telemetry_batch); err != nil {
		return options, 0, err
	}
	if options.Metadata, err = metadata(in.metadata, in.metadata_count); err != nil {
		return options, 0, err
	}
	options.KeepaliveTime = time.Duration(in.keepalive_time_ns)
	options.KeepaliveTimeout = time.Duration(in.keepalive_timeout_ns)
	options.TelemetryInterval = time.Duration(in.telemetry_interval_ns)
	options.Compression = core.Compression(in.compression)
	options.FlowEndTimeout = time.Duration(in.flow_end_timeout_ns)
	options.WrapConn = guest.Connection
	maxPending = uint64(in.max_pending_calls)
	if maxPending == 0 {
		maxPending = abi.DefaultMaxPendingCalls
	}
	return options, maxPending, nil
}

func boolean(name string, in C.int32_t) (bool, error) {
	if in != 0 && in != 1 {
		return false, invalidArgument("%s: is %d; must be 0 or 1", name, in)
	}
	return in == 1, nil
}

// metadata reads what is sent with every call.
func metadata(in *C.aperture_label, count C.size_t) ([]core.MetadataEntry, error) {
	switch {
	case count == 0:
		return nil, nil
	case in == nil:
		return nil, invalidArgument("options.metadata: is NULL but metadata_count is %d", count)
	case count > core.MaxMetadata:
		return nil, invalidArgument("options.metadata_count: is %d; the limit is %d", count, core.MaxMetadata)
	}
	entries := make([]core.MetadataEntry, count)
	for i, entry := range unsafe.Slice(in, int(count)) {
		var err error
		if entries[i].Key, err = text("options.metadata: a key", entry.key); err != nil {
			return nil, err
		}
		if entries[i].Value, err = text("options.metadata: a value", entry.value); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// number reads a count, for which core has an int.
func number(name string, in C.uint64_t) (int, error) {
	if in > math.MaxInt32 {
		return 0, invalidArgument("%s: is %d; the limit is %d", name, in, math.MaxInt32)
	}
	return int(in), nil
}

// timeout reads a timeout in nanoseconds, for which 0 means byDefault.
func timeout(in C.int64_t, byDefault time.Duration) (time.Duration, error) {
	if in < 0 {
		return 0, invalidArgument("timeout_ns: is %d; must not be negative", in)
	}
	if in == 0 {
		return byDefault, nil
	}
	return time.Duration(in), nil
}

// attributeOf reads an attribute.
func attributeOf(in *C.aperture_attribute) (attribute core.Attribute, err error) {
	if err := given("attribute", in); err != nil {
		return attribute, err
	}
	if err := sized("attribute", unsafe.Pointer(in), in.struct_size, abi.SmallestAttribute, C.sizeof_aperture_attribute); err != nil {
		return attribute, err
	}
	if in.reserved != 0 {
		return attribute, invalidArgument("attribute.reserved: is %d; must be 0", in.reserved)
	}
	key, err := text("attribute.key", in.key)
	if err != nil {
		return attribute, err
	}
	switch in.kind {
	case C.APERTURE_ATTRIBUTE_TEXT:
		value, err := text("attribute.text", in.text)
		return core.TextAttribute(key, value), err
	case C.APERTURE_ATTRIBUTE_INTEGER:
		return core.IntegerAttribute(key, int64(in.integer)), nil
	case C.APERTURE_ATTRIBUTE_NUMBER:
		return core.NumberAttribute(key, float64(in.number)), nil
	}
	return attribute, invalidArgument("attribute.kind: is %d; must be APERTURE_ATTRIBUTE_TEXT (0), _INTEGER (1) or _NUMBER (2)", in.kind)
}

// optionalDecision checks a decision struct that may be NULL.
func optionalDecision(out *C.aperture_decision) error {
	if out == nil {
		return nil
	}
	return sized("decision", unsafe.Pointer(out), out.struct_size, abi.SmallestDecision, C.sizeof_aperture_decision)
}

// fillDecision describes the decision about a flow.
func fillDecision(out *C.aperture_decision, flow *core.Flow) {
	if out == nil {
		return
	}
	out.decision = C.aperture_decision_type(flow.Decision())
	out.should_run = integer(flow.ShouldRun())
	out.reject_reason = C.aperture_reject_reason(flow.RejectReason())
	out.unreachable_reason = C.aperture_unreachable_reason(flow.UnreachableReason())
	out.http_status = C.int32_t(flow.HTTPStatus())
	out.reserved = 0
	out.retry_after_ns = abi.NoRetryAfter
	if wait, known := flow.RetryAfter(); known {
		out.retry_after_ns = C.int64_t(wait)
	}
}

// optionalEndResult checks an end result struct that may be NULL.
func optionalEndResult(out *C.aperture_end_result) error {
	if out == nil {
		return nil
	}
	return sized("result", unsafe.Pointer(out), out.struct_size, abi.SmallestEndResult, C.sizeof_aperture_end_result)
}

// fillEndResult describes how a flow ended.
func fillEndResult(out *C.aperture_end_result, result core.EndResult) {
	if out == nil {
		return
	}
	statuses := result.Response.GetTokenReturnStatuses()
	out.flow_end_answered = integer(result.Response != nil)
	out.reference_count = C.uint32_t(len(statuses))
	out.returned_count = 0
	out.reserved = 0
	for _, status := range statuses {
		if status.GetReturned() {
			out.returned_count++
		}
	}
}

// fillCompletion describes the end of an asynchronous call.
func fillCompletion(out *C.aperture_completion, in completion.Completion) {
	out.kind = C.aperture_completion_kind(in.Kind)
	out.code = C.aperture_code(in.Code)
	out.tag = C.uint64_t(in.Tag)
	// The fields are handles, which are numbers in the clothes of a pointer: they are stored as the numbers that they
	// are, because Go's garbage collector must never see them as pointers.
	*(*C.uint64_t)(unsafe.Pointer(&out.call)) = C.uint64_t(in.Call)
	*(*C.uint64_t)(unsafe.Pointer(&out.flow)) = C.uint64_t(in.Flow)
	if has(out.struct_size, unsafe.Offsetof(out.answer), unsafe.Sizeof(out.answer)) {
		*(*C.uint64_t)(unsafe.Pointer(&out.answer)) = C.uint64_t(in.Answer)
	}
	if has(out.struct_size, unsafe.Offsetof(out.message), unsafe.Sizeof(out.message)) {
		out.message_length = write(out.message[:], in.Message)
	}
}

// checkBuffer checks where a function is to write what fill writes.
func checkBuffer(buffer *C.char, capacity C.size_t, length *C.size_t) error {
	if err := given("length", length); err != nil {
		return err
	}
	*length = 0
	if buffer == nil && capacity > 0 {
		return invalidArgument("buffer: is NULL but capacity is %d", capacity)
	}
	return nil
}

// fill writes what a function returns into a buffer of the caller. Length says how much there is, also when it does not
// fit.
func fill(buffer *C.char, capacity C.size_t, length *C.size_t, content []byte) error {
	*length = C.size_t(len(content))
	if C.size_t(len(content)) > capacity {
		return errTooSmall
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(buffer)), len(content)), content)
	return nil
}

func integer(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}
