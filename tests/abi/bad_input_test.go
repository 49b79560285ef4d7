package abi

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// call is a function with all arguments good except for the handle.
type call func(host.Handle, *host.Failure) host.Code

// byKind lists every function that takes a handle, by the kind that it takes. The arguments are good, so that the only
// thing wrong is the handle.
func byKind() map[string]map[string]call {
	var out host.Handle
	var number int32
	var size uintptr
	counted := &host.Stats{StructSize: unsafe.Sizeof(host.Stats{})}
	return map[string]map[string]call{
		"client": {
			"client_wait_ready":       func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientWaitReady(h, 0, f) },
			"client_wait_ready_async": func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientWaitReadyAsync(h, 0, 0, &out, f) },
			"client_state":            func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientState(h, &number, f) },
			"client_stats":            func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientStats(h, counted, f) },
			"client_close":            func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientClose(h, 0, f) },
			"client_close_async":      func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientCloseAsync(h, 0, 0, &out, f) },
			"start_flow": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.StartFlow(h, host.ParamsFor("c"), &out, nil, f)
			},
			"start_flow_async": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.StartFlowAsync(h, host.ParamsFor("c"), 0, &out, nil, &out, f)
			},
			"cache_lookup": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CacheLookup(h, host.KeysFor("c", "key"), &out, f)
			},
			"cache_lookup_async": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CacheLookupAsync(h, host.KeysFor("c", "key"), 0, &out, &out, f)
			},
			"cache_set": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CacheSet(h, host.EntryFor("c", "key", "value"), f)
			},
			"cache_set_async": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CacheSetAsync(h, host.EntryFor("c", "key", "value"), 0, &out, f)
			},
			"cache_delete": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CacheDelete(h, host.KeyFor("c", "key"), f)
			},
			"cache_delete_async": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CacheDeleteAsync(h, host.KeyFor("c", "key"), 0, &out, f)
			},
			"client_reload":        func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientReload(h, f) },
			"client_snapshot":      func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientSnapshot(h, nil, 0, &size, f) },
			"client_completion_fd": func(h host.Handle, f *host.Failure) host.Code { return host.Lib.ClientCompletionFD(h, &number, f) },
			"client_poll": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.ClientPoll(h, host.NewCompletion(), 1, &size, f)
			},
		},
		"flow": {
			"flow_should_run":   func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowShouldRun(h, &number, f) },
			"flow_decision":     func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowDecision(h, host.NewDecision(), f) },
			"flow_error":        func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowError(h, host.NewFailure(), f) },
			"flow_set_status":   func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowSetStatus(h, 0, f) },
			"flow_end":          func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowEnd(h, nil, f) },
			"flow_end_async":    func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowEndAsync(h, 0, nil, &out, f) },
			"flow_end_result":   func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowEndResult(h, nil, f) },
			"flow_end_response": func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowEndResponse(h, nil, 0, &size, f) },
			"flow_check_response": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.FlowCheckResponse(h, nil, 0, &size, f)
			},
			"flow_cache_value": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.FlowCacheValue(h, host.CacheResult, nil, &number, nil, 0, &size, f)
			},
			"flow_set_attribute": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.FlowSetAttribute(h, host.IntegerAttribute("tokens", 1), f)
			},
			"flow_close": func(h host.Handle, f *host.Failure) host.Code { return host.Lib.FlowClose(h, f) },
		},
		"answer": {
			"cache_answer_value": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CacheAnswerValue(h, host.CacheResult, nil, &number, nil, 0, &size, f)
			},
			"cache_answer_close": func(h host.Handle, f *host.Failure) host.Code { return host.Lib.CacheAnswerClose(h, f) },
		},
		"call": {
			"call_wait": func(h host.Handle, f *host.Failure) host.Code {
				return host.Lib.CallWait(h, 0, host.NewCompletion(), f)
			},
			"call_cancel": func(h host.Handle, f *host.Failure) host.Code { return host.Lib.CallCancel(h, f) },
		},
	}
}

