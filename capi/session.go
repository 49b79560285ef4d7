package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/capi/internal/handle"
	"github.com/libaperture/libaperture/core"
)

// The handles of the process. They are the only state that is not behind a handle.
var (
	clients = handle.NewTable[session](abi.KindClient)
	flows   = handle.NewTable[openFlow](abi.KindFlow)
	calls   = handle.NewTable[pendingCall](abi.KindCall)
)

// session is what stands behind a client's handle: the client and its asynchronous calls.
type session struct {
	number     uint64 // the client's handle
	client     *core.Client
	queue      *completion.Queue
	maxPending uint64
	thread     uint64 // with which the client is closed, or 0
	closing    atomic.Bool
	// work counts the goroutines of asynchronous calls. Its lock makes sure that none starts once a close waits for
	// them.
	workMu sync.Mutex
	work   sync.WaitGroup
}

// openFlow is what stands behind a flow's handle.
type openFlow struct {
	*core.Flow
	session *session
}

// pendingCall is what stands behind a call's handle.
type pendingCall struct {
	*completion.Call
	session *session
}

// open gives a flow a handle. A flow that cannot have one is ended, so that nothing that it holds is lost.
func (s *session) open(flow *core.Flow) (uint64, error) {
	number, err := flows.Open(&openFlow{flow, s})
	if err != nil {
		abandon(flow)
	}
	return number, err
}

// abandon ends a flow that no caller will ever see, without keeping its caller waiting.
func abandon(flow *core.Flow) {
	_ = flow.SetStatus(core.StatusError)
	if !flow.EndNeedsCall() {
		_, _ = flow.End(context.Background())
		return
	}
	background(func() { _, _ = flow.End(context.Background()) })
}

// background runs what nobody waits for. It is short: everything that it may call has a deadline.
func background(run func()) {
	go func() {
		defer func() { _ = recover() }() // a panic in a goroutine of ours must not end the host
		run()
	}()
}

// beginCall enters an asynchronous call and gives it a handle.
func (s *session) beginCall(kind abi.CompletionKind, tag uint64, cancel context.CancelFunc, limit uint64) (*completion.Call, uint64, error) {
	call := s.queue.Begin(kind, tag, cancel, limit)
	if call == nil {
		return nil, 0, errNoCall
	}
	number, err := calls.Open(&pendingCall{call, s})
	if err != nil {
		call.Forget()
		return nil, 0, err
	}
	call.Named(number)
	return call, number, nil
}

// spawnCall enters an asynchronous call and runs it in a goroutine of its own, which ends the call. A limit other than 0
// bounds how many calls may be pending.
func (s *session) spawnCall(kind abi.CompletionKind, tag, limit uint64, run func(context.Context, *completion.Call)) (uint64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	call, number, err := s.beginCall(kind, tag, cancel, limit)
	if err != nil {
		cancel()
		return 0, err
	}
	s.workMu.Lock()
	defer s.workMu.Unlock()
	if s.closing.Load() {
		cancel()
		calls.Close(number)
		call.Forget()
		return 0, errClosing
	}
	s.work.Go(func() {
		defer cancel()
		defer s.guardCall(call)
		run(ctx, call)
	})
	return number, nil
}

// endCall ends a call with the outcome of what it did. It returns false when nobody will take the completion.
func (s *session) endCall(call *completion.Call, flow uint64, err error) bool {
	if call.End(codeOf(err), flow) {
		return true
	}
	calls.Close(call.Handle())
	return false
}

// guardCall ends a call whose goroutine panicked; it is deferred by that goroutine.
func (s *session) guardCall(call *completion.Call) {
	if cause := recover(); cause != nil {
		s.endCall(call, 0, panicked(cause))
	}
}

// handedOut releases what a completion that was handed out stood for.
func (s *session) handedOut(ended completion.Completion) {
	calls.Close(ended.Call)
	if ended.Kind == abi.CompletionClose {
		s.release()
	}
}

// beginClose lets one caller close the client, and no asynchronous call start any more.
func (s *session) beginClose() bool {
	s.workMu.Lock()
	defer s.workMu.Unlock()
	return s.closing.CompareAndSwap(false, true)
}

// close closes the client within limit and waits until every asynchronous call has ended.
func (s *session) close(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.client.Close(ctx)
	s.work.Wait() // the client ends every call when it closes, so this is short
	if err != nil {
		return &failure{abi.ErrorTimeout, err.Error()}
	}
	return nil
}

// release takes the client's handle away and everything that nobody took from its queue.
func (s *session) release() {
	clients.Close(s.number)
	for _, left := range s.queue.Close() {
		calls.Close(left.Call)
		if left.Kind == abi.CompletionStartFlow {
			if flow := flows.Close(left.Flow); flow != nil {
				abandon(flow.Flow)
			}
		}
	}
}
