package inflight

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/libaperture/libaperture/core/local/labels"
)

const second = int64(time.Second)

func newTable(maxConcurrency float64) *Table {
	return New(Parameters{MaxConcurrency: maxConcurrency, Lifetime: time.Second, MaxIdle: time.Hour}, 1000)
}

// The operations are those of traces that were measured on an agent.
func TestTableFollowsTrace(t *testing.T) {
	type take struct {
		at                 time.Duration
		n                  float64
		ok                 bool
		remaining, current float64
	}
	for name, test := range map[string]struct {
		maxConcurrency float64
		takes          []take
	}{
		"B1 the request itself is not counted": {2, []take{{0, 1, true, 2, 0}, {0, 1, true, 1, 1}, {0, 1, false, 0, 2}}},
		"B1 a request may take more than is left": {2, []take{
			{0, 1, true, 2, 0},
			{0, 50, true, 1, 1},
			{0, 1, false, -49, 51},
			{time.Second, 1, false, -49, 51}, // in the last nanosecond of its life it counts
			{time.Second + 1, 1, true, 2, 0},
		}},
		"B1 part of a token is room": {2.5, []take{
			{0, 1, true, 2.5, 0}, {0, 1, true, 1.5, 1}, {0, 1, true, 0.5, 2}, {0, 1, false, -0.5, 3},
		}},
		"B1 no concurrency rejects everything": {0, []take{{0, 1, false, 0, 0}, {0, 0, false, 0, 0}}},
		"no tokens need room, too":             {1, []take{{0, 0, true, 1, 0}, {0, 0, true, 1, 0}, {0, 1, true, 1, 0}, {0, 0, false, 0, 1}}},
		"large numbers lose no small ones": {2, []take{
			{0, 0.5, true, 2, 0},
			{100, 1e300, true, 1.5, 0.5},
			{time.Second + 1, 1, false, -1e300, 1e300},
			{time.Second + 101, 0.25, true, 2, 0},
			{time.Second + 101, 1e308, true, 1.75, 0.25},
			{2*time.Second + 102, 1, true, 2, 0},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			table := newTable(test.maxConcurrency)
			for i, take := range test.takes {
				taken := table.Take(int64(take.at), "user", take.n)
				assert.Equal(t, take.ok, taken.OK, "accepted, take %d", i)
				assert.Equal(t, take.remaining, taken.Remaining, "remaining, take %d", i)
				assert.Equal(t, take.current, taken.Current, "current, take %d", i)
				assert.Len(t, taken.ID, 32, "take %d", i)
			}
		})
	}
}

func TestSmallRequestsAreCountedBesideALargeOneThatComesBack(t *testing.T) {
	table := newTable(1e200)
	first, large, second := table.Take(0, "user", 3), table.Take(0, "user", 1e100), table.Take(0, "user", 4)
	require.True(t, table.Return(0, "user", large.ID))
	assert.Equal(t, 7.0, table.Take(0, "user", 0).Current)
	assert.Equal(t, 7.0, table.Counts().Tokens)
	require.True(t, table.Return(0, "user", first.ID))
	require.True(t, table.Return(0, "user", second.ID))
	assert.Zero(t, table.Take(0, "user", 0).Current)
}

func TestSumsStayFinite(t *testing.T) {
	table := newTable(10)
	ann, bob := table.Take(0, "ann", math.MaxFloat64), table.Take(0, "bob", math.MaxFloat64)
	table.Take(0, "cyd", 1)
	require.True(t, table.Return(0, "ann", ann.ID))
	require.True(t, table.Return(0, "bob", bob.ID))
	assert.Equal(t, 1.0, table.Counts().Tokens)
}

func TestNothingInFlightIsExactlyNoTokens(t *testing.T) {
	table := newTable(1e200)
	taken := make(map[float64]Taken)
	for _, n := range []float64{1, 1e50, 1e100} {
		taken[n] = table.Take(0, "user", n)
	}
	for _, n := range []float64{1e50, 1e100, 1} {
		require.True(t, table.Return(0, "user", taken[n].ID))
	}
	assert.Zero(t, table.Counts().Tokens)
	assert.Zero(t, table.Take(0, "user", 0).Current)
}

