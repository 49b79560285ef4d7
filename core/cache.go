package core

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The limits of the cache.
const (
	// DefaultCacheTimeout bounds a call to the cache that names no timeout.
	DefaultCacheTimeout = time.Second
	// MaxCacheTTL is the longest that an agent keeps a value; longer times to live are cut to it.
	MaxCacheTTL = 7 * 24 * time.Hour
	// MaxCacheValueBytes limits a value, with its key and control point. It keeps the call below the 4 MiB that a gRPC
	// server takes by default.
	MaxCacheValueBytes = MaxRequestBytes
)

// CacheScope says which of an agent's caches an entry is in.
type CacheScope int32

// The caches.
const (
	// ResultCache has the results of flows, for each control point its own.
	ResultCache CacheScope = iota
	// GlobalCache is shared by all control points.
	GlobalCache
)

// CacheKeys name the entries that CacheLookup reads. There must be at least one key.
type CacheKeys struct {
	// ControlPoint is the one whose result cache is meant. For the global cache the agent counts by it. Required.
	ControlPoint string
	ResultKey    string // in the result cache; empty for none
	GlobalKeys   []string
	// Timeout bounds the call; 0 is DefaultCacheTimeout.
	Timeout time.Duration
}

// CacheKey names an entry.
type CacheKey struct {
	ControlPoint string // as in CacheKeys
	Scope        CacheScope
	Key          string
	Timeout      time.Duration // as in CacheKeys
}

// CacheEntry is a value to store under a key.
type CacheEntry struct {
	CacheKey
	Value []byte // may be empty
	// TTL is how long the value lives: more than 0, and at most MaxCacheTTL.
	TTL time.Duration
}

// ErrNoCacheAnswer says that nothing is known about a key: the agent was not asked about it, or the flow was rejected
// before the agent looked. It is neither a hit nor a miss.
var ErrNoCacheAnswer = errors.New("nothing is known about the cache entry")

// CacheError is what the agent, or the local engine, said about one entry that it could not read, store or remove.
type CacheError struct {
	Message string // the agent's or the engine's
}

// Error returns the message, as one of the cache.
func (e *CacheError) Error() string { return "the cache: " + e.Message }

// CacheLookup reads entries of the cache without a flow. It returns within keys.Timeout, or when ctx ends.
//
// The error is an *ArgumentError, ErrClosed, or a *check.UnreachableError. What went wrong with one key is in the answer.
func (c *Client) CacheLookup(ctx context.Context, keys CacheKeys) (*CacheAnswer, error) {
	request, timeout, err := keys.request()
	if err != nil {
		return nil, err
	}
	if c.closed.Load() {
		return nil, ErrClosed
	}
	response, err := c.decider.CacheLookup(ctx, request, timeout)
	if err := c.cacheCalled(keys.ControlPoint, err); err != nil {
		return nil, err
	}
	return &CacheAnswer{request, response}, nil
}

// CacheSet stores a value in place of the one that is there. It returns within entry.Timeout, or when ctx ends.
//
// The error is an *ArgumentError, ErrClosed, a *CacheError, or a *check.UnreachableError.
func (c *Client) CacheSet(ctx context.Context, entry CacheEntry) error {
	timeout, err := entry.check()
	if err != nil {
		return err
	}
	if c.closed.Load() {
		return ErrClosed
	}
	stored := &checkv1.CacheEntry{Key: entry.Key, Value: entry.Value, Ttl: durationpb.New(min(entry.TTL, MaxCacheTTL))}
	request := &checkv1.CacheUpsertRequest{ControlPoint: entry.ControlPoint}
	if entry.Scope == ResultCache {
		request.ResultCacheEntry = stored
	} else {
		request.GlobalCacheEntries = map[string]*checkv1.CacheEntry{entry.Key: stored}
	}
	response, err := c.decider.CacheUpsert(ctx, request, timeout)
	if err == nil {
		err = outcome(response.GetResultCacheResponse(), response.GetGlobalCacheResponses(), &entry.CacheKey)
	}
	return c.cacheCalled(entry.ControlPoint, err)
}

