package core

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// cacheDecider is a decider with a cache of a few answers.
type cacheDecider struct {
	fakeDecider
	lookup *checkv1.CacheLookupResponse
	upsert *checkv1.CacheUpsertResponse
	remove *checkv1.CacheDeleteResponse
	err    error

	asked    []proto.Message
	timeouts []time.Duration
}

func (d *cacheDecider) ask(request proto.Message, timeout time.Duration) error {
	d.asked = append(d.asked, request)
	d.timeouts = append(d.timeouts, timeout)
	return d.err
}

func (d *cacheDecider) CacheLookup(_ context.Context, request *checkv1.CacheLookupRequest, timeout time.Duration) (*checkv1.CacheLookupResponse, error) {
	return d.lookup, d.ask(request, timeout)
}

func (d *cacheDecider) CacheUpsert(_ context.Context, request *checkv1.CacheUpsertRequest, timeout time.Duration) (*checkv1.CacheUpsertResponse, error) {
	return d.upsert, d.ask(request, timeout)
}

func (d *cacheDecider) CacheDelete(_ context.Context, request *checkv1.CacheDeleteRequest, timeout time.Duration) (*checkv1.CacheDeleteResponse, error) {
	return d.remove, d.ask(request, timeout)
}

// valueCase is one answer of an agent about a key, and how it reads.
type valueCase struct {
	answer *checkv1.KeyLookupResponse
	want   CacheValue
	err    func(error) bool
}

// B14, S8, S9, S21: every way in which an answer can be missing is told from a hit.
var valueCases = map[string]valueCase{
	"hit":                     {answer: &checkv1.KeyLookupResponse{Value: []byte("v\xff\x00")}, want: CacheValue{Hit: true, Value: []byte("v\xff\x00")}},
	"hit with an empty value": {answer: &checkv1.KeyLookupResponse{}, want: CacheValue{Hit: true}},
	"miss":                    {answer: &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS}},
	"no answer":               {err: func(err error) bool { return errors.Is(err, ErrNoCacheAnswer) }},
	"error with a message": {
		answer: &checkv1.KeyLookupResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: "broken"},
		err:    func(err error) bool { return isCacheError(err, "broken") },
	},
	"error without a message": {
		answer: &checkv1.KeyLookupResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR},
		err:    func(err error) bool { return isCacheError(err, "failed") },
	},
	"message without an error": {
		answer: &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS, Error: "key not found"},
		err:    func(err error) bool { return isCacheError(err, "key not found") },
	},
}

func isCacheError(err error, message string) bool {
	failed, ok := errors.AsType[*CacheError](err)
	return ok && strings.Contains(failed.Message, message)
}

func (test *valueCase) assert(t *testing.T, got CacheValue) {
	t.Helper()
	if test.err != nil {
		assert.True(t, test.err(got.Err), "%v", got.Err)
		got.Err = nil
	}
	assert.Equal(t, test.want, got)
}

func responseAbout(answer *checkv1.KeyLookupResponse) *checkv1.CacheLookupResponse {
	response := &checkv1.CacheLookupResponse{ResultCacheResponse: answer}
	if answer != nil {
		response.GlobalCacheResponses = map[string]*checkv1.KeyLookupResponse{"hasOwnProperty": answer}
	}
	return response
}

func TestCacheLookup(t *testing.T) {
	for name, test := range valueCases {
		t.Run(name, func(t *testing.T) {
			decider := &cacheDecider{lookup: responseAbout(test.answer)}
			client := clientOf(t, decider, Options{})
			answer, err := client.CacheLookup(t.Context(), CacheKeys{ControlPoint: "checkout", ResultKey: "r", GlobalKeys: []string{"hasOwnProperty"}})
			require.NoError(t, err)
			test.assert(t, answer.Result())
			test.assert(t, answer.Global("hasOwnProperty"))
			assert.ErrorIs(t, answer.Global("another").Err, ErrNoCacheAnswer)
			want := &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "r", GlobalCacheKeys: []string{"hasOwnProperty"}}
			assert.True(t, proto.Equal(want, decider.asked[0]), "%v", decider.asked[0])
			assert.Equal(t, []time.Duration{DefaultCacheTimeout}, decider.timeouts)
		})
	}
}