func TestBadHandles(t *testing.T) {
	host.NoLeak(t)
	_, client := hanging(t)
	local := host.OpenClient(t, host.OptionsFor("local:"))
	flow, _ := host.Start(t, local, host.ParamsFor("checkout"))
	pendingCall := host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout")))
	staleClient := host.OpenClient(t, host.OptionsFor("local:"))
	staleFlow, _ := host.Start(t, staleClient, host.ParamsFor("checkout"))
	require.Equal(t, host.OK, host.Lib.FlowClose(staleFlow, nil))
	host.CloseClient(t, staleClient)

	bad := map[string]host.Handle{
		"NULL": 0, "one": 1, "all ones": ^host.Handle(0), "an address": host.Handle(uintptr(unsafe.Pointer(host.NewFailure()))),
		"stale client": staleClient, "stale flow": staleFlow,
		"next generation": flow + 1<<22, "next slot": flow + 8, "another kind": flow ^ 3<<50, "high bits": flow | 1<<60,
		"client": client, "flow": flow, "answer": lookedUp(t, local), "call": pendingCall,
	}
	functions := 8 + 2 // those of the library, new_client, and client_options_from_environment
	for kind, calls := range byKind() {
		functions += len(calls)
		for function, invoke := range calls {
			for name, number := range bad {
				if name == kind {
					continue
				}
				failed := host.NewFailure()
				require.Equal(t, host.ErrorInvalidHandle, invoke(number, failed), "%s(%s)", function, name)
				require.Equal(t, host.ErrorInvalidHandle, failed.Code)
				require.Contains(t, failed.Text(), kind+":", "%s(%s)", function, name)
				require.Equal(t, host.ErrorInvalidHandle, invoke(number, nil), "%s(%s) without an error struct", function, name)
			}
		}
	}
	require.Equal(t, functions, len(host.ReadLayout(t).Functions), "a function is not in the table")
	require.Equal(t, host.OK, host.Lib.CallCancel(pendingCall, nil), "the good ones still work")
	require.Equal(t, host.ErrorCancelled, host.Take(t, pendingCall).Code)
}

// A handle of another image of the library is one of a process that this one was forked from.
func TestHandlesOfAParent(t *testing.T) {
	host.NoLeak(t)
	_, client := hanging(t)
	local := host.OpenClient(t, host.OptionsFor("local:"))
	flow, _ := host.Start(t, local, host.ParamsFor("checkout"))
	pendingCall := host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout")))
	own := map[string]host.Handle{"client": client, "flow": flow, "answer": lookedUp(t, local), "call": pendingCall}
	for kind, calls := range byKind() {
		for function, invoke := range calls {
			failed := host.NewFailure()
			require.Equal(t, host.ErrorForked, invoke(own[kind]^1<<44, failed), function)
			require.Equal(t, host.ErrorForked, failed.Code)
			require.Contains(t, failed.Text(), kind+": belongs to the process that this one was forked from")
		}
	}
	require.Equal(t, host.OK, host.Lib.CallCancel(pendingCall, nil))
	host.Take(t, pendingCall)
}

func TestBadErrorStructs(t *testing.T) {
	host.NoLeak(t)
	client := host.OpenClient(t, host.OptionsFor("local:"))
	flow, _ := host.Start(t, client, host.ParamsFor("checkout"))
	_, remote := hanging(t)
	pendingCall := host.StartAsync(t, remote, 1, host.Patient(host.ParamsFor("checkout")))
	live := map[string]host.Handle{"client": client, "flow": flow, "answer": lookedUp(t, client), "call": pendingCall}
	for kind, calls := range byKind() {
		for function, invoke := range calls {
			for _, size := range []uintptr{0, 1, 16, unsafe.Sizeof(host.Failure{}) - 1} {
				failed := &host.Failure{StructSize: size, Code: 77}
				require.Equal(t, host.ErrorInvalidArgument, invoke(live[kind], failed), "%s with struct_size %d", function, size)
				require.Equal(t, host.Failure{StructSize: size, Code: 77}, *failed, "%s wrote to a struct of %d bytes", function, size)
			}
		}
	}
	var made host.Handle
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.NewClient(host.OptionsFor("local:"), &made, &host.Failure{}))
	require.Zero(t, made)
	require.Zero(t, host.ReadStats(t, client).FlowsEnded, "a refused call did its work")
	require.EqualValues(t, 1, host.ReadStats(t, client).CacheCalls, "a refused call did its work")

	larger := struct {
		host.Failure
		added [4]uint64
	}{Failure: host.Failure{StructSize: unsafe.Sizeof(host.Failure{}) + 32}}
	require.Equal(t, host.OK, host.Lib.FlowSetStatus(flow, 0, &larger.Failure), "an error struct of a later header")
	require.Zero(t, larger.added)
	require.Equal(t, host.OK, host.Lib.CallCancel(pendingCall, nil))
	host.Take(t, pendingCall)
}

