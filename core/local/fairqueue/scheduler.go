// Package fairqueue lets requests wait for tokens in the order of weighted fair queueing: a flow of requests with twice
// the priority gets twice the tokens, requests of one flow come in the order in which they arrived, and nobody overtakes
// a queue that has formed.
//
// A request that waits is a struct in a queue, without a goroutine; whoever makes tokens come, or a timer, decides it.
// The order is that of virtual finish times (A. Demers, S. Keshav, S. Shenker: Analysis and Simulation of a Fair Queueing
// Algorithm, SIGCOMM 1989), as an Aperture agent computes them.
package fairqueue

import (
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/internal/guard"
)

// Tokens are what requests wait for, a store for each label. Its methods are called with a lock held: they must not call
// back, nor wait.
type Tokens interface {
	// Take takes n tokens, if they are there.
	Take(now int64, label string, n float64) Grant
	// Await is asked for the one request of a label whose turn it is, which can wait for at most limit. When the answer
	// is Later, wake is called as soon as another try may succeed, once, and from any goroutine.
	Await(now int64, label string, n float64, limit time.Duration, wake func()) (Grant, Turn)
	// Leave ends the waiting after Later.
	Leave(label string)
	// Return gives back what was granted to a request that does not use it.
	Return(now int64, label string, n float64, grant Grant)
}

// Grant is the answer of Tokens about one request.
type Grant struct {
	OK bool
	// Remaining and Current are the figures of the store: what is left in it, and what is taken from it.
	Remaining, Current float64
	// ID names what is in flight; it is empty for tokens that are used up.
	ID string
}

// Turn says when a request that has the turn goes on. With a Grant that is OK it goes on after the time. With one that is
// not it is refused, unless Later is set: then it asks again after the time, if that is positive, and when it is woken.
type Turn struct {
	After time.Duration
	Later bool
}

// Outcome says how a request was decided.
type Outcome uint8

// The outcomes. All but Admitted are refusals.
const (
	Admitted Outcome = iota
	// Refused: the tokens cannot come in time.
	Refused
	// TimedOut: the time was over before the request's turn came, or its tokens.
	TimedOut
	// Full: too many requests wait.
	Full
	// Cancelled: nobody wants the answer any more.
	Cancelled
	// Closed: the scheduler is closed.
	Closed
)

// Request waits in a scheduler. The upper fields say what is asked; they are not changed while it waits.
type Request struct {
	// Label chooses the store of tokens, and the queue.
	Label string
	// Workload and Priority choose the flow. Priority is positive.
	Workload string
	Priority float64
	// Fairness shares the flow among its values, when it is not empty.
	Fairness string
	Tokens   float64
	// Budget is how long the request may wait. With none it gets what is there, or is refused.
	Budget time.Duration
	// Asker is told the outcome of a request that has waited.
	Asker Asker

	// Outcome and Grant are the answer.
	Outcome Outcome
	Grant   Grant

	waitingRequest
}

// Asker has made a request.
type Asker interface {
	// Decided is called once, from any goroutine and with no lock held. It must not wait.
	Decided(*Request)
}

// waitingRequest is the part of a request that its queue needs.
type waitingRequest struct {
	state    state
	queue    *queue
	flow     *flow
	cost     float64
	finish   float64 // virtual
	arrival  uint64  // breaks ties of finish
	place    int     // in the heap
	since    int64
	deadline int64
	timer    *time.Timer
	// next and previous lead through the flow's requests that are not in the heap; next then through those that were
	// decided together.
	next, previous *Request
}

type state uint8

const (
	decided  state = iota
	onHeap         // among the first of their flows
	behind         // behind another of its flow
	asking         // has the turn, and no tokens yet
	promised       // has the turn, and tokens that are about to come
)

// Options of a Scheduler.
type Options struct {
	// Epoch is where the times of the Tokens begin.
	Epoch time.Time
	// MaxWaiting is how many requests may wait.
	MaxWaiting int
	Logger     *slog.Logger
}

// Scheduler has a queue for each label for whose tokens somebody waits. A queue is there only as long.
type Scheduler struct {
	tokens  Tokens
	options Options
	seed    maphash.Seed
	shards  [shards]shard
	fair    fairness

	closed   atomic.Bool
	arrivals atomic.Uint64
	waiting  atomic.Int64
	counts   counts
}

const shards = 32

type shard struct {
	mu     sync.Mutex
	queues map[string]*queue
	_      [64]byte
}