func TestCacheOfAFlow(t *testing.T) {
	for name, test := range valueCases {
		t.Run(name, func(t *testing.T) {
			decider := &fakeDecider{check: answering(check.Answer{CacheLookup: responseAbout(test.answer)})}
			flow := start(t, clientOf(t, decider, Options{}), FlowParams{ResultCacheKey: "r", GlobalCacheKeys: []string{"hasOwnProperty"}})
			test.assert(t, flow.ResultCache())
			test.assert(t, flow.GlobalCache("hasOwnProperty"))
			assert.ErrorIs(t, flow.GlobalCache("another").Err, ErrNoCacheAnswer)
			want := &checkv1.CacheLookupRequest{ResultCacheKey: "r", GlobalCacheKeys: []string{"hasOwnProperty"}}
			assert.True(t, proto.Equal(want, decider.requests[0].CacheLookup))
		})
	}
}

// Two flows for which no answer can be had.
func TestCacheOfAFlowThatCouldNotAsk(t *testing.T) {
	params := FlowParams{ResultCacheKey: "r", GlobalCacheKeys: []string{"g"}}
	lost := start(t, clientOf(t, &fakeDecider{check: unreachable(check.UnreachableTimeout)}, Options{}), params)
	assert.Equal(t, check.UnreachableTimeout, asUnreachable(lost.ResultCache().Err).Reason)
	assert.Equal(t, check.UnreachableTimeout, asUnreachable(lost.GlobalCache("g").Err).Reason)

	rejected := start(t, clientOf(t, &fakeDecider{check: answering(check.Answer{Rejected: true})}, Options{}), params)
	assert.ErrorIs(t, rejected.ResultCache().Err, ErrNoCacheAnswer)
	assert.ErrorIs(t, rejected.GlobalCache("g").Err, ErrNoCacheAnswer)

	decider := &fakeDecider{}
	without := start(t, clientOf(t, decider, Options{}), FlowParams{})
	assert.ErrorIs(t, without.ResultCache().Err, ErrNoCacheAnswer)
	assert.ErrorIs(t, without.GlobalCache("g").Err, ErrNoCacheAnswer)
	assert.Nil(t, decider.requests[0].CacheLookup, "nothing is looked up for a flow without keys")
}

func TestCacheSetAndDelete(t *testing.T) {
	decider := &cacheDecider{
		upsert: &checkv1.CacheUpsertResponse{
			ResultCacheResponse:  &checkv1.KeyUpsertResponse{},
			GlobalCacheResponses: map[string]*checkv1.KeyUpsertResponse{"g": {}},
		},
		remove: &checkv1.CacheDeleteResponse{
			ResultCacheResponse:  &checkv1.KeyDeleteResponse{},
			GlobalCacheResponses: map[string]*checkv1.KeyDeleteResponse{"g": {}},
		},
	}
	client := clientOf(t, decider, Options{})
	flow := start(t, client, FlowParams{ResultCacheKey: "r"})
	_, err := flow.End(t.Context())
	require.NoError(t, err)
	require.NoError(t, flow.SetResultCache(t.Context(), []byte{0xff, 0}, 1050*time.Millisecond), "also after the end")
	require.NoError(t, flow.SetGlobalCache(t.Context(), "g", nil, 8*24*time.Hour))
	require.NoError(t, flow.DeleteResultCache(t.Context()))
	require.NoError(t, flow.DeleteGlobalCache(t.Context(), "g"))
	require.NoError(t, client.CacheDelete(t.Context(), CacheKey{ControlPoint: "checkout", Key: "r", Timeout: time.Minute}))

	require.Len(t, decider.asked, 5)
	result := decider.asked[0].(*checkv1.CacheUpsertRequest)
	assert.Equal(t, "checkout", result.GetControlPoint())
	assert.Equal(t, "r", result.GetResultCacheEntry().GetKey())
	assert.Equal(t, []byte{0xff, 0}, result.GetResultCacheEntry().GetValue())
	assert.Equal(t, 1050*time.Millisecond, result.GetResultCacheEntry().GetTtl().AsDuration(), "B13, B31")
	assert.Empty(t, result.GetGlobalCacheEntries())
	global := decider.asked[1].(*checkv1.CacheUpsertRequest)
	assert.Nil(t, global.GetResultCacheEntry())
	assert.Equal(t, MaxCacheTTL, global.GetGlobalCacheEntries()["g"].GetTtl().AsDuration(), "longer is cut")
	assert.Equal(t, "g", global.GetGlobalCacheEntries()["g"].GetKey())
	assert.Equal(t, "r", decider.asked[2].(*checkv1.CacheDeleteRequest).GetResultCacheKey())
	assert.Equal(t, []string{"g"}, decider.asked[3].(*checkv1.CacheDeleteRequest).GetGlobalCacheKeys())
	assert.Equal(t, []time.Duration{time.Second, time.Second, time.Second, time.Second, time.Minute}, decider.timeouts)
	assert.EqualValues(t, 5, client.Stats().CacheCalls)
	assert.Zero(t, client.Stats().CacheCallsFailed)
}

