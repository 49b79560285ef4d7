package abi

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// checkResponse reads a flow's check response, "" when there is none.
func checkResponse(t *testing.T, flow host.Handle) string {
	t.Helper()
	var length uintptr
	code := host.Lib.FlowCheckResponse(flow, nil, 0, &length, nil)
	if length == 0 {
		require.Equal(t, host.OK, code)
		return ""
	}
	require.Equal(t, host.ErrorBufferTooSmall, code)
	text := make([]byte, length)
	require.Equal(t, host.OK, host.Lib.FlowCheckResponse(flow, &text[0], length, &length, nil))
	return string(text)
}

func TestCheckResponse(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	rejection := fakeagent.Rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 429, 1500*time.Millisecond)
	rejection.LimiterDecisions = []*checkv1.LimiterDecision{{
		PolicyName: "checkout", Dropped: true,
		Details: &checkv1.LimiterDecision_RateLimiterInfo_{RateLimiterInfo: &checkv1.LimiterDecision_RateLimiterInfo{
			Label: "user:alice", TokensInfo: &checkv1.LimiterDecision_TokensInfo{Remaining: -0.5},
		}},
	}}
	agent.Set(fakeagent.Behaviour{Response: rejection})
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.JSONEq(t, `{"decision_type":1,"reject_reason":1,"denied_response_status_code":429,"wait_time":"1.500s",
		"limiter_decisions":[{"policy_name":"checkout","dropped":true,
			"rate_limiter_info":{"label":"user:alice","tokens_info":{"remaining":-0.5}}}]}`, checkResponse(t, flow))

	agent.Set(fakeagent.Behaviour{Response: &checkv1.CheckResponse{}})
	empty, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.Equal(t, "{}", checkResponse(t, empty))
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Garbage: true}})
	lost, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.Empty(t, checkResponse(t, lost))

	local, _ := host.Start(t, host.OpenClient(t, host.OptionsFor("local:"+host.WriteFile(t, host.OnePerHour))), host.ParamsFor("checkout", "user_id", "alice"))
	var decoded map[string]any
	require.NoError(t, json.Unmarshal([]byte(checkResponse(t, local)), &decoded))
	require.Equal(t, "one-per-hour", decoded["limiter_decisions"].([]any)[0].(map[string]any)["policy_name"])
}

func TestAttributes(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	set := func(change func(*host.Attribute)) (host.Code, string) {
		attribute, failed := host.IntegerAttribute("tokens", 1), host.NewFailure()
		change(attribute)
		return host.Lib.FlowSetAttribute(flow, attribute, failed), failed.Text()
	}
	for _, change := range []func(*host.Attribute){
		func(a *host.Attribute) { a.Integer = math.MaxInt64 },
		func(a *host.Attribute) {
			a.Key, a.Kind, a.Text = host.TextOf("model"), host.AttributeText, host.TextOf("m\xff")
		},
		func(a *host.Attribute) { a.Key, a.Kind, a.Number = host.TextOf("cost"), host.AttributeNumber, 0.25 },
	} {
		code, message := set(change)
		require.Equal(t, host.OK, code, message)
	}
	for name, change := range map[string]func(*host.Attribute){
		"attribute.kind":     func(a *host.Attribute) { a.Kind = 3 },
		"attribute.reserved": func(a *host.Attribute) { a.Reserved = 1 },
		"attribute.key":      func(a *host.Attribute) { a.Key = host.Text{Length: 1} },
		"attribute.text":     func(a *host.Attribute) { a.Kind, a.Text = host.AttributeText, host.Text{Length: 1} },
		"attribute key":      func(a *host.Attribute) { a.Key = host.TextOf("aperture.source") },
		"attribute number":   func(a *host.Attribute) { a.Kind, a.Number = host.AttributeNumber, math.Inf(1) },
	} {
		code, message := set(change)
		require.Equal(t, host.ErrorInvalidArgument, code)
		require.Contains(t, message, name)
	}
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	code, _ := set(func(*host.Attribute) {})
	require.Equal(t, host.ErrorAlreadyEnded, code)
	host.CloseClient(t, client)
	span := agent.Recorded().Spans[0]
	require.Equal(t, int64(math.MaxInt64), span.Attributes["tokens"])
	require.Equal(t, "m\uFFFD", span.Attributes["model"])
	require.Equal(t, 0.25, span.Attributes["cost"])
}

