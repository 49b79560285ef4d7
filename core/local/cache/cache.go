// Package cache is the result cache and the global cache of the local engine: what an Aperture agent keeps for its
// clients, in the terms of the same calls, with a bound on its memory.
//
// docs/local-engine.md lists where it differs from an agent on purpose.
package cache

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// DefaultMaxBytes is how much memory a cache takes at most, unless New is told otherwise: 64 MiB.
const DefaultMaxBytes = 64 << 20

// The limits of an agent's store, which has the scope of an entry as a part of its key.
const (
	longestTTL      = 7 * 24 * time.Hour
	ttlGranularity  = time.Millisecond
	longestKey      = 255
	resultKeyPrefix = len("@controlpoint:" + "/type:bytes/key:")
	globalKeyPrefix = len("@global/type:bytes/key:")
	largestEntry    = 1 << 20
	entryHeader     = 29 // bytes that an agent's store has beside the key and the value
)

// What an agent says about an entry that it cannot read, store or remove.
const (
	errNoKey          = "cache key cannot be empty"
	errNoControlPoint = "cache control_point cannot be empty"
	errKeyTooLarge    = "key too large"
	errEntryTooLarge  = "entry too large for the configured table size"
)

// Cache holds the entries of all control points and the global ones. Its methods may be called from several goroutines
// at once, and what a call stored is what the next one finds.
//
// A cache is bounded by the memory that it takes: when it is full, expired entries go first, then the one that was not
// used for longest. It has no goroutine, and takes next to no memory before the first entry.
type Cache struct {
	epoch   time.Time
	seed    maphash.Seed
	shards  []shard
	refused atomic.Uint64
	// missed is the answer to every key that is not there.
	missed *checkv1.KeyLookupResponse
}

// Counts is what a cache has counted since it was made, and what it holds.
type Counts struct {
	// Hits and Misses count the keys that were looked up.
	Hits, Misses uint64
	// Stored counts the entries that were stored, also in place of others.
	Stored uint64
	// Evicted counts the entries that were given up because the cache was full.
	Evicted uint64
	// Expired counts the entries that were given up because their time was over.
	Expired uint64
	// Refused counts the keys that were answered with an error.
	Refused uint64
	// Entries and Bytes are what the cache holds now, and the memory that it takes.
	Entries int
	Bytes   int64
}

// New returns a cache that takes at most maxBytes of memory, which is not negative; 0 is DefaultMaxBytes. Garbage that
// the collector has not found yet is not counted.
//
// The memory is split into shards of at least 8 MiB, each with its share of the bound, so that the first entry may be
// evicted a little early: by a few percent when values are small, by more when they are of hundreds of kilobytes.
func New(maxBytes int64) *Cache {
	if maxBytes == 0 {
		maxBytes = DefaultMaxBytes
	}
	count := int64(1)
	for count < mostShards && maxBytes/(2*count) >= smallestShard {
		count *= 2
	}
	cache := &Cache{
		epoch:  time.Now(),
		seed:   maphash.MakeSeed(),
		shards: make([]shard, count),
		missed: &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS},
	}
	for i := range cache.shards {
		cache.shards[i].maxBytes = maxBytes / count
	}
	return cache
}

// Lookup answers for the keys of a request. The control point is apart, because that of a check counts for its look-up.
//
// The answers to its keys are shared by all who ask: nobody changes them.
func (cache *Cache) Lookup(controlPoint string, request *checkv1.CacheLookupRequest) *checkv1.CacheLookupResponse {
	now := cache.now()
	response := &checkv1.CacheLookupResponse{}
	switch key := request.GetResultCacheKey(); {
	case key == "":
	case controlPoint == "":
		response.ResultCacheResponse = cache.refuseLookup(errNoControlPoint)
	default:
		response.ResultCacheResponse = cache.find(now, entryKey{controlPoint, key})
	}
	keys := request.GetGlobalCacheKeys()
	if len(keys) == 0 {
		return response
	}
	response.GlobalCacheResponses = make(map[string]*checkv1.KeyLookupResponse, len(keys))
	for _, key := range keys {
		if _, ok := response.GlobalCacheResponses[key]; ok {
			continue // the key is there twice, and counts once
		}
		if key == "" {
			response.GlobalCacheResponses[key] = cache.refuseLookup(errNoKey)
			continue
		}
		response.GlobalCacheResponses[key] = cache.find(now, entryKey{key: key})
	}
	return response
}

