// Package labels keeps the state of a limiter by label value.
package labels

import (
	"hash/maphash"
	"iter"
	"runtime"
	"time"
)

const (
	// smallestShard is how many labels a shard holds at least, so that an uneven spread of labels matters little.
	smallestShard = 1024
	// sweepBatch is how many entries are looked at before a waiting flow gets the shard's lock.
	sweepBatch = 256
)

// Options of a Table.
type Options[State, Common any] struct {
	// MaxLabels is how many label values the table holds at most, from 1 to 1<<30.
	MaxLabels int
	// MaxIdle is after which time an unused label value is forgotten, 0 for never.
	MaxIdle time.Duration
	// Busy says whether a label must not be forgotten although it is idle; it counts as used then. It is called with
	// the lock of the label's shard held. When it is nil, no label is busy.
	Busy func(label Label[State, Common]) bool
	// Forget, unless it is nil, is called before a label is forgotten, with the lock of its shard held.
	Forget func(label Label[State, Common])
}

// Table holds a State for each label value. It holds at most a given number of them: a new label value then takes the
// place of the one that was not used for longest, to the second. A label value that was not used for some time is
// forgotten. Times are nanoseconds since some epoch.
//
// The table is split into shards, each with a lock and a list of its own, so that cores seldom wait for each other.
// A shard's lock guards its labels, and a Common that they share, such as counts: a flow takes no other lock. A shard is
// an array of entries linked by indexes, so that a flow touches little cold memory, and the garbage collector has no
// pointers to follow unless State has.
type Table[State, Common any] struct {
	options   Options[State, Common]
	shardSize int
	seeds     [2]maphash.Seed
	shards    []Shard[State, Common]
}

// Counts count what happened to the labels of a table.
type Counts struct {
	// Labels is how many there are now.
	Labels int
	// Evicted counts the labels that were forgotten for others because there were too many, Expired those that were
	// forgotten because they were idle.
	Evicted, Expired uint64
}

// Label is a label value whose shard is locked. State is nil when the table does not hold the value.
type Label[State, Common any] struct {
	State *State
	Shard *Shard[State, Common]
	// Index is the label's place in its shard, the same until the label is forgotten.
	Index int32
	// Fresh says that the label is new: State is its zero value.
	Fresh bool
}

// Release ends the use of the label.
func (label Label[State, Common]) Release() { label.Shard.mu.Unlock() }

