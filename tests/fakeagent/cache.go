package fakeagent

import (
	"sync"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// cacheTTL is how long an entry is kept that says nothing, and how long an entry is kept at most.
const cacheTTL = 7 * 24 * time.Hour

// noControlPoint is what an agent says of a result cache entry when it is told no control point.
const noControlPoint = "cache control_point cannot be empty"

// cache holds the result and global caches of an agent, and answers for them as one does. Empty keys get no answer.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]cacheEntry
}

// cacheKey is a key of the result cache of a control point or, with an empty control point, of the global cache.
type cacheKey struct{ controlPoint, key string }

type cacheEntry struct {
	value   []byte
	expires time.Time
}

func newCache() *cache { return &cache{entries: map[cacheKey]cacheEntry{}} }

// reset forgets all entries.
func (c *cache) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}

// lookup answers for the keys of a request. The control point is apart, because that of a Check counts for its look-up.
func (c *cache) lookup(controlPoint string, request *checkv1.CacheLookupRequest) *checkv1.CacheLookupResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &checkv1.CacheLookupResponse{GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{}}
	switch key := request.GetResultCacheKey(); {
	case key == "":
	case controlPoint == "":
		response.ResultCacheResponse = &checkv1.KeyLookupResponse{
			LookupStatus:    checkv1.CacheLookupStatus_MISS,
			OperationStatus: checkv1.CacheOperationStatus_ERROR,
			Error:           noControlPoint,
		}
	default:
		response.ResultCacheResponse = c.find(cacheKey{controlPoint, key})
	}
	for _, key := range request.GetGlobalCacheKeys() {
		if key != "" {
			response.GlobalCacheResponses[key] = c.find(cacheKey{key: key})
		}
	}
	return response
}

// find answers for one key; c.mu is held.
func (c *cache) find(key cacheKey) *checkv1.KeyLookupResponse {
	entry, ok := c.entries[key]
	if !ok || !time.Now().Before(entry.expires) {
		delete(c.entries, key)
		return &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS}
	}
	return &checkv1.KeyLookupResponse{Value: entry.value, LookupStatus: checkv1.CacheLookupStatus_HIT}
}

// upsert stores the entries of a request.
func (c *cache) upsert(request *checkv1.CacheUpsertRequest) *checkv1.CacheUpsertResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &checkv1.CacheUpsertResponse{GlobalCacheResponses: map[string]*checkv1.KeyUpsertResponse{}}
	switch entry := request.GetResultCacheEntry(); {
	case entry.GetKey() == "":
	case request.GetControlPoint() == "":
		response.ResultCacheResponse = &checkv1.KeyUpsertResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: noControlPoint}
	default:
		c.store(cacheKey{request.GetControlPoint(), entry.GetKey()}, entry)
		response.ResultCacheResponse = &checkv1.KeyUpsertResponse{}
	}
	for key, entry := range request.GetGlobalCacheEntries() { // the key within the entry does not count
		if key == "" {
			continue
		}
		c.store(cacheKey{key: key}, entry)
		response.GlobalCacheResponses[key] = &checkv1.KeyUpsertResponse{}
	}
	return response
}

// store stores one entry; c.mu is held. A negative TTL is taken, as by an agent: the entry is gone at once.
func (c *cache) store(key cacheKey, entry *checkv1.CacheEntry) {
	ttl := entry.GetTtl().AsDuration()
	if ttl == 0 || ttl > cacheTTL {
		ttl = cacheTTL
	}
	c.entries[key] = cacheEntry{entry.GetValue(), time.Now().Add(ttl)}
}

// remove deletes the entries of a request's keys. A missing one is a success.
func (c *cache) remove(request *checkv1.CacheDeleteRequest) *checkv1.CacheDeleteResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &checkv1.CacheDeleteResponse{GlobalCacheResponses: map[string]*checkv1.KeyDeleteResponse{}}
	switch key := request.GetResultCacheKey(); {
	case key == "":
	case request.GetControlPoint() == "":
		response.ResultCacheResponse = &checkv1.KeyDeleteResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: noControlPoint}
	default:
		delete(c.entries, cacheKey{request.GetControlPoint(), key})
		response.ResultCacheResponse = &checkv1.KeyDeleteResponse{}
	}
	for _, key := range request.GetGlobalCacheKeys() {
		if key == "" {
			continue
		}
		delete(c.entries, cacheKey{key: key})
		response.GlobalCacheResponses[key] = &checkv1.KeyDeleteResponse{}
	}
	return response
}
