package main

// #include "aperture.h"
import "C"

import (
	"math"
	"time"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/completion"
)

// sized checks the struct_size of a struct that the caller fills or wants filled. A smaller struct than this library's
// comes from an older header, but none is smaller than the first one. A larger struct comes from a newer header; what
// this library does not know must be zero in it.
func sized(name string, pointer unsafe.Pointer, size C.size_t, smallest, known uintptr) error {
	if uintptr(size) < smallest {
		return invalidArgument("%s: struct_size is %d; the struct has %d bytes (use its _INIT macro)", name, size, known)
	}
	if uintptr(size) > known+(1<<16) || uintptr(size)%structAlignment != 0 {
		return invalidArgument("%s: struct_size is %d, which no version of the struct has (use its _INIT macro)", name, size)
	}
	if uintptr(size) <= known {
		return nil
	}
	for _, b := range unsafe.Slice((*byte)(unsafe.Add(pointer, known)), uintptr(size)-known) {
		if b != 0 {
			return invalidArgument("%s: struct_size is %d and sets what this library (version %s) does not know; it knows %d bytes",
				name, size, abi.Version, known)
		}
	}
	return nil
}

// structAlignment divides the size of every sized struct: its fields are, at least, 64 bits wide in pairs.
const structAlignment = 8

// whole returns a struct as this library knows it: fields that the caller's older struct lacks are zero.
func whole[T any](in *T, size C.size_t) T {
	var full T
	known := unsafe.Sizeof(full)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&full)), known), unsafe.Slice((*byte)(unsafe.Pointer(in)), min(uintptr(size), known)))
	return full
}

// copyOut writes a struct to the caller's, which may be an older or a newer one, up to its size.
func copyOut[T any](out, full *T, size C.size_t) {
	count := min(uintptr(size), unsafe.Sizeof(*full))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(out)), count), unsafe.Slice((*byte)(unsafe.Pointer(full)), count))
}

// has says whether a struct of the caller has a field that is new.
func has(size C.size_t, offset, fieldSize uintptr) bool {
	return uintptr(size) >= offset+fieldSize
}

// maxOptionLength bounds an option's text, for the same reason: no path, key or name is as long.
const maxOptionLength = 1 << 20

// text returns a copy of an option's text.
func text(name string, in C.aperture_text) (string, error) {
	if err := checkText(name, in); err != nil {
		return "", err
	}
	if in.length > maxOptionLength {
		return "", invalidArgument("%s: the length is %d; the limit is %d", name, in.length, maxOptionLength)
	}
	return C.GoStringN(in.data, C.int(in.length)), nil
}

func checkText(name string, in C.aperture_text) error {
	if in.length > math.MaxInt32 {
		return invalidArgument("%s: the length is %d; the limit is %d", name, in.length, math.MaxInt32)
	}
	if in.data == nil && in.length > 0 {
		return invalidArgument("%s: the pointer is NULL but the length is %d", name, in.length)
	}
	return nil
}

func boolean(name string, in C.int32_t) (bool, error) {
	if in != 0 && in != 1 {
		return false, invalidArgument("%s: is %d; must be 0 or 1", name, in)
	}
	return in == 1, nil
}

// timeout reads a timeout in nanoseconds, for which 0 means byDefault.
func timeout(in C.int64_t, byDefault time.Duration) (time.Duration, error) {
	if in < 0 {
		return 0, invalidArgument("timeout_ns: is %d; must not be negative", in)
	}
	if in == 0 {
		return byDefault, nil
	}
	return time.Duration(in), nil
}

// fillCompletion describes the end of an asynchronous call.
func fillCompletion(out *C.aperture_completion, in completion.Completion) {
	out.kind = C.aperture_completion_kind(in.Kind)
	out.code = C.aperture_code(in.Code)
	out.tag = C.uint64_t(in.Tag)
	// The fields are handles, which are numbers in the clothes of a pointer: they are stored as the numbers that they
	// are, because Go's garbage collector must never see them as pointers.
	*(*C.uint64_t)(unsafe.Pointer(&out.call)) = C.uint64_t(in.Call)
	*(*C.uint64_t)(unsafe.Pointer(&out.flow)) = C.uint64_t(in.Flow)
	if has(out.struct_size, unsafe.Offsetof(out.answer), unsafe.Sizeof(out.answer)) {
		*(*C.uint64_t)(unsafe.Pointer(&out.answer)) = C.uint64_t(in.Answer)
	}
	if has(out.struct_size, unsafe.Offsetof(out.message), unsafe.Sizeof(out.message)) {
		out.message_length = write(out.message[:], in.Message)
	}
}

// checkBuffer checks where a function is to write what fill writes.
func checkBuffer(buffer *C.char, capacity C.size_t, length *C.size_t) error {
	if err := given("length", length); err != nil {
		return err
	}
	*length = 0
	if buffer == nil && capacity > 0 {
		return invalidArgument("buffer: is NULL but capacity is %d", capacity)
	}
	return nil
}

// fill writes what a function returns into a buffer of the caller. Length says how much there is, also when it does not
// fit.
func fill(buffer *C.char, capacity C.size_t, length *C.size_t, content []byte) error {
	*length = C.size_t(len(content))
	if C.size_t(len(content)) > capacity {
		return errTooSmall
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(buffer)), len(content)), content)
	return nil
}

func integer(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}
