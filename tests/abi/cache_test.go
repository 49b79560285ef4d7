package abi

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// cachedValue is what a cache had under a key.
type cachedValue struct {
	code   host.Code
	status int32
	value  string
}

// read reads a value with one of the two functions for it. A buffer that is too small says how large it must be.
func read(t *testing.T, from func(host.Handle, int32, *host.Text, *int32, *byte, uintptr, *uintptr, *host.Failure) host.Code,
	handle host.Handle, scope int32, key string) cachedValue {
	t.Helper()
	status, length, failed := int32(7), uintptr(7), host.NewFailure()
	text := host.TextOf(key)
	code := from(handle, scope, &text, &status, nil, 0, &length, failed)
	if code != host.ErrorBufferTooSmall {
		require.Zero(t, length)
		return cachedValue{code, status, ""}
	}
	buffer := make([]byte, length+1)
	buffer[length] = '$'
	require.Equal(t, host.OK, from(handle, scope, &text, &status, &buffer[0], length, &length, failed), failed.Text())
	require.Equal(t, byte('$'), buffer[length], "written behind the buffer")
	return cachedValue{host.OK, status, string(buffer[:length])}
}

var (
	miss     = cachedValue{host.OK, host.LookupMiss, ""}
	noAnswer = cachedValue{host.ErrorNoAnswer, host.LookupMiss, ""}
)

func hit(value string) cachedValue { return cachedValue{host.OK, host.LookupHit, value} }

// lookingUp returns params with cache keys.
func lookingUp(resultKey string, globalKeys ...host.Text) *host.FlowParams {
	params := host.Patient(host.ParamsFor("checkout"))
	params.ResultCacheKey = host.TextOf(resultKey)
	params.GlobalCacheKeys, params.GlobalCacheKeyCount = unsafe.SliceData(globalKeys), uintptr(len(globalKeys))
	return params
}

const binary = "\x00\xff\x80v"

func TestCache(t *testing.T) {
	host.NoLeak(t)
	t.Run("of an agent", func(t *testing.T) { useCache(t, host.ReadyClient(t, host.StartAgent(t))) })
	t.Run("of the local engine", func(t *testing.T) { useCache(t, host.OpenClient(t, host.OptionsFor("local:"))) })
}

func useCache(t *testing.T, client host.Handle) {
	t.Helper()
	failed := host.NewFailure()
	entry := host.EntryFor("checkout", "r", binary)
	require.Equal(t, host.OK, host.Lib.CacheSet(client, entry, failed), failed.Text())
	entry.Scope, entry.Key = host.CacheGlobal, host.TextOf("g")
	require.Equal(t, host.OK, host.Lib.CacheSet(client, entry, failed), failed.Text())
	empty := host.EntryFor("checkout", "nothing", "")
	empty.Scope = host.CacheGlobal
	require.Equal(t, host.OK, host.Lib.CacheSet(client, empty, failed), failed.Text())

	flow, _ := host.Start(t, client, lookingUp("r", host.TextOf("g"), host.TextOf("nothing"), host.TextOf("missing")))
	var answer host.Handle
	keys := host.KeysFor("checkout", "r", "g", "nothing", "missing")
	require.Equal(t, host.OK, host.Lib.CacheLookup(client, keys, &answer, failed), failed.Text())
	for _, one := range []struct {
		from   func(host.Handle, int32, *host.Text, *int32, *byte, uintptr, *uintptr, *host.Failure) host.Code
		handle host.Handle
	}{{host.Lib.FlowCacheValue, flow}, {host.Lib.CacheAnswerValue, answer}} {
		require.Equal(t, hit(binary), read(t, one.from, one.handle, host.CacheResult, ""))
		require.Equal(t, hit(binary), read(t, one.from, one.handle, host.CacheGlobal, "g"))
		require.Equal(t, hit(""), read(t, one.from, one.handle, host.CacheGlobal, "nothing"))
		require.Equal(t, miss, read(t, one.from, one.handle, host.CacheGlobal, "missing"))
		require.Equal(t, noAnswer, read(t, one.from, one.handle, host.CacheGlobal, "never asked for"))
	}
	open := host.Lib.LiveHandles()
	require.Equal(t, host.OK, host.Lib.CacheAnswerClose(answer, nil))
	require.Equal(t, open-1, host.Lib.LiveHandles())
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.CacheAnswerClose(answer, nil), "closed twice")

	require.Equal(t, host.OK, host.Lib.CacheDelete(client, host.KeyFor("checkout", "r"), failed), failed.Text())
	after, _ := host.Start(t, client, lookingUp("r"))
	require.Equal(t, miss, read(t, host.Lib.FlowCacheValue, after, host.CacheResult, ""))
	without, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.Equal(t, noAnswer, read(t, host.Lib.FlowCacheValue, without, host.CacheResult, ""))
	counted := host.ReadStats(t, client)
	require.EqualValues(t, 5, counted.CacheCalls)
	require.Zero(t, counted.CacheCallsFailed)
}

