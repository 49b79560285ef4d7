package main

// #include "aperture.h"
import "C"

import (
	"context"
	"errors"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/capi/internal/handle"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
)

var (
	errOverloaded = errors.New("too many asynchronous calls of this client are pending")
	errNoCall     = &failure{abi.ErrorResourceExhausted, errOverloaded.Error()}
)

// pollBatch is how many completions are taken from the queue at once.
const pollBatch = 64

//export aperture_go_start_flow_async
func aperture_go_start_flow_async(client C.uint64_t, params *C.aperture_flow_params, tag C.uint64_t, flow *C.uint64_t, decision *C.aperture_decision, call *C.uint64_t, failure *C.aperture_error) (code C.aperture_code) {
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
	if call == nil {
		return report(failure, invalidArgument("call: must not be NULL"))
	}
	if err := optionalDecision(decision); err != nil {
		return report(failure, err)
	}
	controlPoint, request, err := flowRequest(params)
	if err != nil {
		return report(failure, err)
	}
	if s.client.Immediate() {
		return report(failure, s.start(context.Background(), controlPoint, request, flow, decision))
	}
	prepared, err := s.client.PrepareFlow(controlPoint, request)
	if err != nil {
		return report(failure, err)
	}
	number, err := s.spawnCall(abi.CompletionStartFlow, uint64(tag), s.maxPending, func(ctx context.Context, pending *completion.Call) {
		s.startPending(ctx, pending, prepared)
	})
	if errors.Is(err, errNoCall) {
		overloaded := s.client.UnreachableFlow(controlPoint, request.RampMode, check.UnreachableOverloaded, errOverloaded)
		return report(failure, s.handOut(overloaded, flow, decision))
	}
	return pend(call, number, failure, err)
}

// startPending starts a flow and ends the call with it. A flow that nobody will see is ended here.
func (s *session) startPending(ctx context.Context, pending *completion.Call, prepared core.PreparedFlow) {
	started := prepared.Start(ctx)
	if ctx.Err() != nil {
		abandon(started)
		s.endCall(pending, 0, errCancelled)
		return
	}
	number, err := s.open(started)
	if !s.endCall(pending, number, err) && err == nil {
		flows.Close(number)
		abandon(started)
	}
}

// pend tells the caller of an asynchronous form about its call.
func pend(call *C.uint64_t, number uint64, failure *C.aperture_error, err error) C.aperture_code {
	if err != nil {
		return report(failure, err)
	}
	*call = C.uint64_t(number)
	report(failure, nil)
	return C.APERTURE_PENDING
}

//export aperture_go_flow_end_async
func aperture_go_flow_end_async(flow C.uint64_t, tag C.uint64_t, result *C.aperture_end_result, call *C.uint64_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	f := flows.Get(uint64(flow))
	if f == nil {
		return report(failure, errInvalidFlow)
	}
	if call == nil {
		return report(failure, invalidArgument("call: must not be NULL"))
	}
	if err := optionalEndResult(result); err != nil {
		return report(failure, err)
	}
	waits := f.EndNeedsCall()
	ending, err := f.BeginEnd()
	if err != nil {
		return report(failure, err)
	}
	if waits {
		s := f.session
		// Ends are not limited in number: each belongs to a flow, and refusing one would keep its tokens.
		number, err := s.spawnCall(abi.CompletionFlowEnd, uint64(tag), 0, func(ctx context.Context, pending *completion.Call) {
			// A cancel ends the call at once, but not the giving back: its tokens would be lost until they expire.
			stop := context.AfterFunc(ctx, func() { s.endCall(pending, uint64(flow), errCancelled) })
			_, err := ending.Finish(context.Background())
			stop()
			s.endCall(pending, uint64(flow), err)
		})
		switch {
		case errors.Is(err, handle.ErrFull):
			background(func() { _, _ = ending.Finish(context.Background()) })
			return report(failure, err)
		case !errors.Is(err, errClosing):
			return pend(call, number, failure, err)
		}
	}
	// Nothing to wait for: the flow holds no tokens, or its client is closed and says so at once.
	ended, err := ending.Finish(context.Background())
	fillEndResult(result, ended)
	return report(failure, err)
}

