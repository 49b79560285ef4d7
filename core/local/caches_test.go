package local

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// storeIn stores a result of the control point "checkout" and a value of the global cache.
func storeIn(t *testing.T, engine *Engine, resultKey, result, globalKey, global string) {
	t.Helper()
	stored, err := engine.CacheUpsert(t.Context(), &checkv1.CacheUpsertRequest{
		ControlPoint:       "checkout",
		ResultCacheEntry:   &checkv1.CacheEntry{Key: resultKey, Value: []byte(result)},
		GlobalCacheEntries: map[string]*checkv1.CacheEntry{globalKey: {Value: []byte(global)}},
	}, time.Second)
	require.NoError(t, err)
	assertMessage(t, &checkv1.CacheUpsertResponse{
		ResultCacheResponse:  &checkv1.KeyUpsertResponse{},
		GlobalCacheResponses: map[string]*checkv1.KeyUpsertResponse{globalKey: {}},
	}, stored)
}

func found(value string) *checkv1.KeyLookupResponse {
	return &checkv1.KeyLookupResponse{Value: []byte(value)}
}

var notFound = &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS}

// A flow reads the caches with its decision; one that was rejected never comes to them.
func TestFlowsReadTheCaches(t *testing.T) {
	engine := open(t, limiter{name: "two tokens"})
	storeIn(t, engine, "r", "result", "g", "global")
	request := &check.Request{ControlPoint: "checkout", CacheLookup: &checkv1.CacheLookupRequest{
		ControlPoint: "does not count", ResultCacheKey: "r", GlobalCacheKeys: []string{"g", "absent"},
	}}
	ask := func() check.Answer {
		answer, err := engine.Check(t.Context(), request)
		require.NoError(t, err)
		assert.Same(t, answer.CacheLookup, answer.Response.CheckResponse().GetCacheLookupResponse())
		return answer
	}
	for range 2 { // a flow whose result is found takes its token all the same
		answer := ask()
		assert.False(t, answer.Rejected)
		assertMessage(t, &checkv1.CacheLookupResponse{
			ResultCacheResponse:  found("result"),
			GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"g": found("global"), "absent": notFound},
		}, answer.CacheLookup)
	}
	rejected := ask()
	assert.True(t, rejected.Rejected)
	assert.Nil(t, rejected.CacheLookup)

	request.ControlPoint = "no policy"
	assertMessage(t, notFound, ask().CacheLookup.GetResultCacheResponse())
	request.CacheLookup = nil
	assert.Nil(t, ask().CacheLookup)
}

// Only a result that is found ends a check early.
func TestAResultThatIsFoundEndsACheck(t *testing.T) {
	engine := open(t, limiter{name: "policy"})
	storeIn(t, engine, "r", "", "g", "global")
	for _, test := range []struct {
		name, controlPoint string
		lookup             *checkv1.CacheLookupRequest
		found              bool
	}{
		{"a result", "checkout", &checkv1.CacheLookupRequest{ResultCacheKey: "r"}, true},
		{"another key", "checkout", &checkv1.CacheLookupRequest{ResultCacheKey: "g"}, false},
		{"another control point", "search", &checkv1.CacheLookupRequest{ResultCacheKey: "r"}, false},
		{"no control point", "", &checkv1.CacheLookupRequest{ResultCacheKey: "r"}, false},
		{"a global key", "checkout", &checkv1.CacheLookupRequest{GlobalCacheKeys: []string{"g"}}, false},
		{"no key", "checkout", &checkv1.CacheLookupRequest{}, false},
		{"no look-up", "checkout", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			decision := &flowDecision{request: &check.Request{ControlPoint: test.controlPoint}}
			assert.Equal(t, test.found, engine.lookUp(decision, test.lookup))
			assert.Equal(t, test.lookup != nil, decision.cacheLookup != nil)
		})
	}
}

func TestCacheCalls(t *testing.T) {
	engine := open(t, limiter{name: "policy"})
	storeIn(t, engine, "r", "result", "g", "global")
	lookup := &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "r", GlobalCacheKeys: []string{"g"}}
	read := func() *checkv1.CacheLookupResponse {
		response, err := engine.CacheLookup(t.Context(), lookup, time.Second)
		require.NoError(t, err)
		return response
	}
	assertMessage(t, &checkv1.CacheLookupResponse{
		ResultCacheResponse:  found("result"),
		GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"g": found("global")},
	}, read())

	removal := &checkv1.CacheDeleteRequest{ControlPoint: "checkout", ResultCacheKey: "r", GlobalCacheKeys: []string{"g"}}
	removed, err := engine.CacheDelete(t.Context(), removal, time.Second)
	require.NoError(t, err)
	assertMessage(t, &checkv1.CacheDeleteResponse{
		ResultCacheResponse:  &checkv1.KeyDeleteResponse{},
		GlobalCacheResponses: map[string]*checkv1.KeyDeleteResponse{"g": {}},
	}, removed)
	assertMessage(t, &checkv1.CacheLookupResponse{
		ResultCacheResponse:  notFound,
		GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"g": notFound},
	}, read())

	counts := engine.Snapshot().Cache
	assert.EqualValues(t, []uint64{2, 2, 2}, []uint64{counts.Hits, counts.Misses, counts.Stored})
}

func TestTheCacheOfAClosedEngineIsGone(t *testing.T) {
	engine := open(t, limiter{name: "policy"})
	storeIn(t, engine, "r", "result", "g", "global")
	require.NoError(t, engine.Close())
	closed := &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	_, err := engine.CacheLookup(t.Context(), &checkv1.CacheLookupRequest{}, time.Second)
	assert.Equal(t, closed, err)
	_, err = engine.CacheUpsert(t.Context(), &checkv1.CacheUpsertRequest{}, time.Second)
	assert.Equal(t, closed, err)
	_, err = engine.CacheDelete(t.Context(), &checkv1.CacheDeleteRequest{}, time.Second)
	assert.Equal(t, closed, err)
	assert.Zero(t, engine.Snapshot().Cache.Bytes)
}

func TestCacheBytesBoundTheCache(t *testing.T) {
	const most = LeastCacheBytes
	engine := openText(t, limiter{name: "policy"}.document(), Options{CacheBytes: most})
	for _, key := range []string{"1", "2", "3"} {
		storeIn(t, engine, key, strings.Repeat("v", most/2), key, "")
	}
	counts := engine.Snapshot().Cache
	assert.NotZero(t, counts.Evicted)
	assert.EqualValues(t, 6, int(counts.Evicted)+counts.Entries)
	assert.LessOrEqual(t, counts.Bytes, int64(most))
}