func TestNULLArguments(t *testing.T) {
	host.NoLeak(t)
	_, client := hanging(t)
	local := host.OpenClient(t, host.OptionsFor("local:"))
	flow, _ := host.Start(t, local, host.ParamsFor("checkout"))
	pendingCall := host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout")))
	answer := lookedUp(t, local)
	var out, call host.Handle
	var size uintptr
	var status int32
	tests := map[string]struct {
		invoke func(*host.Failure) host.Code
		names  string
	}{
		"new_client options":           {func(f *host.Failure) host.Code { return host.Lib.NewClient(nil, &out, f) }, "options"},
		"new_client client":            {func(f *host.Failure) host.Code { return host.Lib.NewClient(host.OptionsFor("local:"), nil, f) }, "client"},
		"client_wait_ready_async call": {func(f *host.Failure) host.Code { return host.Lib.ClientWaitReadyAsync(client, 0, 0, nil, f) }, "call"},
		"client_stats stats":           {func(f *host.Failure) host.Code { return host.Lib.ClientStats(client, nil, f) }, "stats"},
		"client_close_async call":      {func(f *host.Failure) host.Code { return host.Lib.ClientCloseAsync(client, 0, 0, nil, f) }, "call"},
		"start_flow params":            {func(f *host.Failure) host.Code { return host.Lib.StartFlow(client, nil, &out, nil, f) }, "params"},
		"start_flow flow":              {func(f *host.Failure) host.Code { return host.Lib.StartFlow(client, host.ParamsFor("c"), nil, nil, f) }, "flow"},
		"start_flow_async params":      {func(f *host.Failure) host.Code { return host.Lib.StartFlowAsync(client, nil, 0, &out, nil, &call, f) }, "params"},
		"start_flow_async flow": {func(f *host.Failure) host.Code {
			return host.Lib.StartFlowAsync(client, host.ParamsFor("c"), 0, nil, nil, &call, f)
		}, "flow"},
		"start_flow_async call": {func(f *host.Failure) host.Code {
			return host.Lib.StartFlowAsync(client, host.ParamsFor("c"), 0, &out, nil, nil, f)
		}, "call"},
		"flow_should_run should_run": {func(f *host.Failure) host.Code { return host.Lib.FlowShouldRun(flow, nil, f) }, "should_run"},
		"flow_decision decision":     {func(f *host.Failure) host.Code { return host.Lib.FlowDecision(flow, nil, f) }, "decision"},
		"flow_error failure":         {func(f *host.Failure) host.Code { return host.Lib.FlowError(flow, nil, f) }, "failure"},
		"flow_end_async call":        {func(f *host.Failure) host.Code { return host.Lib.FlowEndAsync(flow, 0, nil, nil, f) }, "call"},
		"flow_end_response length":   {func(f *host.Failure) host.Code { return host.Lib.FlowEndResponse(flow, nil, 0, nil, f) }, "length"},
		"flow_end_response buffer":   {func(f *host.Failure) host.Code { return host.Lib.FlowEndResponse(flow, nil, 8, &size, f) }, "buffer"},
		"client_state state":         {func(f *host.Failure) host.Code { return host.Lib.ClientState(client, nil, f) }, "state"},
		"client_snapshot length":     {func(f *host.Failure) host.Code { return host.Lib.ClientSnapshot(client, nil, 0, nil, f) }, "length"},
		"client_snapshot buffer":     {func(f *host.Failure) host.Code { return host.Lib.ClientSnapshot(client, nil, 8, &size, f) }, "buffer"},
		"flow_check_response length": {func(f *host.Failure) host.Code { return host.Lib.FlowCheckResponse(flow, nil, 0, nil, f) }, "length"},
		"flow_check_response buffer": {func(f *host.Failure) host.Code { return host.Lib.FlowCheckResponse(flow, nil, 8, &size, f) }, "buffer"},
		"flow_cache_value key": {func(f *host.Failure) host.Code {
			return host.Lib.FlowCacheValue(flow, host.CacheGlobal, nil, &status, nil, 0, &size, f)
		}, "key"},
		"flow_cache_value status": {func(f *host.Failure) host.Code {
			return host.Lib.FlowCacheValue(flow, host.CacheResult, nil, nil, nil, 0, &size, f)
		}, "status"},
		"flow_cache_value length": {func(f *host.Failure) host.Code {
			return host.Lib.FlowCacheValue(flow, host.CacheResult, nil, &status, nil, 0, nil, f)
		}, "length"},
		"flow_cache_value buffer": {func(f *host.Failure) host.Code {
			return host.Lib.FlowCacheValue(flow, host.CacheResult, nil, &status, nil, 8, &size, f)
		}, "buffer"},
		"flow_set_attribute attribute": {func(f *host.Failure) host.Code { return host.Lib.FlowSetAttribute(flow, nil, f) }, "attribute"},
		"cache_lookup keys":            {func(f *host.Failure) host.Code { return host.Lib.CacheLookup(client, nil, &out, f) }, "keys"},
		"cache_lookup answer":          {func(f *host.Failure) host.Code { return host.Lib.CacheLookup(client, host.KeysFor("c", "k"), nil, f) }, "answer"},
		"cache_lookup_async keys":      {func(f *host.Failure) host.Code { return host.Lib.CacheLookupAsync(client, nil, 0, &out, &call, f) }, "keys"},
		"cache_lookup_async answer": {func(f *host.Failure) host.Code {
			return host.Lib.CacheLookupAsync(client, host.KeysFor("c", "k"), 0, nil, &call, f)
		}, "answer"},
		"cache_lookup_async call": {func(f *host.Failure) host.Code {
			return host.Lib.CacheLookupAsync(client, host.KeysFor("c", "k"), 0, &out, nil, f)
		}, "call"},
		"cache_answer_value status": {func(f *host.Failure) host.Code {
			return host.Lib.CacheAnswerValue(answer, host.CacheResult, nil, nil, nil, 0, &size, f)
		}, "status"},
		"cache_set entry":       {func(f *host.Failure) host.Code { return host.Lib.CacheSet(client, nil, f) }, "entry"},
		"cache_set_async entry": {func(f *host.Failure) host.Code { return host.Lib.CacheSetAsync(client, nil, 0, &call, f) }, "entry"},
		"cache_set_async call": {func(f *host.Failure) host.Code {
			return host.Lib.CacheSetAsync(client, host.EntryFor("c", "k", "v"), 0, nil, f)
		}, "call"},
		"cache_delete key":       {func(f *host.Failure) host.Code { return host.Lib.CacheDelete(client, nil, f) }, "key"},
		"cache_delete_async key": {func(f *host.Failure) host.Code { return host.Lib.CacheDeleteAsync(client, nil, 0, &call, f) }, "key"},
		"cache_delete_async call": {func(f *host.Failure) host.Code {
			return host.Lib.CacheDeleteAsync(client, host.KeyFor("c", "k"), 0, nil, f)
		}, "call"},
		"client_options_from_environment options": {func(f *host.Failure) host.Code { return host.Lib.ClientOptionsFromEnvironment(nil, f) }, "options"},
		"client_completion_fd fd":                 {func(f *host.Failure) host.Code { return host.Lib.ClientCompletionFD(client, nil, f) }, "fd"},
		"client_poll completions":                 {func(f *host.Failure) host.Code { return host.Lib.ClientPoll(client, nil, 1, &size, f) }, "completions"},
		"client_poll capacity":                    {func(f *host.Failure) host.Code { return host.Lib.ClientPoll(client, host.NewCompletion(), 0, &size, f) }, "capacity"},
		"client_poll count":                       {func(f *host.Failure) host.Code { return host.Lib.ClientPoll(client, host.NewCompletion(), 1, nil, f) }, "count"},
		"call_wait completion":                    {func(f *host.Failure) host.Code { return host.Lib.CallWait(pendingCall, 0, nil, f) }, "completion"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			failed := host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, test.invoke(failed))
			require.Contains(t, failed.Text(), test.names)
			require.Equal(t, host.ErrorInvalidArgument, test.invoke(nil))
		})
	}
	require.Equal(t, host.OK, host.Lib.CallCancel(pendingCall, nil), "the call was not taken")
	host.Take(t, pendingCall)
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil), "the flow was not ended")
}

