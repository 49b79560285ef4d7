package agent

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// cacheServer answers the cache calls with what it was made with, or with an error, and keeps what it was asked.
type cacheServer struct {
	checkv1.UnimplementedFlowControlServiceServer
	lookup *checkv1.CacheLookupResponse
	upsert *checkv1.CacheUpsertResponse
	delete *checkv1.CacheDeleteResponse

	mu       sync.Mutex
	err      error
	hang     bool
	requests []proto.Message
	keys     []string // the API keys
	bounded  int      // calls with a deadline
}

func (s *cacheServer) serve(ctx context.Context, request proto.Message) error {
	s.mu.Lock()
	s.requests = append(s.requests, request)
	s.keys = append(s.keys, metadata.ValueFromIncomingContext(ctx, "x-api-key")...)
	if _, ok := ctx.Deadline(); ok {
		s.bounded++
	}
	err, hang := s.err, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return err
}

// suffer makes the calls from now on fail, or hang, and forgets those before.
func (s *cacheServer) suffer(err error, hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.hang, s.requests = err, hang, nil
}

func (s *cacheServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *cacheServer) CacheLookup(ctx context.Context, request *checkv1.CacheLookupRequest) (*checkv1.CacheLookupResponse, error) {
	return s.lookup, s.serve(ctx, request)
}

func (s *cacheServer) CacheUpsert(ctx context.Context, request *checkv1.CacheUpsertRequest) (*checkv1.CacheUpsertResponse, error) {
	return s.upsert, s.serve(ctx, request)
}

func (s *cacheServer) CacheDelete(ctx context.Context, request *checkv1.CacheDeleteRequest) (*checkv1.CacheDeleteResponse, error) {
	return s.delete, s.serve(ctx, request)
}

// startCache starts the server and returns its address.
func startCache(t *testing.T, service *cacheServer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	checkv1.RegisterFlowControlServiceServer(server, service)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Stop
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return listener.Addr().String()
}

var (
	lookupRequest = &checkv1.CacheLookupRequest{ControlPoint: "checkout", ResultCacheKey: "result-key", GlobalCacheKeys: []string{"global-key"}}
	upsertRequest = &checkv1.CacheUpsertRequest{
		ControlPoint:       "checkout",
		ResultCacheEntry:   &checkv1.CacheEntry{Key: "result-key", Value: []byte("result-value")},
		GlobalCacheEntries: map[string]*checkv1.CacheEntry{"global-key": {Key: "global-key", Value: []byte("global-value")}},
	}
	deleteRequest = &checkv1.CacheDeleteRequest{ControlPoint: "checkout", ResultCacheKey: "result-key", GlobalCacheKeys: []string{"global-key"}}
)

// cacheCalls makes each of the cache calls.
var cacheCalls = map[string]func(*Agent, context.Context, time.Duration) (proto.Message, error){
	"lookup": func(a *Agent, ctx context.Context, timeout time.Duration) (proto.Message, error) {
		return a.CacheLookup(ctx, lookupRequest, timeout)
	},
	"upsert": func(a *Agent, ctx context.Context, timeout time.Duration) (proto.Message, error) {
		return a.CacheUpsert(ctx, upsertRequest, timeout)
	},
	"delete": func(a *Agent, ctx context.Context, timeout time.Duration) (proto.Message, error) {
		return a.CacheDelete(ctx, deleteRequest, timeout)
	},
}

