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

	"github.com/libaperture/libaperture/tests/fakeagent"
)

// call is a function with all arguments good except for the handle.
type call func(handle, *failure) code

// byKind lists every function that takes a handle, by the kind that it takes. The arguments are good, so that the only
// thing wrong is the handle.
func byKind() map[string]map[string]call {
	var out handle
	var number int32
	var size uintptr
	counted := &stats{structSize: unsafe.Sizeof(stats{})}
	return map[string]map[string]call{
		"client": {
			"client_wait_ready":       func(h handle, f *failure) code { return lib.clientWaitReady(h, 0, f) },
			"client_wait_ready_async": func(h handle, f *failure) code { return lib.clientWaitReadyAsync(h, 0, 0, &out, f) },
			"client_stats":            func(h handle, f *failure) code { return lib.clientStats(h, counted, f) },
			"client_close":            func(h handle, f *failure) code { return lib.clientClose(h, 0, f) },
			"client_close_async":      func(h handle, f *failure) code { return lib.clientCloseAsync(h, 0, 0, &out, f) },
			"start_flow":              func(h handle, f *failure) code { return lib.startFlow(h, paramsFor("c"), &out, nil, f) },
			"start_flow_async": func(h handle, f *failure) code {
				return lib.startFlowAsync(h, paramsFor("c"), 0, &out, nil, &out, f)
			},
			"client_completion_fd": func(h handle, f *failure) code { return lib.clientCompletionFD(h, &number, f) },
			"client_poll":          func(h handle, f *failure) code { return lib.clientPoll(h, newCompletion(), 1, &size, f) },
		},
		"flow": {
			"flow_should_run":   func(h handle, f *failure) code { return lib.flowShouldRun(h, &number, f) },
			"flow_decision":     func(h handle, f *failure) code { return lib.flowDecision(h, newDecision(), f) },
			"flow_error":        func(h handle, f *failure) code { return lib.flowError(h, newFailure(), f) },
			"flow_set_status":   func(h handle, f *failure) code { return lib.flowSetStatus(h, 0, f) },
			"flow_end":          func(h handle, f *failure) code { return lib.flowEnd(h, nil, f) },
			"flow_end_async":    func(h handle, f *failure) code { return lib.flowEndAsync(h, 0, nil, &out, f) },
			"flow_end_result":   func(h handle, f *failure) code { return lib.flowEndResult(h, nil, f) },
			"flow_end_response": func(h handle, f *failure) code { return lib.flowEndResponse(h, nil, 0, &size, f) },
			"flow_close":        func(h handle, f *failure) code { return lib.flowClose(h, f) },
		},
		"call": {
			"call_wait":   func(h handle, f *failure) code { return lib.callWait(h, 0, newCompletion(), f) },
			"call_cancel": func(h handle, f *failure) code { return lib.callCancel(h, f) },
		},
	}
}

func TestBadHandles(t *testing.T) {
	noLeak(t)
	_, client := hanging(t)
	local := openClient(t, optionsFor("local:"))
	flow, _ := start(t, local, paramsFor("checkout"))
	pendingCall := startAsync(t, client, 1, patient(paramsFor("checkout")))
	staleClient := openClient(t, optionsFor("local:"))
	staleFlow, _ := start(t, staleClient, paramsFor("checkout"))
	require.Equal(t, ok, lib.flowClose(staleFlow, nil))
	closeClient(t, staleClient)

	bad := map[string]handle{
		"NULL": 0, "one": 1, "all ones": ^handle(0), "an address": handle(uintptr(unsafe.Pointer(newFailure()))),
		"stale client": staleClient, "stale flow": staleFlow,
		"next generation": flow + 1<<22, "next slot": flow + 8, "another kind": flow ^ 3<<50, "high bits": flow | 1<<60,
		"client": client, "flow": flow, "call": pendingCall,
	}
	functions := 8 + 1 // those of the library, and new_client
	for kind, calls := range byKind() {
		functions += len(calls)
		for function, invoke := range calls {
			for name, number := range bad {
				if name == kind {
					continue
				}
				failed := newFailure()
				require.Equal(t, errorInvalidHandle, invoke(number, failed), "%s(%s)", function, name)
				require.Equal(t, errorInvalidHandle, failed.code)
				require.Contains(t, failed.text(), kind+":", "%s(%s)", function, name)
				require.Equal(t, errorInvalidHandle, invoke(number, nil), "%s(%s) without an error struct", function, name)
			}
		}
	}
	require.Equal(t, functions, len(readLayout(t).Functions), "a function is not in the table")
	require.Equal(t, ok, lib.callCancel(pendingCall, nil), "the good ones still work")
	require.Equal(t, errorCancelled, take(t, pendingCall).code)
}

