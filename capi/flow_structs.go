package main

// #include "aperture.h"
import "C"

import (
	"time"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
)

// maxLabels bounds a label count, so that a count that was never set is recognised before memory is read.
const maxLabels = 1 << 20

// flowMemory is a flow with copies of the labels of most flows, and of the texts of these and of the control point: one
// piece of memory instead of three.
type flowMemory struct {
	flow   core.Flow
	labels [4]check.Label
	text   [112]byte
}

// flowRequest reads flow parameters. Labels and texts are copied into the flow's memory, if they fit.
func flowRequest(in *C.aperture_flow_params, params *core.FlowParams, memory *flowMemory) (controlPoint string, err error) {
	if in == nil {
		return "", invalidArgument("params: must not be NULL")
	}
	if err := sized("params", unsafe.Pointer(in), in.struct_size, abi.SmallestFlowParams, C.sizeof_aperture_flow_params); err != nil {
		return "", err
	}
	if in.struct_size < C.sizeof_aperture_flow_params {
		older := whole(in, in.struct_size)
		in = &older
	}
	if in.reserved != 0 {
		return "", invalidArgument("params.reserved: is %d; must be 0", in.reserved)
	}
	if err := checkText("params.control_point", in.control_point); err != nil {
		return "", err
	}
	if params.RampMode, err = boolean("params.ramp_mode", in.ramp_mode); err != nil {
		return "", err
	}
	if in.label_count > maxLabels {
		return "", invalidArgument("params.label_count: is %d; the limit is %d", in.label_count, maxLabels)
	}
	if in.labels == nil && in.label_count > 0 {
		return "", invalidArgument("params.labels: is NULL but label_count is %d", in.label_count)
	}
	if err := checkText("params.baggage", in.baggage); err != nil {
		return "", err
	}
	// A header comes from somebody else, who must not be able to make the call fail: what is over the limit is left out.
	params.Baggage = C.GoStringN(in.baggage.data, C.int(min(in.baggage.length, maxOptionLength)))
	if params.ResultCacheKey, err = cacheKeyText("params.result_cache_key", in.result_cache_key); err != nil {
		return "", err
	}
	if params.GlobalCacheKeys, err = cacheKeyTexts("params.global_cache_keys", in.global_cache_keys, in.global_cache_key_count); err != nil {
		return "", err
	}
	params.CheckTimeout = time.Duration(in.check_timeout_ns)

	labels := unsafe.Slice(in.labels, int(in.label_count))
	total := int(in.control_point.length)
	for i := range labels {
		if err := checkText("params.labels: a key", labels[i].key); err != nil {
			return "", err
		}
		if err := checkText("params.labels: a value", labels[i].value); err != nil {
			return "", err
		}
		total += int(labels[i].key.length) + int(labels[i].value.length)
		if total > core.MaxRequestBytes {
			break // core refuses it by its size; nothing is gained by copying more
		}
	}
	if total > core.MaxRequestBytes {
		return "", invalidArgument("params.labels: labels and control point have more than %d bytes, the limit of one request", core.MaxRequestBytes)
	}
	list, texts := memory.labels[:], memory.text[:]
	if len(labels) > len(list) {
		list = make([]check.Label, len(labels))
	}
	if total > len(texts) {
		texts = make([]byte, total)
	}
	controlPoint, texts = copyText(texts, in.control_point)
	for i := range labels {
		list[i].Key, texts = copyText(texts, labels[i].key)
		list[i].Value, texts = copyText(texts, labels[i].value)
	}
	params.LabelList = list[:len(labels)]
	return controlPoint, nil
}

// copyText returns a copy of a text in memory that has room for it, and the rest of the memory.
func copyText(memory []byte, in C.aperture_text) (string, []byte) {
	if in.length == 0 {
		return "", memory
	}
	length := copy(memory, unsafe.Slice((*byte)(unsafe.Pointer(in.data)), int(in.length)))
	return unsafe.String(&memory[0], length), memory[length:]
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
