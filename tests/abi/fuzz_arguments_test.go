package abi

import (
	"math"
	"math/rand/v2"
	"unsafe"
)

// wrongSize gives a struct a struct_size that no version of it has, or none at all: sometimes NULL takes its place.
func wrongSize[T any](r *rand.Rand, made *T) *T {
	if r.IntN(3) == 0 {
		return nil
	}
	sizes := []uintptr{0, 1, 8, unsafe.Sizeof(*made) - 1, unsafe.Sizeof(*made) + 1<<17, math.MaxUint64, uintptr(r.Uint64()) | 1<<40}
	*(*uintptr)(unsafe.Pointer(made)) = sizes[r.IntN(len(sizes))]
	return made
}

// later gives a struct the size of a later header, with a tail that the library knows nothing of.
func later[T any](r *rand.Rand, made *T) *T {
	larger := &withTail[T]{known: *made}
	larger.tail[r.IntN(2)] = r.Uint64() >> r.IntN(65)
	*(*uintptr)(unsafe.Pointer(larger)) = unsafe.Sizeof(*made) + 16
	return &larger.known
}

// wrong spoils a struct in one of the ways of wrongSize and later, or not at all.
func wrong[T any](r *rand.Rand, made *T) *T {
	switch r.IntN(3) {
	case 0:
		return wrongSize(r, made)
	case 1:
		return later(r, made)
	}
	return made
}

// wrongText returns a text that is empty, not UTF-8, has a NUL in it, is longer than anything, or has no data.
func wrongText(r *rand.Rand) text {
	some := unsafe.StringData("some text")
	texts := []text{
		{}, {nil, 4}, {nil, math.MaxUint64}, {some, 0}, {some, math.MaxUint64}, {some, math.MaxInt32 + 1},
		textOf("\xff\xfe"), textOf("a\x00b"), textOf("local:\x00"), textOf(" "), textOf("\U0001F600"),
	}
	return texts[r.IntN(len(texts))]
}

// number returns any number, more often a small or an extreme one.
func number[T int32 | int64 | uint64](r *rand.Rand) T {
	switch r.IntN(4) {
	case 0:
		return T(r.IntN(5)) - 2
	case 1:
		return T(r.Uint64())
	}
	extremes := []uint64{0, math.MaxInt32, 1 << 31, math.MaxInt64, 1 << 63, math.MaxUint64}
	return T(extremes[r.IntN(len(extremes))])
}

// spoiltOptions returns options of a client with something wrong in them.
func (f *fuzzer) spoiltOptions() *clientOptions {
	r := f.random
	options := optionsFor(f.agents[r.IntN(len(f.agents))])
	for _, field := range []*text{&options.address, &options.apiKey, &options.caFile, &options.serverName, &options.userAgent} {
		if r.IntN(5) == 0 {
			*field = wrongText(r)
		}
	}
	options.flowEndTimeoutNS, options.maxPendingCalls = number[int64](r), number[uint64](r)
	options.insecure, options.telemetryOff = number[int32](r), number[int32](r)
	return wrong(r, options)
}

// spoiltParams returns parameters of a flow with something wrong in them.
func (f *fuzzer) spoiltParams() *flowParams {
	r := f.random
	params := paramsFor("checkout", "user_id", user(r.IntN(100)))
	if r.IntN(3) == 0 {
		params.controlPoint = wrongText(r)
	}
	switch r.IntN(5) {
	case 0:
		params.labels = nil
	case 1:
		params.labelCount = uintptr(1<<20 + number[uint64](r)>>1) // more than there can be
	case 2:
		params.labels, params.labelCount = &label{key: wrongText(r), value: wrongText(r)}, 1
	}
	// Long waits are not wrong, and would make the fuzz slow.
	params.checkTimeoutNS = min(number[int64](r), 1_000_000)
	params.rampMode = number[int32](r)
	if r.IntN(4) == 0 {
		params.reserved = r.Uint32()
	}
	return wrong(r, params)
}

// wrongStep makes one call whose arguments are most likely wrong, and returns its code.
func (f *fuzzer) wrongStep() code {
	r, any := f.random, f.pool.pick(f.random)
	failed := wrong(r, newFailure())
	var first, second handle
	defer func() { f.pool.put(first, second) }()
	flow, call := &first, &second
	if r.IntN(3) == 0 {
		flow = nil
	}
	if r.IntN(3) == 0 {
		call = nil
	}
	waits := min(number[int64](r), 1_000_000)
	switch r.IntN(17) {
	case 0:
		return lib.newClient(f.spoiltOptions(), flow, failed)
	case 1:
		return lib.clientWaitReady(any, waits, failed)
	case 2:
		return lib.clientWaitReadyAsync(any, number[int64](r), r.Uint64(), call, failed)
	case 3:
		return lib.clientStats(any, wrong(r, &stats{structSize: unsafe.Sizeof(stats{})}), failed)
	case 4:
		return lib.startFlow(any, f.spoiltParams(), flow, wrong(r, newDecision()), failed)
	case 5:
		return lib.startFlowAsync(any, f.spoiltParams(), r.Uint64(), flow, wrong(r, newDecision()), call, failed)
	case 6:
		return lib.flowShouldRun(any, nil, failed)
	case 7:
		return lib.flowDecision(any, wrong(r, newDecision()), failed)
	case 8:
		return lib.flowError(any, wrong(r, newFailure()), failed)
	case 9:
		return lib.flowSetStatus(any, number[int32](r), failed)
	case 10:
		return lib.flowEndResult(any, wrong(r, newEndResult()), failed)
	case 11:
		var length uintptr
		return lib.flowEndResponse(any, nil, uintptr(r.IntN(3)), &length, failed)
	case 12:
		var count uintptr
		batch := withTail[completion]{}
		batch.known.structSize = uintptr(r.IntN(int(unsafe.Sizeof(batch.known)) + 2))
		got := lib.clientPoll(any, &batch.known, uintptr(r.IntN(2)), &count, failed)
		if got == ok && count == 1 {
			f.pool.put(batch.known.flow)
		}
		return got
	case 13:
		done := wrong(r, newCompletion())
		got := lib.callWait(any, waits, done, failed)
		if got == ok {
			f.pool.put(done.flow)
		}
		return got
	case 14:
		return lib.configure(f.spoiltProcessOptions(), failed)
	case 15:
		return lib.protectSignalHandlers(failed)
	default:
		return lib.clientCompletionFD(any, nil, failed)
	}
}

// spoiltProcessOptions returns options that are refused: those that are right would change the process of the tests.
func (f *fuzzer) spoiltProcessOptions() *processOptions {
	r := f.random
	options := newProcessOptions()
	options.logFD, options.logLevel = -1-r.Int32N(math.MaxInt32), number[int32](r)
	options.maxProcs, options.leaveSignalHandlers = number[int32](r), number[int32](r)
	return wrong(r, options)
}
