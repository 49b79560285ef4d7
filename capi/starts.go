package main

import (
	"errors"
	"sync/atomic"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/internal/guard"
)

// waitingStart is a start that waits in this process, without a goroutine.
type waitingStart struct {
	session   *session
	flow      *core.WaitingFlow
	call      *completion.Call
	cancelled atomic.Bool
}

// begin starts a flow, and returns it when it is decided at once, else the handle of its call.
func (s *session) begin(prepared core.PreparedFlow, tag uint64) (*core.Flow, uint64, error) {
	started, waiting := prepared.Begin()
	if started != nil {
		return started, 0, nil
	}
	w := &waitingStart{session: s, flow: waiting}
	number, err := w.enter(tag)
	switch {
	case errors.Is(err, errNoCall):
		return waiting.Refuse(check.UnreachableOverloaded, errOverloaded), 0, nil
	case err != nil:
		s.takeBack(0, waiting.Refuse(check.UnreachableCancelled, err))
		return nil, 0, err
	}
	return nil, number, nil
}

// enter makes the start a call, which ends when the flow is decided, and returns its handle.
func (w *waitingStart) enter(tag uint64) (uint64, error) {
	s := w.session
	call, number, err := s.beginCall(abi.CompletionStartFlow, tag, w.cancel, s.maxPending)
	if err != nil {
		return 0, err
	}
	if !s.beginWork() {
		calls.Close(number)
		call.Forget()
		return 0, errClosing
	}
	w.call = call
	if w.flow.Await(w.end) {
		w.end()
	}
	return number, nil
}

func (w *waitingStart) cancel() {
	w.cancelled.Store(true)
	w.flow.Cancel()
}

// end ends the call once the flow is decided. It may be called on any goroutine.
func (w *waitingStart) end() {
	s := w.session
	defer s.work.Done()
	var started *core.Flow
	guard.Do(logger, "capi.start_flow.waited", func() {
		started = w.flow.Flow()
		var err error
		if w.cancelled.Load() {
			err = errCancelled
		}
		s.endStart(w.call, started, err)
	}, func(cause any) {
		defer s.endCall(w.call, 0, panicked(cause))
		if started == nil {
			s.takeBack(0, w.flow.Flow())
		}
	})
}
