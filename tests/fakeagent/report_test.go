package fakeagent_test

import (
	"context"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// report returns an agent's report as a program in another language reads it.
func report(t *testing.T, agent *fakeagent.Agent) map[string]any {
	t.Helper()
	recorded := agent.Recorded()
	text, err := json.Marshal(recorded.Report())
	require.NoError(t, err)
	var read map[string]any
	require.NoError(t, json.Unmarshal(text, &read))
	return read
}

// without returns a copy of an object of JSON without some of its members.
func without(object any, names ...string) map[string]any {
	rest := map[string]any{}
	for name, value := range object.(map[string]any) {
		rest[name] = value
	}
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

func TestReportOfAnAgentThatWasAskedNothingHasEmptyLists(t *testing.T) {
	for name, value := range report(t, start(t, fakeagent.Options{})) {
		assert.NotNil(t, value, name)
		assert.Empty(t, value, name)
	}
}

func TestReportTellsWhatTheCachesWereAsked(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	service := client(t, agent)
	lookup := &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "key", GlobalCacheKeys: []string{"a", "b"}}
	_, err := service.CacheLookup(t.Context(), lookup)
	require.NoError(t, err)
	for _, upsert := range []*checkv1.CacheUpsertRequest{
		{
			ControlPoint:       "checkout",
			ResultCacheEntry:   &checkv1.CacheEntry{Key: "key", Value: []byte{0xff, 0}, Ttl: durationpb.New(time.Second)},
			GlobalCacheEntries: map[string]*checkv1.CacheEntry{"a": {}},
		},
		{},
	} {
		_, err = service.CacheUpsert(t.Context(), upsert)
		require.NoError(t, err)
	}
	_, err = service.CacheDelete(t.Context(), &checkv1.CacheDeleteRequest{GlobalCacheKeys: []string{"a"}})
	require.NoError(t, err)
	for _, asked := range []*checkv1.CacheLookupRequest{lookup, nil} {
		_, err = service.Check(t.Context(), &checkv1.CheckRequest{ControlPoint: "checkout", CacheLookupRequest: asked})
		require.NoError(t, err)
	}

	seen := report(t, agent)
	assert.EqualValues(t, 1, seen["cache_lookup_count"])
	assert.EqualValues(t, 2, seen["cache_upsert_count"])
	assert.EqualValues(t, 1, seen["cache_delete_count"])
	of := func(kind string, number int) map[string]any {
		return without(seen[kind].([]any)[number], "timeout_ms", "metadata", "encoding")
	}
	keys := map[string]any{"control_point": "checkout", "result_cache_key": "key", "global_cache_keys": []any{"a", "b"}}
	assert.Equal(t, keys, of("cache_lookups", 0))
	assert.Equal(t, map[string]any{
		"control_point":        "checkout",
		"result_cache_entry":   map[string]any{"key": "key", "value": "/wA=", "ttl_ns": 1e9},
		"global_cache_entries": map[string]any{"a": map[string]any{"key": "", "value": "", "ttl_ns": nil}},
	}, of("cache_upserts", 0))
	assert.Equal(t, map[string]any{"control_point": "", "result_cache_entry": nil, "global_cache_entries": map[string]any{}}, of("cache_upserts", 1))
	assert.Equal(t, map[string]any{"control_point": "", "result_cache_key": "", "global_cache_keys": []any{"a"}}, of("cache_deletes", 0))
	assert.Equal(t, keys, of("checks", 0)["cache_lookup_request"])
	assert.Contains(t, of("checks", 1), "cache_lookup_request")
	assert.Nil(t, of("checks", 1)["cache_lookup_request"])
}

func TestReportTellsSpansWithTheTypesOfTheirAttributes(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	text := func(value string) *commonv1.AnyValue {
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}
	}
	double := func(value float64) *commonv1.AnyValue {
		return &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: value}}
	}
	export(t, agent, &tracev1.Span{Attributes: []*commonv1.KeyValue{
		{Key: "text", Value: text("1")},
		{Key: "integer", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: 1}}},
		{Key: "true", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BoolValue{BoolValue: true}}},
		{Key: "double", Value: double(1)},
		{Key: "tiny", Value: double(-1e-300)},
		{Key: "huge", Value: double(1e300)},
		{Key: "not a number", Value: double(math.NaN())},
		{Key: "infinite", Value: double(math.Inf(1))},
		{Key: "bytes", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BytesValue{}}},
		{Key: "text", Value: text("2")},
	}})

	recorded := agent.Recorded()
	span := recorded.Spans[0]
	assert.Equal(t, 1, span.OtherAttributes)
	assert.Equal(t, 1, span.DoubleAttributes)
	assert.Equal(t, 1.0, span.Attributes["double"])
	assert.Equal(t, true, span.Attributes["true"])
	assert.Equal(t, int64(1), span.Attributes["integer"])
	written, err := json.Marshal(recorded.Report().Spans[0].Attributes)
	require.NoError(t, err)
	assert.Equal(t, `{"double":1.0,"huge":1e+300,"infinite":"Infinity","integer":1,"not a number":"NaN","text":"2","tiny":-1e-300,"true":true}`,
		string(written))
}

