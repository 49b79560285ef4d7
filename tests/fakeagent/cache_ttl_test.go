package fakeagent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func TestCacheKeepsAnEntryForItsTTL(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for name, test := range map[string]struct {
		ttl   *durationpb.Duration
		lasts time.Duration
	}{
		"short":             {durationpb.New(3 * time.Second), 3 * time.Second},
		"none":              {nil, week},
		"zero":              {durationpb.New(0), week},
		"a week":            {durationpb.New(week), week},
		"more than a week":  {durationpb.New(week + time.Second), week},
		"more than Go says": {&durationpb.Duration{Seconds: 315_576_000_000}, week},
		"negative":          {durationpb.New(-time.Second), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newCache()
				store.upsert(&checkv1.CacheUpsertRequest{
					ControlPoint:       "checkout",
					ResultCacheEntry:   &checkv1.CacheEntry{Key: "result", Ttl: test.ttl},
					GlobalCacheEntries: map[string]*checkv1.CacheEntry{"global": {Ttl: test.ttl}},
				})
				wants := func(want checkv1.CacheLookupStatus) {
					t.Helper()
					found := store.lookup("checkout", &checkv1.CacheLookupRequest{ResultCacheKey: "result", GlobalCacheKeys: []string{"global"}})
					assert.Equal(t, want, found.GetResultCacheResponse().GetLookupStatus())
					assert.Equal(t, want, found.GetGlobalCacheResponses()["global"].GetLookupStatus())
				}
				if test.lasts > 0 {
					time.Sleep(test.lasts - time.Nanosecond)
					wants(checkv1.CacheLookupStatus_HIT)
					time.Sleep(time.Nanosecond)
				}
				wants(checkv1.CacheLookupStatus_MISS)
			})
		})
	}
}
