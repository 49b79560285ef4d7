package abi

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// fuzzPool is what the goroutines of a fuzz share: handles of all kinds, live and stale.
type fuzzPool struct {
	mu      sync.Mutex
	handles []host.Handle
}

func (p *fuzzPool) put(opened ...host.Handle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, number := range opened {
		if number != 0 {
			p.handles = append(p.handles, number)
		}
	}
}

// pick returns a handle that is live, stale, of any kind, or invented.
func (p *fuzzPool) pick(random *rand.Rand) host.Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case random.IntN(20) == 0:
		return host.Handle(random.Uint64())
	case random.IntN(20) == 0:
		return host.Handle(random.Uint64() >> random.IntN(64))
	case len(p.handles) == 0:
		return 0
	}
	recent := min(len(p.handles), 200) // mostly what may still be open
	number := p.handles[len(p.handles)-1-random.IntN(recent)]
	if random.IntN(50) == 0 {
		number ^= 1 << random.IntN(64)
	}
	return number
}

// fuzzer makes calls with any handles in any order.
type fuzzer struct {
	random *rand.Rand
	pool   *fuzzPool
	agents []string
}

// step makes one call and returns its code.
func (f *fuzzer) step() host.Code {
	if f.random.IntN(4) == 0 {
		return f.wrongStep()
	}
	r, any := f.random, f.pool.pick(f.random)
	failed := host.NewFailure()
	if r.IntN(3) == 0 {
		failed = nil
	}
	var first, second host.Handle
	defer func() { f.pool.put(first, second) }()
	switch r.IntN(35) {
	case 0:
		options := host.OptionsFor(f.agents[r.IntN(len(f.agents))])
		options.MaxPendingCalls = uint64(r.IntN(50))
		options.FlowEndTimeoutNS = int64(10 * time.Millisecond)
		return host.Lib.NewClient(options, &first, failed)
	case 1:
		return host.Lib.ClientWaitReady(any, int64(r.IntN(2_000_000)), failed)
	case 2:
		return host.Lib.ClientWaitReadyAsync(any, int64(r.IntN(2_000_000)), r.Uint64(), &second, failed)
	case 3:
		return host.Lib.ClientStats(any, &host.Stats{StructSize: unsafe.Sizeof(host.Stats{})}, failed)
	case 4:
		if r.IntN(10) == 0 {
			return host.Lib.ClientClose(any, int64(time.Millisecond), failed)
		}
		return host.Lib.ClientClose(any, -1, failed)
	case 5:
		if r.IntN(10) == 0 {
			return host.Lib.ClientCloseAsync(any, int64(time.Millisecond), r.Uint64(), &second, failed)
		}
		return host.Lib.ClientCloseAsync(any, 0, 0, nil, failed)
	case 6, 7:
		params := host.ParamsFor("checkout", "user_id", user(r.IntN(100)))
		params.CheckTimeoutNS, params.RampMode = int64(r.IntN(5_000_000)), int32(r.IntN(3))
		return host.Lib.StartFlow(any, params, &first, host.NewDecision(), failed)
	case 8, 9, 10, 11:
		params := host.ParamsFor("checkout", "user_id", user(r.IntN(100)))
		params.CheckTimeoutNS = int64(r.IntN(5_000_000))
		params.ResultCacheKey = host.TextOf(user(r.IntN(10)))
		return host.Lib.StartFlowAsync(any, params, r.Uint64(), &first, nil, &second, failed)
	case 12:
		var run int32
		return host.Lib.FlowShouldRun(any, &run, failed)
	case 13:
		return host.Lib.FlowDecision(any, host.NewDecision(), failed)
	case 14:
		return host.Lib.FlowError(any, host.NewFailure(), failed)
	case 15:
		return host.Lib.FlowSetStatus(any, int32(r.IntN(4)-1), failed)
	case 16:
		return host.Lib.FlowEnd(any, host.NewEndResult(), failed)
	case 17:
		return host.Lib.FlowEndAsync(any, r.Uint64(), nil, &second, failed)
	case 18:
		return host.Lib.FlowEndResult(any, nil, failed)
	case 19:
		var length uintptr
		buffer := make([]byte, 1+r.IntN(300))
		return host.Lib.FlowEndResponse(any, &buffer[0], uintptr(len(buffer)), &length, failed)
	case 20:
		return host.Lib.FlowClose(any, failed)
	case 21:
		var count uintptr
		batch := make([]host.Completion, 1+r.IntN(20))
		batch[0].StructSize = unsafe.Sizeof(host.Completion{})
		got := host.Lib.ClientPoll(any, &batch[0], uintptr(len(batch)), &count, failed)
		for _, done := range batch[:count] {
			got = f.took(got, &done)
		}
		return got
	case 24:
		var state int32
		return host.Lib.ClientState(any, &state, failed)
	case 33:
		return host.Lib.ClientReload(any, failed)
	case 34:
		var length uintptr
		buffer := make([]byte, 1+r.IntN(300))
		return host.Lib.ClientSnapshot(any, &buffer[0], uintptr(len(buffer)), &length, failed)
	case 25:
		var length uintptr
		buffer := make([]byte, 1+r.IntN(300))
		return host.Lib.FlowCheckResponse(any, &buffer[0], uintptr(len(buffer)), &length, failed)
	case 26, 27:
		var status int32
		var length uintptr
		buffer := make([]byte, 1+r.IntN(10))
		key, scope := host.TextOf(user(r.IntN(10))), int32(r.IntN(3))
		if r.IntN(2) == 0 {
			return host.Lib.FlowCacheValue(any, scope, &key, &status, &buffer[0], uintptr(len(buffer)), &length, failed)
		}
		return host.Lib.CacheAnswerValue(any, scope, &key, &status, &buffer[0], uintptr(len(buffer)), &length, failed)
	case 28:
		return host.Lib.FlowSetAttribute(any, host.IntegerAttribute(user(r.IntN(80)), r.Int64()), failed)
	case 29:
		keys := host.KeysFor("checkout", user(r.IntN(10)), user(r.IntN(10)))
		keys.TimeoutNS = int64(1 + r.IntN(5_000_000))
		if r.IntN(2) == 0 {
			return host.Lib.CacheLookup(any, keys, &first, failed)
		}
		return host.Lib.CacheLookupAsync(any, keys, r.Uint64(), &first, &second, failed)
	case 30:
		entry := host.EntryFor("checkout", user(r.IntN(10)), user(r.IntN(100)))
		entry.Scope, entry.TimeoutNS = int32(r.IntN(2)), int64(1+r.IntN(5_000_000))
		if r.IntN(2) == 0 {
			return host.Lib.CacheSet(any, entry, failed)
		}
		return host.Lib.CacheSetAsync(any, entry, r.Uint64(), &second, failed)
	case 31:
		key := host.KeyFor("checkout", user(r.IntN(10)))
		key.Scope, key.TimeoutNS = int32(r.IntN(2)), int64(1+r.IntN(5_000_000))
		if r.IntN(2) == 0 {
			return host.Lib.CacheDelete(any, key, failed)
		}
		return host.Lib.CacheDeleteAsync(any, key, r.Uint64(), &second, failed)
	case 32:
		return host.Lib.CacheAnswerClose(any, failed)
	case 22:
		done := host.NewCompletion()
		return f.took(host.Lib.CallWait(any, int64(r.IntN(1_000_000)), done, failed), done)
	default:
		return host.Lib.CallCancel(any, failed)
	}
}

