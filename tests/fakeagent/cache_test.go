package fakeagent_test

import (
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

var (
	hit  = func(value string) *checkv1.KeyLookupResponse { return &checkv1.KeyLookupResponse{Value: []byte(value)} }
	miss = &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS}
)

const noControlPoint = "cache control_point cannot be empty"

func TestCachesAnswerWithWhatTheyWereGiven(t *testing.T) {
	service := client(t, start(t, fakeagent.Options{}))
	stored, err := service.CacheUpsert(t.Context(), &checkv1.CacheUpsertRequest{
		ControlPoint:     "checkout",
		ResultCacheEntry: &checkv1.CacheEntry{Key: "key", Value: []byte("result\x00\xff"), Ttl: durationpb.New(time.Hour)},
		GlobalCacheEntries: map[string]*checkv1.CacheEntry{
			"key":   {Key: "another", Value: []byte("global")},
			"empty": {},
			"":      {Key: "nowhere", Value: []byte("lost")},
		},
	})
	require.NoError(t, err)
	equal(t, &checkv1.CacheUpsertResponse{
		ResultCacheResponse:  &checkv1.KeyUpsertResponse{},
		GlobalCacheResponses: map[string]*checkv1.KeyUpsertResponse{"key": {}, "empty": {}},
	}, stored)

	for name, test := range map[string]struct {
		request *checkv1.CacheLookupRequest
		want    *checkv1.CacheLookupResponse
	}{
		"everything": {
			&checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "key", GlobalCacheKeys: []string{"key", "empty", "key", "", "unknown"}},
			&checkv1.CacheLookupResponse{
				ResultCacheResponse:  hit("result\x00\xff"),
				GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"key": hit("global"), "empty": hit(""), "unknown": miss},
			},
		},
		"another control point": {
			&checkv1.CacheLookupRequest{ControlPoint: "search", ResultCacheKey: "key", GlobalCacheKeys: []string{"key"}},
			&checkv1.CacheLookupResponse{
				ResultCacheResponse:  miss,
				GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"key": hit("global")},
			},
		},
		"no control point": {
			&checkv1.CacheLookupRequest{ResultCacheKey: "key", GlobalCacheKeys: []string{"key"}},
			&checkv1.CacheLookupResponse{
				ResultCacheResponse: &checkv1.KeyLookupResponse{
					LookupStatus:    checkv1.CacheLookupStatus_MISS,
					OperationStatus: checkv1.CacheOperationStatus_ERROR,
					Error:           noControlPoint,
				},
				GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"key": hit("global")},
			},
		},
		"the key within a global entry": {
			&checkv1.CacheLookupRequest{GlobalCacheKeys: []string{"another", "nowhere"}},
			&checkv1.CacheLookupResponse{GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"another": miss, "nowhere": miss}},
		},
		"no key":     {&checkv1.CacheLookupRequest{ControlPoint: "checkout"}, &checkv1.CacheLookupResponse{}},
		"empty keys": {&checkv1.CacheLookupRequest{ControlPoint: "checkout", GlobalCacheKeys: []string{""}}, &checkv1.CacheLookupResponse{}},
	} {
		found, err := service.CacheLookup(t.Context(), test.request)
		require.NoError(t, err, name)
		equal(t, test.want, found, name)
	}
}

func TestCachesForgetWhatIsDeletedAndReplaceWhatIsStoredAgain(t *testing.T) {
	service := client(t, start(t, fakeagent.Options{}))
	store := func(value string) {
		t.Helper()
		_, err := service.CacheUpsert(t.Context(), &checkv1.CacheUpsertRequest{
			ControlPoint:       "checkout",
			ResultCacheEntry:   &checkv1.CacheEntry{Key: "key", Value: []byte(value)},
			GlobalCacheEntries: map[string]*checkv1.CacheEntry{"key": {Value: []byte(value)}},
		})
		require.NoError(t, err)
	}
	wants := func(result, global *checkv1.KeyLookupResponse) {
		t.Helper()
		found, err := service.CacheLookup(t.Context(), &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "key", GlobalCacheKeys: []string{"key"}})
		require.NoError(t, err)
		equal(t, result, found.GetResultCacheResponse())
		equal(t, global, found.GetGlobalCacheResponses()["key"])
	}
	remove := func(request *checkv1.CacheDeleteRequest, want *checkv1.CacheDeleteResponse) {
		t.Helper()
		removed, err := service.CacheDelete(t.Context(), request)
		require.NoError(t, err)
		equal(t, want, removed)
	}
	store("first")
	store("second")
	wants(hit("second"), hit("second"))
	remove(&checkv1.CacheDeleteRequest{ControlPoint: "search", ResultCacheKey: "key", GlobalCacheKeys: []string{"", "unknown"}},
		&checkv1.CacheDeleteResponse{
			ResultCacheResponse:  &checkv1.KeyDeleteResponse{},
			GlobalCacheResponses: map[string]*checkv1.KeyDeleteResponse{"unknown": {}},
		})
	remove(&checkv1.CacheDeleteRequest{ResultCacheKey: "key"}, &checkv1.CacheDeleteResponse{
		ResultCacheResponse: &checkv1.KeyDeleteResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: noControlPoint},
	})
	wants(hit("second"), hit("second"))
	remove(&checkv1.CacheDeleteRequest{ControlPoint: "checkout", ResultCacheKey: "key"}, &checkv1.CacheDeleteResponse{ResultCacheResponse: &checkv1.KeyDeleteResponse{}})
	wants(miss, hit("second"))
	remove(&checkv1.CacheDeleteRequest{GlobalCacheKeys: []string{"key"}}, &checkv1.CacheDeleteResponse{GlobalCacheResponses: map[string]*checkv1.KeyDeleteResponse{"key": {}}})
	wants(miss, miss)
}

