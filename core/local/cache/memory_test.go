package cache

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// margin is how much more than the bound the heap may take: in hundredths of the bound, and what the test itself needs.
const (
	marginPercent = 5
	marginBytes   = 256 << 10
)

// heapInUse returns the memory that is reachable.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // pools keep what they have for one more collection
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// storeDistinct stores values under a number of keys that are all different, and sees that neither the count of bytes
// nor the memory that is really taken passes the bound.
func storeDistinct(t testing.TB, maxBytes int64, keys int) Counts {
	before := heapInUse()
	cache := New(maxBytes)
	value := make([]byte, 100)
	entry := &checkv1.CacheEntry{Value: value}
	request := &checkv1.CacheUpsertRequest{ControlPoint: "checkout", ResultCacheEntry: entry}
	every := keys/20 + 1
	most := int64(0)
	for i := range keys {
		entry.Key = strconv.Itoa(i)
		if i%every == 0 {
			most = max(most, cache.Counts().Bytes)
		}
		if answer := cache.Upsert(request).GetResultCacheResponse(); answer.GetError() != "" {
			t.Fatal(answer.GetError())
		}
	}
	grown := heapInUse() - before
	counts := cache.Counts()
	assert.LessOrEqual(t, max(most, counts.Bytes), maxBytes)
	assert.LessOrEqual(t, grown, maxBytes+maxBytes*marginPercent/100+marginBytes)
	assert.EqualValues(t, keys-counts.Entries, counts.Evicted)
	if b, ok := t.(*testing.B); ok {
		b.ReportMetric(float64(grown)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(counts.Bytes)/(1<<20), "counted-MiB")
		b.ReportMetric(float64(counts.Entries), "entries")
	}
	return counts
}

func TestManyDistinctKeysStayWithinTheBound(t *testing.T) {
	const maxBytes = 16 << 20
	counts := storeDistinct(t, maxBytes, 300_000)
	assert.Greater(t, counts.Bytes, int64(maxBytes*9/10), "less is kept than fits")
}

// The weight of entries is what they take, for all sizes of keys and values, and at the moments when maps have just grown.
func TestMemoryIsWhatIsCounted(t *testing.T) {
	for _, test := range []struct{ entries, key, value int }{
		{100, 8, 0}, {1_800, 8, 0}, {7_500, 8, 0}, {8_200, 8, 0}, {33_000, 8, 8},
		{20_000, 33, 33}, {20_000, 200, 129}, {5_000, 17, 1025}, {300, 8, 33_000}, {8, 8, 1_000_000},
	} {
		t.Run(fmt.Sprintf("%d entries with %d and %d bytes", test.entries, test.key, test.value), func(t *testing.T) {
			value := make([]byte, test.value)
			before := heapInUse()
			cache := New(1 << 30)
			for i := range test.entries {
				stored := cache.Upsert(upsertOf("c", fmt.Sprintf("%0*d", test.key, i), value, time.Hour))
				require.Empty(t, stored.GetResultCacheResponse().GetError())
			}
			grown, counted := heapInUse()-before, cache.Counts().Bytes
			runtime.KeepAlive(value)
			t.Logf("%d bytes counted, %d taken: %d and %d for each entry", counted, grown, counted/int64(test.entries), grown/int64(test.entries))
			assert.LessOrEqual(t, grown, counted+counted*marginPercent/100+marginBytes)
			if counted > 4*marginBytes {
				assert.Greater(t, grown, counted/2, "more is counted than an entry takes")
			}
		})
	}
}

// The room that many small entries have taken is counted, and given back, when few large ones come in their place.
func TestLargeEntriesInPlaceOfSmallOnesStayWithinTheBound(t *testing.T) {
	const maxBytes = 16 << 20
	large := make([]byte, 30<<10)
	before := heapInUse()
	cache := New(maxBytes)
	store := func(key string, value []byte) {
		stored := cache.Upsert(upsertOf("c", key, value, time.Hour))
		require.Empty(t, stored.GetResultCacheResponse().GetError())
		require.LessOrEqual(t, cache.Counts().Bytes, int64(maxBytes))
	}
	for i := range 70_000 {
		store(strconv.Itoa(i), nil)
	}
	for i := range 4_000 {
		store("large "+strconv.Itoa(i), large[:i*7])
		if i%500 == 0 || i == 3_999 {
			assert.LessOrEqual(t, heapInUse()-before, int64(maxBytes+maxBytes*marginPercent/100+marginBytes), i)
		}
	}
	assert.Less(t, cache.Counts().Entries, 700)
	runtime.KeepAlive(large)
}

// An engine without cache entries pays nothing for its cache.
func TestAnEmptyCacheIsSmall(t *testing.T) {
	caches := make([]*Cache, 1000)
	before := heapInUse()
	for i := range caches {
		caches[i] = New(0)
	}
	assert.Less(t, (heapInUse()-before)/int64(len(caches)), int64(4096))
	runtime.KeepAlive(caches)
}