// took keeps what a completion brings. It returns the code of the call that took it, or that a panic was caught on the way.
func (f *fuzzer) took(code host.Code, done *host.Completion) host.Code {
	f.pool.put(done.Flow, done.Answer)
	if done.Code == host.ErrorInternal {
		return done.Code
	}
	return code
}

// fuzzTime is how long the fuzz runs: two seconds, or what `make fuzz` says.
func fuzzTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("APERTURE_FUZZ_TIME")
	if text == "" {
		return 2 * time.Second
	}
	duration, err := time.ParseDuration(text)
	require.NoError(t, err)
	return duration
}

func TestCallsInRandomOrder(t *testing.T) {
	before := host.Lib.LiveHandles()
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	slow := host.StartAgent(t)
	slow.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Delay: time.Millisecond}})
	addresses := []string{
		"local:", "local:" + host.WriteFile(t, host.OnePerHour), "local:" + host.WriteFile(t, host.OneAtATime),
		"local:" + host.WriteFile(t, host.OneAfterTheOther), agent.Address(), agent.Address(), slow.Address(), host.ClosedAddress(t), "nonsense",
	}
	pool := &fuzzPool{}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	until := time.Now().Add(fuzzTime(t))
	var workers sync.WaitGroup
	var mu sync.Mutex
	codes := map[host.Code]int{}
	for worker := range uint64(4) {
		workers.Go(func() {
			fuzz := fuzzer{random: rand.New(rand.NewPCG(seed, worker)), pool: pool, agents: addresses}
			got := map[host.Code]int{}
			for time.Now().Before(until) {
				got[fuzz.step()]++
			}
			mu.Lock()
			defer mu.Unlock()
			for number, count := range got {
				codes[number] += count
			}
		})
	}
	workers.Wait()
	require.Zero(t, codes[host.ErrorInternal], "a panic was caught: %v", codes)
	for _, expected := range []host.Code{host.OK, host.Pending, host.ErrorInvalidArgument, host.ErrorInvalidHandle, host.ErrorAlreadyEnded} {
		require.NotZero(t, codes[expected], "the fuzz reached too little: %v", codes)
	}

	// Closing every handle that was ever seen closes what is open; a close that is under way takes a moment.
	host.Eventually(t, "everything closes", func() bool {
		for _, number := range pool.handles {
			host.Lib.ClientClose(number, int64(time.Millisecond), nil)
		}
		for _, number := range pool.handles {
			host.Lib.FlowClose(number, nil)
			host.Lib.CacheAnswerClose(number, nil)
			done := host.NewCompletion()
			if host.Lib.CallWait(number, 0, done, nil) == host.OK {
				host.Lib.FlowClose(done.Flow, nil)
				host.Lib.CacheAnswerClose(done.Answer, nil)
			}
		}
		return host.Lib.LiveHandles() == before
	})
}