// New makes an empty table.
func New[State, Common any](options Options[State, Common]) *Table[State, Common] {
	shards := 8
	for shards < 256 && shards < 4*runtime.GOMAXPROCS(0) {
		shards *= 2
	}
	for shards > 1 && options.MaxLabels/shards < smallestShard {
		shards /= 2
	}
	table := &Table[State, Common]{
		options:   options,
		shardSize: options.MaxLabels / shards,
		seeds:     [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		shards:    make([]Shard[State, Common], shards),
	}
	for i := range table.shards {
		table.shards[i].clear()
	}
	return table
}

// Acquire locks a label value, which is used by that. One that the table does not hold, or that is idle, is fresh.
func (table *Table[State, Common]) Acquire(now int64, value string) Label[State, Common] {
	key := table.key(value)
	shard := table.shard(key)
	shard.mu.Lock()
	index := shard.find(key)
	if index == none {
		index = table.insert(shard, now, key)
		return Label[State, Common]{State: &shard.entries[index].state, Shard: shard, Index: index, Fresh: true}
	}
	entry := &shard.entries[index]
	fresh := table.idle(entry, now) && table.renew(shard, index)
	entry.lastUsed = max(now, entry.lastUsed)
	if second := secondOf(now); second != entry.listed {
		shard.relist(index, second)
	}
	return Label[State, Common]{State: &entry.state, Shard: shard, Index: index, Fresh: fresh}
}

// Find locks a label value without using it. Its State is nil when the table does not hold it; it is to be released
// then, too.
func (table *Table[State, Common]) Find(value string) Label[State, Common] {
	key := table.key(value)
	shard := table.shard(key)
	shard.mu.Lock()
	label := Label[State, Common]{Shard: shard, Index: shard.find(key)}
	if label.Index != none {
		label.State = shard.State(label.Index)
	}
	return label
}

// Sweep forgets the labels that were idle for too long.
func (table *Table[State, Common]) Sweep(now int64) {
	if table.options.MaxIdle == 0 {
		return
	}
	for i := range table.shards {
		for table.sweepShard(&table.shards[i], now) {
		}
	}
}

// Shards yields the shards one after the other, each locked during its turn.
func (table *Table[State, Common]) Shards() iter.Seq[*Shard[State, Common]] {
	return func(yield func(*Shard[State, Common]) bool) {
		for i := range table.shards {
			if !table.shards[i].visit(yield) {
				return
			}
		}
	}
}

// Recent yields at most so many labels that are not idle, without using them. They are those that were used last, to the
// second, among the labels of each shard, which is locked during their turn: they are not to be released.
func (table *Table[State, Common]) Recent(now int64, most int) iter.Seq[Label[State, Common]] {
	return func(yield func(Label[State, Common]) bool) {
		left, shards := most, len(table.shards)
		for shard := range table.Shards() {
			share := (left + shards - 1) / shards
			shards--
			for index := shard.newest; index != none && share > 0; index = shard.entries[index].older {
				if table.idle(&shard.entries[index], now) {
					continue // only use is in order, to the second
				}
				share--
				left--
				if !yield(shard.label(index)) {
					return
				}
			}
		}
	}
}

// Counts returns the sums over all shards.
func (table *Table[State, Common]) Counts() Counts {
	var sum Counts
	for shard := range table.Shards() {
		sum.Labels += shard.labels
		sum.Evicted += shard.evicted
		sum.Expired += shard.expired
	}
	return sum
}

// key hashes with secret seeds to 128 bits, so that the memory of a label does not depend on the value's length, and
// nobody can make two values share a state.
func (table *Table[State, Common]) key(value string) key {
	return key{maphash.String(table.seeds[0], value), maphash.String(table.seeds[1], value)}
}

func (table *Table[State, Common]) shard(key key) *Shard[State, Common] {
	return &table.shards[key[0]&uint64(len(table.shards)-1)]
}

func (table *Table[State, Common]) idle(entry *entry[State], now int64) bool {
	return table.options.MaxIdle > 0 && now-entry.lastUsed >= int64(table.options.MaxIdle)
}

// insert adds an entry for a key that has none.
func (table *Table[State, Common]) insert(shard *Shard[State, Common], now int64, key key) int32 {
	if shard.labels >= table.shardSize {
		shard.evicted++
		table.forget(shard, shard.oldest)
		shard.remove(shard.oldest)
	}
	return shard.insert(now, key)
}

// renew makes an idle label fresh, unless it is busy.
func (table *Table[State, Common]) renew(shard *Shard[State, Common], index int32) bool {
	if table.busy(shard, index) {
		return false
	}
	shard.expired++
	table.forget(shard, index)
	var fresh State
	*shard.State(index) = fresh
	return true
}

// sweepShard looks at a batch of idle entries and says whether there may be more.
func (table *Table[State, Common]) sweepShard(shard *Shard[State, Common], now int64) bool {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for range sweepBatch {
		index := shard.oldest
		if index == none || !table.idle(&shard.entries[index], now) {
			return false
		}
		if table.busy(shard, index) {
			shard.entries[index].lastUsed = now
			shard.relist(index, secondOf(now))
			continue
		}
		shard.expired++
		table.forget(shard, index)
		shard.remove(index)
	}
	return true
}

func (table *Table[State, Common]) busy(shard *Shard[State, Common], index int32) bool {
	return table.options.Busy != nil && table.options.Busy(shard.label(index))
}

func (table *Table[State, Common]) forget(shard *Shard[State, Common], index int32) {
	if table.options.Forget != nil {
		table.options.Forget(shard.label(index))
	}
}
