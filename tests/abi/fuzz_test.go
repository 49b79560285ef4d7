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
)

// fuzzPool is what the goroutines of a fuzz share: handles of all kinds, live and stale.
type fuzzPool struct {
	mu      sync.Mutex
	handles []handle
}

func (p *fuzzPool) put(opened ...handle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, number := range opened {
		if number != 0 {
			p.handles = append(p.handles, number)
		}
	}
}

// pick returns a handle that is live, stale, of any kind, or invented.
func (p *fuzzPool) pick(random *rand.Rand) handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case random.IntN(20) == 0:
		return handle(random.Uint64())
	case random.IntN(20) == 0:
		return handle(random.Uint64() >> random.IntN(64))
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
func (f *fuzzer) step() code {
	if f.random.IntN(4) == 0 {
		return f.wrongStep()
	}
	r, any := f.random, f.pool.pick(f.random)
	failed := newFailure()
	if r.IntN(3) == 0 {
		failed = nil
	}
	var first, second handle
	defer func() { f.pool.put(first, second) }()
	switch r.IntN(24) {
	case 0:
		options := optionsFor(f.agents[r.IntN(len(f.agents))])
		options.maxPendingCalls = uint64(r.IntN(50))
		options.flowEndTimeoutNS = int64(10 * time.Millisecond)
		return lib.newClient(options, &first, failed)
	case 1:
		return lib.clientWaitReady(any, int64(r.IntN(2_000_000)), failed)
	case 2:
		return lib.clientWaitReadyAsync(any, int64(r.IntN(2_000_000)), r.Uint64(), &second, failed)
	case 3:
		return lib.clientStats(any, &stats{structSize: unsafe.Sizeof(stats{})}, failed)
	case 4:
		if r.IntN(10) == 0 {
			return lib.clientClose(any, int64(time.Millisecond), failed)
		}
		return lib.clientClose(any, -1, failed)
	case 5:
		if r.IntN(10) == 0 {
			return lib.clientCloseAsync(any, int64(time.Millisecond), r.Uint64(), &second, failed)
		}
		return lib.clientCloseAsync(any, 0, 0, nil, failed)
	case 6, 7:
		params := paramsFor("checkout", "user_id", user(r.IntN(100)))
		params.checkTimeoutNS, params.rampMode = int64(r.IntN(5_000_000)), int32(r.IntN(3))
		return lib.startFlow(any, params, &first, newDecision(), failed)
	case 8, 9, 10, 11:
		params := paramsFor("checkout", "user_id", user(r.IntN(100)))
		params.checkTimeoutNS = int64(r.IntN(5_000_000))
		return lib.startFlowAsync(any, params, r.Uint64(), &first, nil, &second, failed)
	case 12:
		var run int32
		return lib.flowShouldRun(any, &run, failed)
	case 13:
		return lib.flowDecision(any, newDecision(), failed)
	case 14:
		return lib.flowError(any, newFailure(), failed)
	case 15:
		return lib.flowSetStatus(any, int32(r.IntN(4)-1), failed)
	case 16:
		return lib.flowEnd(any, newEndResult(), failed)
	case 17:
		return lib.flowEndAsync(any, r.Uint64(), nil, &second, failed)
	case 18:
		return lib.flowEndResult(any, nil, failed)
	case 19:
		var length uintptr
		buffer := make([]byte, 1+r.IntN(300))
		return lib.flowEndResponse(any, &buffer[0], uintptr(len(buffer)), &length, failed)
	case 20:
		return lib.flowClose(any, failed)
	case 21:
		var count uintptr
		batch := make([]completion, 1+r.IntN(20))
		batch[0].structSize = unsafe.Sizeof(completion{})
		got := lib.clientPoll(any, &batch[0], uintptr(len(batch)), &count, failed)
		for _, done := range batch[:count] {
			f.pool.put(done.flow)
		}
		return got
	case 22:
		done := newCompletion()
		got := lib.callWait(any, int64(r.IntN(1_000_000)), done, failed)
		f.pool.put(done.flow)
		return got
	default:
		return lib.callCancel(any, failed)
	}
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
	before := lib.liveHandles()
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	slow := startAgent(t)
	slow.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Delay: time.Millisecond}})
	addresses := []string{
		"local:", "local:" + writeFile(t, onePerHour), agent.Address(), agent.Address(), slow.Address(), closedAddress(t), "nonsense",
	}
	pool := &fuzzPool{}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	until := time.Now().Add(fuzzTime(t))
	var workers sync.WaitGroup
	var mu sync.Mutex
	codes := map[code]int{}
	for worker := range uint64(4) {
		workers.Go(func() {
			fuzz := fuzzer{random: rand.New(rand.NewPCG(seed, worker)), pool: pool, agents: addresses}
			got := map[code]int{}
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
	require.Zero(t, codes[errorInternal], "a panic was caught: %v", codes)
	for _, expected := range []code{ok, pending, errorInvalidArgument, errorInvalidHandle, errorAlreadyEnded} {
		require.NotZero(t, codes[expected], "the fuzz reached too little: %v", codes)
	}

	// Closing every handle that was ever seen closes what is open; a close that is under way takes a moment.
	eventually(t, "everything closes", func() bool {
		for _, number := range pool.handles {
			lib.clientClose(number, int64(time.Millisecond), nil)
		}
		for _, number := range pool.handles {
			lib.flowClose(number, nil)
			done := newCompletion()
			if lib.callWait(number, 0, done, nil) == ok {
				lib.flowClose(done.flow, nil)
			}
		}
		return lib.liveHandles() == before
	})
}