// CacheDelete removes an entry; that there is none is no error. It returns within key.Timeout, or when ctx ends.
//
// The error is an *ArgumentError, ErrClosed, a *CacheError, or a *check.UnreachableError.
func (c *Client) CacheDelete(ctx context.Context, key CacheKey) error {
	timeout, err := key.check()
	if err != nil {
		return err
	}
	if c.closed.Load() {
		return ErrClosed
	}
	request := &checkv1.CacheDeleteRequest{ControlPoint: key.ControlPoint}
	if key.Scope == ResultCache {
		request.ResultCacheKey = key.Key
	} else {
		request.GlobalCacheKeys = []string{key.Key}
	}
	response, err := c.decider.CacheDelete(ctx, request, timeout)
	if err == nil {
		err = outcome(response.GetResultCacheResponse(), response.GetGlobalCacheResponses(), &key)
	}
	return c.cacheCalled(key.ControlPoint, err)
}

// cacheCalled counts a call to the cache, and returns its error as callers see it.
func (c *Client) cacheCalled(controlPoint string, err error) error {
	c.counts.cacheCalls.Add(1)
	if err == nil {
		return nil
	}
	c.counts.cacheCallsFailed.Add(1)
	if _, ok := errors.AsType[*CacheError](err); ok {
		return err
	}
	unreachable := asUnreachable(err)
	c.logUnreachable("the cache could not be asked", controlPoint, unreachable)
	return unreachable
}

// cacheStatus is what an agent says about one entry after an upsert or a delete.
type cacheStatus interface {
	GetOperationStatus() checkv1.CacheOperationStatus
	GetError() string
}

// outcome returns what an agent says about the entry that was stored or removed. That it says nothing is an error: an
// empty message would read as success.
func outcome[S interface {
	cacheStatus
	comparable
}](result S, global map[string]S, key *CacheKey) error {
	var none S
	status := result
	if key.Scope == GlobalCache {
		status = global[key.Key]
	}
	if status == none {
		return &CacheError{"it says nothing about the entry"}
	}
	return failed(status)
}

// failed returns the error that an agent has for one entry, or nil.
func failed(status cacheStatus) error {
	switch {
	case status.GetError() != "":
		return &CacheError{status.GetError()}
	case status.GetOperationStatus() != checkv1.CacheOperationStatus_SUCCESS:
		return &CacheError{"it failed without a reason"}
	}
	return nil
}

// CacheAnswer is what CacheLookup found.
type CacheAnswer struct {
	asked    *checkv1.CacheLookupRequest
	response *checkv1.CacheLookupResponse
}

// Result returns what the result cache had.
func (a *CacheAnswer) Result() CacheValue { return resultOf(a.asked, a.response) }

// Global returns what the global cache had under a key.
func (a *CacheAnswer) Global(key string) CacheValue { return globalOf(a.asked, a.response, key) }

// CacheValue is what a cache had under a key: a hit, a miss, or the reason why neither is known.
type CacheValue struct {
	Hit   bool
	Value []byte // of a hit; shared, and not to be changed
	// Err is nil for a hit and a miss; otherwise ErrNoCacheAnswer, a *CacheError, or for a flow about which nothing was
	// decided its *check.UnreachableError.
	Err error
}

func resultOf(asked *checkv1.CacheLookupRequest, response *checkv1.CacheLookupResponse) CacheValue {
	if asked.GetResultCacheKey() == "" {
		return CacheValue{Err: fmt.Errorf("%w: no result cache key was given", ErrNoCacheAnswer)}
	}
	return valueOf(response.GetResultCacheResponse())
}

func globalOf(asked *checkv1.CacheLookupRequest, response *checkv1.CacheLookupResponse, key string) CacheValue {
	answer, ok := response.GetGlobalCacheResponses()[key]
	if !ok {
		for _, one := range asked.GetGlobalCacheKeys() {
			if one == key {
				return valueOf(nil)
			}
		}
		return CacheValue{Err: fmt.Errorf("%w: it was not among the global cache keys", ErrNoCacheAnswer)}
	}
	return valueOf(answer)
}

// valueOf reads the answer about one key. An empty message reads as a hit on the wire, so its absence is looked at first.
func valueOf(answer *checkv1.KeyLookupResponse) CacheValue {
	if answer == nil {
		return CacheValue{Err: ErrNoCacheAnswer}
	}
	if err := failed(answer); err != nil {
		return CacheValue{Err: err}
	}
	if answer.GetLookupStatus() != checkv1.CacheLookupStatus_HIT {
		return CacheValue{}
	}
	return CacheValue{Hit: true, Value: answer.GetValue()}
}