// Upsert stores the entries of a request, each in place of what is there under its key. It keeps nothing of the request.
func (cache *Cache) Upsert(request *checkv1.CacheUpsertRequest) *checkv1.CacheUpsertResponse {
	now := cache.now()
	response := &checkv1.CacheUpsertResponse{}
	if entry := request.GetResultCacheEntry(); entry.GetKey() != "" {
		response.ResultCacheResponse = cache.upsert(now, resultKeyPrefix, entryKey{request.GetControlPoint(), entry.GetKey()}, entry)
	}
	for key, entry := range request.GetGlobalCacheEntries() { // the key within the entry does not count
		if key == "" {
			continue
		}
		if response.GlobalCacheResponses == nil {
			response.GlobalCacheResponses = make(map[string]*checkv1.KeyUpsertResponse)
		}
		response.GlobalCacheResponses[key] = cache.upsert(now, globalKeyPrefix, entryKey{key: key}, entry)
	}
	return response
}

// Delete removes the entries under the keys of a request. That there is none is a success.
func (cache *Cache) Delete(request *checkv1.CacheDeleteRequest) *checkv1.CacheDeleteResponse {
	now := cache.now()
	response := &checkv1.CacheDeleteResponse{}
	switch key := request.GetResultCacheKey(); {
	case key == "":
	case request.GetControlPoint() == "":
		cache.refused.Add(1)
		response.ResultCacheResponse = &checkv1.KeyDeleteResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: errNoControlPoint}
	default:
		cache.remove(now, entryKey{request.GetControlPoint(), key})
		response.ResultCacheResponse = &checkv1.KeyDeleteResponse{}
	}
	for _, key := range request.GetGlobalCacheKeys() {
		if key == "" {
			continue
		}
		cache.remove(now, entryKey{key: key})
		if response.GlobalCacheResponses == nil {
			response.GlobalCacheResponses = make(map[string]*checkv1.KeyDeleteResponse)
		}
		response.GlobalCacheResponses[key] = &checkv1.KeyDeleteResponse{}
	}
	return response
}

// Clear forgets all entries. It counts nothing.
func (cache *Cache) Clear() {
	for i := range cache.shards {
		cache.shards[i].clear()
	}
}

// Counts returns what the cache has counted. It removes what has expired first, so that only live entries are held.
func (cache *Cache) Counts() Counts {
	now := cache.now()
	total := Counts{Refused: cache.refused.Load()}
	for i := range cache.shards {
		cache.shards[i].sweep(now, &total)
	}
	return total
}

// now is the time on the cache's own clock, which no change of the wall clock moves.
func (cache *Cache) now() int64 { return int64(time.Since(cache.epoch)) }

// shard returns where the entry of a key is, and the key's hash. The seed of the hash is secret, so that nobody can choose
// keys that are all in one shard.
func (cache *Cache) shard(key entryKey) (*shard, uint64) {
	hash := maphash.Comparable(cache.seed, key)
	return &cache.shards[hash&uint64(len(cache.shards)-1)], hash
}

func (cache *Cache) find(now int64, key entryKey) *checkv1.KeyLookupResponse {
	shard, hash := cache.shard(key)
	if answer := shard.find(now, hash, key); answer != nil {
		return answer
	}
	return cache.missed
}

func (cache *Cache) store(now int64, key entryKey, in *checkv1.CacheEntry) bool {
	shard, hash := cache.shard(key)
	return shard.store(now, timeToLive(in), hash, key, in.GetValue())
}

func (cache *Cache) remove(now int64, key entryKey) {
	shard, hash := cache.shard(key)
	shard.remove(now, hash, key)
}

func (cache *Cache) refuseLookup(text string) *checkv1.KeyLookupResponse {
	cache.refused.Add(1)
	return &checkv1.KeyLookupResponse{
		LookupStatus:    checkv1.CacheLookupStatus_MISS,
		OperationStatus: checkv1.CacheOperationStatus_ERROR,
		Error:           text,
	}
}

// upsert stores one entry; prefix is the length of what an agent's store has in the key beside its own texts.
func (cache *Cache) upsert(now int64, prefix int, key entryKey, in *checkv1.CacheEntry) *checkv1.KeyUpsertResponse {
	stored := prefix + len(key.controlPoint) + len(key.key)
	text := ""
	switch {
	case prefix == resultKeyPrefix && key.controlPoint == "":
		text = errNoControlPoint
	case stored > longestKey:
		text = errKeyTooLarge
	case stored+len(in.GetValue())+entryHeader > largestEntry, !cache.store(now, key, in):
		text = errEntryTooLarge
	default:
		return &checkv1.KeyUpsertResponse{}
	}
	cache.refused.Add(1)
	return &checkv1.KeyUpsertResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: text}
}

// timeToLive returns how long an entry lives, 0 or less when it has expired already. An entry that says nothing lives as
// long as one can.
func timeToLive(in *checkv1.CacheEntry) time.Duration {
	ttl := in.GetTtl().AsDuration()
	if ttl == 0 || ttl > longestTTL {
		return longestTTL
	}
	return ttl.Truncate(ttlGranularity)
}
