package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/internal/guard"
)

// session is what stands behind a client's handle: the client and its asynchronous calls.
type session struct {
	number     uint64 // the client's handle
	client     *core.Client
	queue      *completion.Queue
	maxPending uint64
	thread     uint64 // with which the client is closed, or 0
	closing    atomic.Bool
	// work counts the asynchronous calls that are under way. Its lock makes sure that none starts once a close waits for
	// them.
	workMu sync.Mutex
	work   sync.WaitGroup
}

// openAnswer is what stands behind the handle of an answer of the cache.
type openAnswer struct {
	*core.CacheAnswer
	session *session
}

// pendingCall is what stands behind a call's handle.
type pendingCall struct {
	*completion.Call
	session *session
}

// sessionOf returns the session of a flow's client.
func sessionOf(flow *core.Flow) *session { return flow.Client().Owner().(*session) }

// takeBack ends a flow that no caller will ever see, and closes its handle if it has one, without keeping its caller
// waiting.
func (s *session) takeBack(number uint64, flow *core.Flow) {
	flows.Close(number)
	_ = flow.SetStatus(core.StatusError)
	s.finishAlone(flow, flow.BeginEnd)
}

// finishAlone ends a flow without keeping its caller waiting. It is begun here, so that its span is sent by a close that
// follows.
func (s *session) finishAlone(flow *core.Flow, begin func() (core.EndingFlow, error)) {
	waits := flow.EndNeedsCall()
	ending, err := begin()
	if err != nil {
		return
	}
	finish := func() { _, _ = ending.Finish(context.Background()) }
	if !waits {
		finish()
		return
	}
	var done func()
	if s.beginWork() {
		done = s.work.Done
	}
	guard.Go(logger, "capi.take_back", finish, func(any) { finish() }, done)
}

// beginWork counts in what a close waits for, until s.work.Done. It returns false once a close has begun.
func (s *session) beginWork() bool {
	s.workMu.Lock()
	defer s.workMu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.work.Add(1)
	return true
}

// background runs what nobody waits for. It is short: everything that it may call has a deadline. After a panic it is
// tried once more: an end gives back tokens that would otherwise be lost until they expire, and one that was made
// already does nothing.
func background(name string, run func()) {
	guard.Go(logger, name, run, func(any) { run() }, nil)
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

// asyncCall is an asynchronous call that a goroutine of its own runs.
type asyncCall struct {
	name  string // of the goroutine
	kind  abi.CompletionKind
	tag   uint64
	flow  uint64 // the handle that the completion has if the goroutine panics
	limit uint64 // bounds how many calls may be pending, unless it is 0
	run   func(context.Context, *completion.Call)
	// recovered does what must happen after a panic beside ending the call. It may be nil.
	recovered func()
}

// spawnCall enters an asynchronous call and runs it in a goroutine, which ends the call.
func (s *session) spawnCall(async asyncCall) (uint64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	call, number, err := s.beginCall(async.kind, async.tag, cancel, async.limit)
	if err != nil {
		cancel()
		return 0, err
	}
	if !s.beginWork() {
		cancel()
		calls.Close(number)
		call.Forget()
		return 0, errClosing
	}
	guard.Go(logger, async.name, func() { async.run(ctx, call) }, func(cause any) {
		defer s.endCall(call, async.flow, panicked(cause))
		if async.recovered != nil {
			async.recovered()
		}
	}, func() {
		cancel()
		s.work.Done()
	})
	return number, nil
}

// endCall ends a call with a flow, if it has one, and an error. It returns false when nobody will take the completion.
func (s *session) endCall(call *completion.Call, flow uint64, err error) bool {
	return s.endCallWith(call, completion.Outcome{Flow: flow}, err)
}

// endCallWith ends a call with what it brings beside an error.
func (s *session) endCallWith(call *completion.Call, outcome completion.Outcome, err error) bool {
	if err != nil {
		outcome.Code, outcome.Message = codeOf(err), err.Error()
	}
	if call.End(outcome) {
		return true
	}
	calls.Close(call.Handle())
	return false
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
	closed := false
	defer func() {
		if !closed {
			s.abort()
		}
		log.Flush(logPatience)
	}()
	guard.Point("capi.close.begun")
	// A close writes to connections that may be broken. It does so on a thread of the runtime, which blocks SIGPIPE: on the
	// caller's it could end the process, if the host has set the signal to its default.
	var err, defect error
	ended := make(chan struct{})
	guard.Go(logger, "capi.close.client", func() { err = s.client.Close(ctx) }, func(cause any) { defect = panicked(cause) }, func() { close(ended) })
	<-ended
	if defect != nil {
		return defect
	}
	s.work.Wait() // the client ends every call when it closes, so this is short
	closed = true
	if err != nil {
		return &failure{abi.ErrorTimeout, err.Error()}
	}
	return nil
}

// abort closes the client at once, for a close that panicked: the host cannot close it a second time.
func (s *session) abort() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.client.Close(ended)
}

// release takes the client's handle away and everything that nobody took from its queue.
func (s *session) release() {
	clients.Close(s.number)
	for _, left := range s.queue.Close() {
		calls.Close(left.Call)
		answers.Close(left.Answer)
		if left.Kind == abi.CompletionStartFlow {
			if flow := flows.Close(left.Flow); flow != nil {
				s.takeBack(0, flow)
			}
		}
	}
}
