package host

import "runtime"

// The main thread cannot end before its process does: no goroutine but the one that has begun on it may run on it.
func init() { runtime.LockOSThread() }

// OnThreadThatEnds runs a function on a thread of its own and returns when that thread ends or has ended. The thread may
// not run code of its own any more then, like one that its host ends from outside.
func OnThreadThatEnds(run func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(done)
		run()
	}()
	<-done
}