// lookedUp returns an answer of the cache, closed at the end of the test.
func lookedUp(t *testing.T, client host.Handle) host.Handle {
	t.Helper()
	var answer host.Handle
	failed := host.NewFailure()
	require.Equal(t, host.OK, host.Lib.CacheLookup(client, host.KeysFor("checkout", "key"), &answer, failed), failed.Text())
	t.Cleanup(func() { host.Lib.CacheAnswerClose(answer, nil) })
	return answer
}

// withTail is a struct as a later header may have it.
type withTail[T any] struct {
	known T
	tail  [2]uint64
}

// sizeCase is a call with one struct that starts with its struct_size.
func sizeCase[T any](name string, made T, invoke func(*T, *host.Failure) host.Code) (string, func(*testing.T)) {
	return name, func(t *testing.T) {
		set := func(larger *withTail[T], size uintptr) { *(*uintptr)(unsafe.Pointer(larger)) = size }
		known := unsafe.Sizeof(made)
		for size, tail := range map[uintptr]uint64{0: 0, 8: 0, known - 1: 0, known + 16: 1, 1 << 40: 0, math.MaxUint64: 0} {
			larger := &withTail[T]{known: made}
			set(larger, size)
			larger.tail[1] = tail
			before, failed := *larger, host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, invoke(&larger.known, failed), "struct_size %d", size)
			require.Contains(t, failed.Text(), name+": struct_size is ")
			require.Equal(t, before, *larger, "a refused struct was written to")
		}
		larger := &withTail[T]{known: made}
		set(larger, known+16)
		failed := host.NewFailure()
		require.Equal(t, host.OK, invoke(&larger.known, failed), "larger, with nothing that the library does not know: %s", failed.Text())
		require.Zero(t, larger.tail, "written behind the struct")
		require.Equal(t, known+16, *(*uintptr)(unsafe.Pointer(larger)), "struct_size is the caller's")
	}
}