//export aperture_go_client_wait_ready_async
func aperture_go_client_wait_ready_async(client C.uint64_t, timeoutNS C.int64_t, tag C.uint64_t, call *C.uint64_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	s := clients.Get(uint64(client))
	if s == nil {
		return report(failure, errInvalidClient)
	}
	if call == nil {
		return report(failure, invalidArgument("call: must not be NULL"))
	}
	limit, err := timeout(timeoutNS, 0)
	if err != nil {
		return report(failure, err)
	}
	if s.client.Immediate() {
		return report(failure, s.waitReady(context.Background(), limit))
	}
	number, err := s.spawnCall(abi.CompletionWaitReady, uint64(tag), s.maxPending, func(ctx context.Context, pending *completion.Call) {
		s.endCall(pending, 0, s.waitReady(ctx, limit))
	})
	return pend(call, number, failure, err)
}

//export aperture_go_client_close_async
func aperture_go_client_close_async(client C.uint64_t, timeoutNS C.int64_t, tag C.uint64_t, call *C.uint64_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	s := clients.Get(uint64(client))
	if s == nil {
		return report(failure, errInvalidClient)
	}
	if call == nil {
		return report(failure, invalidArgument("call: must not be NULL"))
	}
	limit, err := timeout(timeoutNS, abi.DefaultCloseTimeoutNS)
	if err != nil {
		return report(failure, err)
	}
	pending, number, err := s.beginCall(abi.CompletionClose, uint64(tag), nil, 0)
	if err != nil {
		return report(failure, err)
	}
	if !s.beginClose() {
		calls.Close(number)
		pending.Forget()
		return report(failure, errClosing)
	}
	go func() {
		defer s.guardCall(pending)
		s.endCall(pending, 0, s.close(limit))
	}()
	return pend(call, number, failure, nil)
}

//export aperture_go_client_completion_fd
func aperture_go_client_completion_fd(client C.uint64_t, fd *C.int32_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	if fd == nil {
		return report(failure, invalidArgument("fd: must not be NULL"))
	}
	*fd = -1
	s := clients.Get(uint64(client))
	if s == nil {
		return report(failure, errInvalidClient)
	}
	descriptor, err := s.queue.Descriptor()
	*fd = C.int32_t(descriptor)
	return report(failure, err)
}

//export aperture_go_client_poll
func aperture_go_client_poll(client C.uint64_t, completions *C.aperture_completion, capacity C.size_t, count *C.size_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	if count == nil {
		return report(failure, invalidArgument("count: must not be NULL"))
	}
	*count = 0
	s := clients.Get(uint64(client))
	if s == nil {
		return report(failure, errInvalidClient)
	}
	if completions == nil || capacity == 0 {
		return report(failure, invalidArgument("completions: must not be NULL, with a capacity of at least 1"))
	}
	stride := completions.struct_size
	if err := sized("completions[0]", unsafe.Pointer(completions), stride, C.sizeof_aperture_completion); err != nil {
		return report(failure, err)
	}
	var batch [pollBatch]completion.Completion
	for *count < capacity {
		wanted := min(int(capacity-*count), pollBatch)
		taken := s.queue.Poll(batch[:wanted])
		for _, ended := range batch[:taken] {
			out := (*C.aperture_completion)(unsafe.Add(unsafe.Pointer(completions), uintptr(*count)*uintptr(stride)))
			out.struct_size = stride
			fillCompletion(out, ended)
			*count++
			s.handedOut(ended)
		}
		if taken < wanted {
			break
		}
	}
	return report(failure, nil)
}

//export aperture_go_call_wait
func aperture_go_call_wait(call C.uint64_t, timeoutNS C.int64_t, out *C.aperture_completion, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	pending := calls.Get(uint64(call))
	if pending == nil {
		return report(failure, errInvalidCall)
	}
	if out == nil {
		return report(failure, invalidArgument("completion: must not be NULL"))
	}
	if err := sized("completion", unsafe.Pointer(out), out.struct_size, C.sizeof_aperture_completion); err != nil {
		return report(failure, err)
	}
	limit, err := timeout(timeoutNS, 0)
	if err != nil {
		return report(failure, err)
	}
	ended, taken, gone := pending.Wait(limit)
	switch {
	case gone:
		return report(failure, errInvalidCall)
	case !taken:
		return report(failure, errStillPending)
	}
	fillCompletion(out, ended)
	pending.session.handedOut(ended)
	report(failure, nil)
	return C.APERTURE_OK
}

//export aperture_go_call_cancel
func aperture_go_call_cancel(call C.uint64_t, failure *C.aperture_error) (code C.aperture_code) {
	defer guard(&code, failure)
	if !usable(failure) {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	pending := calls.Get(uint64(call))
	if pending == nil {
		return report(failure, errInvalidCall)
	}
	pending.Cancel()
	return report(failure, nil)
}
