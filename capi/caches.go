package main

// #include "aperture.h"
import "C"

import (
	"context"
	"errors"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/internal/guard"
)

//export aperture_go_cache_lookup
func aperture_go_cache_lookup(client C.uint64_t, keys *C.aperture_cache_keys, answer *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_lookup", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		if err := given("answer", answer); err != nil {
			return err
		}
		wanted, err := cacheKeys(keys)
		if err != nil {
			return err
		}
		return s.lookup(wanted, answer)
	})
}

//export aperture_go_cache_lookup_async
func aperture_go_cache_lookup_async(client C.uint64_t, keys *C.aperture_cache_keys, tag C.uint64_t, answer *C.uint64_t, call *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_lookup_async", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		if err := given("answer", answer); err != nil {
			return err
		}
		if err := given("call", call); err != nil {
			return err
		}
		wanted, err := cacheKeys(keys)
		if err != nil {
			return err
		}
		if s.client.Immediate() {
			return s.lookup(wanted, answer)
		}
		if err := wanted.Validate(); err != nil {
			return err
		}
		number, err := s.spawnCall(asyncCall{
			name: "capi.cache_lookup", kind: abi.CompletionCacheLookup, tag: uint64(tag), limit: s.maxPending,
			run: func(ctx context.Context, pending *completion.Call) { s.lookupPending(ctx, pending, wanted) },
		})
		return pend(call, number, err)
	})
}

// lookup looks entries up and gives what was found a handle.
func (s *session) lookup(keys core.CacheKeys, answer *C.uint64_t) error {
	found, err := s.client.CacheLookup(context.Background(), keys)
	if err != nil {
		return err
	}
	number, err := answers.Open(&openAnswer{found, s})
	if err != nil {
		return err
	}
	*answer = C.uint64_t(number)
	return nil
}

// lookupPending looks entries up and ends the call with what was found.
func (s *session) lookupPending(ctx context.Context, pending *completion.Call, keys core.CacheKeys) {
	found, err := s.client.CacheLookup(ctx, keys)
	err = lateCacheError(ctx, err)
	var number uint64
	seen := false
	defer func() {
		if !seen {
			answers.Close(number)
		}
	}()
	guard.Point("capi.cache_lookup.answered")
	if ctx.Err() != nil {
		err = errCancelled
	}
	if err == nil {
		number, err = answers.Open(&openAnswer{found, s})
	}
	seen = s.endCallWith(pending, completion.Outcome{Answer: number}, err)
}

//export aperture_go_cache_answer_value
func aperture_go_cache_answer_value(answer C.uint64_t, scope C.aperture_cache_scope, key *C.aperture_text, status *C.aperture_lookup_status, buffer *C.char, capacity C.size_t, length *C.size_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_answer_value", failure, func() error {
		return cacheValue(scope, key, status, buffer, capacity, length, func() (cached, error) {
			found, err := answers.find(answer)
			if err != nil {
				return nil, err
			}
			return found, nil
		})
	})
}

//export aperture_go_cache_answer_close
func aperture_go_cache_answer_close(answer C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_answer_close", failure, func() error {
		if answers.Close(uint64(answer)) == nil {
			return answers.refuse(answer)
		}
		return nil
	})
}

// cached is where values of the cache can be read.
type cached interface {
	Result() core.CacheValue
	Global(key string) core.CacheValue
}

// flowCache is what was looked up with a flow's decision.
type flowCache struct{ flow *core.Flow }

func (c flowCache) Result() core.CacheValue           { return c.flow.ResultCache() }
func (c flowCache) Global(key string) core.CacheValue { return c.flow.GlobalCache(key) }

