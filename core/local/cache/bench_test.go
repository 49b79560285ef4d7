package cache

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// lookups returns look-ups of result keys, in an order that processors cannot guess.
func lookups(keys int) []*checkv1.CacheLookupRequest {
	requests := make([]*checkv1.CacheLookupRequest, keys)
	for i := range requests {
		requests[i] = &checkv1.CacheLookupRequest{ResultCacheKey: "report-" + strconv.Itoa(i*7919%keys)}
	}
	return requests
}

func upsertOf(controlPoint, key string, value []byte, ttl time.Duration) *checkv1.CacheUpsertRequest {
	return &checkv1.CacheUpsertRequest{
		ControlPoint:     controlPoint,
		ResultCacheEntry: &checkv1.CacheEntry{Key: key, Value: value, Ttl: durationpb.New(ttl)},
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		cache, requests := New(0), lookups(keys)
		b.Run("miss/keys="+strconv.Itoa(keys), func(b *testing.B) { lookUp(b, cache, requests) })
		for _, request := range requests {
			cache.Upsert(upsertOf("checkout", request.GetResultCacheKey(), make([]byte, 100), time.Hour))
		}
		b.Run("hit/keys="+strconv.Itoa(keys), func(b *testing.B) { lookUp(b, cache, requests) })
	}
}

func lookUp(b *testing.B, cache *Cache, requests []*checkv1.CacheLookupRequest) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		cache.Lookup("checkout", requests[i%len(requests)])
	}
}

func BenchmarkLookupParallel(b *testing.B) {
	cache, requests := New(0), lookups(10_000)
	for _, request := range requests {
		cache.Upsert(upsertOf("checkout", request.GetResultCacheKey(), make([]byte, 100), time.Hour))
	}
	var workers atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(workers.Add(1)) * 1000; pb.Next(); i++ {
			cache.Lookup("checkout", requests[i%len(requests)])
		}
	})
}

// BenchmarkStore stores over and over under the same keys.
func BenchmarkStore(b *testing.B) {
	cache, requests := New(0), make([]*checkv1.CacheUpsertRequest, 10_000)
	for i := range requests {
		requests[i] = upsertOf("checkout", "report-"+strconv.Itoa(i), make([]byte, 100), time.Hour)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		cache.Upsert(requests[i%len(requests)])
	}
}

// BenchmarkStoreDistinct stores under new keys only, so that each one takes the place of another once the cache is full.
// The full test of the bound on memory is -benchtime=10000000x.
func BenchmarkStoreDistinct(b *testing.B) {
	b.ReportAllocs()
	storeDistinct(b, DefaultMaxBytes, b.N)
}