func TestCacheFailures(t *testing.T) {
	entry := CacheEntry{CacheKey: CacheKey{ControlPoint: "checkout", Scope: GlobalCache, Key: "g"}, TTL: time.Second}
	broken := &cacheDecider{
		upsert: &checkv1.CacheUpsertResponse{GlobalCacheResponses: map[string]*checkv1.KeyUpsertResponse{
			"g": {OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: "full"},
		}},
		remove: &checkv1.CacheDeleteResponse{}, // says nothing about the key
	}
	client := clientOf(t, broken, Options{})
	assert.True(t, isCacheError(client.CacheSet(t.Context(), entry), "full"))
	assert.True(t, isCacheError(client.CacheDelete(t.Context(), entry.CacheKey), "nothing about the entry"), "S9: silence is no success")
	assert.EqualValues(t, 2, client.Stats().CacheCallsFailed)

	away := clientOf(t, &cacheDecider{err: &check.UnreachableError{Reason: check.UnreachableUnavailable}}, Options{})
	_, err := away.CacheLookup(t.Context(), CacheKeys{ControlPoint: "checkout", ResultKey: "r"})
	for _, err := range []error{err, away.CacheSet(t.Context(), entry), away.CacheDelete(t.Context(), entry.CacheKey)} {
		assert.Equal(t, check.UnreachableUnavailable, asUnreachable(err).Reason)
	}
	assert.EqualValues(t, 3, away.Stats().CacheCallsFailed)

	flow := start(t, away, FlowParams{})
	assert.ErrorIs(t, flow.SetResultCache(t.Context(), nil, time.Second), ErrNoResultCacheKey)
	assert.ErrorIs(t, flow.DeleteResultCache(t.Context()), ErrNoResultCacheKey)

	require.NoError(t, away.Close(t.Context()))
	_, err = away.CacheLookup(t.Context(), CacheKeys{ControlPoint: "checkout", ResultKey: "r"})
	for _, err := range []error{err, away.CacheSet(t.Context(), entry), away.CacheDelete(t.Context(), entry.CacheKey)} {
		assert.ErrorIs(t, err, ErrClosed)
	}
}