func TestRequestIsReturnedOnce(t *testing.T) {
	table := newTable(2)
	first, other := table.Take(0, "user", 1), table.Take(0, "other", 1)
	second := table.Take(0, "user", 1)
	rejected := table.Take(0, "user", 1)
	require.False(t, rejected.OK)
	for name, id := range map[string]string{
		"rejected":         rejected.ID,
		"of another label": other.ID,
		"empty":            "",
		"no id":            strings.Repeat("x", 32),
		"too long":         first.ID + "00",
		"no place":         strings.Repeat("0", 32),
		"place too high":   strings.Repeat("f", 32),
		"guessed":          first.ID[:31] + second.ID[31:],
	} {
		if id != first.ID && id != second.ID {
			assert.False(t, table.Return(0, "user", id), name)
		}
	}
	assert.False(t, table.Return(0, "nobody", first.ID))
	assert.True(t, table.Return(0, "user", first.ID))
	assert.False(t, table.Return(0, "user", first.ID))
	assert.True(t, table.Return(int64(time.Second), "user", second.ID))
	assert.False(t, table.Return(int64(time.Second)+1, "other", other.ID), "it has expired")
	assert.Equal(t, Counts{
		Accepted: 3, Rejected: 1, Returned: 2, Expired: 1, Labels: labels.Counts{Labels: 2},
	}, table.Counts())
}

func TestIDOfAPlaceThatIsUsedAgainIsUnknown(t *testing.T) {
	table, seen := newTable(1), map[string]bool{}
	for range 1000 {
		taken := table.Take(0, "user", 1)
		require.True(t, taken.OK)
		require.False(t, seen[taken.ID])
		for id := range seen {
			require.False(t, table.Return(0, "user", id))
			break
		}
		seen[taken.ID] = true
		require.True(t, table.Return(0, "user", taken.ID))
	}
	for shard := range table.labels.Shards() {
		assert.LessOrEqual(t, len(shard.Common.slots), 2, "places are used again")
	}
}

func TestWaiterIsWokenOnceWhenThereIsRoom(t *testing.T) {
	table := newTable(2)
	one, two := table.Take(0, "user", 1), table.Take(5, "user", 2)
	woken := 0
	waiting := table.TakeOrWait(10, "user", 1, func() {
		woken++
		table.Take(20, "other", 1) // no lock is held
	})
	assert.Equal(t, Taken{Waiting: true, Remaining: -1, Current: 3, NextExpiry: time.Second - 10 + 1}, waiting)
	assert.Equal(t, 1, table.Counts().Waiting)

	require.True(t, table.Return(20, "user", one.ID))
	assert.Zero(t, woken, "there is no room yet")
	require.True(t, table.Return(20, "user", two.ID))
	assert.Equal(t, 1, woken)
	assert.Zero(t, table.Counts().Waiting)
	assert.False(t, table.StopWaiting("user"))

	taken := table.TakeOrWait(20, "user", 1, func() { woken++ })
	assert.True(t, taken.OK)
	assert.Zero(t, taken.NextExpiry)
	require.True(t, table.Return(20, "user", taken.ID))
	assert.Equal(t, 1, woken, "nobody waited any more")
	assert.Equal(t, Counts{Accepted: 4, Returned: 3, InFlight: 1, Tokens: 1, Labels: labels.Counts{Labels: 2}}, table.Counts())
}

// Whoever takes may hold a lock that the waiter takes, too.
func TestExpiryWakesNobodyButTellsWhenToTryAgain(t *testing.T) {
	for name, see := range map[string]func(*Table){
		"nobody":       func(*Table) {},
		"take":         func(table *Table) { table.Take(second+1, "other", 1) },
		"other waiter": func(table *Table) { table.TakeOrWait(second+1, "other", 1, func() {}) },
		"sweep":        func(table *Table) { table.Sweep(second + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			table := newTable(1)
			table.Take(0, "user", 1)
			wrong := func() { t.Error("woken") }
			require.EqualValues(t, second-10+1, table.TakeOrWait(10, "user", 1, wrong).NextExpiry)
			require.Equal(t, Taken{Waiting: true, Current: 1, NextExpiry: 1}, table.TakeOrWait(second, "user", 1, wrong))
			see(table)
			taken := table.TakeOrWait(second+1, "user", 1, wrong)
			assert.True(t, taken.OK)
			assert.Zero(t, table.Counts().Waiting)
			assert.True(t, table.Return(second+1, "user", taken.ID))
		})
	}
}

