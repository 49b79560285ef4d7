package cache

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The answers of a cache to one key.
var (
	success = &checkv1.KeyUpsertResponse{}
	miss    = &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS}
)

func hit(value string) *checkv1.KeyLookupResponse {
	return &checkv1.KeyLookupResponse{Value: []byte(value)}
}

func failure(text string) *checkv1.KeyUpsertResponse {
	return &checkv1.KeyUpsertResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: text}
}

func failedLookup(text string) *checkv1.KeyLookupResponse {
	return &checkv1.KeyLookupResponse{
		LookupStatus: checkv1.CacheLookupStatus_MISS, OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: text,
	}
}

// assertMessage sees that two messages say the same.
func assertMessage(t *testing.T, expected, actual proto.Message) {
	t.Helper()
	assert.Truef(t, proto.Equal(expected, actual), "expected %v, got %v", expected, actual)
}

func storeResult(cache *Cache, controlPoint, key, value string, ttl time.Duration) *checkv1.KeyUpsertResponse {
	return cache.Upsert(upsertOf(controlPoint, key, []byte(value), ttl)).GetResultCacheResponse()
}

func storeGlobal(cache *Cache, key, value string, ttl time.Duration) *checkv1.KeyUpsertResponse {
	request := &checkv1.CacheUpsertRequest{GlobalCacheEntries: map[string]*checkv1.CacheEntry{
		key: {Key: "does not count", Value: []byte(value), Ttl: durationpb.New(ttl)},
	}}
	return cache.Upsert(request).GetGlobalCacheResponses()[key]
}

func findResult(cache *Cache, controlPoint, key string) *checkv1.KeyLookupResponse {
	return cache.Lookup(controlPoint, &checkv1.CacheLookupRequest{ResultCacheKey: key}).GetResultCacheResponse()
}

func findGlobal(cache *Cache, key string) *checkv1.KeyLookupResponse {
	return cache.Lookup("", &checkv1.CacheLookupRequest{GlobalCacheKeys: []string{key}}).GetGlobalCacheResponses()[key]
}

func TestWhatWasStoredIsFoundUnderItsKeyOnly(t *testing.T) {
	cache := New(0)
	assertMessage(t, miss, findResult(cache, "checkout", "k"))
	assertMessage(t, success, storeResult(cache, "checkout", "k", "result", time.Hour))
	assertMessage(t, success, storeGlobal(cache, "k", "global", time.Hour))
	assertMessage(t, hit("result"), findResult(cache, "checkout", "k"))
	assertMessage(t, hit("global"), findGlobal(cache, "k"))
	assertMessage(t, miss, findResult(cache, "search", "k"))
	assertMessage(t, miss, findGlobal(cache, "does not count"))

	assertMessage(t, success, storeResult(cache, "checkout", "k", "", time.Hour))
	assertMessage(t, hit(""), findResult(cache, "checkout", "k"))
}

// An agent joins control point and key in one text, so that two pairs can have the same one.
func TestControlPointsDoNotAliasEachOther(t *testing.T) {
	cache := New(0)
	storeResult(cache, "a/type:bytes/key:b", "c", "first", time.Hour)
	storeResult(cache, "a", "bc", "second", time.Hour)
	assertMessage(t, miss, findResult(cache, "a", "b/type:bytes/key:c"))
	assertMessage(t, miss, findResult(cache, "ab", "c"))
	assertMessage(t, hit("second"), findResult(cache, "a", "bc"))
}

func TestEveryKeyOfARequestIsAnswered(t *testing.T) {
	cache := New(0)
	stored := cache.Upsert(&checkv1.CacheUpsertRequest{
		ControlPoint:       "checkout",
		ResultCacheEntry:   &checkv1.CacheEntry{Key: "r", Value: []byte("1")},
		GlobalCacheEntries: map[string]*checkv1.CacheEntry{"a": {Value: []byte("2")}, "b": nil, "": {Value: []byte("3")}},
	})
	assertMessage(t, &checkv1.CacheUpsertResponse{
		ResultCacheResponse:  success,
		GlobalCacheResponses: map[string]*checkv1.KeyUpsertResponse{"a": success, "b": success}, // an empty key is skipped
	}, stored)

	found := cache.Lookup("checkout", &checkv1.CacheLookupRequest{
		ControlPoint: "does not count", ResultCacheKey: "r", GlobalCacheKeys: []string{"a", "absent", "", "a", "b"},
	})
	assertMessage(t, &checkv1.CacheLookupResponse{
		ResultCacheResponse: hit("1"),
		GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{
			"a": hit("2"), "b": hit(""), "absent": miss, "": failedLookup(errNoKey), // an empty key is not skipped
		},
	}, found)
	counts := cache.Counts()
	assert.Equal(t, Counts{Hits: 3, Misses: 1, Stored: 3, Refused: 1, Entries: 3, Bytes: counts.Bytes}, counts)

	removed := cache.Delete(&checkv1.CacheDeleteRequest{
		ControlPoint: "checkout", ResultCacheKey: "r", GlobalCacheKeys: []string{"a", "absent", ""},
	})
	assertMessage(t, &checkv1.CacheDeleteResponse{
		ResultCacheResponse:  &checkv1.KeyDeleteResponse{},
		GlobalCacheResponses: map[string]*checkv1.KeyDeleteResponse{"a": {}, "absent": {}},
	}, removed)
	assertMessage(t, miss, findResult(cache, "checkout", "r"))
	assertMessage(t, miss, findGlobal(cache, "a"))
	assertMessage(t, hit(""), findGlobal(cache, "b"))
}