func TestCheckLooksIntoTheCachesForAFlowThatIsAccepted(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	service := client(t, agent)
	_, err := service.CacheUpsert(t.Context(), &checkv1.CacheUpsertRequest{
		ControlPoint:       "checkout",
		ResultCacheEntry:   &checkv1.CacheEntry{Key: "key", Value: []byte("result")},
		GlobalCacheEntries: map[string]*checkv1.CacheEntry{"key": {Value: []byte("global")}},
	})
	require.NoError(t, err)
	lookup := &checkv1.CacheLookupRequest{ControlPoint: "ignored", ResultCacheKey: "key", GlobalCacheKeys: []string{"key", "unknown"}}
	found := &checkv1.CacheLookupResponse{
		ResultCacheResponse:  hit("result"),
		GlobalCacheResponses: map[string]*checkv1.KeyLookupResponse{"key": hit("global"), "unknown": miss},
	}
	for name, test := range map[string]struct {
		behaviour fakeagent.Behaviour
		lookup    *checkv1.CacheLookupRequest
		want      *checkv1.CacheLookupResponse
	}{
		"accepted":               {fakeagent.Behaviour{}, lookup, found},
		"accepted, with a token": {fakeagent.Behaviour{InFlight: 1}, lookup, found},
		"no request":             {fakeagent.Behaviour{}, nil, nil},
		"no key":                 {fakeagent.Behaviour{}, &checkv1.CacheLookupRequest{}, &checkv1.CacheLookupResponse{}},
		"rejected":               {fakeagent.Behaviour{Response: fakeagent.Rejection(checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, 0, -1)}, lookup, nil},
		"a response as it is":    {fakeagent.Behaviour{Response: &checkv1.CheckResponse{}}, lookup, nil},
	} {
		agent.Set(test.behaviour)
		response, err := service.Check(t.Context(), &checkv1.CheckRequest{ControlPoint: "checkout", CacheLookupRequest: test.lookup})
		require.NoError(t, err, name)
		equal(t, test.want, response.GetCacheLookupResponse(), name)
	}
}

func TestCacheCallsAreAnsweredAsTheBehaviourSays(t *testing.T) {
	agent := start(t, fakeagent.Options{})
	service := client(t, agent)
	failed := checkv1.CacheOperationStatus_ERROR
	agent.Set(fakeagent.Behaviour{
		CacheLookupResponse: &checkv1.CacheLookupResponse{ResultCacheResponse: &checkv1.KeyLookupResponse{}},
		CacheUpsertResponse: &checkv1.CacheUpsertResponse{ResultCacheResponse: &checkv1.KeyUpsertResponse{OperationStatus: failed, Error: "full"}},
		CacheDeleteResponse: &checkv1.CacheDeleteResponse{ResultCacheResponse: &checkv1.KeyDeleteResponse{OperationStatus: failed, Error: "stuck"}},
	})
	upsert := &checkv1.CacheUpsertRequest{ControlPoint: "checkout", ResultCacheEntry: &checkv1.CacheEntry{Key: "key", Value: []byte("value")}}
	lookup := &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "key"}
	remove := &checkv1.CacheDeleteRequest{ControlPoint: "checkout", ResultCacheKey: "key"}
	stored, err := service.CacheUpsert(t.Context(), upsert)
	require.NoError(t, err)
	assert.Equal(t, "full", stored.GetResultCacheResponse().GetError())
	found, err := service.CacheLookup(t.Context(), lookup)
	require.NoError(t, err)
	equal(t, &checkv1.KeyLookupResponse{}, found.GetResultCacheResponse())
	removed, err := service.CacheDelete(t.Context(), remove)
	require.NoError(t, err)
	assert.Equal(t, "stuck", removed.GetResultCacheResponse().GetError())

	agent.Set(fakeagent.Behaviour{
		CacheLookup: fakeagent.Trouble{Error: codes.Unavailable},
		CacheUpsert: fakeagent.Trouble{Error: codes.ResourceExhausted},
		CacheDelete: fakeagent.Trouble{Garbage: true},
	})
	_, err = service.CacheLookup(t.Context(), lookup)
	assert.Equal(t, codes.Unavailable, status.Code(err))
	_, err = service.CacheUpsert(t.Context(), upsert)
	assert.Equal(t, codes.ResourceExhausted, status.Code(err))
	_, err = service.CacheDelete(t.Context(), remove)
	assert.Equal(t, codes.Internal, status.Code(err))

	agent.Set(fakeagent.Behaviour{})
	found, err = service.CacheLookup(t.Context(), lookup)
	require.NoError(t, err)
	equal(t, miss, found.GetResultCacheResponse(), "nothing was stored")
}