func TestBadErrorStructs(t *testing.T) {
	noLeak(t)
	client := openClient(t, optionsFor("local:"))
	flow, _ := start(t, client, paramsFor("checkout"))
	_, remote := hanging(t)
	pendingCall := startAsync(t, remote, 1, patient(paramsFor("checkout")))
	live := map[string]handle{"client": client, "flow": flow, "call": pendingCall}
	for kind, calls := range byKind() {
		for function, invoke := range calls {
			for _, size := range []uintptr{0, 1, 16, unsafe.Sizeof(failure{}) - 1} {
				failed := &failure{structSize: size, code: 77}
				require.Equal(t, errorInvalidArgument, invoke(live[kind], failed), "%s with struct_size %d", function, size)
				require.Equal(t, failure{structSize: size, code: 77}, *failed, "%s wrote to a struct of %d bytes", function, size)
			}
		}
	}
	var made handle
	require.Equal(t, errorInvalidArgument, lib.newClient(optionsFor("local:"), &made, &failure{}))
	require.Zero(t, made)
	require.Zero(t, readStats(t, client).flowsEnded, "a refused call did its work")

	larger := struct {
		failure
		added [4]uint64
	}{failure: failure{structSize: unsafe.Sizeof(failure{}) + 32}}
	require.Equal(t, ok, lib.flowSetStatus(flow, 0, &larger.failure), "an error struct of a later header")
	require.Zero(t, larger.added)
	require.Equal(t, ok, lib.callCancel(pendingCall, nil))
	take(t, pendingCall)
}

func TestNULLArguments(t *testing.T) {
	noLeak(t)
	_, client := hanging(t)
	local := openClient(t, optionsFor("local:"))
	flow, _ := start(t, local, paramsFor("checkout"))
	pendingCall := startAsync(t, client, 1, patient(paramsFor("checkout")))
	var out, call handle
	var size uintptr
	tests := map[string]struct {
		invoke func(*failure) code
		names  string
	}{
		"new_client options":           {func(f *failure) code { return lib.newClient(nil, &out, f) }, "options"},
		"new_client client":            {func(f *failure) code { return lib.newClient(optionsFor("local:"), nil, f) }, "client"},
		"client_wait_ready_async call": {func(f *failure) code { return lib.clientWaitReadyAsync(client, 0, 0, nil, f) }, "call"},
		"client_stats stats":           {func(f *failure) code { return lib.clientStats(client, nil, f) }, "stats"},
		"client_close_async call":      {func(f *failure) code { return lib.clientCloseAsync(client, 0, 0, nil, f) }, "call"},
		"start_flow params":            {func(f *failure) code { return lib.startFlow(client, nil, &out, nil, f) }, "params"},
		"start_flow flow":              {func(f *failure) code { return lib.startFlow(client, paramsFor("c"), nil, nil, f) }, "flow"},
		"start_flow_async params":      {func(f *failure) code { return lib.startFlowAsync(client, nil, 0, &out, nil, &call, f) }, "params"},
		"start_flow_async flow":        {func(f *failure) code { return lib.startFlowAsync(client, paramsFor("c"), 0, nil, nil, &call, f) }, "flow"},
		"start_flow_async call":        {func(f *failure) code { return lib.startFlowAsync(client, paramsFor("c"), 0, &out, nil, nil, f) }, "call"},
		"flow_should_run should_run":   {func(f *failure) code { return lib.flowShouldRun(flow, nil, f) }, "should_run"},
		"flow_decision decision":       {func(f *failure) code { return lib.flowDecision(flow, nil, f) }, "decision"},
		"flow_error failure":           {func(f *failure) code { return lib.flowError(flow, nil, f) }, "failure"},
		"flow_end_async call":          {func(f *failure) code { return lib.flowEndAsync(flow, 0, nil, nil, f) }, "call"},
		"flow_end_response length":     {func(f *failure) code { return lib.flowEndResponse(flow, nil, 0, nil, f) }, "length"},
		"flow_end_response buffer":     {func(f *failure) code { return lib.flowEndResponse(flow, nil, 8, &size, f) }, "buffer"},
		"client_completion_fd fd":      {func(f *failure) code { return lib.clientCompletionFD(client, nil, f) }, "fd"},
		"client_poll completions":      {func(f *failure) code { return lib.clientPoll(client, nil, 1, &size, f) }, "completions"},
		"client_poll capacity":         {func(f *failure) code { return lib.clientPoll(client, newCompletion(), 0, &size, f) }, "capacity"},
		"client_poll count":            {func(f *failure) code { return lib.clientPoll(client, newCompletion(), 1, nil, f) }, "count"},
		"call_wait completion":         {func(f *failure) code { return lib.callWait(pendingCall, 0, nil, f) }, "completion"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			failed := newFailure()
			require.Equal(t, errorInvalidArgument, test.invoke(failed))
			require.Contains(t, failed.text(), test.names)
			require.Equal(t, errorInvalidArgument, test.invoke(nil))
		})
	}
	require.Equal(t, ok, lib.callCancel(pendingCall, nil), "the call was not taken")
	take(t, pendingCall)
	require.Equal(t, ok, lib.flowEnd(flow, nil, nil), "the flow was not ended")
}