// What nobody asked for is not answered: an empty answer about a key would read as a hit.
func TestWhatIsNotAskedIsNotAnswered(t *testing.T) {
	cache := New(0)
	assertMessage(t, &checkv1.CacheLookupResponse{}, cache.Lookup("checkout", nil))
	assertMessage(t, &checkv1.CacheLookupResponse{}, cache.Lookup("", &checkv1.CacheLookupRequest{}))
	assertMessage(t, &checkv1.CacheUpsertResponse{}, cache.Upsert(nil))
	assertMessage(t, &checkv1.CacheUpsertResponse{}, cache.Upsert(upsertOf("checkout", "", []byte("v"), 0)))
	assertMessage(t, &checkv1.CacheDeleteResponse{}, cache.Delete(&checkv1.CacheDeleteRequest{}))
	assert.Equal(t, Counts{}, cache.Counts())
}

func TestAResultNeedsAControlPoint(t *testing.T) {
	cache := New(0)
	storeGlobal(cache, "k", "global", time.Hour)
	assertMessage(t, failure(errNoControlPoint), storeResult(cache, "", "k", "v", time.Hour))
	assertMessage(t, failure(errNoControlPoint), storeResult(cache, "", strings.Repeat("k", 1000), "v", time.Hour))
	assertMessage(t, failedLookup(errNoControlPoint), findResult(cache, "", "k"))
	assertMessage(t,
		&checkv1.KeyDeleteResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: errNoControlPoint},
		cache.Delete(&checkv1.CacheDeleteRequest{ResultCacheKey: "k"}).GetResultCacheResponse())
	assertMessage(t, hit("global"), findGlobal(cache, "k"))
	assert.EqualValues(t, 4, cache.Counts().Refused)
}

func TestKeysAndEntriesHaveTheLimitsOfAnAgent(t *testing.T) {
	const longestResult, longestGlobal = 225, 232
	key := strings.Repeat("k", 300)
	value := strings.Repeat("v", 1<<20)
	// What the stored key of "cp" and "k" has, and the header, count too.
	most := 1<<20 - len("@controlpoint:cp/type:bytes/key:k") - 29
	for _, test := range []struct {
		name, controlPoint, key, value, err string
	}{
		{"the longest result key", "cp", key[:longestResult-2], "v", ""},
		{"a longer result key", "cp", key[:longestResult-1], "v", errKeyTooLarge},
		{"a longer control point", key[:longestResult], "k", "v", errKeyTooLarge},
		{"the longest global key", "", key[:longestGlobal], "v", ""},
		{"a longer global key", "", key[:longestGlobal+1], "v", errKeyTooLarge},
		{"a longer key and value", "", key, value, errKeyTooLarge},
		{"the largest result", "cp", "k", value[:most], ""},
		{"a larger result", "cp", "k", value[:most+1], errEntryTooLarge},
		{"the largest global value", "", "1234567890", value[:most], ""},
		{"a larger global value", "", "1234567890", value[:most+1], errEntryTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache := New(0)
			stored, found := storeGlobal(cache, test.key, test.value, time.Hour), findGlobal(cache, test.key)
			remove := &checkv1.CacheDeleteRequest{GlobalCacheKeys: []string{test.key}}
			if test.controlPoint != "" {
				cache = New(0)
				stored, found = storeResult(cache, test.controlPoint, test.key, test.value, time.Hour), findResult(cache, test.controlPoint, test.key)
				remove = &checkv1.CacheDeleteRequest{ControlPoint: test.controlPoint, ResultCacheKey: test.key}
			}
			if test.err != "" {
				assertMessage(t, failure(test.err), stored)
				assertMessage(t, miss, found)
				assert.EqualValues(t, 1, cache.Counts().Refused)
			} else {
				assertMessage(t, success, stored)
				assert.True(t, proto.Equal(hit(test.value), found))
			}
			removed := cache.Delete(remove)
			assert.Empty(t, removed.GetResultCacheResponse().GetError()+removed.GetGlobalCacheResponses()[test.key].GetError())
			assert.Zero(t, cache.Counts().Entries)
		})
	}
}

