// Command capi is the shared library libaperture.so: package core behind the C ABI of include/aperture.h.
//
// It marshals and nothing else. entry.c, which is generated, has the public symbols; each calls the Go function of the
// same name here, exported as aperture_go_*. The header is part of every file's preamble, so that a Go signature that
// drifts from it does not compile.
//
//	library.go      version, error names, live handles
//	clients.go      making, reading and closing clients
//	flows.go        the life of a flow, blocking
//	async.go        the asynchronous forms, on top of internal/completion
//	session.go      what stands behind a client's handle
//	marshal.go      C structs to Go values and back
//	failure.go      Go errors and panics to codes and messages
//	silence.go      nothing is written to the host's stderr
//	stack_bounds.c  why a call on a foreign stack is cheap
package main

// main is never called: a shared library has none, but the Go toolchain asks for it.
func main() {}
