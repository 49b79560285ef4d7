package main

// #include "aperture.h"
import "C"

import (
	"context"
	"sync"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/core"
)

// aperture_go_thread_ended closes the clients that a thread has made (aperture_close_clients_with_thread). It is called
// on that thread, which is about to end and must not wait.
//
//export aperture_go_thread_ended
func aperture_go_thread_ended(thread C.uint64_t) {
	background(func() {
		left := map[*session][]*core.Flow{}
		for _, s := range clients.All() {
			if s.thread == uint64(thread) {
				left[s] = nil
			}
		}
		// A flow may also be left by a client that is closed.
		for number, flow := range flows.All() {
			if flow.session.thread == uint64(thread) && flows.Close(number) != nil {
				left[flow.session] = append(left[flow.session], flow.Flow)
			}
		}
		for s, open := range left {
			background(func() { s.leave(open) })
		}
	})
}

// leave closes a client that no caller will ever use again, with the flows that it left open.
func (s *session) leave(open []*core.Flow) {
	s.release()
	ctx, cancel := context.WithTimeout(context.Background(), core.DefaultCloseTimeout)
	defer cancel()
	var ends sync.WaitGroup
	for _, flow := range open {
		_ = flow.SetStatus(core.StatusError)
		if !flow.EndNeedsCall() {
			_, _ = flow.End(ctx)
			continue
		}
		ends.Add(1)
		background(func() {
			defer ends.Done()
			_, _ = flow.End(ctx)
		})
	}
	ends.Wait()
	if s.beginClose() {
		_ = s.close(abi.DefaultCloseTimeoutNS)
	}
}
