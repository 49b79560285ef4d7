package faults

import (
	"math"
	"strings"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// objects are a handle of each kind, on which every function works; local is a client of the local engine.
type objects struct {
	client, flow, call, answer, local host.Handle
}

// open makes them.
func (c *child) open() objects {
	agent := c.agentWithTokens()
	client := host.ReadyClient(c.T, agent)
	flow, _ := host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	agent.Set(fakeagent.Behaviour{InFlight: 1, Check: fakeagent.Trouble{Hang: true}})
	var answer host.Handle
	require.Equal(c, host.OK, host.Lib.CacheLookup(client, host.KeysFor("checkout", "key"), &answer, nil))
	c.Cleanup(func() { host.Lib.CacheAnswerClose(answer, nil) })
	call := host.StartAsync(c.T, client, 1, host.Patient(host.ParamsFor("checkout")))
	return objects{client, flow, call, answer, host.OpenClient(c.T, host.OptionsFor("local:"))}
}

// functions calls each function that has an error struct, with arguments with which it succeeds.
var functions = map[string]func(o objects, out, call *host.Handle, f *host.Failure) host.Code{
	"aperture_new_client": func(_ objects, out, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.NewClient(host.OptionsFor("local:"), out, f)
	},
	"aperture_client_wait_ready": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.ClientWaitReady(o.client, int64(host.Soon), f)
	},
	"aperture_client_wait_ready_async": func(o objects, _, call *host.Handle, f *host.Failure) host.Code {
		return host.Lib.ClientWaitReadyAsync(o.client, int64(host.Soon), 2, call, f)
	},
	"aperture_client_state": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var state int32
		return host.Lib.ClientState(o.client, &state, f)
	},
	"aperture_client_stats": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.ClientStats(o.client, &host.Stats{StructSize: unsafe.Sizeof(host.Stats{})}, f)
	},
	"aperture_client_close": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.ClientClose(o.client, int64(host.Soon), f)
	},
	"aperture_client_close_async": func(o objects, _, call *host.Handle, f *host.Failure) host.Code {
		return host.Lib.ClientCloseAsync(o.client, int64(host.Soon), 2, call, f)
	},
	"aperture_start_flow": func(o objects, out, _ *host.Handle, f *host.Failure) host.Code {
		params := host.ParamsFor("checkout") // the agent hangs, so that this flow fails open
		params.CheckTimeoutNS = 1
		return host.Lib.StartFlow(o.client, params, out, host.NewDecision(), f)
	},
	"aperture_start_flow_async": func(o objects, out, call *host.Handle, f *host.Failure) host.Code {
		return host.Lib.StartFlowAsync(o.client, host.Patient(host.ParamsFor("checkout")), 2, out, host.NewDecision(), call, f)
	},
	"aperture_flow_should_run": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var run int32
		return host.Lib.FlowShouldRun(o.flow, &run, f)
	},
	"aperture_flow_decision": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowDecision(o.flow, host.NewDecision(), f)
	},
	"aperture_flow_error": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowError(o.flow, host.NewFailure(), f)
	},
	"aperture_flow_set_status": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowSetStatus(o.flow, host.FlowStatusError, f)
	},
	"aperture_flow_end": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowEnd(o.flow, host.NewEndResult(), f)
	},
	"aperture_flow_end_async": func(o objects, _, call *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowEndAsync(o.flow, 2, host.NewEndResult(), call, f)
	},
	"aperture_flow_end_result": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowEndResult(o.flow, host.NewEndResult(), f)
	},
	"aperture_flow_end_response": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var length uintptr
		return host.Lib.FlowEndResponse(o.flow, nil, 0, &length, f)
	},
	"aperture_client_reload": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.ClientReload(o.local, f)
	},
	"aperture_client_snapshot": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var buffer [4096]byte
		var length uintptr
		return host.Lib.ClientSnapshot(o.local, &buffer[0], uintptr(len(buffer)), &length, f)
	},
	"aperture_flow_check_response": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var buffer [4096]byte
		var length uintptr
		return host.Lib.FlowCheckResponse(o.flow, &buffer[0], uintptr(len(buffer)), &length, f)
	},
	"aperture_flow_cache_value": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var status int32
		var length uintptr
		return host.Lib.FlowCacheValue(o.flow, host.CacheResult, nil, &status, nil, 0, &length, f)
	},
	"aperture_flow_set_attribute": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowSetAttribute(o.flow, host.IntegerAttribute("tokens", 1), f)
	},
	"aperture_cache_lookup": func(o objects, out, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CacheLookup(o.client, host.KeysFor("checkout", "key"), out, f)
	},
	"aperture_cache_lookup_async": func(o objects, out, call *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CacheLookupAsync(o.client, host.KeysFor("checkout", "key"), 2, out, call, f)
	},
	"aperture_cache_answer_value": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var status int32
		var length uintptr
		return host.Lib.CacheAnswerValue(o.answer, host.CacheResult, nil, &status, nil, 0, &length, f)
	},
	"aperture_cache_answer_close": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CacheAnswerClose(o.answer, f)
	},
	"aperture_cache_set": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CacheSet(o.client, host.EntryFor("checkout", "key", "value"), f)
	},
	"aperture_cache_set_async": func(o objects, _, call *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CacheSetAsync(o.client, host.EntryFor("checkout", "key", "value"), 2, call, f)
	},
	"aperture_cache_delete": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CacheDelete(o.client, host.KeyFor("checkout", "key"), f)
	},
	"aperture_cache_delete_async": func(o objects, _, call *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CacheDeleteAsync(o.client, host.KeyFor("checkout", "key"), 2, call, f)
	},
	"aperture_flow_close": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.FlowClose(o.flow, f)
	},
	"aperture_client_completion_fd": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var fd int32
		return host.Lib.ClientCompletionFD(o.client, &fd, f)
	},
	"aperture_client_poll": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		var count uintptr
		return host.Lib.ClientPoll(o.client, host.NewCompletion(), 1, &count, f)
	},
	"aperture_call_wait": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		host.Lib.CallCancel(o.call, nil)
		return host.Lib.CallWait(o.call, int64(host.Soon), host.NewCompletion(), f)
	},
	"aperture_call_cancel": func(o objects, _, _ *host.Handle, f *host.Failure) host.Code {
		return host.Lib.CallCancel(o.call, f)
	},
}

