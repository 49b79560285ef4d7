package fakeagent_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

func TestCallsAreAnsweredInTheOrderOfTheScript(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	service := client(t, agent)
	decisions := func(calls int) []checkv1.CheckResponse_DecisionType {
		t.Helper()
		var decided []checkv1.CheckResponse_DecisionType
		for range calls {
			response, err := service.Check(t.Context(), &checkv1.CheckRequest{ControlPoint: "checkout"})
			require.NoError(t, err)
			decided = append(decided, response.GetDecisionType())
		}
		return decided
	}
	const accepted, rejected = checkv1.CheckResponse_DECISION_TYPE_ACCEPTED, checkv1.CheckResponse_DECISION_TYPE_REJECTED
	rejection := fakeagent.Behaviour{Response: fakeagent.Rejection(checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, 0, -1)}
	agent.Set(rejection)

	script := fakeagent.Script{Check: []fakeagent.Behaviour{{}, rejection, {}}}
	agent.SetScript(script)
	assert.Equal(t, []checkv1.CheckResponse_DecisionType{accepted, rejected, accepted, accepted, accepted}, decisions(5))
	agent.SetScript(script)
	assert.Equal(t, []checkv1.CheckResponse_DecisionType{accepted, rejected}, decisions(2), "it starts again")

	agent.SetScript(fakeagent.Script{FlowEnd: []fakeagent.Behaviour{{FlowEnd: fakeagent.Trouble{Error: codes.Internal}}}})
	assert.Equal(t, []checkv1.CheckResponse_DecisionType{rejected}, decisions(1), "an RPC without a list is as Set says")
	_, err := service.FlowEnd(t.Context(), &checkv1.FlowEndRequest{})
	assert.Equal(t, codes.Internal, status.Code(err))
	agent.SetScript(fakeagent.Script{})
	_, err = service.FlowEnd(t.Context(), &checkv1.FlowEndRequest{})
	assert.NoError(t, err)
}

func TestScriptIsReadFromJSON(t *testing.T) {
	script, err := fakeagent.ParseScript([]byte(`{
		"check": [
			{},
			{"response": {"decision_type": "DECISION_TYPE_REJECTED", "reject_reason": "REJECT_REASON_NO_TOKENS", "wait_time": "1.5s"}, "delay": "50ms"},
			{"response": {}, "in_flight": 2},
			{"error": "RESOURCE_EXHAUSTED", "message": "no more", "delay": "1s"},
			{"hang": true},
			{"garbage": true}
		],
		"flow_end": [{"response": {"token_return_statuses": [{"inflight_request_ref": {"request_id": "request-1"}, "error": "unknown"}]}}],
		"cache_lookup": [{"response": {"result_cache_response": {}, "global_cache_responses": {"key": {"value": "/wA=", "lookup_status": "MISS"}}}}],
		"cache_upsert": [{"response": {"result_cache_response": {"operation_status": "ERROR", "error": "full"}}}],
		"cache_delete": [{"error": "UNAVAILABLE"}],
		"export": [{"rejected_spans": 3, "delay": "1ms"}, {"error": "UNAVAILABLE"}, {}]
	}`))
	require.NoError(t, err)
	rejection := &checkv1.CheckResponse{
		DecisionType: checkv1.CheckResponse_DECISION_TYPE_REJECTED,
		RejectReason: checkv1.CheckResponse_REJECT_REASON_NO_TOKENS,
		WaitTime:     durationpb.New(1500 * time.Millisecond),
	}
	equal(t, rejection, script.Check[1].Response)
	script.Check[1].Response = nil
	equal(t, &checkv1.CheckResponse{}, script.Check[2].Response)
	require.NotNil(t, script.Check[2].Response)
	script.Check[2].Response = nil
	equal(t, &checkv1.FlowEndResponse{TokenReturnStatuses: []*checkv1.TokenReturnStatus{{
		InflightRequestRef: &checkv1.InflightRequestRef{RequestId: "request-1"}, Error: "unknown",
	}}}, script.FlowEnd[0].FlowEndResponse)
	equal(t, &checkv1.CacheLookupResponse{
		ResultCacheResponse: &checkv1.KeyLookupResponse{},
		GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{
			"key": {Value: []byte{0xff, 0}, LookupStatus: checkv1.CacheLookupStatus_MISS},
		},
	}, script.CacheLookup[0].CacheLookupResponse)
	equal(t, &checkv1.CacheUpsertResponse{
		ResultCacheResponse: &checkv1.KeyUpsertResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: "full"},
	}, script.CacheUpsert[0].CacheUpsertResponse)
	script.FlowEnd, script.CacheLookup, script.CacheUpsert = nil, nil, nil
	assert.Equal(t, fakeagent.Script{
		Check: []fakeagent.Behaviour{
			{},
			{Check: fakeagent.Trouble{Delay: 50 * time.Millisecond}},
			{InFlight: 2},
			{Check: fakeagent.Trouble{Error: codes.ResourceExhausted, Message: "no more", Delay: time.Second}},
			{Check: fakeagent.Trouble{Hang: true}},
			{Check: fakeagent.Trouble{Garbage: true}},
		},
		CacheDelete: []fakeagent.Behaviour{{CacheDelete: fakeagent.Trouble{Error: codes.Unavailable}}},
		Export: []fakeagent.Behaviour{
			{RejectSpans: 3, Export: fakeagent.Trouble{Delay: time.Millisecond}},
			{Export: fakeagent.Trouble{Error: codes.Unavailable}},
			{},
		},
	}, script)
}