func TestWaiterThatStoppedIsNotWoken(t *testing.T) {
	table := newTable(1)
	taken := table.Take(0, "user", 1)
	wrong := func() { t.Error("woken") }
	require.True(t, table.TakeOrWait(0, "user", 1, wrong).Waiting)
	assert.True(t, table.StopWaiting("user"))
	assert.False(t, table.StopWaiting("user"))
	assert.False(t, table.StopWaiting("nobody"))

	require.True(t, table.TakeOrWait(0, "user", 1, wrong).Waiting)
	woken := 0
	require.True(t, table.TakeOrWait(0, "user", 1, func() { woken++ }).Waiting)
	require.True(t, table.Return(0, "user", taken.ID))
	assert.Equal(t, 1, woken, "the later waiter took the place of the former")
}

func TestNobodyWaitsInVain(t *testing.T) {
	wrong := func() { t.Error("woken") }
	assert.Equal(t, Taken{}, newTable(0).TakeOrWait(0, "user", 1, wrong))

	full := New(Parameters{MaxConcurrency: 2, Lifetime: time.Second, MaxRequests: 1}, 1000)
	full.Take(0, "user", 1)
	assert.Equal(t, Taken{Remaining: 1, Current: 1}, full.TakeOrWait(0, "user", 1, wrong))
	assert.Zero(t, full.Counts().Waiting)
	assert.EqualValues(t, 1, full.Counts().Rejected)
}

func TestEvictionForgetsRequestsAndWakesTheWaiterLater(t *testing.T) {
	for name, wakes := range map[string]func(table *Table, bob string){
		"return":            func(table *Table, bob string) { table.Return(4*second, "bob", bob) },
		"return of unknown": func(table *Table, bob string) { table.Return(4*second, "nobody", bob) },
		"sweep":             func(table *Table, _ string) { table.Sweep(4 * second) },
	} {
		t.Run(name, func(t *testing.T) {
			table := New(Parameters{MaxConcurrency: 1, Lifetime: time.Minute}, 2)
			ann := table.Take(0, "ann", 5)
			woken := 0
			require.True(t, table.TakeOrWait(0, "ann", 1, func() { woken++ }).Waiting)
			bob := table.Take(2*second, "bob", 1)
			table.Take(4*second, "cyd", 1)
			assert.Zero(t, woken, "whoever takes may hold a lock")
			assert.Equal(t, Counts{
				Accepted: 3, Forgotten: 1, InFlight: 2, Tokens: 2, Labels: labels.Counts{Labels: 2, Evicted: 1},
			}, table.Counts())
			assert.False(t, table.StopWaiting("ann"), "it is about to be called")
			wakes(table, bob.ID)
			assert.Equal(t, 1, woken)
			assert.False(t, table.Return(4*second, "ann", ann.ID))
			assert.True(t, table.Take(4*second, "ann", 1).OK, "begins anew")
			table.Sweep(4 * second)
			assert.Equal(t, 1, woken)
		})
	}
}

func TestLabelIsKeptWhileSomethingIsInFlight(t *testing.T) {
	table := New(Parameters{MaxConcurrency: 1, Lifetime: time.Minute, MaxIdle: time.Second}, 100)
	taken := table.Take(0, "user", 1)
	table.Sweep(10 * second)
	assert.False(t, table.Take(20*second, "user", 1).OK)
	require.True(t, table.Return(20*second, "user", taken.ID))
	table.Sweep(21 * second)
	assert.Equal(t, labels.Counts{Expired: 1}, table.Counts().Labels)

	table.Take(30*second, "user", 1)
	require.True(t, table.TakeOrWait(30*second, "user", 1, func() {}).Waiting)
	table.Sweep(91 * second)
	assert.Equal(t, 1, table.Counts().Labels.Labels, "somebody waits")
	assert.True(t, table.StopWaiting("user"))
	table.Sweep(92 * second)
	assert.Equal(t, Counts{Accepted: 2, Rejected: 1, Returned: 1, Expired: 1, Labels: labels.Counts{Expired: 2}}, table.Counts())
}

func TestNoMoreThanMaxRequestsAreInFlight(t *testing.T) {
	table := New(Parameters{MaxConcurrency: 1, Lifetime: time.Second, MaxRequests: 3}, 1000)
	for i := range 5 {
		assert.Equal(t, i < 3, table.Take(0, "user", 0).OK)
	}
	assert.False(t, table.Take(0, "other", 1).OK, "the bound is the table's")
	assert.Equal(t, Counts{Accepted: 3, Rejected: 3, Overflowed: 3, InFlight: 3, Labels: labels.Counts{Labels: 2}}, table.Counts())
	assert.True(t, table.Take(second+1, "other", 1).OK)
}