// kinds are the lists of calls in a report.
func kinds() []string {
	return []string{"checks", "flow_ends", "cache_lookups", "cache_upserts", "cache_deletes", "exports"}
}

// callEverything makes a call of each kind, in a context of its own.
func callEverything(t *testing.T, connection *grpc.ClientConn, contextOf func(kind string) context.Context, options ...grpc.CallOption) {
	t.Helper()
	service := checkv1.NewFlowControlServiceClient(connection)
	_, err := service.Check(contextOf("checks"), &checkv1.CheckRequest{}, options...)
	require.NoError(t, err)
	_, err = service.FlowEnd(contextOf("flow_ends"), &checkv1.FlowEndRequest{}, options...)
	require.NoError(t, err)
	_, err = service.CacheLookup(contextOf("cache_lookups"), &checkv1.CacheLookupRequest{}, options...)
	require.NoError(t, err)
	_, err = service.CacheUpsert(contextOf("cache_upserts"), &checkv1.CacheUpsertRequest{}, options...)
	require.NoError(t, err)
	_, err = service.CacheDelete(contextOf("cache_deletes"), &checkv1.CacheDeleteRequest{}, options...)
	require.NoError(t, err)
	require.NoError(t, connection.Invoke(contextOf("exports"), exportMethod, &tracev1.TracesData{}, &emptypb.Empty{}, options...))
}

func TestReportTellsTheMetadataAndTheCompressionOfEveryKindOfCall(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	connection := connect(t, agent)
	sent := func(kind string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "x-tenant", "shop", "x-tenant", "search", "x-api-key", "key of "+kind)
	}
	callEverything(t, connection, sent)
	callEverything(t, connection, sent, grpc.UseCompressor(gzip.Name))
	callEverything(t, connection, func(string) context.Context { return t.Context() })

	seen := report(t, agent)
	apiKeys := []any{""}
	for _, kind := range kinds() {
		key := "key of " + kind
		apiKeys = append(apiKeys, key)
		sent := map[string]any{"x-tenant": []any{"shop", "search"}, "x-api-key": []any{key}}
		for i, want := range []struct {
			encoding string
			metadata map[string]any
		}{{"", sent}, {"gzip", sent}, {"", map[string]any{}}} {
			call := seen[kind].([]any)[i].(map[string]any)
			assert.Equal(t, want.encoding, call["encoding"], "%s %d", kind, i)
			assert.Equal(t, want.metadata, call["metadata"], "%s %d", kind, i)
		}
	}
	assert.ElementsMatch(t, apiKeys, seen["api_keys"])
	assert.Len(t, seen["user_agents"], 1)
}

func TestReportTellsTheTimeThatCallersGave(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	connection := connect(t, agent)
	hour, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	callEverything(t, connection, func(string) context.Context { return hour })
	callEverything(t, connection, func(string) context.Context { return t.Context() })
	seen := report(t, agent)
	for _, kind := range kinds() {
		calls := seen[kind].([]any)
		assert.Greater(t, calls[0].(map[string]any)["timeout_ms"], 1e6, kind)
		assert.EqualValues(t, 0, calls[1].(map[string]any)["timeout_ms"], kind)
	}
}

func TestReportTellsHowManySpansAnExportHad(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	export(t, agent, &tracev1.Span{}, &tracev1.Span{})
	assert.EqualValues(t, 2, report(t, agent)["exports"].([]any)[0].(map[string]any)["span_count"])
}
