// Package faults proves what a panic in the library does to its host: nothing but an error of the call that it belongs to,
// and a trace in the log. It needs build/faults/libaperture.so, a build in which named points panic on request
// (capi/faults.go), and build/libaperture.so, which must have none of that.
//
//	faults_test.go     runs each case in a process of its own
//	child_test.go      what a case has in its process
//	points_test.go     no point of the sources is without a case
//	functions_test.go  the cases of the functions
//	goroutines_test.go the cases of what runs beside them
package faults