// cacheLookup returns the request for the keys, nil when there are none, and the size of its texts.
func cacheLookup(resultKey string, globalKeys []string) (request *checkv1.CacheLookupRequest, size int, err error) {
	if resultKey == "" && len(globalKeys) == 0 {
		return nil, 0, nil
	}
	if !utf8.ValidString(resultKey) {
		return nil, 0, &ArgumentError{"result cache key", "is not UTF-8"}
	}
	size = len(resultKey) + bytesPerLabel
	for _, key := range globalKeys {
		switch {
		case key == "":
			return nil, 0, &ArgumentError{"global cache keys", "have an empty key; an agent would not answer it"}
		case !utf8.ValidString(key):
			return nil, 0, &ArgumentError{"global cache keys", "have a key that is not UTF-8"}
		}
		size += len(key) + bytesPerLabel
	}
	return &checkv1.CacheLookupRequest{ResultCacheKey: resultKey, GlobalCacheKeys: globalKeys}, size, nil
}

// Validate returns the *ArgumentError that CacheLookup would, or nil, for a caller that refuses bad arguments at once but
// asks on another goroutine.
func (k CacheKeys) Validate() error {
	_, _, err := k.request()
	return err
}

// Validate is as CacheKeys.Validate, for CacheDelete.
func (k CacheKey) Validate() error {
	_, err := k.check()
	return err
}

// Validate is as CacheKeys.Validate, for CacheSet.
func (e CacheEntry) Validate() error {
	_, err := e.check()
	return err
}

// request finds mistakes in keys and returns the request for them, and the timeout of the call.
func (k *CacheKeys) request() (*checkv1.CacheLookupRequest, time.Duration, error) {
	timeout, err := checkCacheCall(k.ControlPoint, k.Timeout)
	if err != nil {
		return nil, 0, err
	}
	if k.ResultKey == "" && len(k.GlobalKeys) == 0 {
		return nil, 0, &ArgumentError{"cache keys", "are missing; give a result key or at least one global key"}
	}
	request, size, err := cacheLookup(k.ResultKey, k.GlobalKeys)
	if err != nil {
		return nil, 0, err
	}
	if size += len(k.ControlPoint); size > MaxRequestBytes {
		return nil, 0, tooLarge("cache keys", size)
	}
	request.ControlPoint = k.ControlPoint
	return request, timeout, nil
}

// check finds mistakes in an entry and returns the timeout of the call.
func (e *CacheEntry) check() (time.Duration, error) {
	timeout, err := e.CacheKey.check()
	switch {
	case err != nil:
		return 0, err
	case e.TTL <= 0:
		return 0, &ArgumentError{"TTL", "is not positive; a value must live for some time, at most 7 days"}
	}
	if size := len(e.ControlPoint) + len(e.Key) + len(e.Value); size > MaxCacheValueBytes {
		return 0, tooLarge("value", size)
	}
	return timeout, nil
}

// check finds mistakes in a key and returns the timeout of the call.
func (k *CacheKey) check() (time.Duration, error) {
	if size := len(k.ControlPoint) + len(k.Key); size > MaxRequestBytes {
		return 0, tooLarge("cache key", size)
	}
	switch {
	case k.Scope != ResultCache && k.Scope != GlobalCache:
		return 0, &ArgumentError{"cache scope", "is neither ResultCache (0) nor GlobalCache (1)"}
	case k.Key == "":
		return 0, &ArgumentError{"cache key", "is empty; give the key of the entry"}
	case !utf8.ValidString(k.Key):
		return 0, &ArgumentError{"cache key", "is not UTF-8"}
	}
	return checkCacheCall(k.ControlPoint, k.Timeout)
}

// checkCacheCall finds mistakes in what every call to the cache has, and returns its timeout.
func checkCacheCall(controlPoint string, timeout time.Duration) (time.Duration, error) {
	if err := checkControlPoint(controlPoint); err != nil {
		return 0, err
	}
	return pick("cache timeout", timeout, DefaultCacheTimeout, MaxCheckTimeout)
}

func tooLarge(argument string, size int) error {
	return &ArgumentError{argument, fmt.Sprintf("is too large: with its key and control point it has %d bytes; the limit is %d", size, MaxCacheValueBytes)}
}