// withTail is a struct as a later header may have it.
type withTail[T any] struct {
	known T
	tail  [2]uint64
}

// sizeCase is a call with one struct that starts with its struct_size.
func sizeCase[T any](name string, made T, invoke func(*T, *failure) code) (string, func(*testing.T)) {
	return name, func(t *testing.T) {
		set := func(larger *withTail[T], size uintptr) { *(*uintptr)(unsafe.Pointer(larger)) = size }
		known := unsafe.Sizeof(made)
		for size, tail := range map[uintptr]uint64{0: 0, 8: 0, known - 1: 0, known + 16: 1, 1 << 40: 0, math.MaxUint64: 0} {
			larger := &withTail[T]{known: made}
			set(larger, size)
			larger.tail[1] = tail
			before, failed := *larger, newFailure()
			require.Equal(t, errorInvalidArgument, invoke(&larger.known, failed), "struct_size %d", size)
			require.Contains(t, failed.text(), name+": struct_size is ")
			require.Equal(t, before, *larger, "a refused struct was written to")
		}
		larger := &withTail[T]{known: made}
		set(larger, known+16)
		failed := newFailure()
		require.Equal(t, ok, invoke(&larger.known, failed), "larger, with nothing that the library does not know: %s", failed.text())
		require.Zero(t, larger.tail, "written behind the struct")
		require.Equal(t, known+16, *(*uintptr)(unsafe.Pointer(larger)), "struct_size is the caller's")
	}
}

func TestStructSizes(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := openClient(t, optionsFor("local:"))
	remote := readyClient(t, agent)
	flow, _ := start(t, client, paramsFor("checkout"))
	ended, _ := start(t, client, paramsFor("checkout"))
	require.Equal(t, ok, lib.flowEnd(ended, nil, nil))
	keep := func(code code, opened handle) code {
		if opened != 0 {
			lib.flowClose(opened, nil)
			lib.clientClose(opened, 0, nil)
		}
		return code
	}
	run := func(name string, test func(*testing.T)) { t.Run(name, test) }
	run(sizeCase("options", *optionsFor("local:"), func(in *clientOptions, f *failure) code {
		var made handle
		return keep(lib.newClient(in, &made, f), made)
	}))
	run(sizeCase("params", *paramsFor("checkout"), func(in *flowParams, f *failure) code {
		var made handle
		return keep(lib.startFlow(client, in, &made, nil, f), made)
	}))
	run(sizeCase("params", *paramsFor("checkout"), func(in *flowParams, f *failure) code {
		var made, call handle
		return keep(lib.startFlowAsync(client, in, 0, &made, nil, &call, f), made)
	}))
	run(sizeCase("decision", decision{}, func(out *decision, f *failure) code {
		var made handle
		return keep(lib.startFlow(client, paramsFor("checkout"), &made, out, f), made)
	}))
	run(sizeCase("decision", decision{}, func(out *decision, f *failure) code { return lib.flowDecision(flow, out, f) }))
	run(sizeCase("stats", stats{}, func(out *stats, f *failure) code { return lib.clientStats(client, out, f) }))
	run(sizeCase("failure", failure{}, func(out *failure, f *failure) code { return lib.flowError(flow, out, f) }))
	run(sizeCase("result", endResult{}, func(out *endResult, f *failure) code { return lib.flowEndResult(ended, out, f) }))
	run(sizeCase("result", endResult{}, func(out *endResult, f *failure) code { return lib.flowEnd(flow, out, f) }))
	run(sizeCase("completions[0]", completion{}, func(out *completion, f *failure) code {
		var count uintptr
		return lib.clientPoll(client, out, 1, &count, f)
	}))
	call := startAsync(t, remote, 1, patient(paramsFor("checkout")))
	run(sizeCase("completion", completion{}, func(out *completion, f *failure) code {
		got := lib.callWait(call, int64(soon), out, f)
		return keep(got, out.flow)
	}))
}

