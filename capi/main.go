// Command capi is the shared library libaperture.so: package core behind the C ABI of include/aperture.h.
//
// It marshals and nothing else. entry.c, which is generated, has the public symbols; each calls the Go function of the
// same name here, exported as aperture_go_*, in the image of the library that this process may use: internal/guest knows
// which. The header is part of every file's preamble, so that a Go signature that drifts from it does not compile.
//
//	constants.c     what is answered without Go (generated)
//	enter.go        the way of every call: handles to objects, panics to errors
//	library.go      live handles
//	log.go          aperture_configure's part in Go, and the log, which is internal/sink
//	clients.go      making, reading and closing clients
//	flows.go        the life of a flow, blocking
//	caches.go       calls to the cache, in both forms
//	async.go        the other asynchronous forms, on top of internal/completion
//	starts.go       starts that wait in this process
//	thread_end.go   clients whose thread has ended
//	session.go      what stands behind a client's handle
//	marshal.go      texts, sizes and buffers; client_options.go, flow_structs.go and cache_structs.go read and fill
//	                the structs of their subject
//	failure.go      Go errors to codes and messages
//	faults.go       panics on request, in a build for tests
//	silence.go      nothing is written to the host's stderr
package main

// main is never called: a shared library has none, but the Go toolchain asks for it.
func main() {}
