package local

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// A flow that asks for cache entries learns that there are none; one that was rejected never came to the caches.
func TestFlowsMissTheCache(t *testing.T) {
	engine, err := Open("", Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, engine.Close()) })
	lookup := &checkv1.CacheLookupRequest{ResultCacheKey: "r", GlobalCacheKeys: []string{"g"}}
	answer, err := engine.Check(t.Context(), &check.Request{ControlPoint: "checkout", CacheLookup: lookup})
	require.NoError(t, err)
	found := answer.Response.CheckResponse().GetCacheLookupResponse()
	assert.Equal(t, checkv1.CacheLookupStatus_MISS, found.GetResultCacheResponse().GetLookupStatus())
	assert.Equal(t, checkv1.CacheLookupStatus_MISS, found.GetGlobalCacheResponses()["g"].GetLookupStatus())

	rejected, err := engine.Check(t.Context(), &check.Request{ControlPoint: "checkout", CacheLookup: lookup, RampMode: true})
	require.NoError(t, err)
	require.True(t, rejected.Rejected)
	assert.Nil(t, rejected.Response.CheckResponse().GetCacheLookupResponse())
	without, err := engine.Check(t.Context(), &check.Request{ControlPoint: "checkout"})
	require.NoError(t, err)
	assert.Nil(t, without.Response.CheckResponse().GetCacheLookupResponse())
}

func TestEngineHasNoCacheYet(t *testing.T) {
	engine, err := Open("", Options{})
	require.NoError(t, err)

	lookup := &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "r", GlobalCacheKeys: []string{"a", "b", "a"}}
	found, err := engine.CacheLookup(t.Context(), lookup, time.Second)
	require.NoError(t, err)
	assert.Equal(t, checkv1.CacheLookupStatus_MISS, found.GetResultCacheResponse().GetLookupStatus())
	assert.Len(t, found.GetGlobalCacheResponses(), 2)
	for key, answer := range found.GetGlobalCacheResponses() {
		assert.Equal(t, checkv1.CacheLookupStatus_MISS, answer.GetLookupStatus(), key)
		assert.Equal(t, checkv1.CacheOperationStatus_SUCCESS, answer.GetOperationStatus(), key)
	}

	upsert := &checkv1.CacheUpsertRequest{
		ControlPoint:       "checkout",
		ResultCacheEntry:   &checkv1.CacheEntry{Key: "r"},
		GlobalCacheEntries: map[string]*checkv1.CacheEntry{"a": {}, "b": {}, "": {}},
	}
	stored, err := engine.CacheUpsert(t.Context(), upsert, time.Second)
	require.NoError(t, err)
	assert.Equal(t, checkv1.CacheOperationStatus_ERROR, stored.GetResultCacheResponse().GetOperationStatus())
	assert.Contains(t, stored.GetResultCacheResponse().GetError(), "no cache")
	assert.Len(t, stored.GetGlobalCacheResponses(), 2, "an empty key is skipped")
	for key, answer := range stored.GetGlobalCacheResponses() {
		assert.Equal(t, checkv1.CacheOperationStatus_ERROR, answer.GetOperationStatus(), key)
		assert.Contains(t, answer.GetError(), "no cache", key)
	}

	remove := &checkv1.CacheDeleteRequest{ControlPoint: "checkout", ResultCacheKey: "r", GlobalCacheKeys: []string{"a", ""}}
	removed, err := engine.CacheDelete(t.Context(), remove, time.Second)
	require.NoError(t, err)
	require.NotNil(t, removed.GetResultCacheResponse())
	assert.Equal(t, checkv1.CacheOperationStatus_SUCCESS, removed.GetResultCacheResponse().GetOperationStatus())
	assert.Len(t, removed.GetGlobalCacheResponses(), 1, "an empty key is skipped")
	assert.Contains(t, removed.GetGlobalCacheResponses(), "a")

	// What nobody asked for is not answered: an empty answer about a key would read as a hit.
	found, err = engine.CacheLookup(t.Context(), nil, time.Second)
	require.NoError(t, err)
	assert.Nil(t, found.GetResultCacheResponse())
	assert.Empty(t, found.GetGlobalCacheResponses())

	require.NoError(t, engine.Close())
	_, err = engine.CacheLookup(t.Context(), lookup, time.Second)
	assert.Equal(t, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}, err)
	_, err = engine.CacheUpsert(t.Context(), upsert, time.Second)
	assert.Equal(t, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}, err)
	_, err = engine.CacheDelete(t.Context(), remove, time.Second)
	assert.Equal(t, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}, err)
}
