// Package conformance holds one suite of cases that every way to use the library must pass: what an agent answers, what a
// program does, and what each of the two then sees. The cases are data, in cases/; index.json names them, the requirements
// that they cover, and the drivers that run them. README.md says how to add one.
//
//	suite_test.go        reads index.json and the cases, and holds them against each other
//	conformance_test.go  runs each case with each driver
//	driver_test.go       the process of a driver, and the lines that it is told and answers
//	seen_test.go         what the fake agent saw, as data
//	match_test.go        compares what is with what a case expects
package conformance