func TestStructSizes(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.OpenClient(t, host.OptionsFor("local:"))
	remote := host.ReadyClient(t, agent)
	flow, _ := host.Start(t, client, host.ParamsFor("checkout"))
	open, _ := host.Start(t, client, host.ParamsFor("checkout"))
	ended, _ := host.Start(t, client, host.ParamsFor("checkout"))
	require.Equal(t, host.OK, host.Lib.FlowEnd(ended, nil, nil))
	keep := func(code host.Code, opened host.Handle) host.Code {
		if opened != 0 {
			host.Lib.FlowClose(opened, nil)
			host.Lib.ClientClose(opened, 0, nil)
		}
		return code
	}
	run := func(name string, test func(*testing.T)) { t.Run(name, test) }
	run(sizeCase("options", *host.OptionsFor("local:"), func(in *host.ClientOptions, f *host.Failure) host.Code {
		var made host.Handle
		return keep(host.Lib.NewClient(in, &made, f), made)
	}))
	run(sizeCase("params", *host.ParamsFor("checkout"), func(in *host.FlowParams, f *host.Failure) host.Code {
		var made host.Handle
		return keep(host.Lib.StartFlow(client, in, &made, nil, f), made)
	}))
	run(sizeCase("params", *host.ParamsFor("checkout"), func(in *host.FlowParams, f *host.Failure) host.Code {
		var made, call host.Handle
		return keep(host.Lib.StartFlowAsync(client, in, 0, &made, nil, &call, f), made)
	}))
	run(sizeCase("decision", host.Decision{}, func(out *host.Decision, f *host.Failure) host.Code {
		var made host.Handle
		return keep(host.Lib.StartFlow(client, host.ParamsFor("checkout"), &made, out, f), made)
	}))
	run(sizeCase("decision", host.Decision{}, func(out *host.Decision, f *host.Failure) host.Code { return host.Lib.FlowDecision(flow, out, f) }))
	run(sizeCase("stats", host.Stats{}, func(out *host.Stats, f *host.Failure) host.Code { return host.Lib.ClientStats(client, out, f) }))
	run(sizeCase("failure", host.Failure{}, func(out *host.Failure, f *host.Failure) host.Code { return host.Lib.FlowError(flow, out, f) }))
	run(sizeCase("result", host.EndResult{}, func(out *host.EndResult, f *host.Failure) host.Code { return host.Lib.FlowEndResult(ended, out, f) }))
	run(sizeCase("result", host.EndResult{}, func(out *host.EndResult, f *host.Failure) host.Code { return host.Lib.FlowEnd(flow, out, f) }))
	run(sizeCase("completions[0]", host.Completion{}, func(out *host.Completion, f *host.Failure) host.Code {
		var count uintptr
		return host.Lib.ClientPoll(client, out, 1, &count, f)
	}))
	run(sizeCase("attribute", *host.IntegerAttribute("tokens", 1), func(in *host.Attribute, f *host.Failure) host.Code {
		return host.Lib.FlowSetAttribute(open, in, f)
	}))
	run(sizeCase("keys", *host.KeysFor("checkout", "key"), func(in *host.CacheKeys, f *host.Failure) host.Code {
		var answer host.Handle
		got := host.Lib.CacheLookup(client, in, &answer, f)
		host.Lib.CacheAnswerClose(answer, nil)
		return got
	}))
	run(sizeCase("entry", *host.EntryFor("checkout", "key", "value"), func(in *host.CacheEntry, f *host.Failure) host.Code {
		return host.Lib.CacheSet(remote, in, f)
	}))
	run(sizeCase("key", *host.KeyFor("checkout", "key"), func(in *host.CacheKey, f *host.Failure) host.Code {
		return host.Lib.CacheDelete(client, in, f)
	}))
	call := host.StartAsync(t, remote, 1, host.Patient(host.ParamsFor("checkout")))
	run(sizeCase("completion", host.Completion{}, func(out *host.Completion, f *host.Failure) host.Code {
		got := host.Lib.CallWait(call, int64(host.Soon), out, f)
		return keep(got, out.Flow)
	}))
}