func TestBadFlowParams(t *testing.T) {
	noLeak(t)
	local := openClient(t, optionsFor("local:"))
	remote := readyClient(t, startAgent(t))
	broken := unsafe.StringData("checkout")
	tests := map[string]struct {
		change func(*flowParams)
		names  string
	}{
		"empty control point":        {func(p *flowParams) { p.controlPoint = text{} }, "control point"},
		"control point without data": {func(p *flowParams) { p.controlPoint = text{nil, 4} }, "control_point"},
		"huge control point":         {func(p *flowParams) { p.controlPoint = text{broken, math.MaxUint64} }, "control_point"},
		"control point of 2 GiB":     {func(p *flowParams) { p.controlPoint = text{broken, math.MaxInt32} }, "control point"},
		"control point not UTF-8":    {func(p *flowParams) { p.controlPoint = textOf("check\xffout") }, "control point"},
		"negative timeout":           {func(p *flowParams) { p.checkTimeoutNS = -1 }, "check timeout"},
		"most negative timeout":      {func(p *flowParams) { p.checkTimeoutNS = math.MinInt64 }, "check timeout"},
		"ramp_mode 2":                {func(p *flowParams) { p.rampMode = 2 }, "ramp_mode"},
		"ramp_mode -1":               {func(p *flowParams) { p.rampMode = -1 }, "ramp_mode"},
		"reserved":                   {func(p *flowParams) { p.reserved = 1 }, "reserved"},
		"count without labels":       {func(p *flowParams) { p.labelCount = 1 }, "labels"},
		"huge label count":           {func(p *flowParams) { p.labels, p.labelCount = &label{}, math.MaxUint64 }, "label_count"},
		"key without data":           {func(p *flowParams) { p.labels, p.labelCount = &label{key: text{nil, 1}}, 1 }, "a key"},
		"value without data":         {func(p *flowParams) { p.labels, p.labelCount = &label{value: text{nil, 1}}, 1 }, "a value"},
		"huge value":                 {func(p *flowParams) { p.labels, p.labelCount = &label{value: text{broken, math.MaxUint64}}, 1 }, "a value"},
		"value of 2 GiB":             {func(p *flowParams) { p.labels, p.labelCount = &label{value: text{broken, math.MaxInt32}}, 1 }, "labels"},
		"labels over the limit": {func(p *flowParams) {
			p.labels, p.labelCount = &label{textOf("key"), textOf(strings.Repeat("v", 4_000_001))}, 1
		}, "4000000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, client := range []handle{local, remote} {
				params := paramsFor("checkout")
				test.change(params)
				var flow, call handle = 7, 7
				failed := newFailure()
				require.Equal(t, errorInvalidArgument, lib.startFlow(client, params, &flow, newDecision(), failed))
				require.Contains(t, failed.text(), test.names)
				require.Zero(t, flow)
				flow = 7
				failed = newFailure()
				require.Equal(t, errorInvalidArgument, lib.startFlowAsync(client, params, 0, &flow, newDecision(), &call, failed))
				require.Contains(t, failed.text(), test.names)
				require.Zero(t, flow)
				require.Zero(t, call)
			}
		})
	}
	for _, client := range []handle{local, remote} {
		counted := readStats(t, client)
		require.Zero(t, counted.flowsAccepted+counted.flowsRejected+counted.flowsUnreachable, "a refused flow was counted")
	}
}

