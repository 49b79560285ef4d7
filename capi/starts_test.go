package main

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
)

// oneAtATime lets flows wait for each other's end.
const oneAtATime = `{blueprint: concurrency-scheduling/base, policy: {policy_name: one-at-a-time, concurrency_scheduler: {
  max_concurrency: 1, concurrency_limiter: {max_inflight_duration: 3600s}, selectors: [{control_point: checkout}]}}}
`

// generous is a time that passes only when something hangs.
const generous = 60 * time.Second

// queued returns a session of a client whose only slot is taken by the flow that it returns too. All is released when the
// test ends, and nothing may be left.
func queued(t testing.TB, maxPending uint64) (*session, *core.Flow) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policies.yaml")
	require.NoError(t, os.WriteFile(path, []byte(oneAtATime), 0o600))
	s := &session{queue: completion.NewQueue(), maxPending: maxPending}
	var err error
	s.client, err = core.NewClient(core.Options{Address: "local:" + path, Owner: s})
	require.NoError(t, err)
	first, number, err := s.begin(prepare(t, s), 0)
	require.NoError(t, err)
	require.Zero(t, number)
	require.Equal(t, core.Accepted, first.Decision())
	t.Cleanup(func() {
		if s.beginClose() {
			assert.NoError(t, s.close(generous))
		}
		s.release()
		assert.Zero(t, calls.Live())
		assert.Zero(t, flows.Live())
	})
	return s, first
}

func prepare(t testing.TB, s *session) core.PreparedFlow {
	t.Helper()
	prepared, err := s.client.PrepareFlow("checkout", &core.FlowParams{CheckTimeout: time.Hour})
	require.NoError(t, err)
	return prepared
}

// beginMany begins flows that wait, with the tags from 0 on, and returns their calls.
func beginMany(t testing.TB, s *session, count int) []uint64 {
	t.Helper()
	numbers := make([]uint64, count)
	for tag := range numbers {
		flow, number, err := s.begin(prepare(t, s), uint64(tag))
		require.NoError(t, err)
		require.Nil(t, flow)
		require.NotZero(t, number)
		numbers[tag] = number
	}
	require.Equal(t, count, s.queue.Pending())
	return numbers
}

// takeAll takes completions until each of so many tags was seen, hands each to use, and fails when one comes twice.
func takeAll(t testing.TB, s *session, count int, use func(completion.Completion)) {
	t.Helper()
	seen := map[uint64]bool{}
	var batch [pollBatch]completion.Completion
	deadline := time.Now().Add(generous)
	for len(seen) < count {
		taken := s.queue.Poll(batch[:])
		for _, done := range batch[:taken] {
			require.False(t, seen[done.Tag], "call %d ends twice", done.Tag)
			seen[done.Tag] = true
			use(done)
			s.handedOut(done)
		}
		if taken == 0 {
			require.True(t, time.Now().Before(deadline), "only %d of %d calls have ended", len(seen), count)
			runtime.Gosched()
		}
	}
	require.Zero(t, s.queue.Poll(batch[:]), "a call ends twice")
}

// endOf ends the flow of a completion, closes its handle, and returns it.
func endOf(t testing.TB, done completion.Completion) *core.Flow {
	t.Helper()
	require.Equal(t, abi.OK, done.Code, done.Message)
	flow := flows.Close(done.Flow)
	require.NotNil(t, flow)
	_, err := flow.End(t.Context())
	require.NoError(t, err)
	return flow
}

// balanced asserts that every flow was counted once and ended once.
func balanced(t testing.TB, s *session, want map[string]uint64) {
	t.Helper()
	stats := s.client.Stats()
	assert.Equal(t, want, map[string]uint64{
		"accepted": stats.FlowsAccepted, "unreachable": stats.FlowsUnreachable, "ended": stats.FlowsEnded,
	})
	assert.Zero(t, stats.FlowsNeverEnded)
}

const many = 10_000