func TestBadFlowParams(t *testing.T) {
	host.NoLeak(t)
	local := host.OpenClient(t, host.OptionsFor("local:"))
	remote := host.ReadyClient(t, host.StartAgent(t))
	broken := unsafe.StringData("checkout")
	tests := map[string]struct {
		change func(*host.FlowParams)
		names  string
	}{
		"empty control point":        {func(p *host.FlowParams) { p.ControlPoint = host.Text{} }, "control point"},
		"control point without data": {func(p *host.FlowParams) { p.ControlPoint = host.Text{Data: nil, Length: 4} }, "control_point"},
		"huge control point":         {func(p *host.FlowParams) { p.ControlPoint = host.Text{Data: broken, Length: math.MaxUint64} }, "control_point"},
		"control point of 2 GiB":     {func(p *host.FlowParams) { p.ControlPoint = host.Text{Data: broken, Length: math.MaxInt32} }, "control point"},
		"control point not UTF-8":    {func(p *host.FlowParams) { p.ControlPoint = host.TextOf("check\xffout") }, "control point"},
		"negative timeout":           {func(p *host.FlowParams) { p.CheckTimeoutNS = -1 }, "check timeout"},
		"most negative timeout":      {func(p *host.FlowParams) { p.CheckTimeoutNS = math.MinInt64 }, "check timeout"},
		"ramp_mode 2":                {func(p *host.FlowParams) { p.RampMode = 2 }, "ramp_mode"},
		"ramp_mode -1":               {func(p *host.FlowParams) { p.RampMode = -1 }, "ramp_mode"},
		"reserved":                   {func(p *host.FlowParams) { p.Reserved = 1 }, "reserved"},
		"count without labels":       {func(p *host.FlowParams) { p.LabelCount = 1 }, "labels"},
		"huge label count":           {func(p *host.FlowParams) { p.Labels, p.LabelCount = &host.Label{}, math.MaxUint64 }, "label_count"},
		"key without data": {func(p *host.FlowParams) {
			p.Labels, p.LabelCount = &host.Label{Key: host.Text{Data: nil, Length: 1}}, 1
		}, "a key"},
		"value without data": {func(p *host.FlowParams) {
			p.Labels, p.LabelCount = &host.Label{Value: host.Text{Data: nil, Length: 1}}, 1
		}, "a value"},
		"huge value": {func(p *host.FlowParams) {
			p.Labels, p.LabelCount = &host.Label{Value: host.Text{Data: broken, Length: math.MaxUint64}}, 1
		}, "a value"},
		"value of 2 GiB": {func(p *host.FlowParams) {
			p.Labels, p.LabelCount = &host.Label{Value: host.Text{Data: broken, Length: math.MaxInt32}}, 1
		}, "labels"},
		"labels over the limit": {func(p *host.FlowParams) {
			p.Labels, p.LabelCount = &host.Label{Key: host.TextOf("key"), Value: host.TextOf(strings.Repeat("v", 4_000_001))}, 1
		}, "4000000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, client := range []host.Handle{local, remote} {
				params := host.ParamsFor("checkout")
				test.change(params)
				var flow, call host.Handle = 7, 7
				failed := host.NewFailure()
				require.Equal(t, host.ErrorInvalidArgument, host.Lib.StartFlow(client, params, &flow, host.NewDecision(), failed))
				require.Contains(t, failed.Text(), test.names)
				require.Zero(t, flow)
				flow = 7
				failed = host.NewFailure()
				require.Equal(t, host.ErrorInvalidArgument, host.Lib.StartFlowAsync(client, params, 0, &flow, host.NewDecision(), &call, failed))
				require.Contains(t, failed.Text(), test.names)
				require.Zero(t, flow)
				require.Zero(t, call)
			}
		})
	}
	for _, client := range []host.Handle{local, remote} {
		counted := host.ReadStats(t, client)
		require.Zero(t, counted.FlowsAccepted+counted.FlowsRejected+counted.FlowsUnreachable, "a refused flow was counted")
	}
}

func TestUnusualFlowParamsWork(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	many := make([]string, 0, 20_000)
	for number := range 10_000 {
		many = append(many, user(number), "value")
	}
	huge := host.ParamsFor("checkout")
	huge.CheckTimeoutNS = math.MaxInt64
	for name, params := range map[string]*host.FlowParams{
		"ten thousand labels": host.Patient(host.ParamsFor("checkout", many...)),
		"value of 1 MiB":      host.Patient(host.ParamsFor("checkout", "key", strings.Repeat("v", 1<<20))),
		"just below 4 MB":     host.Patient(host.ParamsFor("checkout", "key", strings.Repeat("v", 3_900_000))),
		"NUL in a value":      host.Patient(host.ParamsFor("checkout", "key", "a\x00b")),
		"empty key":           host.Patient(host.ParamsFor("checkout", "", "value")),
		"huge timeout":        huge,
	} {
		t.Run(name, func(t *testing.T) {
			_, decided := host.Start(t, client, params)
			require.EqualValues(t, host.Accepted, decided.Decision)
		})
	}
	checks := agent.Recorded().Checks
	require.True(t, slices.ContainsFunc(checks, func(seen fakeagent.Call[*checkv1.CheckRequest]) bool {
		return len(seen.Request.GetLabels()) == 10_000
	}))
	require.True(t, slices.ContainsFunc(checks, func(seen fakeagent.Call[*checkv1.CheckRequest]) bool {
		return seen.Request.GetLabels()["key"] == "a\x00b"
	}))
}

