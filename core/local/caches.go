package local

import (
	"context"
	"time"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// lookUp reads the cache entries that a check asks for, and says whether the result was found: then no later group of
// limiters is asked, and the flow is accepted. Without a request it reads nothing.
func (engine *Engine) lookUp(decision *flowDecision, lookup *checkv1.CacheLookupRequest) (found bool) {
	if lookup == nil {
		return false
	}
	decision.cacheLookup = engine.cache.Lookup(decision.request.ControlPoint, lookup)
	result := decision.cacheLookup.GetResultCacheResponse()
	return result != nil && result.GetLookupStatus() == checkv1.CacheLookupStatus_HIT
}

// CacheLookup reads cache entries. The values are those that the cache has: nobody changes them.
func (engine *Engine) CacheLookup(_ context.Context, request *checkv1.CacheLookupRequest, _ time.Duration) (*checkv1.CacheLookupResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	return engine.cache.Lookup(request.GetControlPoint(), request), nil
}

// CacheUpsert stores copies of cache entries.
func (engine *Engine) CacheUpsert(_ context.Context, request *checkv1.CacheUpsertRequest, _ time.Duration) (*checkv1.CacheUpsertResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	return engine.cache.Upsert(request), nil
}

// CacheDelete removes cache entries.
func (engine *Engine) CacheDelete(_ context.Context, request *checkv1.CacheDeleteRequest, _ time.Duration) (*checkv1.CacheDeleteResponse, error) {
	if engine.closed.Load() {
		return nil, &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	}
	return engine.cache.Delete(request), nil
}