func TestCacheCallsCarryRequestAndAnswer(t *testing.T) {
	service := &cacheServer{
		lookup: &checkv1.CacheLookupResponse{ResultCacheResponse: &checkv1.KeyLookupResponse{Value: []byte{0, 255}}},
		upsert: &checkv1.CacheUpsertResponse{ResultCacheResponse: &checkv1.KeyUpsertResponse{Error: "too large"}},
		delete: &checkv1.CacheDeleteResponse{GlobalCacheResponses: map[string]*checkv1.KeyDeleteResponse{"global-key": {}}},
	}
	a := open(t, startCache(t, service), Options{APIKey: "s3cr3t-key"})
	for name, want := range map[string]struct{ request, answer proto.Message }{
		"lookup": {lookupRequest, service.lookup},
		"upsert": {upsertRequest, service.upsert},
		"delete": {deleteRequest, service.delete},
	} {
		service.suffer(nil, false)
		answer, err := cacheCalls[name](a, t.Context(), generous)
		require.NoError(t, err, name)
		assert.True(t, proto.Equal(want.answer, answer), "%s: %v", name, answer)
		require.Len(t, service.requests, 1, name)
		assert.True(t, proto.Equal(want.request, service.requests[0]), "%s: %v", name, service.requests)
	}
	assert.Equal(t, []string{"s3cr3t-key", "s3cr3t-key", "s3cr3t-key"}, service.keys)
	assert.Equal(t, 3, service.bounded, "every call has a deadline")
}

func TestCacheCallsThatFail(t *testing.T) {
	service := &cacheServer{}
	a := open(t, startCache(t, service), Options{})
	waitReady(t, a)
	for name, call := range cacheCalls {
		for code, want := range map[codes.Code]struct {
			reason check.UnreachableReason
			tries  int
		}{
			codes.Unavailable:       {check.UnreachableUnavailable, 2},
			codes.ResourceExhausted: {check.UnreachableAgentError, 1},
			codes.Unauthenticated:   {check.UnreachableMisconfigured, 1},
		} {
			t.Run(name+" "+code.String(), func(t *testing.T) {
				service.suffer(status.Error(code, "the agent is tired"), false)
				answer, err := call(a, t.Context(), generous)
				assert.Equal(t, want.reason, reason(t, err))
				assert.ErrorContains(t, err, "the agent is tired")
				assert.Nil(t, answer)
				assert.Equal(t, want.tries, service.count())
			})
		}
		t.Run(name+" that hangs", func(t *testing.T) {
			service.suffer(nil, true)
			_, err := call(a, t.Context(), 20*time.Millisecond)
			assert.Equal(t, check.UnreachableTimeout, reason(t, err))
		})
		t.Run(name+" that is cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := call(a, ctx, generous)
			assert.Equal(t, check.UnreachableCancelled, reason(t, err))
		})
	}
	a.EndCalls()
	for name, call := range cacheCalls {
		_, err := call(a, t.Context(), generous)
		assert.Equal(t, check.UnreachableClosed, reason(t, err), name)
	}
}

func TestErrorsOfCacheCallsDoNotTellSecrets(t *testing.T) {
	service := &cacheServer{}
	a := open(t, startCache(t, service), Options{})
	service.suffer(status.Error(codes.Internal, "no result-key, no global-key, no result-value, no global-value"), false)
	for name, want := range map[string]string{
		"lookup": "no [cache key], no [cache key], no result-value",
		"upsert": "no [cache key], no [cache key], no [cached value], no [cached value]",
		"delete": "no [cache key], no [cache key], no result-value",
	} {
		_, err := cacheCalls[name](a, t.Context(), generous)
		assert.ErrorContains(t, err, want, name)
	}
}

func TestCheckAsksForCacheEntries(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{})
	asked := request()
	asked.CacheLookup = lookupRequest
	_, err := a.Check(t.Context(), asked)
	require.NoError(t, err)
	assert.True(t, proto.Equal(lookupRequest, server.Recorded().Checks[0].Request.GetCacheLookupRequest()))

	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Error: codes.Internal, Message: "result-key and global-key"}})
	_, err = a.Check(t.Context(), asked)
	assert.ErrorContains(t, err, "[cache key] and [cache key]")
}

func TestErrorOfFlowEndDoesNotTellSecrets(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{FlowEnd: fakeagent.Trouble{Error: codes.Internal, Message: "nothing for alice@example.org"}})
	a := open(t, server.Address(), Options{})
	_, err := a.FlowEnd(t.Context(), &checkv1.FlowEndRequest{
		InflightRequests: []*checkv1.InflightRequestRef{{Label: "alice@example.org", RequestId: "1"}},
	}, generous)
	assert.ErrorContains(t, err, "nothing for [label value]")
}
