package main

// #include "aperture.h"
//
// // The names of static texts of the library; Go cannot say const.
// typedef const char static_text;
import "C"

import (
	"sync"

	"github.com/libaperture/libaperture/capi/internal/abi"
)

// staticTexts are C copies of the texts that the library hands out. They are made once and live as long as the process.
var staticTexts = sync.OnceValue(func() map[string]*C.static_text {
	texts := map[string]*C.static_text{}
	add := func(text string) {
		if texts[text] == nil {
			texts[text] = C.CString(text)
		}
	}
	add(abi.Version)
	// One code more than there are has the name and the description of an unknown code.
	for code := abi.Pending; ; code-- {
		add(code.Name())
		add(code.Description())
		if code < abi.OK && code.Name() == abi.UnknownName {
			return texts
		}
	}
})

//export aperture_go_version
func aperture_go_version() *C.static_text { return staticTexts()[abi.Version] }

//export aperture_go_abi_version
func aperture_go_abi_version() C.uint32_t { return abi.ABIVersion }

//export aperture_go_error_name
func aperture_go_error_name(code C.aperture_code) *C.static_text {
	return staticTexts()[abi.Code(code).Name()]
}

//export aperture_go_error_description
func aperture_go_error_description(code C.aperture_code) *C.static_text {
	return staticTexts()[abi.Code(code).Description()]
}

//export aperture_go_live_handles
func aperture_go_live_handles() C.uint64_t {
	return C.uint64_t(clients.Live() + flows.Live() + calls.Live())
}
