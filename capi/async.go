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
	"github.com/libaperture/libaperture/internal/guard"
)

var (
	errOverloaded = errors.New("too many asynchronous calls of this client are pending")
	errNoCall     = &failure{abi.ErrorResourceExhausted, errOverloaded.Error()}
)

// pollBatch is how many completions are taken from the queue at once.
const pollBatch = 64

//export aperture_go_start_flow_async
func aperture_go_start_flow_async(client C.uint64_t, params *C.aperture_flow_params, tag C.uint64_t, flow *C.uint64_t, decision *C.aperture_decision, call *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_start_flow_async", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		if err := given("call", call); err != nil {
			return err
		}
		prepared, err := s.prepare(params, flow, decision)
		if err != nil {
			return err
		}
		if s.client.CanBegin() {
			started, number, err := s.begin(prepared, uint64(tag))
			if started != nil {
				return s.handOut(started, flow, decision)
			}
			return pend(call, number, err)
		}
		number, err := s.spawnCall(asyncCall{
			name: "capi.start_flow", kind: abi.CompletionStartFlow, tag: uint64(tag), limit: s.maxPending,
			run: func(ctx context.Context, pending *completion.Call) { s.startPending(ctx, pending, prepared) },
		})
		if errors.Is(err, errNoCall) {
			return s.handOut(prepared.Refuse(check.UnreachableOverloaded, errOverloaded), flow, decision)
		}
		return pend(call, number, err)
	})
}

// endStart ends the call of a flow, with the flow or with an error. A flow that nobody will see is ended here, also when
// that is because of a panic.
func (s *session) endStart(pending *completion.Call, started *core.Flow, err error) {
	var number uint64
	seen := false
	defer func() {
		if !seen {
			s.takeBack(number, started)
		}
	}()
	guard.Point("capi.start_flow.admitted")
	if err != nil {
		s.endCall(pending, 0, err)
		return
	}
	number, err = flows.Open(started)
	seen = s.endCall(pending, number, err) && err == nil
}

// startPending starts a flow and ends the call with it.
func (s *session) startPending(ctx context.Context, pending *completion.Call, prepared core.PreparedFlow) {
	started := prepared.Start(ctx)
	var err error
	if ctx.Err() != nil {
		err = errCancelled
	}
	s.endStart(pending, started, err)
}

// pend tells the caller of an asynchronous form about its call.
func pend(call *C.uint64_t, number uint64, err error) error {
	if err != nil {
		return err
	}
	*call = C.uint64_t(number)
	return errPending
}

//export aperture_go_flow_end_async
func aperture_go_flow_end_async(flow C.uint64_t, tag C.uint64_t, result *C.aperture_end_result, call *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_end_async", failure, func() error {
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		if err := given("call", call); err != nil {
			return err
		}
		if err := optionalEndResult(result); err != nil {
			return err
		}
		waits := f.EndNeedsCall()
		ending, err := f.BeginEnd()
		if err != nil {
			return err
		}
		if waits {
			s := sessionOf(f)
			// Ends are not limited in number: each belongs to a flow, and refusing one would keep its tokens.
			number, err := s.spawnCall(asyncCall{
				name: "capi.flow_end", kind: abi.CompletionFlowEnd, tag: uint64(tag), flow: uint64(flow),
				run:       func(ctx context.Context, pending *completion.Call) { s.endPending(ctx, pending, uint64(flow), ending) },
				recovered: func() { finish(ending) },
			})
			switch {
			case errors.Is(err, handle.ErrFull):
				finish(ending)
				return err
			case !errors.Is(err, errClosing):
				return pend(call, number, err)
			}
		}
		// Nothing to wait for: the flow holds no tokens, or its client is closed and says so at once.
		ended, err := ending.Finish(context.Background())
		fillEndResult(result, ended)
		return err
	})
}

// endPending gives back what a flow holds and ends the call. A cancel ends the call at once, but not the giving back: its
// tokens would be lost until they expire.
func (s *session) endPending(ctx context.Context, pending *completion.Call, flow uint64, ending core.EndingFlow) {
	cancelled := func() { s.endCall(pending, flow, errCancelled) }
	stop := guard.AfterFunc(ctx, logger, "capi.flow_end.cancel", cancelled, func(any) { cancelled() })
	defer stop()
	_, err := ending.Finish(context.Background())
	s.endCall(pending, flow, err)
}