func TestCacheAsynchronously(t *testing.T) {
	host.NoLeak(t)
	client := host.ReadyClient(t, host.StartAgent(t))
	var call, answer host.Handle
	require.Equal(t, host.Pending, host.Lib.CacheSetAsync(client, host.EntryFor("checkout", "r", binary), 5, &call, nil))
	done := host.Take(t, call)
	require.Equal(t, []any{host.OK, int32(host.CompletionSet), uint64(5), ""}, []any{done.Code, done.Kind, done.Tag, done.Text()})

	require.Equal(t, host.Pending, host.Lib.CacheLookupAsync(client, host.KeysFor("checkout", "r"), 6, &answer, &call, nil))
	require.Zero(t, answer)
	done = host.Take(t, call)
	require.Equal(t, host.OK, done.Code)
	require.EqualValues(t, host.CompletionLookup, done.Kind)
	require.Equal(t, hit(binary), read(t, host.Lib.CacheAnswerValue, done.Answer, host.CacheResult, ""))
	require.Equal(t, host.OK, host.Lib.CacheAnswerClose(done.Answer, nil))

	require.Equal(t, host.Pending, host.Lib.CacheDeleteAsync(client, host.KeyFor("checkout", "r"), 7, &call, nil))
	done = host.Take(t, call)
	require.Equal(t, []any{host.OK, int32(host.CompletionDelete)}, []any{done.Code, done.Kind})

	local := host.OpenClient(t, host.OptionsFor("local:"))
	require.Equal(t, host.OK, host.Lib.CacheSetAsync(local, host.EntryFor("checkout", "r", binary), 8, &call, nil), "done at once")
	require.Zero(t, call)
	for _, want := range []cachedValue{hit(binary), miss} {
		require.Equal(t, host.OK, host.Lib.CacheLookupAsync(local, host.KeysFor("checkout", "r"), 9, &answer, &call, nil), "done at once")
		require.Zero(t, call)
		require.Equal(t, want, read(t, host.Lib.CacheAnswerValue, answer, host.CacheResult, ""))
		require.Equal(t, host.OK, host.Lib.CacheAnswerClose(answer, nil))
		require.Equal(t, host.OK, host.Lib.CacheDeleteAsync(local, host.KeyFor("checkout", "r"), 10, &call, nil), "done at once")
		require.Zero(t, call)
	}
}

func TestCacheErrorsHaveTheirMessage(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	agent.Set(fakeagent.Behaviour{
		CacheUpsertResponse: &checkv1.CacheUpsertResponse{ResultCacheResponse: &checkv1.KeyUpsertResponse{
			OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: "the cache is full",
		}},
		CacheDelete: fakeagent.Trouble{Error: codes.Unavailable, Message: "no cache here"},
	})
	failed := host.NewFailure()
	require.Equal(t, host.ErrorAgent, host.Lib.CacheSet(client, host.EntryFor("checkout", "r", "v"), failed))
	require.Contains(t, failed.Text(), "the cache is full")
	require.Equal(t, host.ErrorUnreachable, host.Lib.CacheDelete(client, host.KeyFor("checkout", "r"), failed))
	require.Contains(t, failed.Text(), "no cache here")
	var call host.Handle
	require.Equal(t, host.Pending, host.Lib.CacheSetAsync(client, host.EntryFor("checkout", "r", "v"), 1, &call, nil))
	done := host.Take(t, call)
	require.Equal(t, host.ErrorAgent, done.Code)
	require.Contains(t, done.Text(), "the cache is full")
	require.EqualValues(t, len(done.Text()), done.MessageLength)
	require.EqualValues(t, 3, host.ReadStats(t, client).CacheCallsFailed)
}

