package main

// #include "aperture.h"
import "C"

import (
	"math"

	"github.com/libaperture/libaperture/internal/guard"
)

//export aperture_go_live_handles
func aperture_go_live_handles() C.uint64_t {
	live := uint64(math.MaxUint64) // after a panic: not 0, which says that everything is closed
	guard.Do(logger, "aperture_live_handles", func() { live = uint64(clients.Live() + flows.Live() + answers.Live() + calls.Live()) }, nil)
	return C.uint64_t(live)
}