// finish gives back what a flow holds, without keeping its caller waiting.
func finish(ending core.EndingFlow) {
	background("capi.flow_end.finish", func() { _, _ = ending.Finish(context.Background()) })
}

//export aperture_go_client_wait_ready_async
func aperture_go_client_wait_ready_async(client C.uint64_t, timeoutNS C.int64_t, tag C.uint64_t, call *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_wait_ready_async", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		if err := given("call", call); err != nil {
			return err
		}
		limit, err := timeout(timeoutNS, 0)
		if err != nil {
			return err
		}
		if s.client.Immediate() {
			return s.waitReady(context.Background(), limit)
		}
		number, err := s.spawnCall(asyncCall{
			name: "capi.wait_ready", kind: abi.CompletionWaitReady, tag: uint64(tag), limit: s.maxPending,
			run: func(ctx context.Context, pending *completion.Call) { s.endCall(pending, 0, s.waitReady(ctx, limit)) },
		})
		return pend(call, number, err)
	})
}

//export aperture_go_client_close_async
func aperture_go_client_close_async(client C.uint64_t, timeoutNS C.int64_t, tag C.uint64_t, call *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_close_async", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		if err := given("call", call); err != nil {
			return err
		}
		limit, err := timeout(timeoutNS, abi.DefaultCloseTimeoutNS)
		if err != nil {
			return err
		}
		pending, number, err := s.beginCall(abi.CompletionClose, uint64(tag), nil, 0)
		if err != nil {
			return err
		}
		if !s.beginClose() {
			calls.Close(number)
			pending.Forget()
			return errClosing
		}
		guard.Go(logger, "capi.close", func() { s.endCall(pending, 0, s.close(limit)) }, func(cause any) {
			defer s.endCall(pending, 0, panicked(cause))
			s.abort()
		}, nil)
		return pend(call, number, nil)
	})
}

//export aperture_go_client_completion_fd
func aperture_go_client_completion_fd(client C.uint64_t, fd *C.int32_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_completion_fd", failure, func() error {
		if err := given("fd", fd); err != nil {
			return err
		}
		*fd = -1
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		descriptor, err := s.descriptor()
		*fd = C.int32_t(descriptor)
		return err
	})
}

//export aperture_go_client_poll
func aperture_go_client_poll(client C.uint64_t, completions *C.aperture_completion, capacity C.size_t, count *C.size_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_poll", failure, func() error {
		if err := given("count", count); err != nil {
			return err
		}
		*count = 0
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		if completions == nil || capacity == 0 {
			return invalidArgument("completions: must not be NULL, with a capacity of at least 1")
		}
		stride := completions.struct_size
		if err := sized("completions[0]", unsafe.Pointer(completions), stride, abi.SmallestCompletion, C.sizeof_aperture_completion); err != nil {
			return err
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
		return nil
	})
}

//export aperture_go_call_wait
func aperture_go_call_wait(call C.uint64_t, timeoutNS C.int64_t, out *C.aperture_completion, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_call_wait", failure, func() error {
		pending, err := calls.find(call)
		if err != nil {
			return err
		}
		if err := given("completion", out); err != nil {
			return err
		}
		if err := sized("completion", unsafe.Pointer(out), out.struct_size, abi.SmallestCompletion, C.sizeof_aperture_completion); err != nil {
			return err
		}
		limit, err := timeout(timeoutNS, 0)
		if err != nil {
			return err
		}
		ended, taken, gone := pending.Wait(limit)
		switch {
		case gone:
			return calls.invalid
		case !taken:
			return errStillPending
		}
		fillCompletion(out, ended)
		pending.session.handedOut(ended)
		return nil
	})
}

//export aperture_go_call_cancel
func aperture_go_call_cancel(call C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_call_cancel", failure, func() error {
		pending, err := calls.find(call)
		if err != nil {
			return err
		}
		pending.Cancel()
		return nil
	})
}