func TestLabelsThatAreNotUTF8AreRepaired(t *testing.T) {
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	_, decided := host.Start(t, client, host.Patient(host.ParamsFor("checkout", "tier", "go\xffld", "k\xfe", "v")))
	require.EqualValues(t, host.Accepted, decided.Decision)
	require.Equal(t, map[string]string{"tier": "go\uFFFDld", "k\uFFFD": "v"}, agent.Recorded().Checks[0].Request.GetLabels())
	require.EqualValues(t, 1, host.ReadStats(t, client).FlowsSanitised)
}

func TestBadOptions(t *testing.T) {
	host.NoLeak(t)
	broken := unsafe.StringData("local:")
	tests := map[string]struct {
		change func(*host.ClientOptions)
		names  string
	}{
		"empty address":            {func(o *host.ClientOptions) { o.Address = host.Text{} }, "address"},
		"address without data":     {func(o *host.ClientOptions) { o.Address = host.Text{Data: nil, Length: 6} }, "options.address"},
		"huge address":             {func(o *host.ClientOptions) { o.Address = host.Text{Data: broken, Length: math.MaxUint64} }, "options.address"},
		"no port":                  {func(o *host.ClientOptions) { o.Address = host.TextOf("localhost") }, "address"},
		"no host":                  {func(o *host.ClientOptions) { o.Address = host.TextOf(":8080") }, "address"},
		"bad port":                 {func(o *host.ClientOptions) { o.Address = host.TextOf("localhost:99999") }, "address"},
		"spaces":                   {func(o *host.ClientOptions) { o.Address = host.TextOf("local host:80") }, "address"},
		"not UTF-8":                {func(o *host.ClientOptions) { o.Address = host.TextOf("h\xffst:80") }, "address"},
		"NUL":                      {func(o *host.ClientOptions) { o.Address = host.TextOf("local:a\x00b") }, "address"},
		"scheme":                   {func(o *host.ClientOptions) { o.Address = host.TextOf("http://localhost:80") }, "address"},
		"key with a newline":       {func(o *host.ClientOptions) { o.APIKey = host.TextOf("secret\n") }, "API key"},
		"key without data":         {func(o *host.ClientOptions) { o.APIKey = host.Text{Data: nil, Length: 1} }, "options.api_key"},
		"user agent with newline":  {func(o *host.ClientOptions) { o.UserAgent = host.TextOf("a\nb") }, "user agent"},
		"server name and insecure": {func(o *host.ClientOptions) { o.ServerName = host.TextOf("agent") }, "server name"},
		"CA file and insecure":     {func(o *host.ClientOptions) { o.CAFile = host.TextOf("ca.pem") }, "CA file"},
		"missing CA file":          {func(o *host.ClientOptions) { o.Insecure, o.CAFile = 0, host.TextOf("/does/not/exist.pem") }, "CA file"},
		"insecure 2":               {func(o *host.ClientOptions) { o.Insecure = 2 }, "options.insecure"},
		"telemetry_off -1":         {func(o *host.ClientOptions) { o.TelemetryOff = -1 }, "options.telemetry_off"},
		"negative flow end":        {func(o *host.ClientOptions) { o.FlowEndTimeoutNS = -1 }, "flow end timeout"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			options := host.OptionsFor("127.0.0.1:8080")
			test.change(options)
			var client host.Handle = 7
			failed := host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.NewClient(options, &client, failed))
			require.Contains(t, failed.Text(), test.names)
			require.NotContains(t, failed.Text(), "secret")
			require.Zero(t, client)
		})
	}
}

func TestHugeOptionsWork(t *testing.T) {
	host.NoLeak(t)
	options := host.OptionsFor("127.0.0.1:8080")
	options.FlowEndTimeoutNS, options.MaxPendingCalls = math.MaxInt64, math.MaxUint64
	client := host.OpenClient(t, options)
	require.Equal(t, host.OK, host.Lib.ClientClose(client, math.MaxInt64, nil))
}

