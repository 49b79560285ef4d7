package main

// #include "aperture.h"
import "C"

import (
	"time"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/core"
)

// cacheKeys reads which entries to look up.
func cacheKeys(in *C.aperture_cache_keys) (keys core.CacheKeys, err error) {
	if err := given("keys", in); err != nil {
		return keys, err
	}
	if err := sized("keys", unsafe.Pointer(in), in.struct_size, abi.SmallestCacheKeys, C.sizeof_aperture_cache_keys); err != nil {
		return keys, err
	}
	if keys.ControlPoint, err = cacheKeyText("keys.control_point", in.control_point); err != nil {
		return keys, err
	}
	if keys.ResultKey, err = cacheKeyText("keys.result_key", in.result_key); err != nil {
		return keys, err
	}
	if keys.GlobalKeys, err = cacheKeyTexts("keys.global_keys", in.global_keys, in.global_key_count); err != nil {
		return keys, err
	}
	keys.Timeout = time.Duration(in.timeout_ns)
	return keys, nil
}

// cacheKey reads which entry is meant.
func cacheKey(in *C.aperture_cache_key) (key core.CacheKey, err error) {
	if err := given("key", in); err != nil {
		return key, err
	}
	if err := sized("key", unsafe.Pointer(in), in.struct_size, abi.SmallestCacheKey, C.sizeof_aperture_cache_key); err != nil {
		return key, err
	}
	return cacheKeyOf("key", in.control_point, in.key, in.scope, in.reserved, in.timeout_ns)
}

// cacheEntry reads what to store.
func cacheEntry(in *C.aperture_cache_entry) (entry core.CacheEntry, err error) {
	if err := given("entry", in); err != nil {
		return entry, err
	}
	if err := sized("entry", unsafe.Pointer(in), in.struct_size, abi.SmallestCacheEntry, C.sizeof_aperture_cache_entry); err != nil {
		return entry, err
	}
	if entry.CacheKey, err = cacheKeyOf("entry", in.control_point, in.key, in.scope, in.reserved, in.timeout_ns); err != nil {
		return entry, err
	}
	if in.value.data == nil && in.value.length > 0 {
		return entry, invalidArgument("entry.value: the pointer is NULL but the length is %d", in.value.length)
	}
	if in.value.length > core.MaxCacheValueBytes {
		return entry, invalidArgument("entry.value: has %d bytes; the limit is %d, with its key and control point", in.value.length, core.MaxCacheValueBytes)
	}
	entry.Value = C.GoBytes(in.value.data, C.int(in.value.length))
	entry.TTL = time.Duration(in.ttl_ns)
	return entry, nil
}

// cacheKeyOf reads the fields that a key and an entry have in common.
func cacheKeyOf(name string, controlPoint, key C.aperture_text, scope C.aperture_cache_scope, reserved C.uint32_t, timeoutNS C.int64_t) (read core.CacheKey, err error) {
	if reserved != 0 {
		return read, invalidArgument("%s.reserved: is %d; must be 0", name, reserved)
	}
	switch scope {
	case C.APERTURE_CACHE_RESULT:
		read.Scope = core.ResultCache
	case C.APERTURE_CACHE_GLOBAL:
		read.Scope = core.GlobalCache
	default:
		return read, wrongScope(name+".scope", scope)
	}
	if read.ControlPoint, err = cacheKeyText(name+".control_point", controlPoint); err != nil {
		return read, err
	}
	if read.Key, err = cacheKeyText(name+".key", key); err != nil {
		return read, err
	}
	read.Timeout = time.Duration(timeoutNS)
	return read, nil
}

func wrongScope(name string, scope C.aperture_cache_scope) error {
	return invalidArgument("%s: is %d; must be APERTURE_CACHE_RESULT (0) or APERTURE_CACHE_GLOBAL (1)", name, scope)
}

// cacheKeyText returns a copy of a key or a control point.
func cacheKeyText(name string, in C.aperture_text) (string, error) {
	if err := checkText(name, in); err != nil {
		return "", err
	}
	if in.length > core.MaxRequestBytes {
		return "", invalidArgument("%s: the length is %d; the limit is %d", name, in.length, core.MaxRequestBytes)
	}
	return C.GoStringN(in.data, C.int(in.length)), nil
}

// cacheKeyTexts returns copies of keys of the global cache.
func cacheKeyTexts(name string, in *C.aperture_text, count C.size_t) ([]string, error) {
	switch {
	case count == 0:
		return nil, nil
	case in == nil:
		return nil, invalidArgument("%s: is NULL but their count is %d", name, count)
	case count > maxLabels:
		return nil, invalidArgument("%s: their count is %d; the limit is %d", name, count, maxLabels)
	}
	copied := make([]string, count)
	total := 0
	for i, one := range unsafe.Slice(in, int(count)) {
		if total += int(one.length); total > core.MaxRequestBytes {
			return nil, invalidArgument("%s: have more than %d bytes, the limit of one request", name, core.MaxRequestBytes)
		}
		var err error
		if copied[i], err = cacheKeyText(name, one); err != nil {
			return nil, err
		}
	}
	return copied, nil
}
