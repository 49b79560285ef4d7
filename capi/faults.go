//go:build aperture_faults

package main

// #include <stdlib.h>
import "C"

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/libaperture/libaperture/core/guard"
)

// This file is in a build for tests only (tests/faults). There, every call of the library and every goroutine of it passes
// a named point, and APERTURE_PANIC_AT names the one that panics: "local.sweeper" each time, "local.sweeper:2" twice.
func init() { guard.Fault = panicAt }

// variable is a text of C.
var variable = C.CString("APERTURE_PANIC_AT")

var panics atomic.Int64

func panicAt(point string) {
	value := C.getenv(variable) // Go has no environment here
	if value == nil {
		return
	}
	name, times, limited := strings.Cut(C.GoString(value), ":")
	if name != point {
		return
	}
	if limited {
		limit, err := strconv.ParseInt(times, 10, 64)
		if err != nil || panics.Add(1) > limit {
			return
		}
	}
	panic(fmt.Sprintf("a fault at %s", point))
}