func TestUnusualFlowParamsWork(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	many := make([]string, 0, 20_000)
	for number := range 10_000 {
		many = append(many, user(number), "value")
	}
	huge := paramsFor("checkout")
	huge.checkTimeoutNS = math.MaxInt64
	for name, params := range map[string]*flowParams{
		"ten thousand labels": patient(paramsFor("checkout", many...)),
		"value of 1 MiB":      patient(paramsFor("checkout", "key", strings.Repeat("v", 1<<20))),
		"just below 4 MB":     patient(paramsFor("checkout", "key", strings.Repeat("v", 3_900_000))),
		"NUL in a value":      patient(paramsFor("checkout", "key", "a\x00b")),
		"empty key":           patient(paramsFor("checkout", "", "value")),
		"huge timeout":        huge,
	} {
		t.Run(name, func(t *testing.T) {
			_, decided := start(t, client, params)
			require.EqualValues(t, accepted, decided.decision)
		})
	}
	checks := agent.Recorded().Checks
	require.True(t, slices.ContainsFunc(checks, func(seen fakeagent.Call[*checkRequest]) bool {
		return len(seen.Request.GetLabels()) == 10_000
	}))
	require.True(t, slices.ContainsFunc(checks, func(seen fakeagent.Call[*checkRequest]) bool {
		return seen.Request.GetLabels()["key"] == "a\x00b"
	}))
}

func TestLabelsThatAreNotUTF8AreRepaired(t *testing.T) {
	agent := startAgent(t)
	client := readyClient(t, agent)
	_, decided := start(t, client, patient(paramsFor("checkout", "tier", "go\xffld", "k\xfe", "v")))
	require.EqualValues(t, accepted, decided.decision)
	require.Equal(t, map[string]string{"tier": "go\uFFFDld", "k\uFFFD": "v"}, agent.Recorded().Checks[0].Request.GetLabels())
	require.EqualValues(t, 1, readStats(t, client).flowsSanitised)
}

func TestBadOptions(t *testing.T) {
	noLeak(t)
	broken := unsafe.StringData("local:")
	tests := map[string]struct {
		change func(*clientOptions)
		names  string
	}{
		"empty address":            {func(o *clientOptions) { o.address = text{} }, "address"},
		"address without data":     {func(o *clientOptions) { o.address = text{nil, 6} }, "options.address"},
		"huge address":             {func(o *clientOptions) { o.address = text{broken, math.MaxUint64} }, "options.address"},
		"no port":                  {func(o *clientOptions) { o.address = textOf("localhost") }, "address"},
		"no host":                  {func(o *clientOptions) { o.address = textOf(":8080") }, "address"},
		"bad port":                 {func(o *clientOptions) { o.address = textOf("localhost:99999") }, "address"},
		"spaces":                   {func(o *clientOptions) { o.address = textOf("local host:80") }, "address"},
		"not UTF-8":                {func(o *clientOptions) { o.address = textOf("h\xffst:80") }, "address"},
		"NUL":                      {func(o *clientOptions) { o.address = textOf("local:a\x00b") }, "address"},
		"scheme":                   {func(o *clientOptions) { o.address = textOf("http://localhost:80") }, "address"},
		"key with a newline":       {func(o *clientOptions) { o.apiKey = textOf("secret\n") }, "API key"},
		"key without data":         {func(o *clientOptions) { o.apiKey = text{nil, 1} }, "options.api_key"},
		"user agent with newline":  {func(o *clientOptions) { o.userAgent = textOf("a\nb") }, "user agent"},
		"server name and insecure": {func(o *clientOptions) { o.serverName = textOf("agent") }, "server name"},
		"CA file and insecure":     {func(o *clientOptions) { o.caFile = textOf("ca.pem") }, "CA file"},
		"missing CA file":          {func(o *clientOptions) { o.insecure, o.caFile = 0, textOf("/does/not/exist.pem") }, "CA file"},
		"insecure 2":               {func(o *clientOptions) { o.insecure = 2 }, "options.insecure"},
		"telemetry_off -1":         {func(o *clientOptions) { o.telemetryOff = -1 }, "options.telemetry_off"},
		"negative flow end":        {func(o *clientOptions) { o.flowEndTimeoutNS = -1 }, "flow end timeout"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			options := optionsFor("127.0.0.1:8080")
			test.change(options)
			var client handle = 7
			failed := newFailure()
			require.Equal(t, errorInvalidArgument, lib.newClient(options, &client, failed))
			require.Contains(t, failed.text(), test.names)
			require.NotContains(t, failed.text(), "secret")
			require.Zero(t, client)
		})
	}
}

func TestHugeOptionsWork(t *testing.T) {
	noLeak(t)
	options := optionsFor("127.0.0.1:8080")
	options.flowEndTimeoutNS, options.maxPendingCalls = math.MaxInt64, math.MaxUint64
	client := openClient(t, options)
	require.Equal(t, ok, lib.clientClose(client, math.MaxInt64, nil))
}

