package local

import (
	"hash/maphash"
	"runtime"
	"sync"
	"time"
)

const (
	// smallestShard is how many labels a shard holds at least, so that an uneven spread of labels matters little.
	smallestShard = 1024
	// sweepBatch is how many entries are removed before a waiting flow gets the shard's lock.
	sweepBatch = 256
)

// bucketTable holds the buckets of one limiter by label value. It holds at most a given number of them: a new label
// value then takes the place of one that was not used for long. A bucket that was not used for maxIdle is forgotten.
//
// The table is split into shards, each with a lock and a list of its own, so that cores seldom wait for each other.
// One lock guards look-up, bucket and counts: a flow takes no other. A shard is an array of entries linked by indexes,
// so that a flow touches little cold memory, and the garbage collector has no pointers to follow.
type bucketTable struct {
	parameters *bucketParameters
	maxIdle    int64 // 0: never forgotten
	shardSize  int
	seeds      [2]maphash.Seed
	shards     []bucketShard
}

// bucketKey stands for a label value: a hash of 128 bits with secret seeds, so that the memory of a bucket does not
// depend on the value's length, and nobody can make two values share a bucket.
type bucketKey [2]uint64

type bucketShard struct {
	mu sync.Mutex
	// chains has the first entry of each chain of entries whose keys have the same last bits. Its length is a power
	// of two.
	chains  []int32
	entries []bucketEntry
	labels  int // how many entries are in use
	// free is the first entry that is not in use; next leads on.
	free int32
	// The entries in use in the order of their use, to the second.
	newest, oldest int32
	counts         bucketCounts
	// Shards that share a cache line would slow each other down.
	_ [64]byte
}

// bucketCounts count what happened to buckets.
type bucketCounts struct {
	accepted, rejected, reverted, evicted, expired uint64
}

// none is the index of no entry.
const none = -1

// bucketEntry has the size of a cache line.
type bucketEntry struct {
	tokenBucket
	key      bucketKey
	lastUsed int64
	// listed is the second in which the entry was last moved to the front of the list. Moving it at every use would
	// touch three other entries.
	listed       int32
	newer, older int32
	next         int32 // of the same chain
}

