// Package abi tests the built shared library as a foreign caller sees it: the file is loaded at run time, and nothing of
// it is linked in (package host). The tests need build/libaperture.so (`make build`), or the library that
// APERTURE_LIBRARY names, and fail without it.
//
//	library_test.go    loads the library
//	structs_test.go    the structs of package host, held against tests/layout/layout.json
//	symbols_test.go    what the file exports, needs and promises to the dynamic linker
//	header_test.go     what the header says about each function
//	version_test.go    version and codes
//	configure_test.go  the options of the process
//	log_test.go        where the log goes
//	flow_test.go       the life of a flow, blocking
//	async_test.go      the asynchronous forms
//	thread_end_test.go clients whose thread ends before they are closed
//	bad_input_test.go  every wrong argument gets an error that names it
//	fuzz_test.go       calls with any handles and arguments, in any order, from several threads
//	fuzz_arguments_test.go
//	                   the wrong arguments of the fuzz
package abi
