package labels

import (
	"sync"
	"time"
)

// Shard is a part of a table. Whoever has one from a Label or from Table.Shards holds its lock.
//
// What every flow writes comes first, so that a flow on another core waits for one cache line.
type Shard[State, Common any] struct {
	mu sync.Mutex
	// Common is what the labels of the shard have in common. It begins as the zero value.
	Common Common
	// chains has the first entry of each chain of entries whose keys have the same last bits. Its length is a power
	// of two.
	chains  []int32
	entries []entry[State]
	labels  int // how many entries are in use
	// free is the first entry that is not in use; next leads on.
	free int32
	// The entries in use in the order of their use, to the second.
	newest, oldest   int32
	evicted, expired uint64
	// Shards that share a cache line would slow each other down.
	_ [64]byte
}

// key stands for a label value.
type key [2]uint64

// none is the index of no entry.
const none = -1

// entry has the size of a cache line when State has 24 bytes.
type entry[State any] struct {
	state    State
	key      key
	lastUsed int64
	// listed is the second in which the entry was last moved to the front of the list. Moving it at every use would
	// touch three other entries.
	listed       int32
	newer, older int32
	next         int32 // of the same chain
}

func secondOf(now int64) int32 { return int32(now / int64(time.Second)) }

// State returns the state of a label of the shard by its index.
func (shard *Shard[State, Common]) State(index int32) *State { return &shard.entries[index].state }

func (shard *Shard[State, Common]) label(index int32) Label[State, Common] {
	return Label[State, Common]{State: shard.State(index), Shard: shard, Index: index}
}

// visit yields the shard while it is locked.
func (shard *Shard[State, Common]) visit(yield func(*Shard[State, Common]) bool) bool {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return yield(shard)
}

// find returns the index of a key's entry, or none.
func (shard *Shard[State, Common]) find(key key) int32 {
	if len(shard.chains) == 0 {
		return none
	}
	index := *shard.chain(key)
	for index != none && shard.entries[index].key != key {
		index = shard.entries[index].next
	}
	return index
}

func (shard *Shard[State, Common]) chain(key key) *int32 {
	return &shard.chains[key[1]&uint64(len(shard.chains)-1)]
}

func (shard *Shard[State, Common]) insert(now int64, key key) int32 {
	if shard.labels == len(shard.chains) {
		shard.grow()
	}
	index := shard.free
	if index != none {
		shard.free = shard.entries[index].next
	} else {
		index = int32(len(shard.entries))
		shard.entries = append(shard.entries, entry[State]{})
	}
	chain := shard.chain(key)
	shard.entries[index] = entry[State]{key: key, lastUsed: now, listed: secondOf(now), next: *chain}
	*chain = index
	shard.labels++
	shard.pushFront(index)
	return index
}

// grow doubles the number of chains. All entries are in use when it is called.
func (shard *Shard[State, Common]) grow() {
	const fewest = 8
	shard.chains = make([]int32, max(fewest, 2*len(shard.chains)))
	for i := range shard.chains {
		shard.chains[i] = none
	}
	for i := range shard.entries {
		entry := &shard.entries[i]
		chain := shard.chain(entry.key)
		entry.next, *chain = *chain, int32(i)
	}
}

// relist moves an entry to the front of the list.
func (shard *Shard[State, Common]) relist(index, second int32) {
	entry := &shard.entries[index]
	entry.listed = second
	if shard.newest != index {
		shard.unlist(entry)
		shard.pushFront(index)
	}
}

func (shard *Shard[State, Common]) remove(index int32) {
	removed := &shard.entries[index]
	link := shard.chain(removed.key)
	for *link != index {
		link = &shard.entries[*link].next
	}
	*link = removed.next
	shard.unlist(removed)
	*removed = entry[State]{next: shard.free}
	shard.free = index
	shard.labels--
	if shard.labels == 0 {
		shard.clear()
	}
}

// clear gives the memory of an empty shard back.
func (shard *Shard[State, Common]) clear() {
	shard.chains, shard.entries = nil, nil
	shard.free, shard.newest, shard.oldest = none, none, none
}

func (shard *Shard[State, Common]) pushFront(index int32) {
	entry := &shard.entries[index]
	entry.newer, entry.older = none, shard.newest
	if shard.newest != none {
		shard.entries[shard.newest].newer = index
	} else {
		shard.oldest = index
	}
	shard.newest = index
}

func (shard *Shard[State, Common]) unlist(entry *entry[State]) {
	if entry.newer != none {
		shard.entries[entry.newer].older = entry.older
	} else {
		shard.newest = entry.older
	}
	if entry.older != none {
		shard.entries[entry.older].newer = entry.newer
	} else {
		shard.oldest = entry.newer
	}
}