func TestRequestsOfLabelsThatNobodyUsesExpire(t *testing.T) {
	table := New(Parameters{MaxConcurrency: 1, Lifetime: time.Second, MaxIdle: time.Hour}, 10_000)
	for i := range 5000 {
		table.Take(0, strconv.Itoa(i), 1)
	}
	require.Equal(t, 5000, table.Counts().InFlight)
	table.Sweep(second + 1)
	assert.Equal(t, Counts{Accepted: 5000, Expired: 5000, Labels: labels.Counts{Labels: 5000}}, table.Counts())
	assert.Zero(t, table.requests.Load())

	table = newTable(1e6)
	for range 2 * fewSlots {
		table.Take(0, "user", 1)
	}
	table.Take(second+1, "other", 1)
	for shard := range table.labels.Shards() {
		assert.Len(t, shard.Common.slots, 2, "memory is given back")
	}
}

func TestRequestOfAClockThatIsReadLateExpiresInItsTurn(t *testing.T) {
	table := newTable(1)
	table.Take(10, "ann", 1)
	table.Take(0, "bob", 1)
	waiting := table.TakeOrWait(second+5, "bob", 1, func() {})
	assert.EqualValues(t, 6, waiting.NextExpiry)
	assert.True(t, table.Take(second+11, "bob", 1).OK)
}

func TestLevelIsThatOfTheMoment(t *testing.T) {
	table := newTable(2)
	assert.Equal(t, Level{}, table.Level(0))
	table.Take(0, "ann", 1)
	table.Take(second/2, "ann", 1)
	table.Take(second/2, "bob", 1)
	assert.Equal(t, Level{Labels: 2, Full: 1, Tokens: 3}, table.Level(second/2))
	assert.Equal(t, Level{Labels: 2, Tokens: 2}, table.Level(second+1))
	assert.Equal(t, 3, table.Counts().InFlight, "looking changes nothing")
	for i := range 2000 {
		table.Take(0, strconv.Itoa(i), 1)
	}
	assert.Equal(t, 1000, table.Level(0).Labels)
}

// model is a table that a reader can check: a list of what is in flight for each label.
type model struct {
	requests map[string][]modelRequest
	waiting  map[string]bool
	woken    map[string]int
	counts   Counts
}

type modelRequest struct {
	id      string
	n       float64
	expires int64
}

func (model *model) tokens(value string) (sum float64) {
	for _, request := range model.requests[value] {
		sum += request.n
	}
	return sum
}

// drop takes requests out of flight.
func (model *model) drop(value string, which func(modelRequest) bool) (dropped int) {
	var left []modelRequest
	for _, request := range model.requests[value] {
		if which(request) {
			dropped++
		} else {
			left = append(left, request)
		}
	}
	model.requests[value] = left
	return dropped
}

func TestTableAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxConcurrency := float64(rapid.IntRange(0, 40).Draw(t, "max concurrency")) / 8
		lifetime := rapid.Int64Range(1, 100).Draw(t, "lifetime")
		table := New(Parameters{MaxConcurrency: maxConcurrency, Lifetime: time.Duration(lifetime), MaxIdle: 50}, 1000)
		model := model{requests: map[string][]modelRequest{}, waiting: map[string]bool{}, woken: map[string]int{}}
		woken := map[string]int{}
		var ids []string // of all times
		now := int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.SampledFrom([]int64{0, 0, 1, 3, 20, 60}).Draw(t, "later")
			value := rapid.SampledFrom([]string{"ann", "bob", "cyd"}).Draw(t, "user")
			n := rapid.SampledFrom([]float64{0, 0.125, 0.5, 1, 1, 2, 1 << 40}).Draw(t, "tokens")
			operation := rapid.SampledFrom([]string{"take", "take", "wait", "wait", "stop", "return", "return", "sweep"}).Draw(t, "operation")
			if operation == "wait" {
				model.waiting[value] = false // the same waiter asks again
			}
			if operation != "stop" {
				for value := range model.requests {
					model.counts.Expired += uint64(model.drop(value, func(request modelRequest) bool { return request.expires < now }))
				}
			}
			switch operation {
			case "take", "wait":
				current := model.tokens(value)
				var taken Taken
				if operation == "take" {
					taken = table.Take(now, value, n)
				} else {
					taken = table.TakeOrWait(now, value, n, func() { woken[value]++ })
				}
				require.Equal(t, current < maxConcurrency, taken.OK)
				require.Equal(t, current, taken.Current)
				require.Equal(t, maxConcurrency-current, taken.Remaining)
				require.NotContains(t, ids, taken.ID)
				switch inFlight := model.requests[value]; {
				case taken.OK:
					model.requests[value] = append(inFlight, modelRequest{taken.ID, n, now + lifetime})
					model.counts.Accepted++
				case operation == "wait" && len(inFlight) > 0:
					require.True(t, taken.Waiting)
					require.EqualValues(t, inFlight[0].expires-now+1, taken.NextExpiry)
					require.Empty(t, taken.ID)
					model.waiting[value] = true
				default:
					require.False(t, taken.Waiting)
					model.counts.Rejected++
				}
				if taken.ID != "" {
					ids = append(ids, taken.ID)
				}
			case "stop":
				require.Equal(t, model.waiting[value], table.StopWaiting(value))
				model.waiting[value] = false
			case "return":
				if len(ids) == 0 {
					break
				}
				id := rapid.SampledFrom(ids).Draw(t, "id")
				returned := model.drop(value, func(request modelRequest) bool { return request.id == id })
				model.counts.Returned += uint64(returned)
				if returned > 0 && model.waiting[value] && model.tokens(value) < maxConcurrency {
					model.waiting[value] = false
					model.woken[value]++
				}
				// A label that is unknown is not looked at, and nothing is seen to expire.
				table.Sweep(now)
				require.Equal(t, returned == 1, table.Return(now, value, id))
			case "sweep":
				table.Sweep(now)
			}
			if operation == "stop" {
				continue
			}
			expected := model.counts
			for value, requests := range model.requests {
				expected.InFlight += len(requests)
				expected.Tokens += model.tokens(value)
				if model.waiting[value] {
					expected.Waiting++
				}
				require.Equal(t, model.woken[value], woken[value], "wakes")
			}
			counts := table.Counts()
			require.EqualValues(t, counts.InFlight, table.requests.Load())
			expected.Labels = counts.Labels
			require.Equal(t, expected, counts)
		}
	})
}

// No more than the concurrency is admitted by many goroutines that wait for each other, and no wake is lost: otherwise
// the test would not end.
func TestConcurrentWaitersAllGetTheirTurn(t *testing.T) {
	const maxConcurrency, workers, turns = 3, 16, 300
	table := New(Parameters{MaxConcurrency: maxConcurrency, Lifetime: time.Hour, MaxIdle: time.Hour}, 100)
	var group sync.WaitGroup
	for _, value := range []string{"ann", "bob"} {
		var inFlight atomic.Int64
		var head sync.Mutex // a label has one waiter at a time
		for worker := range workers {
			group.Go(func() {
				random := rand.New(rand.NewPCG(uint64(worker), 1))
				take := func() (taken Taken) {
					head.Lock()
					defer head.Unlock()
					woken := make(chan struct{})
					for {
						taken = table.TakeOrWait(0, value, 1, func() { close(woken) })
						if taken.OK {
							return taken
						}
						if random.IntN(4) == 0 && table.StopWaiting(value) {
							continue // a caller that gave up
						}
						<-woken
						woken = make(chan struct{})
					}
				}
				for range turns {
					taken := take()
					if now := inFlight.Add(1); now > maxConcurrency {
						t.Errorf("%d in flight", now)
					}
					if random.IntN(8) == 0 {
						table.Sweep(0)
						table.Level(0)
						table.Counts()
					}
					inFlight.Add(-1)
					if !table.Return(0, value, taken.ID) || table.Return(0, value, taken.ID) {
						t.Error("not returned once")
					}
				}
			})
		}
	}
	group.Wait()
	assert.Equal(t, Counts{Accepted: 2 * workers * turns, Returned: 2 * workers * turns, Labels: labels.Counts{Labels: 2}}, table.Counts())
}

func TestTakeAllocatesOnlyTheID(t *testing.T) {
	table := newTable(10)
	assert.EqualValues(t, 1, testing.AllocsPerRun(100, func() {
		taken := table.Take(0, "user", 1)
		table.Return(0, "user", taken.ID)
	}))
}

// BenchmarkTakeAndReturn shows that a request costs the same however many are in flight.
func BenchmarkTakeAndReturn(b *testing.B) {
	for _, inFlight := range []int{0, 100_000} {
		b.Run(fmt.Sprint("inflight=", inFlight), func(b *testing.B) {
			table := newTable(1e6)
			for range inFlight {
				table.Take(0, "user", 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				table.Return(0, "user", table.Take(0, "user", 1).ID)
			}
		})
	}
}
