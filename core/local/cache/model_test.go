package cache

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// model is what a cache should do, in the simplest words: a list of entries, the one that was used last at its end. It
// does not know when a cache is full, but which entries go then.
type model struct {
	entries []modelEntry
	counts  Counts // without Refused and Bytes
}

type modelEntry struct {
	key     string
	value   []byte
	expires time.Time
}

func (m *model) index(key string) int {
	return slices.IndexFunc(m.entries, func(one modelEntry) bool { return one.key == key })
}

// expire removes what has expired.
func (m *model) expire() {
	m.entries = slices.DeleteFunc(m.entries, func(one modelEntry) bool {
		expired := !time.Now().Before(one.expires)
		if expired {
			m.counts.Expired++
		}
		return expired
	})
}

func (m *model) remove(key string) {
	if index := m.index(key); index >= 0 {
		m.entries = slices.Delete(m.entries, index, index+1)
	}
}

func (m *model) store(key string, value []byte, ttl time.Duration, evicted uint64) {
	m.counts.Stored++
	m.counts.Evicted += evicted
	m.remove(key)
	m.entries = slices.Delete(m.entries, 0, int(evicted))
	m.entries = append(m.entries, modelEntry{key, value, time.Now().Add(ttl)})
}

func (m *model) find(key string) *checkv1.KeyLookupResponse {
	index := m.index(key)
	if index < 0 {
		m.counts.Misses++
		return miss
	}
	m.counts.Hits++
	found := m.entries[index]
	m.entries = append(slices.Delete(m.entries, index, index+1), found)
	return hit(string(found.value))
}

func bytesOf(key string, value []byte) int64 {
	return int64(newEntry(0, entryKey{"cp", key}, value).bytes)
}

// withoutDeadline hides testing.T.Deadline, which panics when rapid asks for it where the time is synctest's.
type withoutDeadline struct{ rapid.TB }

// Whatever is done to a cache of one shard, it answers and counts as the model does, stays within its bound, and gives up
// live entries only when it must.
func TestCacheIsAsItsModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(withoutDeadline{t}, func(t *rapid.T) {
			maxBytes := rapid.SampledFrom([]int64{1, 300, 1000, 5000, 1 << 20}).Draw(t, "bound")
			m, cache := &model{}, New(maxBytes)
			shard := &cache.shards[0]
			keys := rapid.StringMatching("[a-e][0-3]")
			times := rapid.SampledFrom([]time.Duration{-1, 0, time.Millisecond, 200 * time.Millisecond, time.Second, time.Minute})
			equal := func(expected, actual proto.Message) {
				if !proto.Equal(expected, actual) {
					t.Fatalf("expected %v, got %v", expected, actual)
				}
			}
			t.Repeat(map[string]func(*rapid.T){
				"": func(t *rapid.T) {
					m.expire()
					if bytes := shard.bytesWith(0, 0); bytes > maxBytes {
						t.Fatalf("%d bytes are more than %d", bytes, maxBytes)
					}
				},
				"store": func(t *rapid.T) {
					key, ttl := keys.Draw(t, "key"), times.Draw(t, "ttl")
					value := make([]byte, rapid.IntRange(0, 2000).Draw(t, "size"))
					bytes := bytesOf(key, value) + placeBytes
					before, evicted := shard.bytesWith(0, 0), shard.counts.Evicted
					stored := cache.Upsert(upsertOf("cp", key, value, ttl)).GetResultCacheResponse()
					if bytes > maxBytes {
						m.counts.Refused++
						equal(failure(errEntryTooLarge), stored)
						return
					}
					equal(success, stored)
					if ttl == 0 {
						ttl = longestTTL
					}
					evicted = shard.counts.Evicted - evicted
					if evicted > 0 && before+bytes <= maxBytes {
						t.Fatalf("%d entries were evicted though %d bytes are free", evicted, maxBytes-before)
					}
					m.store(key, value, ttl, evicted)
				},
				"look up": func(t *rapid.T) {
					key := keys.Draw(t, "key")
					equal(m.find(key), findResult(cache, "cp", key))
				},
				"delete": func(t *rapid.T) {
					key := keys.Draw(t, "key")
					cache.Delete(&checkv1.CacheDeleteRequest{ControlPoint: "cp", ResultCacheKey: key})
					m.remove(key)
				},
				"wait": func(t *rapid.T) {
					time.Sleep(max(0, times.Draw(t, "wait")))
				},
				"count": func(t *rapid.T) {
					bytes := int64(0)
					for _, one := range m.entries {
						bytes += bytesOf(one.key, one.value)
					}
					m.counts.Entries = len(m.entries)
					counts := cache.Counts()
					places := int64(4 * len(m.entries))
					if counts.Bytes < bytes+placeBytes*places/4 || counts.Bytes > bytes+placeBytes*places {
						t.Fatalf("%d bytes are counted, of which entries have %d", counts.Bytes, bytes)
					}
					m.counts.Bytes = counts.Bytes
					if counts != m.counts {
						t.Fatalf("expected %+v, got %+v", m.counts, counts)
					}
				},
			})
		})
	})
}
