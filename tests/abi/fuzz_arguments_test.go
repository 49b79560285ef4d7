package abi

import (
	"math"
	"math/rand/v2"
	"unsafe"

	"github.com/libaperture/libaperture/tests/host"
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
func wrongText(r *rand.Rand) host.Text {
	some := unsafe.StringData("some text")
	texts := []host.Text{
		{}, {Length: 4}, {Length: math.MaxUint64}, {Data: some}, {Data: some, Length: math.MaxUint64}, {Data: some, Length: math.MaxInt32 + 1},
		host.TextOf("\xff\xfe"), host.TextOf("a\x00b"), host.TextOf("local:\x00"), host.TextOf(" "), host.TextOf("\U0001F600"),
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
func (f *fuzzer) spoiltOptions() *host.ClientOptions {
	r := f.random
	options := host.OptionsFor(f.agents[r.IntN(len(f.agents))])
	for _, field := range []*host.Text{&options.Address, &options.APIKey, &options.CAFile, &options.ServerName, &options.UserAgent} {
		if r.IntN(5) == 0 {
			*field = wrongText(r)
		}
	}
	options.FlowEndTimeoutNS, options.MaxPendingCalls = number[int64](r), number[uint64](r)
	options.Insecure, options.TelemetryOff = number[int32](r), number[int32](r)
	switch r.IntN(7) {
	case 0:
		options.CAPem, options.ClientCertificateFile, options.ClientKeyFile = wrongText(r), wrongText(r), wrongText(r)
		options.ClientCertificatePEM, options.ClientKeyPEM = wrongText(r), wrongText(r)
	case 1:
		options.Metadata, options.MetadataCount = &host.Label{Key: wrongText(r), Value: wrongText(r)}, 1
	case 2:
		options.MetadataCount = uintptr(number[uint64](r))
	case 3:
		options.KeepaliveTimeNS, options.KeepaliveTimeoutNS = number[int64](r), number[int64](r)
	case 4:
		options.TelemetryQueue, options.TelemetryBatch = number[uint64](r), number[uint64](r)
		options.TelemetryIntervalNS = number[int64](r)
	case 5:
		options.Compression, options.SkipVerify = number[int32](r), number[int32](r)
	case 6:
		options.MaxLabels, options.MaxWaiting, options.CacheBytes = number[uint64](r), number[uint64](r), number[uint64](r)
	}
	return wrong(r, options)
}

// spoiltParams returns parameters of a flow with something wrong in them.
func (f *fuzzer) spoiltParams() *host.FlowParams {
	r := f.random
	params := host.ParamsFor("checkout", "user_id", user(r.IntN(100)))
	if r.IntN(3) == 0 {
		params.ControlPoint = wrongText(r)
	}
	switch r.IntN(5) {
	case 0:
		params.Labels = nil
	case 1:
		params.LabelCount = uintptr(1<<20 + 1 + number[uint64](r)>>1) // more than there can be
	case 2:
		params.Labels, params.LabelCount = &host.Label{Key: wrongText(r), Value: wrongText(r)}, 1
	}
	switch r.IntN(6) {
	case 0:
		params.Baggage, params.ResultCacheKey = wrongText(r), wrongText(r)
	case 1:
		text := wrongText(r)
		params.GlobalCacheKeys, params.GlobalCacheKeyCount = &text, 1
	case 2:
		params.GlobalCacheKeyCount = uintptr(number[uint64](r))
	}
	// Long waits are not wrong, and would make the fuzz slow.
	params.CheckTimeoutNS = min(number[int64](r), 1_000_000)
	params.RampMode = number[int32](r)
	if r.IntN(4) == 0 {
		params.Reserved = r.Uint32()
	}
	return wrong(r, params)
}

// wrongStep makes one call whose arguments are most likely wrong, and returns its code.
func (f *fuzzer) wrongStep() host.Code {
	r, any := f.random, f.pool.pick(f.random)
	failed := wrong(r, host.NewFailure())
	var first, second host.Handle
	defer func() { f.pool.put(first, second) }()
	flow, call := &first, &second
	if r.IntN(3) == 0 {
		flow = nil
	}
	if r.IntN(3) == 0 {
		call = nil
	}
	waits := min(number[int64](r), 1_000_000)
	switch r.IntN(25) {
	case 16:
		return host.Lib.ClientState(any, nil, failed)
	case 17:
		return host.Lib.FlowSetAttribute(any, f.spoiltAttribute(), failed)
	case 18:
		return host.Lib.CacheLookup(any, f.spoiltKeys(), flow, failed)
	case 19:
		return host.Lib.CacheLookupAsync(any, f.spoiltKeys(), r.Uint64(), flow, call, failed)
	case 20:
		return host.Lib.CacheSet(any, f.spoiltEntry(), failed)
	case 21:
		return host.Lib.CacheSetAsync(any, f.spoiltEntry(), r.Uint64(), call, failed)
	case 22:
		return host.Lib.CacheDelete(any, f.spoiltKey(), failed)
	case 23:
		return host.Lib.CacheDeleteAsync(any, f.spoiltKey(), r.Uint64(), call, failed)
	case 0:
		return host.Lib.NewClient(f.spoiltOptions(), flow, failed)
	case 1:
		return host.Lib.ClientWaitReady(any, waits, failed)
	case 2:
		return host.Lib.ClientWaitReadyAsync(any, number[int64](r), r.Uint64(), call, failed)
	case 3:
		return host.Lib.ClientStats(any, wrong(r, &host.Stats{StructSize: unsafe.Sizeof(host.Stats{})}), failed)
	case 4:
		return host.Lib.StartFlow(any, f.spoiltParams(), flow, wrong(r, host.NewDecision()), failed)
	case 5:
		return host.Lib.StartFlowAsync(any, f.spoiltParams(), r.Uint64(), flow, wrong(r, host.NewDecision()), call, failed)
	case 6:
		return host.Lib.FlowShouldRun(any, nil, failed)
	case 7:
		return host.Lib.FlowDecision(any, wrong(r, host.NewDecision()), failed)
	case 8:
		return host.Lib.FlowError(any, wrong(r, host.NewFailure()), failed)
	case 9:
		return host.Lib.FlowSetStatus(any, number[int32](r), failed)
	case 10:
		return host.Lib.FlowEndResult(any, wrong(r, host.NewEndResult()), failed)
	case 11:
		var length uintptr
		return host.Lib.FlowEndResponse(any, nil, uintptr(r.IntN(3)), &length, failed)
	case 12:
		var count uintptr
		batch := withTail[host.Completion]{}
		batch.known.StructSize = uintptr(r.IntN(int(unsafe.Sizeof(batch.known)) + 2))
		got := host.Lib.ClientPoll(any, &batch.known, uintptr(r.IntN(2)), &count, failed)
		if got == host.OK && count == 1 {
			f.pool.put(batch.known.Flow, batch.known.Answer)
		}
		return got
	case 13:
		done := wrong(r, host.NewCompletion())
		got := host.Lib.CallWait(any, waits, done, failed)
		if got == host.OK {
			f.pool.put(done.Flow, done.Answer)
		}
		return got
	case 14:
		return host.Lib.Configure(f.spoiltProcessOptions(), failed)
	case 15:
		return host.Lib.ProtectSignalHandlers(failed)
	default:
		return host.Lib.ClientCompletionFD(any, nil, failed)
	}
}

// spoiltAttribute returns an attribute with something wrong in it.
func (f *fuzzer) spoiltAttribute() *host.Attribute {
	r := f.random
	attribute := host.IntegerAttribute("tokens", number[int64](r))
	attribute.Kind, attribute.Number = number[int32](r), math.Float64frombits(r.Uint64())
	if r.IntN(2) == 0 {
		attribute.Key, attribute.Text = wrongText(r), wrongText(r)
	}
	return wrong(r, attribute)
}

// spoiltKeys returns keys to look up with something wrong in them.
func (f *fuzzer) spoiltKeys() *host.CacheKeys {
	r := f.random
	keys := host.KeysFor("checkout", user(r.IntN(10)), user(r.IntN(10)))
	switch r.IntN(3) {
	case 0:
		keys.ControlPoint, keys.ResultKey = wrongText(r), wrongText(r)
	case 1:
		text := wrongText(r)
		keys.GlobalKeys, keys.GlobalKeyCount = &text, 1
	case 2:
		keys.GlobalKeyCount = uintptr(1<<20 + 1 + number[uint64](r)>>1) // more than there can be
	}
	keys.TimeoutNS = min(number[int64](r), 1_000_000)
	return wrong(r, keys)
}

// spoiltEntry returns a value to store with something wrong in it.
func (f *fuzzer) spoiltEntry() *host.CacheEntry {
	r := f.random
	entry := host.EntryFor("checkout", user(r.IntN(10)), "value")
	if r.IntN(2) == 0 {
		entry.ControlPoint, entry.Key, entry.Value = wrongText(r), wrongText(r), wrongText(r)
	}
	entry.Scope, entry.TtlNS, entry.TimeoutNS = number[int32](r), number[int64](r), min(number[int64](r), 1_000_000)
	return wrong(r, entry)
}

// spoiltKey returns the key of an entry with something wrong in it.
func (f *fuzzer) spoiltKey() *host.CacheKey {
	r := f.random
	key := host.KeyFor("checkout", user(r.IntN(10)))
	if r.IntN(2) == 0 {
		key.ControlPoint, key.Key = wrongText(r), wrongText(r)
	}
	key.Scope, key.TimeoutNS = number[int32](r), min(number[int64](r), 1_000_000)
	return wrong(r, key)
}

// spoiltProcessOptions returns options that are refused: those that are right would change the process of the tests.
func (f *fuzzer) spoiltProcessOptions() *host.ProcessOptions {
	r := f.random
	options := host.NewProcessOptions()
	options.LogFD, options.LogLevel = -1-r.Int32N(math.MaxInt32), number[int32](r)
	options.MaxProcs, options.LeaveSignalHandlers = number[int32](r), number[int32](r)
	return wrong(r, options)
}
