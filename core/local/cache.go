package local

import (
	"context"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// errNoCache is the text of an answer about an entry that cannot be stored.
const errNoCache = "the local engine of this version has no cache"

// CacheLookup misses every key: the engine has no cache yet.
func (engine *Engine) CacheLookup(_ context.Context, request *checkv1.CacheLookupRequest, _ time.Duration) (*checkv1.CacheLookupResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	return missed(request), nil
}

// missed answers that no key of a request was found, nil when there is no request.
func missed(request *checkv1.CacheLookupRequest) *checkv1.CacheLookupResponse {
	if request == nil {
		return nil
	}
	response := &checkv1.CacheLookupResponse{}
	if request.GetResultCacheKey() != "" {
		response.ResultCacheResponse = &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS}
	}
	for _, key := range request.GetGlobalCacheKeys() {
		put(&response.GlobalCacheResponses, key, &checkv1.KeyLookupResponse{LookupStatus: checkv1.CacheLookupStatus_MISS})
	}
	return response
}

// CacheUpsert answers for each entry that it was not stored: the engine has no cache yet.
func (engine *Engine) CacheUpsert(_ context.Context, request *checkv1.CacheUpsertRequest, _ time.Duration) (*checkv1.CacheUpsertResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	refused := func() *checkv1.KeyUpsertResponse {
		return &checkv1.KeyUpsertResponse{OperationStatus: checkv1.CacheOperationStatus_ERROR, Error: errNoCache}
	}
	response := &checkv1.CacheUpsertResponse{}
	if request.GetResultCacheEntry().GetKey() != "" {
		response.ResultCacheResponse = refused()
	}
	for key := range request.GetGlobalCacheEntries() {
		if key != "" {
			put(&response.GlobalCacheResponses, key, refused())
		}
	}
	return response, nil
}

// CacheDelete succeeds for each key: nothing is there, as for a missing key of an agent.
func (engine *Engine) CacheDelete(_ context.Context, request *checkv1.CacheDeleteRequest, _ time.Duration) (*checkv1.CacheDeleteResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	response := &checkv1.CacheDeleteResponse{}
	if request.GetResultCacheKey() != "" {
		response.ResultCacheResponse = &checkv1.KeyDeleteResponse{}
	}
	for _, key := range request.GetGlobalCacheKeys() {
		if key != "" {
			put(&response.GlobalCacheResponses, key, &checkv1.KeyDeleteResponse{})
		}
	}
	return response, nil
}

// put sets the answer to a key in a map that is made with its first one, as in a message from the wire.
func put[Answer any](answers *map[string]Answer, key string, answer Answer) {
	if *answers == nil {
		*answers = make(map[string]Answer)
	}
	(*answers)[key] = answer
}