func TestScriptThatMakesNoSenseIsRefusedWithWhereAndWhy(t *testing.T) {
	for text, wants := range map[string][]string{
		`{"checks": []}`:                                         {"script", `"checks"`},
		`{"check": {}}`:                                          {"script", "check"},
		`{"check": [{}, {"dealy": "1s"}]}`:                       {"check[1]", `"dealy"`},
		`{"check": [{"response": {"desicion_type": 1}}]}`:        {"check[0]", "response", `"desicion_type"`},
		`{"check": [{"response": null}]}`:                        {"check[0]", "response"},
		`{"check": [{"response": {"decision_type": "MAYBE"}}]}`:  {"check[0]", "response", "MAYBE"},
		`{"check": [{"rejected_spans": 1}]}`:                     {"check[0]", `"rejected_spans"`},
		`{"check": [{"in_flight": -1}]}`:                         {"check[0]", "in_flight"},
		`{"check": [{"in_flight": 1, "error": "INTERNAL"}]}`:     {"check[0]", "exclude"},
		`{"check": [{"response": {}, "hang": true}]}`:            {"check[0]", "exclude"},
		`{"flow_end": [{"in_flight": 1}]}`:                       {"flow_end[0]", `"in_flight"`},
		`{"flow_end": [{"error": "INTERNAL", "garbage": true}]}`: {"flow_end[0]", "exclude"},
		`{"cache_lookup": [{"error": "OOPS"}]}`:                  {"cache_lookup[0]", "error", `"OOPS"`},
		`{"cache_upsert": [{"error": "OK"}]}`:                    {"cache_upsert[0]", "error", "OK"},
		`{"cache_delete": [{"message": "why"}]}`:                 {"cache_delete[0]", "message"},
		`{"cache_delete": [{"delay": "soon"}]}`:                  {"cache_delete[0]", "delay", `"soon"`},
		`{"export": [{"delay": "-1s"}]}`:                         {"export[0]", "delay", `"-1s"`},
		`{"export": [{"delay": "1s", "hang": true}]}`:            {"export[0]", "delay", "hang"},
		`{"export": [{"response": {}}]}`:                         {"export[0]", `"response"`},
		`{"export": [{"rejected_spans": -1}]}`:                   {"export[0]", "rejected_spans"},
		`{"export": [{"rejected_spans": 1, "garbage": true}]}`:   {"export[0]", "exclude"},
		`{} {}`: {"script"},
		`[]`:    {"script"},
		``:      {"script"},
	} {
		_, err := fakeagent.ParseScript([]byte(text))
		if assert.Error(t, err, text) {
			for _, want := range wants {
				assert.Contains(t, err.Error(), want, text)
			}
		}
	}
}

func TestAnswersOfAScriptReachTheCaller(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	service := client(t, agent)
	script, err := fakeagent.ParseScript([]byte(`{
		"check": [{"hang": true}, {"error": "ABORTED", "message": "no"}, {"garbage": true}, {"in_flight": 1}],
		"flow_end": [{"response": {"token_return_statuses": [{"error": "unknown"}]}}],
		"cache_lookup": [{"response": {"result_cache_response": {"value": "AA=="}}}],
		"cache_upsert": [{"error": "UNAVAILABLE"}, {}],
		"cache_delete": [{"response": {"result_cache_response": {"operation_status": "ERROR"}}}],
		"export": [{"rejected_spans": 2}]
	}`))
	require.NoError(t, err)
	agent.SetScript(script)

	impatient, giveUp := context.WithCancel(t.Context())
	hung := make(chan error, 1)
	go func() {
		_, err := service.Check(impatient, &checkv1.CheckRequest{})
		hung <- err
	}()
	require.Eventually(t, func() bool { return agent.Recorded().CheckCount == 1 }, 20*time.Second, time.Millisecond)
	giveUp()
	assert.Equal(t, codes.Canceled, status.Code(<-hung))
	_, err = service.Check(t.Context(), &checkv1.CheckRequest{})
	assert.Equal(t, codes.Aborted, status.Code(err))
	assert.Equal(t, "no", status.Convert(err).Message())
	_, err = service.Check(t.Context(), &checkv1.CheckRequest{})
	assert.Equal(t, codes.Internal, status.Code(err))
	response, err := service.Check(t.Context(), &checkv1.CheckRequest{})
	require.NoError(t, err)
	assert.Len(t, response.GetLimiterDecisions(), 1)

	ended, err := service.FlowEnd(t.Context(), &checkv1.FlowEndRequest{})
	require.NoError(t, err)
	assert.Equal(t, "unknown", ended.GetTokenReturnStatuses()[0].GetError())
	found, err := service.CacheLookup(t.Context(), &checkv1.CacheLookupRequest{})
	require.NoError(t, err)
	equal(t, hit("\x00"), found.GetResultCacheResponse())
	upsert := &checkv1.CacheUpsertRequest{ControlPoint: "checkout", ResultCacheEntry: &checkv1.CacheEntry{Key: "key"}}
	_, err = service.CacheUpsert(t.Context(), upsert)
	assert.Equal(t, codes.Unavailable, status.Code(err))
	stored, err := service.CacheUpsert(t.Context(), upsert)
	require.NoError(t, err)
	equal(t, &checkv1.KeyUpsertResponse{}, stored.GetResultCacheResponse())
	removed, err := service.CacheDelete(t.Context(), &checkv1.CacheDeleteRequest{})
	require.NoError(t, err)
	assert.Equal(t, checkv1.CacheOperationStatus_ERROR, removed.GetResultCacheResponse().GetOperationStatus())
	assert.Contains(t, string(export(t, agent).ProtoReflect().GetUnknown()), "refused")
}
