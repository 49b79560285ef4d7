// Package fakestarter is a check.Starter for tests, in which flows wait until the test decides.
package fakestarter

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Starter decides at once about the control point Now, and lets every other flow wait. Its methods may be called from
// several goroutines at once.
type Starter struct {
	// Began is called before Start returns, with what decides about the flow, unless it is nil.
	Began func(*Wait)

	mu       sync.Mutex
	waits    []*Wait
	closed   bool
	admitted int
	returned map[string]int
}

// Now is the control point whose flows are decided at once.
const Now = "now"

var _ check.Starter = (*Starter)(nil)

// Wait is a flow that waits.
type Wait struct {
	Request *check.Request

	starter *Starter
	decided func(check.Answer, error)
	once    sync.Once
}

// Start implements check.Starter.
func (s *Starter) Start(request *check.Request, decided func(check.Answer, error)) (check.Answer, check.Waiting, error) {
	wait := &Wait{Request: request, starter: s, decided: decided}
	s.mu.Lock()
	closed := s.closed
	if !closed && request.ControlPoint != Now {
		s.waits = append(s.waits, wait)
	}
	s.mu.Unlock()
	switch {
	case closed:
		return check.Answer{}, nil, unreachable(check.UnreachableClosed)
	case request.ControlPoint == Now:
		return s.admission(), nil, nil
	}
	if s.Began != nil {
		s.Began(wait)
	}
	return check.Answer{}, wait, nil
}

// Admit accepts the flow, which then holds tokens until FlowEnd.
func (w *Wait) Admit() { w.once.Do(func() { w.decided(w.starter.admission(), nil) }) }

// Reject rejects the flow.
func (w *Wait) Reject() {
	w.once.Do(func() {
		w.decided(check.Answer{Rejected: true, RejectReason: check.RejectReasonNoTokens, Response: response{}}, nil)
	})
}

// Fail ends the wait without a decision.
func (w *Wait) Fail(reason check.UnreachableReason) {
	w.once.Do(func() { w.decided(check.Answer{}, unreachable(reason)) })
}

// Cancel implements check.Waiting.
func (w *Wait) Cancel() { w.Fail(check.UnreachableCancelled) }

// Waits returns every flow that has waited, in the order in which they began.
func (s *Starter) Waits() []*Wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Wait(nil), s.waits...)
}

// Returned says how many admissions there were, and how many were given back. It is an error if one was twice.
func (s *Starter) Returned() (admitted, returned int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, times := range s.returned {
		if times > 1 {
			err = errors.New("given back more than once: " + id)
		}
	}
	return s.admitted, len(s.returned), err
}

func (s *Starter) admission() check.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted++
	reference := &checkv1.InflightRequestRef{RequestId: strconv.Itoa(s.admitted)}
	return check.Answer{InFlight: []*checkv1.InflightRequestRef{reference}, Response: response{}}
}

// Check waits as Start does.
func (s *Starter) Check(ctx context.Context, request *check.Request) (check.Answer, error) {
	type outcome struct {
		answer check.Answer
		err    error
	}
	later := make(chan outcome, 1)
	answer, waiting, err := s.Start(request, func(answer check.Answer, err error) { later <- outcome{answer, err} })
	if waiting == nil {
		return answer, err
	}
	select {
	case <-ctx.Done():
		waiting.Cancel()
	case decided := <-later:
		later <- decided
	}
	decided := <-later
	return decided.answer, decided.err
}

// FlowEnd takes back what flows hold.
func (s *Starter) FlowEnd(_ context.Context, request *checkv1.FlowEndRequest, _ time.Duration) (*checkv1.FlowEndResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.returned == nil {
		s.returned = map[string]int{}
	}
	for _, reference := range request.GetInflightRequests() {
		s.returned[reference.GetRequestId()]++
	}
	return &checkv1.FlowEndResponse{}, nil
}

// CacheLookup finds nothing.
func (s *Starter) CacheLookup(context.Context, *checkv1.CacheLookupRequest, time.Duration) (*checkv1.CacheLookupResponse, error) {
	return &checkv1.CacheLookupResponse{}, nil
}

// CacheUpsert forgets.
func (s *Starter) CacheUpsert(context.Context, *checkv1.CacheUpsertRequest, time.Duration) (*checkv1.CacheUpsertResponse, error) {
	return &checkv1.CacheUpsertResponse{}, nil
}

// CacheDelete has nothing to delete.
func (s *Starter) CacheDelete(context.Context, *checkv1.CacheDeleteRequest, time.Duration) (*checkv1.CacheDeleteResponse, error) {
	return &checkv1.CacheDeleteResponse{}, nil
}

// Immediate is true, as for the local engine.
func (s *Starter) Immediate() bool { return true }

// State is check.StateReady.
func (s *Starter) State() check.State { return check.StateReady }

// WaitReady returns nil.
func (s *Starter) WaitReady(context.Context) error { return nil }

// Close ends every wait with check.UnreachableClosed.
func (s *Starter) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, wait := range s.Waits() {
		wait.Fail(check.UnreachableClosed)
	}
	return nil
}

func unreachable(reason check.UnreachableReason) error {
	return &check.UnreachableError{Reason: reason, Err: errors.New("for a test")}
}

// response is an empty message.
type response struct{}

func (response) CheckResponse() *checkv1.CheckResponse { return &checkv1.CheckResponse{} }
