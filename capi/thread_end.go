package main

// #include "aperture.h"
// #include <stdbool.h>
// uint64_t aperture_guest_thread(void);
// bool aperture_guest_watch_thread(void);
import "C"

import (
	"context"
	"sync"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/internal/guard"
)

var errNoThreadEnd = &failure{abi.ErrorResourceExhausted,
	"the process has no thread-specific value left, without which the end of a thread is not noticed"}

//export aperture_go_close_clients_with_thread
func aperture_go_close_clients_with_thread(failure *C.aperture_error) C.aperture_code {
	return enter("aperture_close_clients_with_thread", failure, func() error {
		if !C.aperture_guest_watch_thread() {
			return errNoThreadEnd
		}
		return nil
	})
}

// descriptor returns a descriptor of the client's completions. It is closed with the client's thread only if it is that
// thread which asks: another one may still use it.
func (s *session) descriptor() (int, error) {
	return s.queue.Descriptor(s.thread != 0 && s.thread == uint64(C.aperture_guest_thread()))
}

// aperture_go_thread_ended closes the clients that a thread has made. It is called on that thread, which is about to end
// and must not wait.
//
//export aperture_go_thread_ended
func aperture_go_thread_ended(thread C.uint64_t) {
	background("capi.thread_ended", func() { leave(uint64(thread)) })
}

// leave closes the clients that a thread has made, with the flows and answers that they left open.
func leave(thread uint64) {
	left := map[*session][]*core.Flow{}
	for _, s := range clients.All() {
		if s.thread == thread {
			left[s] = nil
		}
	}
	// A flow may also be left by a client that is closed.
	for number, flow := range flows.All() {
		if s := sessionOf(flow); s.thread == thread && flows.Close(number) != nil {
			left[s] = append(left[s], flow)
		}
	}
	for number, answer := range answers.All() {
		if answer.session.thread == thread {
			answers.Close(number)
		}
	}
	for s, open := range left {
		background("capi.leave", func() { s.leave(open) })
	}
}

// leave closes a client that no caller will ever use again.
func (s *session) leave(open []*core.Flow) {
	s.queue.CloseLentDescriptors()
	s.release()
	ctx, cancel := context.WithTimeout(context.Background(), core.DefaultCloseTimeout)
	defer cancel()
	var ends sync.WaitGroup
	for _, flow := range open {
		waits := flow.EndNeedsCall()
		ending, err := flow.BeginAbandoned()
		if err != nil {
			continue
		}
		finish := func() { _, _ = ending.Finish(ctx) }
		if !waits {
			finish()
			continue
		}
		ends.Add(1)
		guard.Go(logger, "capi.leave.end", finish, func(any) { finish() }, ends.Done)
	}
	ends.Wait()
	if s.beginClose() {
		_ = s.close(abi.DefaultCloseTimeoutNS)
	}
}
