package fairqueue

import (
	"fmt"
	"log/slog"
	"math/rand"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bank is a store that is filled continuously and lends what will come.
type bank struct {
	mu        sync.Mutex
	available float64
	capacity  float64
	perSecond float64
	last      int64
}

func (b *bank) fill(now int64) {
	b.available = min(b.available+b.perSecond*time.Duration(now-b.last).Seconds(), b.capacity)
	b.last = now
}

func (b *bank) grant(ok bool) Grant {
	return Grant{OK: ok, Remaining: b.available, Current: b.capacity - b.available}
}

func (b *bank) Take(now int64, _ string, n float64) Grant {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	if b.available < n {
		return b.grant(false)
	}
	b.available -= n
	return b.grant(true)
}

func (b *bank) Await(now int64, _ string, n float64, limit time.Duration, _ func()) (Grant, Turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	wait := time.Duration((n - b.available) / b.perSecond * 1e9)
	if wait > limit {
		return b.grant(false), Turn{}
	}
	b.available -= n
	return b.grant(true), Turn{After: max(wait, 0)}
}

func (b *bank) Leave(string) {}

func (b *bank) Return(_ int64, _ string, n float64, _ Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.available = min(b.available+n, b.capacity)
}

// slots is a store from which what was taken comes back, by free.
type slots struct {
	mu   sync.Mutex
	used float64
	most float64
	wake func()
	// left counts how often somebody has stopped to wait.
	left int
}

func (s *slots) Take(_ int64, _ string, n float64) Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	grant := Grant{OK: s.used < s.most, Remaining: s.most - s.used, Current: s.used}
	if grant.OK {
		s.used += n
	}
	return grant
}

func (s *slots) Await(now int64, label string, n float64, _ time.Duration, wake func()) (Grant, Turn) {
	grant := s.Take(now, label, n)
	if !grant.OK {
		s.wake = wake
	}
	return grant, Turn{Later: true}
}

func (s *slots) Leave(string) { s.wake = nil; s.left++ }

func (s *slots) Return(int64, string, float64, Grant) {}

func (s *slots) free(n float64) {
	s.mu.Lock()
	s.used -= n
	wake := s.wake
	s.wake = nil
	s.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// test is a scheduler and what it has decided after a wait, in order.
type test struct {
	*Scheduler
	epoch   time.Time
	mu      sync.Mutex
	decided []string
	names   map[*Request]string
}

func newTest(tokens Tokens) *test {
	epoch := time.Now()
	return &test{
		Scheduler: New(tokens, Options{Epoch: epoch, MaxWaiting: 100_000, Logger: slog.New(slog.DiscardHandler)}),
		epoch:     epoch,
		names:     make(map[*Request]string),
	}
}

func (t *test) Decided(request *Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decided = append(t.decided, fmt.Sprintf("%s %d @%d", t.names[request], request.Outcome, time.Since(t.epoch).Milliseconds()))
}

func (t *test) start(name string, request *Request) *Request {
	if request.Priority == 0 {
		request.Priority = 1
	}
	if request.Tokens == 0 {
		request.Tokens = 1
	}
	request.Asker = t
	t.mu.Lock()
	t.names[request] = name
	t.mu.Unlock()
	if !t.Scheduler.Start(int64(time.Since(t.epoch)), request) {
		t.mu.Lock()
		t.decided = append(t.decided, fmt.Sprintf("%s %d at once", name, request.Outcome))
		t.mu.Unlock()
	}
	return request
}

func (t *test) order() []string {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.decided
}

const long = time.Hour

func TestOrderOfTwoPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		test := newTest(&bank{capacity: 5, perSecond: 5})
		for i := range 4 {
			test.start(fmt.Sprint("low", i), &Request{Workload: "low", Priority: 1, Budget: long})
		}
		for i := range 4 {
			test.start(fmt.Sprint("high", i), &Request{Workload: "high", Priority: 4, Budget: long})
		}
		time.Sleep(2 * time.Second)
		assert.Equal(t, []string{
			"low0 0 @200", "high0 0 @400", "high1 0 @600", "high2 0 @800", "low1 0 @1000", "high3 0 @1200", "low2 0 @1400", "low3 0 @1600",
		}, test.order())
		assert.Zero(t, test.Counts().Waiting)
		assert.Empty(t, test.shard("").queues)
	})
}

func TestFairnessSharesAWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		test := newTest(&bank{capacity: 1, perSecond: 1})
		test.start("first", &Request{Budget: long})
		for i := range 3 {
			test.start(fmt.Sprint("greedy", i), &Request{Fairness: "greedy", Budget: long})
		}
		test.start("modest", &Request{Fairness: "modest", Budget: long})
		time.Sleep(5 * time.Second)
		order := test.order()
		require.Len(t, order, 5)
		if fair := &test.fair; fair.bucket(0, "greedy") != fair.bucket(0, "modest") {
			assert.NotEqual(t, "modest 0 @5000", order[4], "the modest one waits behind all of the greedy")
		}
	})
}

func TestArrivalsDoNotOvertakeAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slots{most: 1, used: 1}
		test := newTest(store)
		test.start("waits", &Request{Budget: long})
		store.mu.Lock()
		store.used = 0 // nobody is told
		store.mu.Unlock()
		test.start("comes", &Request{Budget: long})
		test.start("hurries", &Request{})
		assert.Equal(t, []string{"hurries 2 at once"}, test.order())
		store.free(0)
		store.free(1)
		assert.Equal(t, []string{"hurries 2 at once", "waits 0 @0", "comes 0 @0"}, test.order())
	})
}

func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		test := newTest(&bank{capacity: 5, perSecond: 5, available: 1})
		test.start("without a wait", &Request{})
		test.start("refused", &Request{})
		test.start("too short", &Request{Budget: 199 * time.Millisecond})
		test.start("just right", &Request{Budget: 200 * time.Millisecond})
		test.start("behind", &Request{Budget: 300 * time.Millisecond}) // has the turn at 200, and would have to wait until 400
		test.start("last", &Request{Budget: 100 * time.Millisecond})
		time.Sleep(time.Second)
		assert.Equal(t, []string{
			"without a wait 0 at once", "refused 1 at once", "too short 1 at once",
			"last 2 @100", "just right 0 @200", "behind 1 @200",
		}, test.order())
	})
}

func TestZeroTokens(t *testing.T) {
	scheduler := New(&slots{}, Options{Epoch: time.Now(), MaxWaiting: 1, Logger: slog.New(slog.DiscardHandler)})
	request := &Request{Priority: 1}
	assert.False(t, scheduler.Start(0, request))
	assert.Equal(t, Admitted, request.Outcome)
	assert.Zero(t, request.Grant)
}

func TestCancelGivesBackAndLetsTheNextOneGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		test := newTest(&bank{capacity: 5, perSecond: 5})
		promised := test.start("promised", &Request{Tokens: 5, Budget: long}) // at 1 s
		next := test.start("next", &Request{Budget: long})
		test.start("third", &Request{Budget: long})
		test.Cancel(promised)
		test.Cancel(promised)
		time.Sleep(100 * time.Millisecond)
		test.Cancel(next)
		time.Sleep(time.Second)
		assert.Equal(t, []string{"promised 4 @0", "next 4 @100", "third 0 @200"}, test.order())
		assert.Equal(t, uint64(2), test.Counts().Cancelled)
	})
}

func TestCancelOfTheTurnStopsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slots{most: 1, used: 1}
		test := newTest(store)
		first := test.start("first", &Request{Budget: long})
		test.start("second", &Request{Budget: long})
		test.start("third", &Request{Budget: time.Second})
		test.Cancel(first)
		assert.Equal(t, 1, store.left)
		time.Sleep(time.Second)
		assert.Equal(t, []string{"first 4 @0", "third 2 @1000"}, test.order())
		store.free(1)
		assert.Equal(t, []string{"first 4 @0", "third 2 @1000", "second 0 @1000"}, test.order())
	})
}

func TestCloseRefusesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		test := newTest(&slots{most: 1, used: 1})
		for i := range 3 {
			test.start(fmt.Sprint("low", i), &Request{Workload: "low", Budget: long})
		}
		for i := range 3 {
			test.start(fmt.Sprint("high", i), &Request{Workload: "high", Priority: 8, Budget: long})
		}
		test.Close()
		assert.Equal(t, []string{"low0 5 @0", "high0 5 @0", "high1 5 @0", "high2 5 @0", "low1 5 @0", "low2 5 @0"}, test.order())
		test.start("late", &Request{Budget: long})
		assert.Equal(t, "late 5 at once", test.order()[6])
		test.Close()
	})
}

func TestMostThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		test := newTest(&slots{most: 1, used: 1})
		test.options.MaxWaiting = 2
		for range 3 {
			test.start("", &Request{Budget: time.Second})
		}
		assert.Equal(t, []string{" 3 at once"}, test.order())
		time.Sleep(time.Second)
		synctest.Wait()
		counts := test.Counts()
		assert.Equal(t, uint64(1), counts.Full)
		assert.Equal(t, uint64(2), counts.TimedOut)
		assert.Equal(t, 2*time.Second, counts.Waited)
		assert.Equal(t, uint64(2), counts.Waits[8], "up to a second")
	})
}

