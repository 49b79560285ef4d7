package main

// #include "aperture.h"
import "C"

import (
	"runtime"

	_ "github.com/libaperture/libaperture/capi/internal/guest"
)

//export aperture_go_configure
func aperture_go_configure(maxProcs, logFD, logLevel C.int32_t) C.aperture_code {
	if maxProcs > 0 {
		runtime.GOMAXPROCS(int(maxProcs))
	}
	return C.APERTURE_OK
}
