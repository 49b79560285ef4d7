package main

// #include "aperture.h"
import "C"

import (
	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/guest"
	"github.com/libaperture/libaperture/capi/internal/handle"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/internal/guard"
)

// enter is the way of every call into the library: it refuses an error struct that cannot be written to, runs the call,
// and tells the caller what came of it. A panic becomes the error of the call: none may cross into C. The function is
// not kept, so that what it refers to stays on the stack.
func enter(name string, out *C.aperture_error, run func() error) (code C.aperture_code) {
	defer func() {
		if cause := recover(); cause != nil {
			guard.Log(logger, name, cause)
			code = report(out, panicked(cause))
		}
	}()
	if out != nil && out.struct_size < C.sizeof_aperture_error {
		return C.APERTURE_ERROR_INVALID_ARGUMENT
	}
	guard.Point(name)
	return report(out, run())
}

// kind has the open handles of one kind, and what is said about other numbers.
type kind[T any] struct {
	*handle.Table[T]
	invalid, inherited error
}

func newKind[T any](number int, name, never string) kind[T] {
	return kind[T]{
		Table:   handle.NewTable[T](number, guest.Image()),
		invalid: &failure{abi.ErrorInvalidHandle, name + ": " + never},
		inherited: &failure{abi.ErrorForked,
			name + ": belongs to the process that this one was forked from; make a new client in this process"},
	}
}

// find returns what stands behind an open handle.
func (k *kind[T]) find(number C.uint64_t) (*T, error) {
	if object := k.Get(uint64(number)); object != nil {
		return object, nil
	}
	return nil, k.refuse(number)
}

// refuse says why a handle is not open.
func (k *kind[T]) refuse(number C.uint64_t) error {
	if k.Inherited(uint64(number)) {
		return k.inherited
	}
	return k.invalid
}

// The handles of the process. With the log they are the only state that is not behind a handle.
var (
	clients = newKind[session](abi.KindClient, "client", "not an open client (NULL, closed, of another kind, or never made)")
	flows   = newKind[core.Flow](abi.KindFlow, "flow", "not an open flow (NULL, closed, of another kind, or never made)")
	answers = newKind[openAnswer](abi.KindCacheAnswer, "answer", "not an open answer (NULL, closed, of another kind, or never made)")
	calls   = newKind[pendingCall](abi.KindCall, "call", "not a pending call (NULL, of another kind, or its completion was handed out)")
)

// given refuses a pointer that is NULL.
func given[T any](name string, pointer *T) error {
	if pointer == nil {
		return invalidArgument("%s: must not be NULL", name)
	}
	return nil
}
