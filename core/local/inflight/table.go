// Package inflight counts the tokens in flight by label value, as concurrency limiters and concurrency schedulers do.
package inflight

import (
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/local/labels"
)

// DefaultMaxRequests is how many requests may be in flight in one table, unless Parameters say otherwise.
const DefaultMaxRequests = 1_000_000

const (
	// longestLifetime keeps the time of expiry from overflowing: about 146 years.
	longestLifetime = time.Duration(1 << 62)
	// mostTokens keeps sums finite.
	mostTokens = 1e300
	// mostLevels is how many labels Level looks at.
	mostLevels = 1024
)

// Parameters of a Table.
type Parameters struct {
	// MaxConcurrency is how many tokens of a label may be in flight: finite, and not negative.
	MaxConcurrency float64
	// Lifetime is after which time a request counts no more that was not returned. It is positive.
	Lifetime time.Duration
	// MaxIdle is after which time an unused label with nothing in flight is forgotten, 0 for never.
	MaxIdle time.Duration
	// MaxRequests is how many requests may be in flight in the whole table, 0 for DefaultMaxRequests: those without tokens
	// have no other bound. More are rejected. It is at most 1<<30.
	MaxRequests int
}

// Table counts the tokens in flight by label value. A request is admitted as long as fewer than MaxConcurrency are in
// flight, whatever it takes itself. It is in flight until it is returned, or its lifetime has passed. Times are
// nanoseconds since some epoch. The methods may be called from any goroutine.
//
// There is a bound on the number of labels. When a label is evicted, its requests in flight are forgotten and counted:
// nothing counts against it when it comes again. Its waiter is woken.
type Table struct {
	parameters Parameters
	labels     *labels.Table[counter, ledger]
	// requests is how many are in flight in all shards.
	requests atomic.Int64
}

// New makes an empty table for at most maxLabels label values, from 1 to 1<<30.
func New(parameters Parameters, maxLabels int) *Table {
	parameters.Lifetime = min(parameters.Lifetime, longestLifetime)
	if parameters.MaxRequests == 0 {
		parameters.MaxRequests = DefaultMaxRequests
	}
	table := &Table{parameters: parameters}
	table.labels = labels.New(labels.Options[counter, ledger]{
		MaxLabels: maxLabels,
		MaxIdle:   parameters.MaxIdle,
		Busy:      table.busy,
		Forget:    table.forget,
	})
	return table
}

// Taken is what became of a take.
type Taken struct {
	OK bool
	// ID names the request for its return. It is opaque, and nobody can guess it.
	ID string
	// Current is how many tokens were in flight before the request, and Remaining what was left of MaxConcurrency then:
	// negative when a request before it took more than was left.
	Remaining, Current float64
	// Waiting says that the waiter was registered, see TakeOrWait.
	Waiting bool
	// NextExpiry is how long it takes until the next request of the label expires, when the request waits.
	NextExpiry time.Duration
}

// Take admits a request of n tokens, finite and not negative, or rejects it. A rejected request has an ID too, which is
// never in flight: agents answer so.
func (table *Table) Take(now int64, value string, n float64) Taken {
	taken, id := table.take(now, value, n, nil)
	taken.ID = id.text()
	return taken
}

// TakeOrWait admits a request as Take does, or lets it wait. The caller is to try again after NextExpiry, or when wake is
// called: once, when a return makes room, or after the label was evicted. A request has an ID only when it was admitted.
//
// A label has one waiter at most; another one takes its place, and the former is not called any more. A request that was
// not admitted does not wait when waiting is in vain: nothing is in flight for the label, or too much in the whole table.
//
// wake is called by Return and Sweep only, on the goroutine of their caller, who must hold no lock that it takes. The
// table holds none then. All other methods may be called with such a lock held.
func (table *Table) TakeOrWait(now int64, value string, n float64, wake func()) Taken {
	taken, id := table.take(now, value, n, wake)
	if taken.OK {
		taken.ID = id.text()
	}
	return taken
}

// StopWaiting forgets the waiter of a label, and says whether there was one. If not, it has been called, or is just being
// called.
func (table *Table) StopWaiting(value string) bool {
	label := table.labels.Find(value)
	defer label.Release()
	if label.State == nil || !label.State.waiting {
		return false
	}
	label.Shard.Common.stopWaiting(label.State, label.Index)
	return true
}

// Return takes a request out of flight. It returns false when none of the label is in flight by this ID: it is wrong, or
// the request was returned before, has expired, was rejected, or was forgotten with its label.
func (table *Table) Return(now int64, value, id string) bool {
	request, ok := parse(id)
	if !ok {
		return false
	}
	returned, due := table.giveBack(now, value, request)
	call(due)
	return returned
}

// giveBack takes a request out of flight, and returns whether it was, and what is to be called.
func (table *Table) giveBack(now int64, value string, id requestID) (returned bool, due []func()) {
	label := table.labels.Find(value)
	defer label.Release()
	ledger, counter := &label.Shard.Common, label.State
	if counter == nil {
		return false, ledger.takeDue()
	}
	table.expire(label.Shard, now)
	if index := ledger.find(label.Index, id); index != 0 {
		ledger.returned++
		table.remove(label.Shard, index)
		returned = true
		if counter.waiting && counter.tokens.value() < table.parameters.MaxConcurrency {
			ledger.wake(counter, label.Index)
		}
	}
	return returned, ledger.takeDue()
}