func TestBadPolicyFiles(t *testing.T) {
	noLeak(t)
	directory := t.TempDir()
	missing := filepath.Join(directory, "missing.yaml")
	for name, test := range map[string]struct {
		path    string
		message string
	}{
		"missing":     {missing, "missing.yaml"},
		"a directory": {directory, directory},
		"empty":       {writeFile(t, ""), "policies.yaml"},
		"not YAML":    {writeFile(t, "blueprint: [\n"), `policies\.yaml:\d+`},
		"wrong type":  {writeFile(t, strings.Replace(onePerHour, "bucket_capacity: 1", "bucket_capacity: many", 1)), `policies\.yaml:5:\d+: .*many`},
		"wrong key":   {writeFile(t, strings.Replace(onePerHour, "fill_amount", "fil_amount", 1)), `policies\.yaml:6:\d+: .*fil_amount`},
		"unknown":     {writeFile(t, strings.Replace(onePerHour, "rate-limiting/base", "no-such/blueprint", 1)), `policies\.yaml:1:\d+: .*no-such`},
		"binary":      {writeFile(t, "\x00\x01\xff"), "policies.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			var client handle = 7
			failed := newFailure()
			require.Equal(t, errorPolicy, lib.newClient(optionsFor("local:"+test.path), &client, failed), failed.text())
			require.Regexp(t, test.message, failed.text())
			require.Zero(t, client)
		})
	}
}

func TestBadTimeouts(t *testing.T) {
	noLeak(t)
	_, client := hanging(t)
	call := startAsync(t, client, 1, patient(paramsFor("checkout")))
	var out handle
	for name, invoke := range map[string]func(int64, *failure) code{
		"client_wait_ready":       func(ns int64, f *failure) code { return lib.clientWaitReady(client, ns, f) },
		"client_wait_ready_async": func(ns int64, f *failure) code { return lib.clientWaitReadyAsync(client, ns, 0, &out, f) },
		"client_close":            func(ns int64, f *failure) code { return lib.clientClose(client, ns, f) },
		"client_close_async":      func(ns int64, f *failure) code { return lib.clientCloseAsync(client, ns, 0, &out, f) },
		"call_wait":               func(ns int64, f *failure) code { return lib.callWait(call, ns, newCompletion(), f) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, negative := range []int64{-1, math.MinInt64} {
				failed := newFailure()
				require.Equal(t, errorInvalidArgument, invoke(negative, failed))
				require.Contains(t, failed.text(), "timeout_ns")
			}
		})
	}
	require.Equal(t, ok, lib.clientWaitReady(client, math.MaxInt64, nil), "a huge timeout")
	require.Equal(t, ok, lib.callCancel(call, nil))
	require.Equal(t, ok, lib.callWait(call, math.MaxInt64, newCompletion(), nil), "a huge timeout")
}

func TestUnknownFlowStatus(t *testing.T) {
	client := openClient(t, optionsFor("local:"))
	flow, _ := start(t, client, paramsFor("checkout"))
	for _, status := range []int32{2, -1, math.MaxInt32, math.MinInt32, 256} {
		failed := newFailure()
		require.Equal(t, errorInvalidArgument, lib.flowSetStatus(flow, status, failed))
		require.Contains(t, failed.text(), "status")
	}
}

func TestLongMessagesAreCutBetweenCharacters(t *testing.T) {
	for shift := range 4 { // one of them would fall into the middle of a character
		path := filepath.Join(t.TempDir(), strings.Repeat("x", shift)+strings.Repeat("/"+strings.Repeat("\U0001F600", 50), 10))
		var client handle
		failed := newFailure()
		for i := range failed.message {
			failed.message[i] = 0xAA
		}
		require.Equal(t, errorPolicy, lib.newClient(optionsFor("local:"+path), &client, failed))
		require.LessOrEqual(t, int(failed.messageLength), 1007)
		require.Greater(t, int(failed.messageLength), 1007-utf8.UTFMax)
		require.Zero(t, failed.message[failed.messageLength], "not terminated")
		require.Len(t, failed.text(), int(failed.messageLength))
		require.True(t, utf8.ValidString(failed.text()))
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
		var client handle
		lib.newClient(optionsFor("local:/does/not/exist.yaml"), &client, nil)
		lib.newClient(optionsFor("nonsense"), &client, nil)
	}
	require.LessOrEqual(t, descriptors(), before+2)
}