// functionCases returns the cases of the functions: the call in which the panic is fails, and the same call succeeds
// afterwards.
func functionCases() map[string]fault {
	all := map[string]fault{
		"aperture_live_handles": {trace: "main.aperture_go_live_handles", run: func(c *child) {
			host.OpenClient(c.T, host.OptionsFor("local:")) // before the first client there is no Go to ask
			before := host.Lib.LiveHandles()
			c.arm()
			require.EqualValues(c, uint64(math.MaxUint64), host.Lib.LiveHandles())
			require.Equal(c, before, host.Lib.LiveHandles())
		}},
		"aperture_configure": {trace: "main.aperture_go_configure", run: func(c *child) {
			host.OpenClient(c.T, host.OptionsFor("local:"))
			options := host.NewProcessOptions()
			options.LogFD = int32(c.log.Fd())
			c.arm()
			failed := host.NewFailure()
			require.Equal(c, host.ErrorInternal, host.Lib.Configure(options, failed))
			require.Equal(c, host.ErrorInternal, failed.Code)
			require.Equal(c, host.OK, host.Lib.Configure(options, failed))
		}},
		"aperture_close_clients_with_thread": {trace: "main.aperture_go_close_clients_with_thread", run: func(c *child) {
			client := host.OpenClient(c.T, host.OptionsFor("local:"))
			c.arm()
			host.OnThreadThatEnds(func() {
				failed := host.NewFailure()
				c.internal(host.Lib.CloseClientsWithThread(failed), failed)
				require.Equal(c, host.OK, host.Lib.CloseClientsWithThread(failed))
			})
			host.CloseClient(c.T, client)
		}},
	}
	for name, invoke := range functions {
		all[name] = fault{
			trace: "main." + strings.Replace(name, "aperture_", "aperture_go_", 1),
			run:   func(c *child) { c.failsOnce(invoke) },
		}
	}
	return all
}

// failsOnce makes a call that panics, and then again.
func (c *child) failsOnce(invoke func(o objects, out, call *host.Handle, f *host.Failure) host.Code) {
	o := c.open()
	var out, call host.Handle
	failed := host.NewFailure()
	c.arm()
	c.internal(invoke(o, &out, &call, failed), failed)
	require.Zero(c, out)
	require.Zero(c, call)

	code := invoke(o, &out, &call, failed)
	require.Contains(c, []host.Code{host.OK, host.Pending, host.ErrorNoAnswer}, code, failed.Text())
	if out != 0 {
		c.Cleanup(func() {
			host.Lib.FlowClose(out, nil)
			host.Lib.CacheAnswerClose(out, nil)
			host.Lib.ClientClose(out, 0, nil)
		})
	}
	if call != 0 {
		host.Lib.CallCancel(call, nil)
		done := host.Take(c.T, call)
		if done.Flow != o.flow {
			host.Lib.FlowClose(done.Flow, nil)
		}
		host.Lib.CacheAnswerClose(done.Answer, nil)
	}
}