func TestBadCacheArguments(t *testing.T) {
	good := CacheEntry{CacheKey: CacheKey{ControlPoint: "checkout", Key: "s3cr3t"}, Value: []byte("s3cr3t"), TTL: time.Second}
	for name, test := range map[string]struct {
		change   func(*CacheEntry)
		argument string
		problem  string
		deletes  bool // a key without a value has the same mistake
	}{
		"no control point":        {func(e *CacheEntry) { e.ControlPoint = "" }, "control point", "empty", true},
		"control point not UTF-8": {func(e *CacheEntry) { e.ControlPoint = "\xff" }, "control point", "UTF-8", true},
		"no key":                  {func(e *CacheEntry) { e.Key = "" }, "cache key", "empty", true},
		"key not UTF-8":           {func(e *CacheEntry) { e.Key = "s3cr3t\xff" }, "cache key", "UTF-8", true},
		"unknown scope":           {func(e *CacheEntry) { e.Scope = 2 }, "cache scope", "neither", true},
		"negative timeout":        {func(e *CacheEntry) { e.Timeout = -1 }, "cache timeout", "negative", true},
		"TTL of 0":                {func(e *CacheEntry) { e.TTL = 0 }, "TTL", "7 days", false},
		"negative TTL":            {func(e *CacheEntry) { e.TTL = -time.Second }, "TTL", "7 days", false},
		"value of 5 MiB":          {func(e *CacheEntry) { e.Value = make([]byte, 5<<20) }, "value", "4000000", false},
		"key of 5 MiB":            {func(e *CacheEntry) { e.Key = strings.Repeat("k", 5<<20) }, "cache key", "4000000", true},
	} {
		t.Run(name, func(t *testing.T) {
			decider := &cacheDecider{}
			client := clientOf(t, decider, Options{})
			entry := good
			test.change(&entry)
			err := client.CacheSet(t.Context(), entry)
			assert.ErrorContains(t, err, test.problem)
			assert.NotContains(t, err.Error(), "s3cr3t")
			if test.deletes {
				argument(t, client.CacheDelete(t.Context(), entry.CacheKey), test.argument)
			} else {
				argument(t, err, test.argument)
			}
			assert.Empty(t, decider.asked)
			assert.Zero(t, client.Stats().CacheCalls)
		})
	}
	for name, test := range map[string]struct {
		keys     CacheKeys
		argument string
	}{
		"no control point":     {CacheKeys{ResultKey: "r"}, "control point"},
		"no keys":              {CacheKeys{ControlPoint: "checkout"}, "cache keys"},
		"empty global key":     {CacheKeys{ControlPoint: "checkout", GlobalKeys: []string{"a", ""}}, "global cache keys"},
		"global key not UTF-8": {CacheKeys{ControlPoint: "checkout", GlobalKeys: []string{"\xff"}}, "global cache keys"},
		"result key not UTF-8": {CacheKeys{ControlPoint: "checkout", ResultKey: "\xff"}, "result cache key"},
		"too large":            {CacheKeys{ControlPoint: "checkout", ResultKey: strings.Repeat("k", 5<<20)}, "cache keys"},
	} {
		t.Run("lookup: "+name, func(t *testing.T) {
			_, err := clientOf(t, &cacheDecider{}, Options{}).CacheLookup(t.Context(), test.keys)
			argument(t, err, test.argument)
		})
	}
	client := clientOf(t, &cacheDecider{}, Options{})
	_, err := client.StartFlow(t.Context(), "checkout", FlowParams{GlobalCacheKeys: []string{""}})
	argument(t, err, "global cache keys")
	_, err = client.StartFlow(t.Context(), "checkout", FlowParams{ResultCacheKey: strings.Repeat("k", 5<<20)})
	argument(t, err, "labels")
}

func TestCacheOfAnAgent(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	client := connect(t, Options{Address: server.Address(), Insecure: true})
	value := []byte{0, 0xff, 0x80, 'a'}
	params := FlowParams{CheckTimeout: generous, ResultCacheKey: "r", GlobalCacheKeys: []string{"g"}}
	flow := start(t, client, params)
	assert.Equal(t, CacheValue{}, flow.ResultCache())
	require.NoError(t, flow.SetResultCache(t.Context(), value, time.Hour))
	require.NoError(t, flow.SetGlobalCache(t.Context(), "g", value, time.Hour))

	again := start(t, client, params)
	assert.Equal(t, CacheValue{Hit: true, Value: value}, again.ResultCache())
	assert.Equal(t, CacheValue{Hit: true, Value: value}, again.GlobalCache("g"))
	elsewhere, err := client.CacheLookup(t.Context(), CacheKeys{ControlPoint: "search", ResultKey: "r", GlobalKeys: []string{"g"}})
	require.NoError(t, err)
	assert.False(t, elsewhere.Result().Hit, "results belong to their control point")
	assert.True(t, elsewhere.Global("g").Hit)
	require.NoError(t, again.DeleteResultCache(t.Context()))
	assert.False(t, start(t, client, params).ResultCache().Hit)
}