// New returns a scheduler. It has no goroutine; only requests that wait have timers.
func New(tokens Tokens, options Options) *Scheduler {
	scheduler := &Scheduler{tokens: tokens, options: options, seed: maphash.MakeSeed()}
	for i := range scheduler.shards {
		scheduler.shards[i].queues = make(map[string]*queue)
	}
	return scheduler
}

func (scheduler *Scheduler) now() int64 { return int64(time.Since(scheduler.options.Epoch)) }

func (scheduler *Scheduler) shard(label string) *shard {
	return &scheduler.shards[maphash.String(scheduler.seed, label)%shards]
}

// Start decides about a request, or lets it wait and returns true: its Asker is told later then.
func (scheduler *Scheduler) Start(now int64, request *Request) (waits bool) {
	if request.Tokens == 0 {
		scheduler.settle(request, Admitted)
		return false
	}
	shard := scheduler.shard(request.Label)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if scheduler.closed.Load() {
		scheduler.settle(request, Closed)
		return false
	}
	q := shard.queues[request.Label]
	if q == nil {
		request.Grant = scheduler.tokens.Take(now, request.Label, request.Tokens)
		switch {
		case request.Grant.OK:
			scheduler.settle(request, Admitted)
			return false
		case request.Budget <= 0:
			scheduler.settle(request, Refused)
			return false
		}
	} else if request.Budget <= 0 {
		scheduler.settle(request, TimedOut)
		return false
	}
	if scheduler.waiting.Add(1) > int64(scheduler.options.MaxWaiting) {
		scheduler.waiting.Add(-1)
		scheduler.settle(request, Full)
		return false
	}
	request.since = now
	request.deadline = now + int64(request.Budget)
	request.arrival = scheduler.arrivals.Add(1)
	if q != nil {
		q.enqueue(now, request)
	} else {
		q = newQueue(scheduler, shard, request.Label)
		shard.queues[request.Label] = q
		q.enqueue(now, request)
		if q.advance(now) != nil { // nobody else waits in it
			return false
		}
	}
	request.timer = scheduler.after(request.Budget, "local.queue.deadline", func() { scheduler.end(request, TimedOut) })
	return true
}

// Cancel ends the wait of a request, with Cancelled. It does nothing to one that is decided.
func (scheduler *Scheduler) Cancel(request *Request) { scheduler.end(request, Cancelled) }

// end ends the wait of a request.
func (scheduler *Scheduler) end(request *Request, outcome Outcome) {
	now := scheduler.now()
	scheduler.shard(request.Label).change(func() *Request {
		q := request.queue
		// What was promised within the deadline is kept.
		if request.state == decided || outcome == TimedOut && request.state == promised {
			return nil
		}
		q.remove(now, request)
		scheduler.conclude(request, outcome)
		request.next = q.advance(now)
		return request
	})
}

// change changes queues, and tells the requests of the chain that it returns that they are decided.
func (shard *shard) change(run func() *Request) {
	chain := func() *Request {
		shard.mu.Lock()
		defer shard.mu.Unlock()
		return run()
	}()
	for chain != nil {
		request := chain
		chain, request.next = request.next, nil // whoever is told may use the request again
		request.Asker.Decided(request)
	}
}

// settle decides about a request that does not wait, or waits no more.
func (scheduler *Scheduler) settle(request *Request, outcome Outcome) {
	request.Outcome = outcome
	scheduler.counts.add(outcome)
}

// conclude decides about a request that has waited.
func (scheduler *Scheduler) conclude(request *Request, outcome Outcome) {
	request.state, request.queue, request.flow = decided, nil, nil
	if request.timer != nil {
		request.timer.Stop()
	}
	scheduler.waiting.Add(-1)
	scheduler.counts.addWait(time.Duration(scheduler.now() - request.since))
	scheduler.settle(request, outcome)
}

// after runs a function after a time, once more if it panics: a request would wait for ever.
func (scheduler *Scheduler) after(delay time.Duration, name string, run func()) *time.Timer {
	return guard.AfterTime(delay, scheduler.options.Logger, name, run, func(any) { run() })
}

// Close refuses all that waits, with Closed and in the order of the queues, and all that comes later.
func (scheduler *Scheduler) Close() {
	scheduler.closed.Store(true)
	for i := range scheduler.shards {
		shard := &scheduler.shards[i]
		shard.change(func() (chain *Request) {
			last := &chain
			for _, q := range shard.queues {
				for request := q.first(); request != nil; request = q.first() {
					q.remove(scheduler.now(), request)
					scheduler.conclude(request, Closed)
					*last = request
					last = &request.next
				}
				q.advance(scheduler.now()) // it is empty, and closes
			}
			return chain
		})
	}
}
