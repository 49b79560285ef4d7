package bucket

import (
	"time"

	"github.com/libaperture/libaperture/core/local/labels"
)

// Table holds the buckets of one limiter by label value. It holds at most a given number of them: a new label value then
// takes the place of one that was not used for long, whose bucket is full when it comes again. A bucket that was not used
// for a time is forgotten. Its methods may be called from any goroutine.
type Table struct {
	parameters Parameters
	labels     *labels.Table[Bucket, tally]
}

// tally counts what was asked of the buckets of a shard.
type tally struct {
	accepted, rejected, reverted uint64
}

// Counts count what happened to the buckets of a table.
type Counts struct {
	// Accepted and Rejected count takes and reservations, Reverted what was given back.
	Accepted, Rejected, Reverted uint64
	labels.Counts
}

// Level says how full buckets are.
type Level struct {
	// Labels is how many buckets were looked at.
	Labels int
	// Available is the sum of their tokens. A bucket of which tokens are reserved counts as negative.
	Available float64
}

// mostLevels is how many buckets Level looks at.
const mostLevels = 1024

// NewTable makes an empty table for at most maxLabels label values, from 1 to 1<<30. A bucket is forgotten when it was not
// used for maxIdle, or never when that is 0.
func NewTable(parameters Parameters, maxIdle time.Duration, maxLabels int) *Table {
	return &Table{
		parameters: parameters,
		labels:     labels.New(labels.Options[Bucket, tally]{MaxLabels: maxLabels, MaxIdle: maxIdle}),
	}
}

// Taken is what became of a take or a reservation.
type Taken struct {
	OK bool
	// Wait is how long it takes until the tokens are there. After a refusal, 0 means that no wait would help.
	Wait time.Duration
	// Remaining and Current are the bucket's figures after it: the tokens that are left, negative when some are reserved,
	// and those that are missing to its capacity.
	Remaining, Current float64
}

// Take takes n tokens from the bucket of a label value, if they are there now. A bucket begins full.
func (table *Table) Take(now int64, value string, n float64) Taken {
	label := table.labels.Acquire(now, value)
	defer label.Release()
	if label.Fresh {
		*label.State = New(&table.parameters, now)
	}
	wait, ok := label.State.Take(&table.parameters, now, n)
	return table.taken(label, wait, ok)
}

// Reserve takes n tokens from the bucket of a label value even when they are not all there yet, unless it takes longer
// than the limit until they are. Tokens that are not used are to be given back.
func (table *Table) Reserve(now int64, value string, n float64, limit time.Duration) Taken {
	label := table.labels.Acquire(now, value)
	defer label.Release()
	if label.Fresh {
		*label.State = New(&table.parameters, now)
	}
	wait, ok := label.State.Reserve(&table.parameters, now, n, limit)
	return table.taken(label, wait, ok)
}

// GiveBack returns n tokens to the bucket of a label value. A bucket that has been forgotten meanwhile is as good as
// full.
func (table *Table) GiveBack(now int64, value string, n float64) {
	label := table.labels.Find(value)
	defer label.Release()
	label.Shard.Common.reverted++
	if label.State != nil {
		label.State.Take(&table.parameters, now, -n)
	}
}

// Sweep forgets the buckets that were idle for too long.
func (table *Table) Sweep(now int64) { table.labels.Sweep(now) }

// Counts returns what the table has counted. The figures belong together only nearly.
func (table *Table) Counts() Counts {
	counts := Counts{Counts: table.labels.Counts()}
	for shard := range table.labels.Shards() {
		counts.Accepted += shard.Common.accepted
		counts.Rejected += shard.Common.rejected
		counts.Reverted += shard.Common.reverted
	}
	return counts
}

// Level looks at no more than 1,024 buckets that were used recently. It uses none of them.
func (table *Table) Level(now int64) Level {
	var level Level
	for label := range table.labels.Recent(now, mostLevels) {
		level.Labels++
		level.Available += label.State.Available(&table.parameters, now)
	}
	return level
}

// taken counts what became of a take.
func (table *Table) taken(label labels.Label[Bucket, tally], wait time.Duration, ok bool) Taken {
	if ok {
		label.Shard.Common.accepted++
	} else {
		label.Shard.Common.rejected++
	}
	remaining := label.State.available
	return Taken{OK: ok, Wait: wait, Remaining: remaining, Current: table.parameters.Capacity - remaining}
}

// Capacity returns how many tokens a bucket holds.
func (table *Table) Capacity() float64 { return table.parameters.Capacity }