// Whatever comes and goes, each request is decided once, nothing is left, and no more is admitted than the store had.
func TestNothingIsLost(t *testing.T) {
	for seed := range 30 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewSource(int64(seed)))
				store := &bank{capacity: 10, perSecond: 20, available: 10}
				test := newTest(store)
				times := make(map[*Request]int)
				admitted := 0.0
				var mu sync.Mutex
				note := func(request *Request) {
					mu.Lock()
					defer mu.Unlock()
					times[request]++
					if request.Outcome == Admitted {
						admitted += request.Tokens
					}
				}
				var all []*Request
				for range 400 {
					switch request := (&Request{
						Label:    fmt.Sprint(random.Intn(2)),
						Workload: fmt.Sprint(random.Intn(3)),
						Priority: 1 + float64(random.Intn(5)),
						Fairness: []string{"", "a", "b"}[random.Intn(3)],
						Tokens:   1 + float64(random.Intn(3)),
						Budget:   time.Duration(random.Intn(3000)) * time.Millisecond,
						Asker:    decidedFunc(note),
					}); {
					case random.Intn(3) == 0 && len(all) > 0:
						test.Cancel(all[random.Intn(len(all))])
					default:
						all = append(all, request)
						if !test.Scheduler.Start(int64(time.Since(test.epoch)), request) {
							note(request)
						}
					}
					time.Sleep(time.Duration(random.Intn(100)) * time.Millisecond)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				for _, request := range all {
					require.Equal(t, 1, times[request])
				}
				assert.Zero(t, test.Counts().Waiting)
				for i := range test.shards {
					assert.Empty(t, test.shards[i].queues)
				}
				most := 10 + 20*time.Since(test.epoch).Seconds()
				assert.LessOrEqual(t, admitted, most)
				assert.Positive(t, admitted)
			})
		})
	}
}

type decidedFunc func(*Request)

func (f decidedFunc) Decided(request *Request) { f(request) }

// A model that knows nothing of heaps: the order in which everything that waits at once is admitted.
func TestOrderByFinishTime(t *testing.T) {
	type arrival struct {
		name, flow             string
		priority, tokens, cost float64
	}
	for seed := range 50 {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewSource(int64(seed)))
			test := newTest(&bank{capacity: 1, perSecond: 1})
			var left []arrival
			for i := range 30 {
				workload := random.Intn(4)
				one := arrival{
					name: fmt.Sprint(i), flow: fmt.Sprint(workload), priority: float64(workload + 1), tokens: 1 + float64(random.Intn(4)),
				}
				one.cost = one.tokens / one.priority
				left = append(left, one)
				test.start(one.name, &Request{Workload: one.flow, Priority: one.priority, Tokens: one.tokens, Budget: long})
			}
			var want []string
			virtual := make(map[string]float64)
			next := func() int { // the first of each flow, by its finish
				best, bestFinish := -1, 0.0
				seen := make(map[string]bool)
				for i, one := range left {
					if seen[one.flow] {
						continue
					}
					seen[one.flow] = true
					// Of equal ones the first to come to the head of its flow is first, which the test has no name for.
					if finish := virtual[one.flow] + one.cost; best < 0 || finish < bestFinish {
						best, bestFinish = i, finish
					}
				}
				return best
			}
			at, ties := 0.0, false
			for first := true; len(left) > 0; first = false {
				i := 0 // the one that has opened the queue
				if !first {
					i = next()
				}
				one := left[i]
				for j, other := range left {
					ties = ties || !first && j != i && other.flow != one.flow && virtual[other.flow]+other.cost == virtual[one.flow]+one.cost
				}
				virtual[one.flow] += one.cost
				at += one.tokens
				want = append(want, fmt.Sprintf("%s 0 @%d", one.name, int(at)*1000))
				left = append(left[:i], left[i+1:]...)
			}
			time.Sleep(200 * time.Second)
			if got := test.order(); !ties {
				assert.Equal(t, want, got)
			} else {
				assert.Len(t, got, len(want))
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	store := &slots{most: 4}
	scheduler := New(store, Options{Epoch: time.Now(), MaxWaiting: 1000, Logger: slog.New(slog.DiscardHandler)})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			random := rand.New(rand.NewSource(int64(worker)))
			for range 500 {
				answered := make(chan struct{})
				request := &Request{
					Workload: fmt.Sprint(worker % 3), Priority: 1, Tokens: 1, Budget: time.Duration(random.Intn(4)) * time.Millisecond,
					Asker: decidedFunc(func(*Request) { close(answered) }),
				}
				if scheduler.Start(scheduler.now(), request) {
					if random.Intn(4) == 0 {
						scheduler.Cancel(request)
					}
					<-answered
				}
				if request.Outcome == Admitted {
					store.free(1)
				}
			}
		}()
	}
	group.Wait()
	assert.Zero(t, scheduler.Counts().Waiting)
	assert.Zero(t, store.used)
}
