package main

// #include "aperture.h"
import "C"

//export aperture_go_live_handles
func aperture_go_live_handles() C.uint64_t {
	return C.uint64_t(clients.Live() + flows.Live() + calls.Live())
}
