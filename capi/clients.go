package main

// #include "aperture.h"
// uint64_t aperture_guest_thread(void);
import "C"

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/internal/guard"
)

//export aperture_go_new_client
func aperture_go_new_client(options *C.aperture_client_options, client *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_new_client", failure, func() error {
		if err := given("client", client); err != nil {
			return err
		}
		settings, maxPending, err := clientOptions(options)
		if err != nil {
			return err
		}
		s := &session{queue: completion.NewQueue(), maxPending: maxPending, thread: uint64(C.aperture_guest_thread())}
		settings.Logger, settings.Owner = logger, s
		if s.client, err = core.NewClient(settings); err != nil {
			return err
		}
		defer func() {
			if s.number == 0 {
				s.abort()
			}
		}()
		guard.Point("capi.new_client.made")
		number, err := clients.Open(s)
		if err != nil {
			return err
		}
		s.number = number // nobody else has it before this call returns
		*client = C.uint64_t(number)
		return nil
	})
}

//export aperture_go_client_wait_ready
func aperture_go_client_wait_ready(client C.uint64_t, timeoutNS C.int64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_wait_ready", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		limit, err := timeout(timeoutNS, 0)
		if err != nil {
			return err
		}
		return s.waitReady(context.Background(), limit)
	})
}

//export aperture_go_client_state
func aperture_go_client_state(client C.uint64_t, state *C.aperture_connection_state, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_state", failure, func() error {
		if err := given("state", state); err != nil {
			return err
		}
		*state = 0
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		*state = C.aperture_connection_state(s.client.State())
		return nil
	})
}

//export aperture_go_client_reload
func aperture_go_client_reload(client C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_reload", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		return s.client.Reload()
	})
}

//export aperture_go_client_snapshot
func aperture_go_client_snapshot(client C.uint64_t, buffer *C.char, capacity C.size_t, length *C.size_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_snapshot", failure, func() error {
		if err := checkBuffer(buffer, capacity, length); err != nil {
			return err
		}
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		text, err := s.client.Snapshot()
		if err != nil {
			return err
		}
		return fill(buffer, capacity, length, text)
	})
}

//export aperture_go_client_stats
func aperture_go_client_stats(client C.uint64_t, stats *C.aperture_stats, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_stats", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		if err := given("stats", stats); err != nil {
			return err
		}
		if err := sized("stats", unsafe.Pointer(stats), stats.struct_size, abi.SmallestStats, C.sizeof_aperture_stats); err != nil {
			return err
		}
		counted := s.client.Stats()
		unreachable := &counted.UnreachableByReason
		size := stats.struct_size
		full := C.aperture_stats{
			struct_size:               size,
			flows_accepted:            C.uint64_t(counted.FlowsAccepted),
			flows_rejected:            C.uint64_t(counted.FlowsRejected),
			flows_unreachable:         C.uint64_t(counted.FlowsUnreachable),
			unreachable_timeout:       C.uint64_t(unreachable[check.UnreachableTimeout]),
			unreachable_unavailable:   C.uint64_t(unreachable[check.UnreachableUnavailable]),
			unreachable_agent_error:   C.uint64_t(unreachable[check.UnreachableAgentError]),
			unreachable_misconfigured: C.uint64_t(unreachable[check.UnreachableMisconfigured]),
			unreachable_cancelled:     C.uint64_t(unreachable[check.UnreachableCancelled]),
			unreachable_closed:        C.uint64_t(unreachable[check.UnreachableClosed]),
			unreachable_overloaded:    C.uint64_t(unreachable[check.UnreachableOverloaded]),
			flows_ended:               C.uint64_t(counted.FlowsEnded),
			flow_ends_failed:          C.uint64_t(counted.FlowEndsFailed),
			spans_exported:            C.uint64_t(counted.SpansExported),
			spans_dropped:             C.uint64_t(counted.SpansDropped),
			spans_queued:              C.uint64_t(counted.SpansQueued),
			flows_sanitised:           C.uint64_t(counted.FlowsSanitised),
			calls_pending:             C.uint64_t(s.queue.Pending()),
			flows_never_ended:         C.uint64_t(counted.FlowsNeverEnded),
			cache_calls:               C.uint64_t(counted.CacheCalls),
			cache_calls_failed:        C.uint64_t(counted.CacheCallsFailed),
		}
		copyOut(stats, &full, size)
		return nil
	})
}

//export aperture_go_client_close
func aperture_go_client_close(client C.uint64_t, timeoutNS C.int64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_client_close", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		limit, err := timeout(timeoutNS, abi.DefaultCloseTimeoutNS)
		if err != nil {
			return err
		}
		if !s.beginClose() {
			return errClosing
		}
		defer s.release()
		return s.close(limit)
	})
}

// waitReady waits until the agent can be asked.
func (s *session) waitReady(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.client.WaitReady(ctx)
	var unreachable *check.UnreachableError
	if !errors.As(err, &unreachable) {
		return err
	}
	switch unreachable.Reason {
	case check.UnreachableClosed:
		return errClosing
	case check.UnreachableCancelled:
		return errCancelled
	}
	if limit == 0 {
		return &failure{abi.ErrorTimeout, fmt.Sprintf("the agent is not ready: %v", err)}
	}
	return &failure{abi.ErrorTimeout, fmt.Sprintf("the agent was not ready within %v: %v", limit, err)}
}