// cacheValue reads the value under a key from what find returns.
func cacheValue(scope C.aperture_cache_scope, key *C.aperture_text, status *C.aperture_lookup_status, buffer *C.char, capacity C.size_t, length *C.size_t, find func() (cached, error)) error {
	if err := given("status", status); err != nil {
		return err
	}
	*status = C.APERTURE_LOOKUP_MISS
	if err := checkBuffer(buffer, capacity, length); err != nil {
		return err
	}
	from, err := find()
	if err != nil {
		return err
	}
	var value core.CacheValue
	switch scope {
	case C.APERTURE_CACHE_RESULT:
		value = from.Result()
	case C.APERTURE_CACHE_GLOBAL:
		if err := given("key", key); err != nil {
			return err
		}
		text, err := cacheKeyText("key", *key)
		if err != nil {
			return err
		}
		value = from.Global(text)
	default:
		return wrongScope("scope", scope)
	}
	if value.Err != nil {
		return value.Err
	}
	if value.Hit {
		*status = C.APERTURE_LOOKUP_HIT
	}
	return fill(buffer, capacity, length, value.Value)
}

//export aperture_go_cache_set
func aperture_go_cache_set(client C.uint64_t, entry *C.aperture_cache_entry, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_set", failure, func() error {
		_, set, err := setting(client, entry)
		if err != nil {
			return err
		}
		return set(context.Background())
	})
}

//export aperture_go_cache_set_async
func aperture_go_cache_set_async(client C.uint64_t, entry *C.aperture_cache_entry, tag C.uint64_t, call *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_set_async", failure, func() error {
		s, set, err := setting(client, entry)
		if err != nil {
			return err
		}
		return s.changeCache("capi.cache_set", abi.CompletionCacheSet, tag, call, set)
	})
}

// setting reads what both forms of a set are given, and returns what does it.
func setting(client C.uint64_t, in *C.aperture_cache_entry) (*session, func(context.Context) error, error) {
	s, err := clients.find(client)
	if err != nil {
		return nil, nil, err
	}
	entry, err := cacheEntry(in)
	if err != nil {
		return nil, nil, err
	}
	return s, func(ctx context.Context) error { return s.client.CacheSet(ctx, entry) }, entry.Validate()
}

//export aperture_go_cache_delete
func aperture_go_cache_delete(client C.uint64_t, key *C.aperture_cache_key, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_delete", failure, func() error {
		_, remove, err := deleting(client, key)
		if err != nil {
			return err
		}
		return remove(context.Background())
	})
}

//export aperture_go_cache_delete_async
func aperture_go_cache_delete_async(client C.uint64_t, key *C.aperture_cache_key, tag C.uint64_t, call *C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_cache_delete_async", failure, func() error {
		s, remove, err := deleting(client, key)
		if err != nil {
			return err
		}
		return s.changeCache("capi.cache_delete", abi.CompletionCacheDelete, tag, call, remove)
	})
}

// deleting reads what both forms of a delete are given, and returns what does it.
func deleting(client C.uint64_t, in *C.aperture_cache_key) (*session, func(context.Context) error, error) {
	s, err := clients.find(client)
	if err != nil {
		return nil, nil, err
	}
	key, err := cacheKey(in)
	if err != nil {
		return nil, nil, err
	}
	return s, func(ctx context.Context) error { return s.client.CacheDelete(ctx, key) }, key.Validate()
}

// lateCacheError returns how a call to the cache ends that was under way: a close that overtakes it ends it as one that
// comes later.
func lateCacheError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errCancelled
	case errors.Is(err, core.ErrClosed):
		return &check.UnreachableError{Reason: check.UnreachableClosed}
	}
	return err
}

// changeCache is the asynchronous form of what changes the cache.
func (s *session) changeCache(name string, kind abi.CompletionKind, tag C.uint64_t, call *C.uint64_t, change func(context.Context) error) error {
	if err := given("call", call); err != nil {
		return err
	}
	if s.client.Immediate() {
		return change(context.Background())
	}
	number, err := s.spawnCall(asyncCall{
		name: name, kind: kind, tag: uint64(tag), limit: s.maxPending,
		run: func(ctx context.Context, pending *completion.Call) {
			s.endCall(pending, 0, lateCacheError(ctx, change(ctx)))
		},
	})
	return pend(call, number, err)
}