func TestCacheCallsEndWithTheirTimeoutTheirCancelAndTheClient(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	hang := fakeagent.Trouble{Hang: true}
	agent.Set(fakeagent.Behaviour{CacheLookup: hang, CacheUpsert: hang, CacheDelete: hang})
	failed := host.NewFailure()
	entry := host.EntryFor("checkout", "r", "v")
	entry.TimeoutNS = int64(10 * time.Millisecond)
	require.Equal(t, host.ErrorUnreachable, host.Lib.CacheSet(client, entry, failed))
	require.Contains(t, failed.Text(), "timeout")

	keys := host.KeysFor("checkout", "r")
	keys.TimeoutNS = int64(host.Soon)
	var cancelled, closed, answer host.Handle
	require.Equal(t, host.Pending, host.Lib.CacheLookupAsync(client, keys, 1, &answer, &cancelled, nil))
	require.Equal(t, host.Pending, host.Lib.CacheLookupAsync(client, keys, 2, &answer, &closed, nil))
	require.Equal(t, host.OK, host.Lib.CallCancel(cancelled, nil))
	require.Equal(t, host.ErrorCancelled, host.Take(t, cancelled).Code)
	var closing host.Handle
	require.Equal(t, host.Pending, host.Lib.ClientCloseAsync(client, 0, 3, &closing, nil))
	require.Equal(t, host.ErrorUnreachable, host.Take(t, closed).Code)
	require.Equal(t, host.ErrorClosed, host.Lib.CacheLookup(client, keys, &answer, nil))
	require.Equal(t, host.OK, host.Take(t, closing).Code)
}

func TestBadCacheStructs(t *testing.T) {
	host.NoLeak(t)
	client := host.ReadyClient(t, host.StartAgent(t))
	for name, test := range map[string]struct {
		change func(*host.CacheEntry)
		names  string
	}{
		"value of 5 MiB":     {func(e *host.CacheEntry) { e.Value = host.TextOf(strings.Repeat("v", 5<<20)) }, "entry.value"},
		"value without data": {func(e *host.CacheEntry) { e.Value = host.Text{Length: 1} }, "entry.value"},
		"key without data":   {func(e *host.CacheEntry) { e.Key = host.Text{Length: 1} }, "entry.key"},
		"huge key":           {func(e *host.CacheEntry) { e.Key.Length = 1 << 40 }, "entry.key"},
		"TTL of 0":           {func(e *host.CacheEntry) { e.TtlNS = 0 }, "TTL"},
		"negative timeout":   {func(e *host.CacheEntry) { e.TimeoutNS = -1 }, "cache timeout"},
		"scope":              {func(e *host.CacheEntry) { e.Scope = 2 }, "entry.scope"},
		"reserved":           {func(e *host.CacheEntry) { e.Reserved = 1 }, "entry.reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			entry := host.EntryFor("checkout", "r", "v")
			test.change(entry)
			failed := host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.CacheSet(client, entry, failed))
			require.Contains(t, failed.Text(), test.names)
			call, failed := host.Handle(7), host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.CacheSetAsync(client, entry, 1, &call, failed), "at once")
			require.Contains(t, failed.Text(), test.names)
			require.Zero(t, call)
		})
	}
	for name, change := range map[string]func(*host.CacheKeys){
		"no keys":        func(k *host.CacheKeys) { k.ResultKey = host.Text{} },
		"count of NULL":  func(k *host.CacheKeys) { k.GlobalKeys, k.GlobalKeyCount = nil, 1 },
		"huge count":     func(k *host.CacheKeys) { k.GlobalKeys, k.GlobalKeyCount = &host.Text{}, 1<<63 },
		"empty key":      func(k *host.CacheKeys) { k.GlobalKeys, k.GlobalKeyCount = &host.Text{}, 1 },
		"control point":  func(k *host.CacheKeys) { k.ControlPoint = host.Text{} },
		"large together": func(k *host.CacheKeys) { k.ResultKey = host.TextOf(strings.Repeat("k", 4_000_001)) },
	} {
		t.Run(name, func(t *testing.T) {
			keys := host.KeysFor("checkout", "r")
			change(keys)
			answer, failed := host.Handle(7), host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.CacheLookup(client, keys, &answer, failed), failed.Text())
			require.Zero(t, answer)
			var call host.Handle
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.CacheLookupAsync(client, keys, 1, &answer, &call, failed), "at once")
			require.Zero(t, call)
		})
	}
	key, call := host.KeyFor("checkout", ""), host.Handle(7)
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.CacheDeleteAsync(client, key, 1, &call, nil), "at once")
	require.Zero(t, call)
	require.Zero(t, host.ReadStats(t, client).CacheCalls)
}
