package core

import (
	"context"
	"fmt"
	"time"
)

// ResultCache returns what the result cache had under the flow's FlowParams.ResultCacheKey.
func (f *Flow) ResultCache() CacheValue {
	if f.unreachable != nil {
		return CacheValue{Err: f.unreachable}
	}
	return resultOf(f.request.CacheLookup, f.answer.CacheLookup)
}

// GlobalCache returns what the global cache had under one of the flow's FlowParams.GlobalCacheKeys.
func (f *Flow) GlobalCache(key string) CacheValue {
	if f.unreachable != nil {
		return CacheValue{Err: f.unreachable}
	}
	return globalOf(f.request.CacheLookup, f.answer.CacheLookup, key)
}

// ErrNoResultCacheKey says that a flow was started without a ResultCacheKey. It is an ErrNoCacheAnswer.
var ErrNoResultCacheKey = fmt.Errorf("%w: the flow has no result cache key", ErrNoCacheAnswer)

// SetResultCache stores the flow's result under its ResultCacheKey. Its error is ErrNoResultCacheKey, or one of CacheSet.
// It may be called for every flow, also after its end.
func (f *Flow) SetResultCache(ctx context.Context, value []byte, ttl time.Duration) error {
	key, err := f.resultCacheKey()
	if err != nil {
		return err
	}
	return f.client.CacheSet(ctx, CacheEntry{CacheKey: key, Value: value, TTL: ttl})
}

// DeleteResultCache removes what is stored under the flow's ResultCacheKey. Its error is ErrNoResultCacheKey, or one of
// CacheDelete.
func (f *Flow) DeleteResultCache(ctx context.Context) error {
	key, err := f.resultCacheKey()
	if err != nil {
		return err
	}
	return f.client.CacheDelete(ctx, key)
}

func (f *Flow) resultCacheKey() (CacheKey, error) {
	key := f.request.CacheLookup.GetResultCacheKey()
	if key == "" {
		return CacheKey{}, ErrNoResultCacheKey
	}
	return CacheKey{ControlPoint: f.request.ControlPoint, Scope: ResultCache, Key: key}, nil
}

// SetGlobalCache stores a value in the global cache, under any key. Its error is one of CacheSet.
func (f *Flow) SetGlobalCache(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return f.client.CacheSet(ctx, CacheEntry{CacheKey: f.globalCacheKey(key), Value: value, TTL: ttl})
}

// DeleteGlobalCache removes an entry of the global cache, under any key. Its error is one of CacheDelete.
func (f *Flow) DeleteGlobalCache(ctx context.Context, key string) error {
	return f.client.CacheDelete(ctx, f.globalCacheKey(key))
}

func (f *Flow) globalCacheKey(key string) CacheKey {
	return CacheKey{ControlPoint: f.request.ControlPoint, Scope: GlobalCache, Key: key}
}
