package main

// #include "aperture.h"
import "C"

import (
	"context"
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/libaperture/libaperture/core"
)

//export aperture_go_start_flow
func aperture_go_start_flow(client C.uint64_t, params *C.aperture_flow_params, flow *C.uint64_t, decision *C.aperture_decision, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	s := clients.Get(uint64(client))
	if s == nil {
		return report(failure, errInvalidClient)
	}
	if flow == nil {
		return report(failure, invalidArgument("flow: must not be NULL"))
	}
	if err := optionalDecision(decision); err != nil {
		return report(failure, err)
	}
	controlPoint, request, err := flowRequest(params)
	if err != nil {
		return report(failure, err)
	}
	return report(failure, s.start(context.Background(), controlPoint, request, flow, decision))
}

// start starts a flow and gives it a handle.
func (s *session) start(ctx context.Context, controlPoint string, request core.FlowParams, flow *C.uint64_t, decision *C.aperture_decision) error {
	started, err := s.client.StartFlow(ctx, controlPoint, request)
	if err != nil {
		return err
	}
	return s.handOut(started, flow, decision)
}

// handOut gives a flow to the caller.
func (s *session) handOut(started *core.Flow, flow *C.uint64_t, decision *C.aperture_decision) error {
	number, err := s.open(started)
	if err != nil {
		return err
	}
	fillDecision(decision, started)
	*flow = C.uint64_t(number)
	return nil
}

//export aperture_go_flow_should_run
func aperture_go_flow_should_run(flow C.uint64_t, shouldRun *C.int32_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	if shouldRun == nil {
		return report(failure, invalidArgument("should_run: must not be NULL"))
	}
	*shouldRun = 0
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	*shouldRun = integer(f.ShouldRun())
	return report(failure, nil)
}

//export aperture_go_flow_decision
func aperture_go_flow_decision(flow C.uint64_t, decision *C.aperture_decision, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	if decision == nil {
		return report(failure, invalidArgument("decision: must not be NULL"))
	}
	if err := optionalDecision(decision); err != nil {
		return report(failure, err)
	}
	fillDecision(decision, f.Flow)
	return report(failure, nil)
}

//export aperture_go_flow_error
func aperture_go_flow_error(flow C.uint64_t, reason *C.aperture_error, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	if reason == nil {
		return report(failure, invalidArgument("failure: must not be NULL"))
	}
	if err := sized("failure", unsafe.Pointer(reason), reason.struct_size, C.sizeof_aperture_error); err != nil {
		return report(failure, err)
	}
	report(reason, f.Err())
	return report(failure, nil)
}

//export aperture_go_flow_set_status
func aperture_go_flow_set_status(flow C.uint64_t, status C.aperture_flow_status, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	return report(failure, f.SetStatus(core.Status(status)))
}

//export aperture_go_flow_end
func aperture_go_flow_end(flow C.uint64_t, result *C.aperture_end_result, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	if err := optionalEndResult(result); err != nil {
		return report(failure, err)
	}
	ended, err := f.End(context.Background())
	fillEndResult(result, ended)
	return report(failure, err)
}

//export aperture_go_flow_end_result
func aperture_go_flow_end_result(flow C.uint64_t, result *C.aperture_end_result, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	if err := optionalEndResult(result); err != nil {
		return report(failure, err)
	}
	ended, err, done := f.EndResult()
	fillEndResult(result, ended)
	if !done {
		report(failure, nil)
		return C.APERTURE_PENDING
	}
	return report(failure, err)
}

//export aperture_go_flow_end_response
func aperture_go_flow_end_response(flow C.uint64_t, buffer *C.char, capacity C.size_t, length *C.size_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	if length == nil {
		return report(failure, invalidArgument("length: must not be NULL"))
	}
	*length = 0
	if buffer == nil && capacity > 0 {
		return report(failure, invalidArgument("buffer: is NULL but capacity is %d", capacity))
	}
	ended, _, _ := f.EndResult()
	if ended.Response == nil {
		return report(failure, nil)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(ended.Response)
	if err != nil {
		return report(failure, fmt.Errorf("the agent's answer as JSON: %w", err))
	}
	*length = C.size_t(len(text))
	if C.size_t(len(text)) > capacity {
		return report(failure, errTooSmall)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(buffer)), len(text)), text)
	return report(failure, nil)
}

//export aperture_go_flow_close
func aperture_go_flow_close(flow C.uint64_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	if flows.Close(uint64(flow)) == nil {
		return report(failure, errInvalidFlow)
	}
	return report(failure, nil)
}