func TestTenThousandWaitingStartsNeedNoGoroutines(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(t *testing.T, s *session, first *core.Flow, numbers []uint64)
		want map[string]uint64
	}{
		"ended by cancel": {func(t *testing.T, s *session, first *core.Flow, numbers []uint64) {
			for _, number := range numbers {
				calls.Get(number).Cancel()
			}
			takeAll(t, s, many, func(done completion.Completion) {
				require.Equal(t, abi.ErrorCancelled, done.Code)
				require.Zero(t, done.Flow)
			})
			_, err := first.End(t.Context())
			require.NoError(t, err)
		}, map[string]uint64{"accepted": 1, "unreachable": many, "ended": many + 1}},
		"ended by close": {func(t *testing.T, s *session, first *core.Flow, _ []uint64) {
			require.True(t, s.beginClose())
			require.NoError(t, s.close(generous))
			require.Zero(t, s.queue.Pending(), "a close that returns has ended them")
			takeAll(t, s, many, func(done completion.Completion) {
				require.Equal(t, check.UnreachableClosed, endOf(t, done).UnreachableReason())
			})
			_, err := first.End(t.Context())
			require.Error(t, err, "nobody is left to take its slot back")
		}, map[string]uint64{"accepted": 1, "unreachable": many, "ended": many + 1}},
		"ended by decisions": {func(t *testing.T, s *session, first *core.Flow, _ []uint64) {
			_, err := first.End(t.Context())
			require.NoError(t, err)
			takeAll(t, s, many, func(done completion.Completion) {
				require.Equal(t, core.Accepted, endOf(t, done).Decision())
			})
		}, map[string]uint64{"accepted": many + 1, "unreachable": 0, "ended": many + 1}},
		"ended by all at once": {func(t *testing.T, s *session, first *core.Flow, numbers []uint64) {
			var group sync.WaitGroup
			group.Go(func() {
				for i := many - 1; i >= 0; i -= 2 {
					if call := calls.Get(numbers[i]); call != nil {
						call.Cancel()
					}
				}
			})
			_, err := first.End(t.Context())
			require.NoError(t, err)
			takeAll(t, s, many, func(done completion.Completion) {
				if done.Code != abi.ErrorCancelled {
					endOf(t, done)
				}
			})
			group.Wait()
			again, number, err := s.begin(prepare(t, s), 0)
			require.NoError(t, err)
			require.Zero(t, number, "a slot was kept")
			_, err = again.End(t.Context())
			require.NoError(t, err)
			stats := s.client.Stats()
			require.EqualValues(t, many+2, stats.FlowsAccepted+stats.FlowsUnreachable)
			require.Equal(t, stats.FlowsEnded, stats.FlowsAccepted+stats.FlowsUnreachable)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, first := queued(t, many)
			before := runtime.NumGoroutine()
			numbers := beginMany(t, s, many)
			assert.Less(t, runtime.NumGoroutine()-before, 100)
			test.end(t, s, first, numbers)
			if test.want != nil {
				balanced(t, s, test.want)
			}
		})
	}
}

func TestFlowThatIsAdmittedInTheMomentOfItsCancelIsEnded(t *testing.T) {
	s, first := queued(t, 1)
	flow, waiting := prepare(t, s).Begin()
	require.Nil(t, flow)
	w := &waitingStart{session: s, flow: waiting}
	number, err := w.enter(7)
	require.NoError(t, err)
	require.NotZero(t, number)
	w.cancelled.Store(true) // it is being cancelled, when the slot becomes free
	_, err = first.End(t.Context())
	require.NoError(t, err)
	takeAll(t, s, 1, func(done completion.Completion) {
		assert.Equal(t, abi.ErrorCancelled, done.Code)
		assert.Zero(t, done.Flow)
	})
	balanced(t, s, map[string]uint64{"accepted": 2, "unreachable": 0, "ended": 2})
	again, number, err := s.begin(prepare(t, s), 0)
	require.NoError(t, err)
	require.Zero(t, number, "its slot was kept")
	_, err = again.End(t.Context())
	require.NoError(t, err)
}

func TestWaitingStartOverTheLimitIsDecidedAtOnce(t *testing.T) {
	s, first := queued(t, 2)
	numbers := beginMany(t, s, 2)
	over, number, err := s.begin(prepare(t, s), 2)
	require.NoError(t, err)
	require.Zero(t, number)
	assert.Equal(t, check.UnreachableOverloaded, over.UnreachableReason())
	_, err = over.End(t.Context())
	require.NoError(t, err)
	for _, number := range numbers {
		calls.Get(number).Cancel()
	}
	takeAll(t, s, 2, func(completion.Completion) {})
	_, err = first.End(t.Context())
	require.NoError(t, err)
	stats := s.client.Stats()
	assert.EqualValues(t, 1, stats.UnreachableByReason[check.UnreachableOverloaded])
	balanced(t, s, map[string]uint64{"accepted": 1, "unreachable": 3, "ended": 4})
}

func TestStartThatAClosingClientOvertakesIsRefused(t *testing.T) {
	s, first := queued(t, 1)
	prepared := prepare(t, s)
	require.True(t, s.beginClose())
	flow, number, err := s.begin(prepared, 0)
	require.ErrorIs(t, err, errClosing)
	assert.Nil(t, flow)
	assert.Zero(t, number)
	assert.Zero(t, s.queue.Pending())
	_, err = first.End(t.Context())
	require.NoError(t, err)
	assert.NoError(t, s.close(generous))
}

// BenchmarkWaitingStart is a flow that begins to wait and is cancelled, behind many others. B/waiting is the memory that
// one takes while it waits.
func BenchmarkWaitingStart(b *testing.B) {
	s, first := queued(b, 0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	numbers := beginMany(b, s, many)
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		_, number, err := s.begin(prepare(b, s), many)
		if err != nil {
			b.Fatal(err)
		}
		calls.Get(number).Cancel()
		takeAll(b, s, 1, func(completion.Completion) {})
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/many, "B/waiting")
	for _, number := range numbers {
		calls.Get(number).Cancel()
	}
	takeAll(b, s, many, func(completion.Completion) {})
	_, _ = first.End(b.Context())
}