func TestAnEntryThatIsRefusedLeavesWhatIsThere(t *testing.T) {
	cache := New(2000)
	assertMessage(t, success, storeResult(cache, "cp", "k", "old", time.Hour))
	assertMessage(t, failure(errEntryTooLarge), storeResult(cache, "cp", "k", strings.Repeat("v", 2000), time.Hour))
	assertMessage(t, failure(errEntryTooLarge), storeResult(cache, "cp", "k", strings.Repeat("v", 1<<20), time.Hour))
	assertMessage(t, hit("old"), findResult(cache, "cp", "k"))
}

func TestEntriesExpire(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, test := range []struct {
		name  string
		ttl   *durationpb.Duration
		lives time.Duration
	}{
		{"after its time to live", durationpb.New(90 * time.Second), 90 * time.Second},
		{"to the millisecond", durationpb.New(1999 * time.Microsecond), time.Millisecond},
		{"after a week without a time", nil, week},
		{"after a week with the time 0", durationpb.New(0), week},
		{"after a week at the latest", durationpb.New(week + time.Nanosecond), week},
		{"after a week when the time is no duration", &durationpb.Duration{Seconds: 1 << 62}, week},
		{"at once below a millisecond", durationpb.New(time.Millisecond - 1), 0},
		{"at once when the time is negative", durationpb.New(-time.Second), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache := New(0)
				time.Sleep(time.Second / 3)
				storeGlobal(cache, "k", "old", time.Hour)
				stored := cache.Upsert(&checkv1.CacheUpsertRequest{GlobalCacheEntries: map[string]*checkv1.CacheEntry{"k": {Value: []byte("new"), Ttl: test.ttl}}})
				assertMessage(t, success, stored.GetGlobalCacheResponses()["k"])
				if test.lives > 0 {
					time.Sleep(test.lives - 1)
					assertMessage(t, hit("new"), findGlobal(cache, "k"))
					assert.Equal(t, 1, cache.Counts().Entries)
					time.Sleep(time.Nanosecond)
				}
				assertMessage(t, miss, findGlobal(cache, "k"))
				counts := cache.Counts()
				assert.EqualValues(t, 1, counts.Expired)
				assert.EqualValues(t, 2, counts.Stored)
				assert.Zero(t, counts.Entries)
				assert.Zero(t, counts.Bytes)
			})
		})
	}
}

// An entry that was stored again lives as long as its last call says, and counts no other end.
func TestAStoreReplacesTheTimeToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := New(0)
		storeGlobal(cache, "k", "1", time.Second)
		storeGlobal(cache, "k", "2", time.Hour)
		time.Sleep(time.Minute)
		assertMessage(t, hit("2"), findGlobal(cache, "k"))
		storeGlobal(cache, "k", "3", time.Second)
		time.Sleep(time.Minute)
		assertMessage(t, miss, findGlobal(cache, "k"))
		counts := cache.Counts()
		assert.EqualValues(t, 1, counts.Expired)
		assert.Zero(t, counts.Evicted)
	})
}

func TestAFullCacheGivesUpWhatWasNotUsedForLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		weigh := New(0)
		storeGlobal(weigh, "a", "v", time.Hour)
		cache := New(3 * weigh.Counts().Bytes)
		for _, key := range []string{"a", "b", "c"} {
			storeGlobal(cache, key, "v", time.Hour)
		}
		findGlobal(cache, "a")
		storeGlobal(cache, "d", "v", time.Hour)
		assertMessage(t, miss, findGlobal(cache, "b"))
		for _, key := range []string{"a", "c", "d"} {
			assertMessage(t, hit("v"), findGlobal(cache, key))
		}
		assert.EqualValues(t, 1, cache.Counts().Evicted)

	})
}

// Expired entries are removed a few at a time; those that are still there are no hits, and go before any live one.
func TestExpiredEntriesThatAreStillThereCountForNothing(t *testing.T) {
	const small, maxBytes = 50, 100_000
	synctest.Test(t, func(t *testing.T) {
		cache := New(maxBytes)
		storeGlobal(cache, "live", "v", time.Hour)
		for i := range small {
			storeGlobal(cache, fmt.Sprint(i), strings.Repeat("v", 1000), time.Duration(i+1)*time.Second)
		}
		time.Sleep(small * time.Second)
		assertMessage(t, miss, findGlobal(cache, fmt.Sprint(small-1)))
		require.Greater(t, cache.shards[0].bytesWith(0, 0), int64(maxBytes/2), "too many were removed for this test")
		large := strings.Repeat("v", 90_000)
		assertMessage(t, success, storeGlobal(cache, "large", large, time.Hour))
		assertMessage(t, hit("v"), findGlobal(cache, "live"))
		assertMessage(t, hit(large), findGlobal(cache, "large"))
		counts := cache.Counts()
		assert.Zero(t, counts.Evicted)
		assert.EqualValues(t, small, counts.Expired)
		assert.Equal(t, 2, counts.Entries)
	})
}

