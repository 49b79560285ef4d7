//go:build aperture_faults

package main

// #include <stdlib.h>
import "C"

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/libaperture/libaperture/internal/guard"
)

// This file is in a build for tests only (tests/faults). There, every call of the library and every goroutine of it
// passes named points, and APERTURE_PANIC_AT names those that panic: "local.sweeper" each time, "local.sweeper:2"
// twice, "core.flow.end:1,core.flow.give_back:1" one after the other.
func init() { guard.Fault = panicAt }

// variable is a text of C. Go has no environment in the library.
var variable = C.CString("APERTURE_PANIC_AT")

// panics counts the panics of each point.
var (
	panicsMu sync.Mutex
	panics   = map[string]int{}
)

func panicAt(point string) {
	value := C.getenv(variable)
	if value == nil {
		return
	}
	for named := range strings.SplitSeq(C.GoString(value), ",") {
		if name, times, limited := strings.Cut(named, ":"); name == point && panicsAgain(point, times, limited) {
			panic(fmt.Sprintf("a fault at %s", point))
		}
	}
}

func panicsAgain(point, times string, limited bool) bool {
	panicsMu.Lock()
	defer panicsMu.Unlock()
	limit, err := strconv.Atoi(times)
	if limited && (err != nil || panics[point] >= limit) {
		return false
	}
	panics[point]++
	return true
}