func TestBadPolicyFiles(t *testing.T) {
	host.NoLeak(t)
	directory := t.TempDir()
	missing := filepath.Join(directory, "missing.yaml")
	for name, test := range map[string]struct {
		path    string
		message string
	}{
		"missing":     {missing, "missing.yaml"},
		"a directory": {directory, directory},
		"empty":       {host.WriteFile(t, ""), "policies.yaml"},
		"not YAML":    {host.WriteFile(t, "blueprint: [\n"), `policies\.yaml:\d+`},
		"wrong type":  {host.WriteFile(t, strings.Replace(host.OnePerHour, "bucket_capacity: 1", "bucket_capacity: many", 1)), `policies\.yaml:5:\d+: .*many`},
		"wrong key":   {host.WriteFile(t, strings.Replace(host.OnePerHour, "fill_amount", "fil_amount", 1)), `policies\.yaml:6:\d+: .*fil_amount`},
		"unknown":     {host.WriteFile(t, strings.Replace(host.OnePerHour, "rate-limiting/base", "no-such/blueprint", 1)), `policies\.yaml:1:\d+: .*no-such`},
		"binary":      {host.WriteFile(t, "\x00\x01\xff"), "policies.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			var client host.Handle = 7
			failed := host.NewFailure()
			require.Equal(t, host.ErrorPolicy, host.Lib.NewClient(host.OptionsFor("local:"+test.path), &client, failed), failed.Text())
			require.Regexp(t, test.message, failed.Text())
			require.Zero(t, client)
		})
	}
}

func TestBadTimeouts(t *testing.T) {
	host.NoLeak(t)
	_, client := hanging(t)
	call := host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout")))
	var out host.Handle
	for name, invoke := range map[string]func(int64, *host.Failure) host.Code{
		"client_wait_ready": func(ns int64, f *host.Failure) host.Code { return host.Lib.ClientWaitReady(client, ns, f) },
		"client_wait_ready_async": func(ns int64, f *host.Failure) host.Code {
			return host.Lib.ClientWaitReadyAsync(client, ns, 0, &out, f)
		},
		"client_close":       func(ns int64, f *host.Failure) host.Code { return host.Lib.ClientClose(client, ns, f) },
		"client_close_async": func(ns int64, f *host.Failure) host.Code { return host.Lib.ClientCloseAsync(client, ns, 0, &out, f) },
		"call_wait":          func(ns int64, f *host.Failure) host.Code { return host.Lib.CallWait(call, ns, host.NewCompletion(), f) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, negative := range []int64{-1, math.MinInt64} {
				failed := host.NewFailure()
				require.Equal(t, host.ErrorInvalidArgument, invoke(negative, failed))
				require.Contains(t, failed.Text(), "timeout_ns")
			}
		})
	}
	require.Equal(t, host.OK, host.Lib.ClientWaitReady(client, math.MaxInt64, nil), "a huge timeout")
	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
	require.Equal(t, host.OK, host.Lib.CallWait(call, math.MaxInt64, host.NewCompletion(), nil), "a huge timeout")
}

func TestUnknownFlowStatus(t *testing.T) {
	client := host.OpenClient(t, host.OptionsFor("local:"))
	flow, _ := host.Start(t, client, host.ParamsFor("checkout"))
	for _, status := range []int32{2, -1, math.MaxInt32, math.MinInt32, 256} {
		failed := host.NewFailure()
		require.Equal(t, host.ErrorInvalidArgument, host.Lib.FlowSetStatus(flow, status, failed))
		require.Contains(t, failed.Text(), "status")
	}
}

func TestLongMessagesAreCutBetweenCharacters(t *testing.T) {
	for shift := range 4 { // one of them would fall into the middle of a character
		path := filepath.Join(t.TempDir(), strings.Repeat("x", shift)+strings.Repeat("/"+strings.Repeat("\U0001F600", 50), 10))
		var client host.Handle
		failed := host.NewFailure()
		for i := range failed.Message {
			failed.Message[i] = 0xAA
		}
		require.Equal(t, host.ErrorPolicy, host.Lib.NewClient(host.OptionsFor("local:"+path), &client, failed))
		require.LessOrEqual(t, int(failed.MessageLength), 1007)
		require.Greater(t, int(failed.MessageLength), 1007-utf8.UTFMax)
		require.Zero(t, failed.Message[failed.MessageLength], "not terminated")
		require.Len(t, failed.Text(), int(failed.MessageLength))
		require.True(t, utf8.ValidString(failed.Text()))
	}
}

// A refused client has opened nothing.
func TestNothingIsLeftBehindByRefusedClients(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before := descriptors()
	for range 50 {
		var client host.Handle
		host.Lib.NewClient(host.OptionsFor("local:/does/not/exist.yaml"), &client, nil)
		host.Lib.NewClient(host.OptionsFor("nonsense"), &client, nil)
	}
	require.LessOrEqual(t, descriptors(), before+2)
}
