package cache

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

const (
	// smallestShard keeps an uneven spread of large entries from mattering too much.
	smallestShard = 8 << 20
	mostShards    = 64
	// entryBytes is the memory that an entry takes beside its texts and its place.
	entryBytes = 176
	// placeBytes is what a place in the map and among those that expire takes, when both have just grown.
	// TestMemoryIsWhatIsCounted measures the two.
	placeBytes = 64
	// smallestMap is how many entries every map has room for.
	smallestMap = 8
	// Every call removes a few expired entries, so that none has to remove many.
	expireBatch = 4
	sweepBatch  = 256
)

// entryKey names an entry. That of a global entry has no control point.
type entryKey struct{ controlPoint, key string }

// entry is a value in the cache. Its key and answer are not changed after it was stored, since others read them.
type entry struct {
	key          entryKey
	hash         uint64
	answer       checkv1.KeyLookupResponse
	newer, older *entry
	bytes        int32
	place        int32 // in shard.expiring
}

// shard is a part of a cache with a lock of its own, so that cores seldom wait for each other.
type shard struct {
	maxBytes int64

	mu sync.Mutex
	// entries has them by the hash of their key, which makes the map much smaller. Of two keys with the same hash, should
	// that ever happen, the one that was stored last has its entry.
	entries map[uint64]*entry
	bytes   int64 // of the entries
	// places is how many entries the map and the heap have room for. They keep it when there are fewer, so it is counted.
	places int
	// The entries in the order of their use.
	newest, oldest *entry
	expiring       expiryHeap
	counts         Counts // without Refused, Entries and Bytes
	// Shards that share a cache line would slow each other down.
	_ [64]byte
}

// find returns the answer with the value under a key, nil when there is none.
func (shard *shard) find(now int64, hash uint64, key entryKey) *checkv1.KeyLookupResponse {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.expire(now, expireBatch)
	found := shard.entries[hash]
	if found == nil || found.key != key || shard.expired(now, found) {
		shard.counts.Misses++
		return nil
	}
	shard.counts.Hits++
	if found != shard.newest {
		shard.unlist(found)
		shard.list(found)
	}
	return &found.answer
}

// store puts a value under a key, in place of what is there. It returns false, and changes nothing, when the value does
// not fit.
func (shard *shard) store(now int64, ttl time.Duration, hash uint64, key entryKey, value []byte) bool {
	added := newEntry(hash, key, value)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if int64(added.bytes)+placeBytes > shard.maxBytes {
		return false
	}
	shard.expire(now, expireBatch)
	if replaced := shard.entries[hash]; replaced != nil {
		if replaced.key != key && !shard.expired(now, replaced) {
			shard.counts.Evicted++
		}
		shard.drop(now, replaced)
	}
	shard.counts.Stored++
	if ttl <= 0 {
		shard.counts.Expired++
		return true
	}
	for shard.bytesWith(int64(added.bytes), 1) > shard.maxBytes {
		if shard.expire(now, 1) == 0 {
			shard.counts.Evicted++
			shard.drop(now, shard.oldest)
		}
	}
	if shard.entries == nil {
		shard.entries = make(map[uint64]*entry)
	}
	shard.entries[hash] = added
	shard.bytes += int64(added.bytes)
	shard.places = max(shard.places, len(shard.entries))
	shard.list(added)
	shard.expiring.push(now+int64(ttl), added)
	return true
}

// newEntry returns an entry with copies of its texts: the caller's may be small parts of large ones, and values change.
func newEntry(hash uint64, key entryKey, value []byte) *entry {
	texts := key.controlPoint + key.key
	if key.controlPoint == "" {
		texts = strings.Clone(texts) // the sum of one text is that text, and no copy
	}
	added := &entry{
		key:  entryKey{texts[:len(key.controlPoint)], texts[len(key.controlPoint):]},
		hash: hash,
	}
	// Memory comes in pieces of certain sizes, of which the capacity tells.
	stored := append(slices.Grow([]byte(nil), len(value)), value...)
	added.answer.Value = slices.Clip(stored)
	added.bytes = int32(entryBytes + (len(texts)+15)&^15 + cap(stored))
	return added
}

// remove forgets what is under a key.
func (shard *shard) remove(now int64, hash uint64, key entryKey) {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.expire(now, expireBatch)
	if removed := shard.entries[hash]; removed != nil && removed.key == key {
		shard.drop(now, removed)
	}
}

// clear forgets everything.
func (shard *shard) clear() {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.entries, shard.bytes, shard.places = nil, 0, 0
	shard.newest, shard.oldest = nil, nil
	shard.expiring = nil
}

// sweep removes all entries that have expired, and adds what the shard counts to a total.
func (shard *shard) sweep(now int64, total *Counts) {
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for shard.expire(now, sweepBatch) == sweepBatch {
		shard.mu.Unlock() // who waits gets the shard
		shard.mu.Lock()
	}
	total.Hits += shard.counts.Hits
	total.Misses += shard.counts.Misses
	total.Stored += shard.counts.Stored
	total.Evicted += shard.counts.Evicted
	total.Expired += shard.counts.Expired
	total.Entries += len(shard.entries)
	total.Bytes += shard.bytesWith(0, 0)
}

// expire removes entries that have expired, at most as many as it is told, and returns how many.
func (shard *shard) expire(now int64, most int) int {
	for removed := range most {
		if len(shard.expiring) == 0 || shard.expiring[0].expires > now {
			return removed
		}
		shard.drop(now, shard.expiring[0].entry)
	}
	return most
}

func (shard *shard) expired(now int64, one *entry) bool {
	return shard.expiring[one.place].expires <= now
}

// drop takes an entry out.
func (shard *shard) drop(now int64, dropped *entry) {
	if shard.expired(now, dropped) {
		shard.counts.Expired++
	}
	delete(shard.entries, dropped.hash)
	shard.bytes -= int64(dropped.bytes)
	shard.unlist(dropped)
	shard.expiring.remove(dropped)
	shard.shrink()
}

// bytesWith returns the memory that the shard takes with more entries of so many bytes.
func (shard *shard) bytesWith(bytes int64, entries int) int64 {
	return shard.bytes + bytes + placeBytes*int64(max(shard.places, len(shard.entries)+entries))
}

// shrink gives the room for entries back when less than a quarter of it is in use. A map never does so by itself.
func (shard *shard) shrink() {
	count := len(shard.entries)
	if 4*count >= shard.places {
		return
	}
	if shard.places > smallestMap {
		entries := make(map[uint64]*entry, count)
		maps.Copy(entries, shard.entries)
		shard.entries = entries
		shard.expiring = slices.Clone(shard.expiring)
	}
	shard.places = count
}

// list puts an entry at the front of the order of use.
func (shard *shard) list(added *entry) {
	added.older = shard.newest
	if shard.newest != nil {
		shard.newest.newer = added
	} else {
		shard.oldest = added
	}
	shard.newest = added
}

// unlist takes an entry out of the order of use. The entry forgets its neighbours: its answer may be in use for long, and
// must not keep them.
func (shard *shard) unlist(removed *entry) {
	if removed.newer != nil {
		removed.newer.older = removed.older
	} else {
		shard.newest = removed.older
	}
	if removed.older != nil {
		removed.older.newer = removed.newer
	} else {
		shard.oldest = removed.newer
	}
	removed.newer, removed.older = nil, nil
}