// A flow that is closed without an end gives back what it holds, and is told.
func TestFlowThatIsClosedBeforeItsEnd(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	client := host.ReadyClient(t, agent)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	ended, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.Equal(t, host.OK, host.Lib.FlowEnd(ended, nil, nil))
	require.Equal(t, host.OK, host.Lib.FlowClose(ended, nil))
	require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.FlowEnd(flow, nil, nil))
	host.Eventually(t, "its tokens are given back", func() bool { return agent.Recorded().FlowEndCount == 2 })
	counted := host.ReadStats(t, client)
	require.EqualValues(t, 1, counted.FlowsNeverEnded)
	require.EqualValues(t, 2, counted.FlowsEnded)
	host.CloseClient(t, client)
	statuses := map[any]int{}
	for _, span := range agent.Recorded().Spans {
		statuses[span.Attributes["aperture.flow.status"]]++
	}
	require.Equal(t, map[any]int{"OK": 1, "Error": 1}, statuses)
}

// B36, B37, B38: a label wins over baggage, values are decoded once, and no header makes a call fail.
func TestBaggage(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	for name, test := range map[string]struct {
		header string
		want   map[string]string
	}{
		"a label wins":  {"user_id=mallory,tier=gold;secret=1", map[string]string{"user_id": "alice", "tier": "gold"}},
		"decoded once":  {"a=x%2By, b=50%25 ,c=%252F", map[string]string{"user_id": "alice", "a": "x+y", "b": "50%", "c": "%2F"}},
		"malformed":     {"=,;,%%%,\xff", map[string]string{"user_id": "alice"}},
		"far too large": {strings.Repeat("x", 2<<20), map[string]string{"user_id": "alice"}},
		"none":          {"", map[string]string{"user_id": "alice"}},
	} {
		t.Run(name, func(t *testing.T) {
			params := host.Patient(host.ParamsFor("checkout", "user_id", "alice"))
			params.Baggage = host.TextOf(test.header)
			flow, _ := host.Start(t, client, params)
			require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
			checks := agent.Recorded().Checks
			require.Equal(t, test.want, checks[len(checks)-1].Request.GetLabels())
		})
	}
	params := host.ParamsFor("checkout")
	params.Baggage = host.Text{Length: 1}
	failed := host.NewFailure()
	var flow host.Handle
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.StartFlow(client, params, &flow, nil, failed))
	require.Contains(t, failed.Text(), "params.baggage")
}

func TestConnectionState(t *testing.T) {
	host.NoLeak(t)
	agent, client := hanging(t)
	var state int32
	require.Equal(t, host.OK, host.Lib.ClientState(client, &state, nil))
	require.EqualValues(t, host.ConnectionReady, state)
	agent.Stop()
	host.Eventually(t, "the loss is seen", func() bool {
		return host.Lib.ClientState(client, &state, nil) == host.OK && state != host.ConnectionReady
	})
	local := host.OpenClient(t, host.OptionsFor("local:"))
	require.Equal(t, host.OK, host.Lib.ClientState(local, &state, nil))
	require.EqualValues(t, host.ConnectionReady, state)
}

// A program that was compiled with the first header has smaller structs. The library reads no further, writes no further,
// and takes what is missing as zero.
func TestStructsOfTheFirstHeader(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	options := host.OptionsFor(agent.Address())
	options.StructSize = unsafe.Offsetof(options.CAPem)
	options.SkipVerify, options.KeepaliveTimeNS = 77, -1
	client := host.OpenClient(t, options)
	require.Equal(t, host.OK, host.Lib.ClientWaitReady(client, int64(host.Soon), nil))

	params := host.Patient(host.ParamsFor("checkout"))
	params.StructSize = unsafe.Offsetof(params.Baggage)
	params.ResultCacheKey = host.Text{Length: 1 << 40}
	flow, _ := host.Start(t, client, params)
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	require.Nil(t, agent.Recorded().Checks[0].Request.GetCacheLookupRequest())
	require.True(t, proto.Equal(&checkv1.CheckRequest{ControlPoint: "checkout", ExpectEnd: true}, agent.Recorded().Checks[0].Request))

	counted := host.Stats{FlowsNeverEnded: 77}
	counted.StructSize = unsafe.Offsetof(counted.FlowsNeverEnded)
	require.Equal(t, host.OK, host.Lib.ClientStats(client, &counted, nil))
	require.EqualValues(t, 1, counted.FlowsEnded)
	require.EqualValues(t, 77, counted.FlowsNeverEnded)
	require.Equal(t, unsafe.Offsetof(counted.FlowsNeverEnded), counted.StructSize)

	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	call := host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout")))
	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
	done := &host.Completion{Answer: 77, MessageLength: 77, Message: [460]byte{'x'}}
	done.StructSize = unsafe.Offsetof(done.Answer)
	require.Equal(t, host.OK, host.Lib.CallWait(call, int64(host.Soon), done, nil))
	require.Equal(t, host.ErrorCancelled, done.Code)
	require.EqualValues(t, 77, done.Answer)
	require.EqualValues(t, 77, done.MessageLength)
	require.Equal(t, byte('x'), done.Message[0])
}