// Sweep drops the requests that have expired, and the labels that were idle for too long.
func (table *Table) Sweep(now int64) {
	var due []func()
	for shard := range table.labels.Shards() {
		table.expire(shard, now)
		due = append(due, shard.Common.takeDue()...)
	}
	table.labels.Sweep(now)
	call(due)
}

// Counts count what happened to the requests of a table, and to its labels.
type Counts struct {
	// Accepted and Rejected count the requests. One that waits counts when it is admitted.
	Accepted, Rejected uint64
	// Overflowed counts those among the rejected that came while MaxRequests were in flight.
	Overflowed uint64
	// Returned, Expired and Forgotten count what became of the requests that were in flight. They were forgotten when
	// their label was evicted.
	Returned, Expired, Forgotten uint64
	// InFlight and Tokens are in flight now, those included that have expired since the last sweep, unnoticed.
	InFlight int
	Tokens   float64
	// Waiting is how many labels have a waiter now.
	Waiting int
	Labels  labels.Counts
}

// Counts returns what the table has counted. The figures belong together only nearly.
func (table *Table) Counts() Counts {
	counts := Counts{Labels: table.labels.Counts()}
	for shard := range table.labels.Shards() {
		ledger := &shard.Common
		counts.Accepted += ledger.accepted
		counts.Rejected += ledger.rejected
		counts.Overflowed += ledger.overflowed
		counts.Returned += ledger.returned
		counts.Expired += ledger.expired
		counts.Forgotten += ledger.forgotten
		counts.InFlight += ledger.used
		counts.Tokens += ledger.tokens.value()
		counts.Waiting += len(ledger.waiters)
	}
	return counts
}

// Level says how much is in flight for some labels.
type Level struct {
	// Labels is how many were looked at, Full for how many of them a request would be rejected.
	Labels, Full int
	// Tokens is how many tokens they have in flight.
	Tokens float64
}

// Level looks at no more than 1,024 labels that were used recently. It uses none of them.
func (table *Table) Level(now int64) Level {
	var level Level
	for label := range table.labels.Recent(now, mostLevels) {
		tokens, slots := label.State.tokens, label.Shard.Common.slots
		for index := label.State.requests.oldest; index != 0 && slots[index].expires < now; index = slots[index].links[byLabel].newer {
			tokens.add(-slots[index].tokens)
		}
		level.Labels++
		level.Tokens += tokens.value()
		if tokens.value() >= table.parameters.MaxConcurrency {
			level.Full++
		}
	}
	return level
}

func (table *Table) take(now int64, value string, n float64, wake func()) (Taken, requestID) {
	id := newRequestID()
	label := table.labels.Acquire(now, value)
	defer label.Release()
	ledger, counter := &label.Shard.Common, label.State
	if wake != nil && counter.waiting {
		ledger.stopWaiting(counter, label.Index)
	}
	table.expire(label.Shard, now)
	current := counter.tokens.value()
	taken := Taken{Remaining: table.parameters.MaxConcurrency - current, Current: current}
	switch {
	case current >= table.parameters.MaxConcurrency:
		if oldest := counter.requests.oldest; wake != nil && oldest != 0 {
			ledger.wait(counter, label.Index, wake)
			taken.Waiting = true
			taken.NextExpiry = time.Duration(ledger.slots[oldest].expires-now) + 1
		} else {
			ledger.rejected++
		}
	case table.requests.Add(1) > int64(table.parameters.MaxRequests):
		table.requests.Add(-1)
		ledger.rejected++
		ledger.overflowed++
	default:
		id = ledger.add(counter, label.Index, id, min(n, mostTokens), now+int64(table.parameters.Lifetime))
		ledger.accepted++
		taken.OK = true
	}
	return taken, id
}

// expire drops the requests of a shard whose lifetime has passed. It wakes nobody: waiters know when to try again.
func (table *Table) expire(shard *labels.Shard[counter, ledger], now int64) {
	ledger := &shard.Common
	for {
		oldest := ledger.requests.oldest
		if oldest == 0 || ledger.slots[oldest].expires >= now {
			return
		}
		ledger.expired++
		table.remove(shard, oldest)
	}
}

// remove takes a request out of flight.
func (table *Table) remove(shard *labels.Shard[counter, ledger], index int32) {
	ledger := &shard.Common
	ledger.remove(shard.State(ledger.slots[index].label), index)
	table.requests.Add(-1)
}

// busy keeps a label for which something is in flight, or somebody waits.
func (table *Table) busy(label labels.Label[counter, ledger]) bool {
	return label.State.requests.oldest != 0 || label.State.waiting
}

// forget drops what is in flight for a label. Its waiter is called by the next return or sweep: whoever takes may hold a
// lock that the waiter takes, too.
func (table *Table) forget(label labels.Label[counter, ledger]) {
	ledger := &label.Shard.Common
	for label.State.requests.oldest != 0 {
		ledger.forgotten++
		table.remove(label.Shard, label.State.requests.oldest)
	}
	if label.State.waiting {
		ledger.wake(label.State, label.Index)
	}
}

func call(due []func()) {
	for _, wake := range due {
		wake()
	}
}
