package fakeagent_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// report returns an agent's report as a program in another language reads it.
func report(t *testing.T, agent *fakeagent.Agent) map[string]any {
	t.Helper()
	recorded := agent.Recorded()
	text, err := json.Marshal(recorded.Report())
	require.NoError(t, err)
	var read map[string]any
	require.NoError(t, json.Unmarshal(text, &read))
	return read
}

// without returns a copy of an object of JSON without some of its members.
func without(object any, names ...string) map[string]any {
	rest := map[string]any{}
	for name, value := range object.(map[string]any) {
		rest[name] = value
	}
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

func TestReportTellsWhatTheCachesWereAsked(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	service := client(t, agent)
	lookup := &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "key", GlobalCacheKeys: []string{"a", "b"}}
	_, err := service.CacheLookup(t.Context(), lookup)
	require.NoError(t, err)
	for _, upsert := range []*checkv1.CacheUpsertRequest{
		{
			ControlPoint:       "checkout",
			ResultCacheEntry:   &checkv1.CacheEntry{Key: "key", Value: []byte{0xff, 0}, Ttl: durationpb.New(time.Second)},
			GlobalCacheEntries: map[string]*checkv1.CacheEntry{"a": {}},
		},
		{},
	} {
		_, err = service.CacheUpsert(t.Context(), upsert)
		require.NoError(t, err)
	}
	_, err = service.CacheDelete(t.Context(), &checkv1.CacheDeleteRequest{GlobalCacheKeys: []string{"a"}})
	require.NoError(t, err)
	for _, asked := range []*checkv1.CacheLookupRequest{lookup, nil} {
		_, err = service.Check(t.Context(), &checkv1.CheckRequest{ControlPoint: "checkout", CacheLookupRequest: asked})
		require.NoError(t, err)
	}

	seen := report(t, agent)
	assert.EqualValues(t, 1, seen["cache_lookup_count"])
	assert.EqualValues(t, 2, seen["cache_upsert_count"])
	assert.EqualValues(t, 1, seen["cache_delete_count"])
	of := func(kind string, number int) map[string]any {
		return without(seen[kind].([]any)[number], "timeout_ms")
	}
	keys := map[string]any{"control_point": "checkout", "result_cache_key": "key", "global_cache_keys": []any{"a", "b"}}
	assert.Equal(t, keys, of("cache_lookups", 0))
	assert.Equal(t, map[string]any{
		"control_point":        "checkout",
		"result_cache_entry":   map[string]any{"key": "key", "value": "/wA=", "ttl_ns": 1e9},
		"global_cache_entries": map[string]any{"a": map[string]any{"key": "", "value": "", "ttl_ns": nil}},
	}, of("cache_upserts", 0))
	assert.Equal(t, map[string]any{"control_point": "", "result_cache_entry": nil, "global_cache_entries": map[string]any{}}, of("cache_upserts", 1))
	assert.Equal(t, map[string]any{"control_point": "", "result_cache_key": "", "global_cache_keys": []any{"a"}}, of("cache_deletes", 0))
	assert.Equal(t, keys, of("checks", 0)["cache_lookup_request"])
	assert.Contains(t, of("checks", 1), "cache_lookup_request")
	assert.Nil(t, of("checks", 1)["cache_lookup_request"])
}
