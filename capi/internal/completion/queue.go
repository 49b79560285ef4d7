// Package completion keeps the asynchronous calls of one client: which are pending, and which have ended but were not
// handed out yet.
//
// A call that ends goes to whoever waits for it, or else to the end of a queue that the host drains in batches. A host
// with an event loop watches a descriptor that is readable while the queue is not empty. No data travels through the
// descriptor: it is written once when the queue goes from empty to non-empty, and cleared by the poll that empties it.
package completion

import (
	"context"
	"sync"
	"time"

	"github.com/libaperture/libaperture/capi/internal/abi"
)

// Completion is the end of a call.
type Completion struct {
	Kind abi.CompletionKind
	Tag  uint64
	Call uint64 // the handle
	Outcome
}

// Outcome is what became of a call.
type Outcome struct {
	Code    abi.Code
	Message string // of an error
	// Flow and Answer are handles that go to whoever takes the completion, 0 for none.
	Flow, Answer uint64
}

// Queue holds the calls of one client. Its methods may be called from several goroutines at once.
type Queue struct {
	mu      sync.Mutex
	oldest  *Call // calls that have ended and that nobody took
	newest  *Call
	pending int
	signal  signal
	closed  bool
}

// Call is one asynchronous call, from its begin until its completion is handed out.
type Call struct {
	queue  *Queue
	cancel context.CancelFunc

	// The rest is guarded by the queue's lock.
	completion     Completion
	state          state
	waiters        int
	ended          chan struct{} // closed when the call ends; made by the first waiter
	previous, next *Call
}

type state uint8

const (
	statePending state = iota
	stateQueued        // ended, in the queue
	stateAwaited       // ended, for one of its waiters
	stateTaken         // handed out
)

// NewQueue makes an empty queue.
func NewQueue() *Queue {
	return &Queue{signal: noSignal}
}

// Begin enters a call. Cancel, which may be nil, is what Call.Cancel calls. Limit bounds how many calls may be pending,
// 0 for no bound; over it Begin returns nil.
func (q *Queue) Begin(kind abi.CompletionKind, tag uint64, cancel context.CancelFunc, limit uint64) *Call {
	q.mu.Lock()
	defer q.mu.Unlock()
	if limit > 0 && uint64(q.pending) >= limit {
		return nil
	}
	q.pending++
	return &Call{queue: q, cancel: cancel, completion: Completion{Kind: kind, Tag: tag}}
}

// Pending returns how many calls have not ended.
func (q *Queue) Pending() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending
}

// Forget takes back a Begin whose call will not be made after all.
func (c *Call) Forget() {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	c.state = stateTaken
	c.queue.pending--
}

// Named tells the call its handle. It is said once, before the call can end.
func (c *Call) Named(handle uint64) { c.completion.Call = handle }

// Handle returns the handle of the call.
func (c *Call) Handle() uint64 { return c.completion.Call }

// Cancel asks the call to end early. It does nothing for a call that has ended or that cannot be cancelled.
func (c *Call) Cancel() {
	if c.cancel != nil {
		c.cancel()
	}
}

// End ends the call; a second End does nothing. It returns false when the queue was closed before: then nobody will take
// the completion, and what it carries stays with the caller.
func (c *Call) End(outcome Outcome) bool {
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.state != statePending {
		return true // it was cancelled meanwhile, or a panic after its end is reported
	}
	q.pending--
	c.completion.Outcome = outcome
	switch {
	case c.waiters > 0:
		c.state = stateAwaited
		close(c.ended)
	case q.closed:
		c.state = stateTaken
		return false
	default:
		c.state = stateQueued
		q.append(c)
	}
	return true
}

// Wait returns the completion of the call and takes it. Taken is false when the time ran out, or when the completion
// went to somebody else; gone tells the second from the first.
func (c *Call) Wait(timeout time.Duration) (completion Completion, taken, gone bool) {
	ended := c.await(timeout)
	if ended != nil {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
		}
	}
	return c.take(ended != nil)
}

// await enters a waiter, and returns what is closed when the call ends; nil when there is nothing to wait for.
func (c *Call) await(timeout time.Duration) <-chan struct{} {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	if c.state != statePending || timeout <= 0 {
		return nil
	}
	if c.ended == nil {
		c.ended = make(chan struct{})
	}
	c.waiters++
	return c.ended
}

// take does what Wait does once the wait is over; waited says that it was entered as a waiter.
func (c *Call) take(waited bool) (completion Completion, taken, gone bool) {
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if waited {
		c.waiters--
	}
	switch c.state {
	case statePending:
		return Completion{}, false, false
	case stateQueued:
		q.remove(c)
	case stateTaken:
		return Completion{}, false, true
	}
	c.state = stateTaken
	return c.completion, true, false
}

// Poll takes completions, oldest first, as many as fit, and returns how many.
func (q *Queue) Poll(completions []Completion) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	count := 0
	for ; count < len(completions) && q.oldest != nil; count++ {
		call := q.oldest
		q.remove(call)
		call.state = stateTaken
		completions[count] = call.completion
	}
	if q.oldest == nil {
		q.signal.clear() // also what a host that drains the descriptor by itself left behind
	}
	return count
}

// Descriptor returns a new descriptor that is readable while the queue is not empty. It belongs to the caller. One that
// is lent goes to a thread that may end without closing it: then CloseLentDescriptors does.
func (q *Queue) Descriptor(lent bool) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return -1, errClosed
	}
	if err := q.signal.open(); err != nil {
		return -1, err
	}
	if q.oldest != nil {
		q.signal.raise()
	}
	return q.signal.duplicate(lent)
}

// CloseLentDescriptors closes the descriptors that were lent and that are still open, for a thread that is gone.
func (q *Queue) CloseLentDescriptors() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.signal.closeLent()
}

// Close closes the descriptor and returns what nobody took. Calls that end later go to their waiters, or nowhere.
func (q *Queue) Close() []Completion {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	var left []Completion
	for q.oldest != nil {
		call := q.oldest
		q.remove(call)
		call.state = stateTaken
		left = append(left, call.completion)
	}
	q.signal.close()
	return left
}

func (q *Queue) append(call *Call) {
	call.previous = q.newest
	if q.newest == nil {
		q.oldest = call
		q.signal.raise()
	} else {
		q.newest.next = call
	}
	q.newest = call
}

func (q *Queue) remove(call *Call) {
	if call.previous == nil {
		q.oldest = call.next
	} else {
		call.previous.next = call.next
	}
	if call.next == nil {
		q.newest = call.previous
	} else {
		call.next.previous = call.previous
	}
	call.previous, call.next = nil, nil
	if q.oldest == nil {
		q.signal.clear()
	}
}
