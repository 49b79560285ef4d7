package fairqueue

import (
	"container/heap"
	"math"
	"time"
)

// queue holds the requests that wait for the tokens of one label. One of them has the turn; of the others the first of
// each flow is in the heap. All is guarded by the lock of the shard.
type queue struct {
	scheduler *Scheduler
	shard     *shard
	label     string

	virtualTime float64
	turn        *Request
	timer       *time.Timer // of the turn
	heap        requestHeap
	flows       map[flowKey]*flow
	groups      map[groupKey]int // how many flows there are of each
	woken       func()
}

// groupKey is what requests share that are treated alike.
type groupKey struct {
	workload string
	// inversePriority is in millionths: finer differences do not make a flow of their own.
	inversePriority int64
}

type flowKey struct {
	groupKey
	fairness int16 // noFairness, or the bucket of the fairness label
}

const noFairness = -1

// flow is a sequence of requests that come in the order of their arrival.
type flow struct {
	key         flowKey
	virtualTime float64
	requests    int // in the queue, also that with the turn
	onHeap      bool
	first, last *Request // behind the one that is in the heap
}

func newQueue(scheduler *Scheduler, shard *shard, label string) *queue {
	q := &queue{
		scheduler: scheduler,
		shard:     shard,
		label:     label,
		flows:     make(map[flowKey]*flow),
		groups:    make(map[groupKey]int),
	}
	q.woken = q.wake
	return q
}

// enqueue adds a request. The first one of a queue has the turn with the next advance.
func (q *queue) enqueue(now int64, request *Request) {
	inversePriority := 1 / request.Priority
	key := flowKey{
		groupKey: groupKey{request.Workload, int64(math.Round(min(inversePriority, 1e12) * 1e6))},
		fairness: q.scheduler.fair.bucket(now, request.Fairness),
	}
	f := q.flows[key]
	if f == nil {
		f = &flow{key: key, virtualTime: q.virtualTime}
		q.flows[key] = f
		q.groups[key.groupKey]++
	}
	f.requests++
	request.queue, request.flow = q, f
	request.cost = request.Tokens * inversePriority * float64(q.groups[key.groupKey])
	if f.onHeap {
		request.state = behind
		f.append(request)
		return
	}
	q.push(request)
}

func (q *queue) push(request *Request) {
	request.state = onHeap
	request.finish = request.flow.virtualTime + request.cost
	request.flow.onHeap = true
	heap.Push(&q.heap, request)
}

// first returns the request that comes next, nil when there is none.
func (q *queue) first() *Request {
	if q.turn != nil {
		return q.turn
	}
	if len(q.heap) == 0 {
		return nil
	}
	return q.heap[0]
}

// remove takes a request out that was not admitted. What it was promised goes back.
func (q *queue) remove(now int64, request *Request) {
	f := request.flow
	switch request.state {
	case behind:
		f.unlink(request)
	case onHeap:
		heap.Remove(&q.heap, request.place)
		f.onHeap = false
	case asking:
		q.scheduler.tokens.Leave(q.label)
		q.endTurn()
	case promised:
		q.scheduler.tokens.Return(now, q.label, request.Tokens, request.Grant)
		request.Grant = Grant{}
		q.endTurn()
	}
	q.leave(f)
}

func (f *flow) append(request *Request) {
	request.previous = f.last
	if f.last == nil {
		f.first = request
	} else {
		f.last.next = request
	}
	f.last = request
}

func (f *flow) unlink(request *Request) {
	if request.previous == nil {
		f.first = request.next
	} else {
		request.previous.next = request.next
	}
	if request.next == nil {
		f.last = request.previous
	} else {
		request.next.previous = request.previous
	}
	request.next, request.previous = nil, nil
}

// leave counts a request of a flow out, and lets the next one of the flow into the heap.
func (q *queue) leave(f *flow) {
	f.requests--
	if f.requests == 0 {
		delete(q.flows, f.key)
		if q.groups[f.key.groupKey]--; q.groups[f.key.groupKey] == 0 {
			delete(q.groups, f.key.groupKey)
		}
		return
	}
	if next := f.first; next != nil && !f.onHeap {
		f.unlink(next)
		q.push(next)
	}
}

func (q *queue) endTurn() {
	q.turn = nil
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

// advance gives the turn to the next request, unless one has it, until one has to wait for its tokens. It returns those
// that were decided as a chain. A queue without requests is closed.
func (q *queue) advance(now int64) (chain *Request) {
	last := &chain
	for q.turn == nil && len(q.heap) > 0 {
		q.turn = heap.Pop(&q.heap).(*Request)
		q.turn.state = asking
		q.turn.flow.onHeap = false
		if request := q.ask(now); request != nil {
			*last = request
			last = &request.next
		}
	}
	if q.turn == nil && q.shard.queues[q.label] == q {
		delete(q.shard.queues, q.label)
	}
	return chain
}

// ask asks for the tokens of the request that has the turn, and returns the request when it is decided.
func (q *queue) ask(now int64) *Request {
	request := q.turn
	limit := max(time.Duration(request.deadline-now), 0)
	grant, turn := q.scheduler.tokens.Await(now, q.label, request.Tokens, limit, q.woken)
	request.Grant = grant
	switch {
	case grant.OK && turn.After > 0:
		request.state = promised
		q.setTimer(turn.After)
		return nil
	case !grant.OK && turn.Later:
		q.setTimer(turn.After)
		return nil
	}
	return q.conclude()
}

// conclude ends the turn of a request by its grant, and returns the request.
func (q *queue) conclude() *Request {
	request := q.turn
	q.endTurn()
	outcome := Refused
	if request.Grant.OK {
		outcome = Admitted
		request.flow.virtualTime += request.cost
		q.virtualTime = request.flow.virtualTime
	}
	q.leave(request.flow)
	q.scheduler.conclude(request, outcome)
	return request
}

// setTimer lets the turn go on after a time, if that is positive.
func (q *queue) setTimer(delay time.Duration) {
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
	if delay > 0 {
		request := q.turn
		q.timer = q.scheduler.after(delay, "local.queue.turn", func() { q.goOn(request) })
	}
}

// goOn is called when the time of a turn has come.
func (q *queue) goOn(request *Request) {
	now := q.scheduler.now()
	q.shard.change(func() *Request {
		switch {
		case q.turn != request || request.state == decided:
			return nil
		case request.state == promised:
			q.conclude()
			request.next = q.advance(now)
			return request
		}
		return q.askAgain(now)
	})
}

// wake is called by the tokens when another try may succeed.
func (q *queue) wake() {
	now := q.scheduler.now()
	q.shard.change(func() *Request {
		if q.turn == nil || q.turn.state != asking {
			return nil
		}
		return q.askAgain(now)
	})
}

func (q *queue) askAgain(now int64) *Request {
	request := q.ask(now)
	if request != nil {
		request.next = q.advance(now)
	}
	return request
}

// requestHeap orders the first requests of the flows by their virtual finish.
type requestHeap []*Request

func (h requestHeap) Len() int { return len(h) }

func (h requestHeap) Less(i, j int) bool {
	if h[i].finish != h[j].finish {
		return h[i].finish < h[j].finish
	}
	return h[i].arrival < h[j].arrival
}

func (h requestHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *requestHeap) Push(request any) {
	request.(*Request).place = len(*h)
	*h = append(*h, request.(*Request))
}

func (h *requestHeap) Pop() any {
	last := len(*h) - 1
	request := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return request
}