// Of two keys with the same hash one has an entry, and neither finds the other's.
func TestKeysWithTheSameHashAreNotConfused(t *testing.T) {
	shard := &shard{maxBytes: 1 << 20}
	first, second := entryKey{"cp", "1"}, entryKey{"cp", "2"}
	require.True(t, shard.store(0, time.Hour, 7, first, []byte("1")))
	assert.Nil(t, shard.find(0, 7, second))
	shard.remove(0, 7, second)
	assertMessage(t, hit("1"), shard.find(0, 7, first))
	require.True(t, shard.store(0, time.Hour, 7, second, []byte("2")))
	assert.Nil(t, shard.find(0, 7, first))
	assertMessage(t, hit("2"), shard.find(0, 7, second))
	assert.Equal(t, Counts{Hits: 2, Misses: 2, Stored: 2, Evicted: 1}, shard.counts)
}

func TestCallersCannotChangeWhatIsStored(t *testing.T) {
	cache, value := New(0), []byte("value")
	cache.Upsert(upsertOf("cp", "k", value, time.Hour))
	value[0] = 'V'
	found := findResult(cache, "cp", "k").GetValue()
	_ = append(found, "appended"...)
	assert.Equal(t, len(found), cap(found), "room behind a shared value")
	assertMessage(t, hit("value"), findResult(cache, "cp", "k"))
}

// More have expired than are removed at one go.
func TestCountsLeaveNothingThatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := New(1 << 20) // one shard
		for i := range 2*sweepBatch + 1 {
			storeGlobal(cache, fmt.Sprint(i), "v", time.Second)
		}
		time.Sleep(time.Second)
		counts := cache.Counts()
		assert.EqualValues(t, 2*sweepBatch+1, counts.Expired)
		assert.Zero(t, counts.Entries)
		assert.Zero(t, counts.Bytes)
	})
}

func TestAValueThatExpiresAtOnceTakesNoRoom(t *testing.T) {
	cache := New(5000)
	storeGlobal(cache, "a", strings.Repeat("v", 3000), time.Hour)
	assertMessage(t, success, storeGlobal(cache, "b", strings.Repeat("v", 3000), -1))
	assertMessage(t, miss, findGlobal(cache, "b"))
	assertMessage(t, hit(strings.Repeat("v", 3000)), findGlobal(cache, "a"))
	assert.Zero(t, cache.Counts().Evicted)
}

func TestClearForgetsAllEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := New(0)
		for i := range 1000 {
			storeGlobal(cache, fmt.Sprint(i), "v", time.Minute)
		}
		cache.Clear()
		assert.Equal(t, Counts{Stored: 1000}, cache.Counts())
		for i := range 1000 {
			storeGlobal(cache, fmt.Sprint(i), "v", time.Hour)
		}
		time.Sleep(time.Minute)
		counts := cache.Counts()
		assert.Equal(t, Counts{Stored: 2000, Entries: 1000, Bytes: counts.Bytes}, counts)
		assertMessage(t, hit("v"), findGlobal(cache, "7"))
	})
}

func TestManyCallersAtOnce(t *testing.T) {
	const maxBytes, workers, keys = 16 << 20, 8, 800
	cache := New(maxBytes)
	value := strings.Repeat("v", 60_000)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := range 1500 {
				key := fmt.Sprint((i*7 + worker*31) % keys)
				switch i % 5 {
				case 0, 1:
					assertMessage(t, success, storeResult(cache, "cp", key, value+key, time.Hour))
				case 2:
					cache.Delete(&checkv1.CacheDeleteRequest{ControlPoint: "cp", ResultCacheKey: key})
				case 3:
					assert.LessOrEqual(t, cache.Counts().Bytes, int64(maxBytes))
				}
				if found := findResult(cache, "cp", key); found.GetLookupStatus() == checkv1.CacheLookupStatus_HIT {
					assert.Equal(t, key, string(found.GetValue()[len(value):]))
				}
				own := fmt.Sprint("own ", worker)
				storeGlobal(cache, own, fmt.Sprint(i), time.Hour)
				if found := findGlobal(cache, own); found.GetLookupStatus() == checkv1.CacheLookupStatus_HIT { // others may evict it
					assert.Equal(t, fmt.Sprint(i), string(found.GetValue()))
				}
			}
		})
	}
	group.Wait()
	assert.NotZero(t, cache.Counts().Evicted)
	assert.Positive(t, cache.Counts().Hits)
}