func newBucketTable(parameters *bucketParameters, maxIdle time.Duration, maxLabels int) *bucketTable {
	shards := 8
	for shards < 256 && shards < 4*runtime.GOMAXPROCS(0) {
		shards *= 2
	}
	for shards > 1 && maxLabels/shards < smallestShard {
		shards /= 2
	}
	table := &bucketTable{
		parameters: parameters,
		maxIdle:    int64(maxIdle),
		shardSize:  maxLabels / shards,
		seeds:      [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		shards:     make([]bucketShard, shards),
	}
	for i := range table.shards {
		table.shards[i].clear()
	}
	return table
}

// taken is what became of a take: remaining and current are the bucket's figures after it.
type taken struct {
	ok                 bool
	wait               time.Duration
	remaining, current float64
}

// take takes n tokens from the bucket of a label value, which begins full.
func (table *bucketTable) take(now int64, value string, n float64) taken {
	key := table.key(value)
	shard := table.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	index := shard.find(key)
	if index == none {
		index = table.insert(shard, now, key)
	}
	entry := &shard.entries[index]
	if table.idle(entry, now) {
		entry.tokenBucket = newTokenBucket(table.parameters, now)
		shard.counts.expired++
	}
	entry.lastUsed = max(now, entry.lastUsed)
	if second := secondOf(now); second != entry.listed {
		shard.relist(index, second)
	}
	var result taken
	result.wait, result.ok = entry.take(table.parameters, now, n)
	result.remaining = entry.available
	if result.ok {
		shard.counts.accepted++
	} else {
		shard.counts.rejected++
	}
	result.current = table.parameters.capacity - result.remaining
	return result
}

// giveBack returns n tokens to the bucket of a label value. A bucket that has been removed meanwhile is as good as
// full.
func (table *bucketTable) giveBack(now int64, value string, n float64) {
	key := table.key(value)
	shard := table.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.counts.reverted++
	if index := shard.find(key); index != none {
		shard.entries[index].take(table.parameters, now, -n)
	}
}

func (table *bucketTable) key(value string) bucketKey {
	return bucketKey{maphash.String(table.seeds[0], value), maphash.String(table.seeds[1], value)}
}

func (table *bucketTable) shard(key bucketKey) *bucketShard {
	return &table.shards[key[0]&uint64(len(table.shards)-1)]
}

func (table *bucketTable) idle(entry *bucketEntry, now int64) bool {
	return table.maxIdle > 0 && now-entry.lastUsed >= table.maxIdle
}

func secondOf(now int64) int32 { return int32(now / int64(time.Second)) }

// find returns the index of a key's entry, or none.
func (shard *bucketShard) find(key bucketKey) int32 {
	if len(shard.chains) == 0 {
		return none
	}
	index := *shard.chain(key)
	for index != none && shard.entries[index].key != key {
		index = shard.entries[index].next
	}
	return index
}

func (shard *bucketShard) chain(key bucketKey) *int32 {
	return &shard.chains[key[1]&uint64(len(shard.chains)-1)]
}

// insert adds an entry for a key that has none.
func (table *bucketTable) insert(shard *bucketShard, now int64, key bucketKey) int32 {
	if shard.labels >= table.shardSize {
		shard.counts.evicted++
		shard.remove(shard.oldest)
	}
	if shard.labels == len(shard.chains) {
		shard.grow()
	}
	index := shard.free
	if index != none {
		shard.free = shard.entries[index].next
	} else {
		index = int32(len(shard.entries))
		shard.entries = append(shard.entries, bucketEntry{})
	}
	chain := shard.chain(key)
	shard.entries[index] = bucketEntry{
		tokenBucket: newTokenBucket(table.parameters, now),
		key:         key,
		lastUsed:    now,
		listed:      secondOf(now),
		next:        *chain,
	}
	*chain = index
	shard.labels++
	shard.pushFront(index)
	return index
}

// grow doubles the number of chains. All entries are in use when it is called.
func (shard *bucketShard) grow() {
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
func (shard *bucketShard) relist(index, second int32) {
	entry := &shard.entries[index]
	entry.listed = second
	if shard.newest != index {
		shard.unlist(entry)
		shard.pushFront(index)
	}
}

func (shard *bucketShard) remove(index int32) {
	entry := &shard.entries[index]
	link := shard.chain(entry.key)
	for *link != index {
		link = &shard.entries[*link].next
	}
	*link = entry.next
	shard.unlist(entry)
	entry.next, shard.free = shard.free, index
	shard.labels--
	if shard.labels == 0 {
		shard.clear()
	}
}

// clear gives the memory of an empty shard back.
func (shard *bucketShard) clear() {
	shard.chains, shard.entries = nil, nil
	shard.free, shard.newest, shard.oldest = none, none, none
}

func (shard *bucketShard) pushFront(index int32) {
	entry := &shard.entries[index]
	entry.newer, entry.older = none, shard.newest
	if shard.newest != none {
		shard.entries[shard.newest].newer = index
	} else {
		shard.oldest = index
	}
	shard.newest = index
}

func (shard *bucketShard) unlist(entry *bucketEntry) {
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

// sweep removes the entries that were idle for too long.
func (table *bucketTable) sweep(now int64) {
	if table.maxIdle == 0 {
		return
	}
	for i := range table.shards {
		for table.sweepShard(&table.shards[i], now) {
		}
	}
}

// sweepShard removes a batch of idle entries and says whether there may be more.
func (table *bucketTable) sweepShard(shard *bucketShard, now int64) bool {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for range sweepBatch {
		if shard.oldest == none || !table.idle(&shard.entries[shard.oldest], now) {
			return false
		}
		shard.counts.expired++
		shard.remove(shard.oldest)
	}
	return true
}

// counts returns the sums over all shards, and how many labels there are.
func (table *bucketTable) counts() (sum bucketCounts, labels int) {
	for i := range table.shards {
		shard := &table.shards[i]
		shard.mu.Lock()
		sum.accepted += shard.counts.accepted
		sum.rejected += shard.counts.rejected
		sum.reverted += shard.counts.reverted
		sum.evicted += shard.counts.evicted
		sum.expired += shard.counts.expired
		labels += shard.labels
		shard.mu.Unlock()
	}
	return sum, labels
}
