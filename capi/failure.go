package main

// #include "aperture.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unicode/utf8"
	"unsafe"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/capi/internal/handle"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local"
)

// failure is an error that knows its code.
type failure struct {
	code    abi.Code
	message string
}

func (f *failure) Error() string { return f.message }

func invalidArgument(format string, arguments ...any) error {
	return &failure{abi.ErrorInvalidArgument, fmt.Sprintf(format, arguments...)}
}

// The errors that need no detail.
var (
	errClosing      = &failure{abi.ErrorClosed, "the client is being closed"}
	errTooSmall     = &failure{abi.ErrorBufferTooSmall, "buffer: too small; length says how many bytes are needed"}
	errStillPending = &failure{abi.ErrorTimeout, "the call is still pending"}
	errCancelled    = &failure{abi.ErrorCancelled, "the call was cancelled"}
	// errPending is no error: the call goes on.
	errPending = &failure{abi.Pending, ""}
)

// codeOf returns the code that an error of the layers below has in the ABI.
func codeOf(err error) abi.Code {
	if err == nil {
		return abi.OK
	}
	if own, ok := errors.AsType[*failure](err); ok {
		return own.code
	}
	switch {
	case is[*core.ArgumentError](err):
		return abi.ErrorInvalidArgument
	case is[*local.LoadError](err):
		return abi.ErrorPolicy
	case errors.Is(err, core.ErrClosed):
		return abi.ErrorClosed
	case errors.Is(err, core.ErrAlreadyEnded):
		return abi.ErrorAlreadyEnded
	case errors.Is(err, core.ErrNoCacheAnswer):
		return abi.ErrorNoAnswer
	case is[*core.CacheError](err):
		return abi.ErrorAgent
	case is[*check.UnreachableError](err):
		return abi.ErrorUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return abi.ErrorTimeout
	case errors.Is(err, context.Canceled):
		return abi.ErrorCancelled
	case errors.Is(err, handle.ErrFull), is[syscall.Errno](err):
		return abi.ErrorResourceExhausted
	}
	return abi.ErrorInternal
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// report describes the outcome of a call to its caller and returns the code. Out may be NULL.
func report(out *C.aperture_error, err error) C.aperture_code {
	code := codeOf(err)
	if out == nil {
		return C.aperture_code(code)
	}
	message := ""
	if err != nil {
		message = err.Error()
	}
	describe(out, code, message)
	return C.aperture_code(code)
}

// describe fills an error struct.
func describe(out *C.aperture_error, code abi.Code, message string) {
	if out.struct_size < C.sizeof_aperture_error {
		return // refused by enter before anything else
	}
	out.code = C.aperture_code(code)
	out.message_length = write(out.message[:], message)
}

// write writes a message, NUL-terminated, and returns its length. One that is too long is cut between two characters.
func write(out []C.char, message string) (length C.uint32_t) {
	message = strings.ReplaceAll(message, "\x00", "\uFFFD") // a NUL would end the message for C
	buffer := unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), len(out))
	limit := len(buffer) - 1
	if len(message) > limit {
		message = message[:limit]
		for i := 0; i < utf8.UTFMax && !utf8.ValidString(message[max(0, len(message)-utf8.UTFMax):]); i++ {
			message = message[:len(message)-1]
		}
	}
	count := copy(buffer, message)
	buffer[count] = 0
	return C.uint32_t(count)
}

// panicked is the error of a call during which the library panicked.
func panicked(cause any) error {
	return &failure{abi.ErrorInternal, fmt.Sprintf("a defect of the library: panic: %v", cause)}
}
