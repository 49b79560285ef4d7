// Package guard starts the goroutines of the library. A panic in a goroutine ends the process, which belongs to
// somebody else; so no goroutine and no callback of the library starts in another way, which a test of this package
// watches over.
//
// Each has a name, which the log tells, and which a build for tests can make panic.
package guard

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"
)

// pause passes before a loop that panicked runs again: a defect that comes back must not take all of a processor.
const pause = time.Second

// Go runs a function in a goroutine of its own. When it panics that is logged, and recovered is called: it does what
// must happen all the same. finally is called at the end in any case. Both may be nil.
func Go(logger *slog.Logger, name string, run func(), recovered func(cause any), finally func()) {
	go func() {
		defer last(logger, name, finally)
		Do(logger, name, run, recovered)
	}()
}

// Keep runs a loop in a goroutine of its own, again after a panic, so that what it does is not missing for the rest of
// the process's life. It is like Go, but after recovered the loop begins anew, after a pause, unless ending is closed
// before.
func Keep(logger *slog.Logger, name string, ending <-chan struct{}, run func(), recovered func(cause any), finally func()) {
	go func() {
		defer last(logger, name, finally)
		for !Do(logger, name, run, recovered) {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ending:
				timer.Stop()
				return
			}
		}
	}()
}

func last(logger *slog.Logger, name string, finally func()) {
	if finally != nil {
		protect(logger, name, finally, nil)
	}
}

// AfterFunc is context.AfterFunc, for a function that may panic as in Go.
func AfterFunc(ctx context.Context, logger *slog.Logger, name string, run func(), recovered func(cause any)) (stop func() bool) {
	return context.AfterFunc(ctx, func() { Do(logger, name, run, recovered) })
}

// AfterTime is time.AfterFunc, for a function that may panic as in Go.
func AfterTime(delay time.Duration, logger *slog.Logger, name string, run func(), recovered func(cause any)) *time.Timer {
	return time.AfterFunc(delay, func() { Do(logger, name, run, recovered) })
}

// Do runs a function under a name, and says whether it returned. When it panics that is logged, and recovered is
// called, unless it is nil.
func Do(logger *slog.Logger, name string, run func(), recovered func(cause any)) (returned bool) {
	return protect(logger, name, func() { Point(name); run() }, recovered)
}

func protect(logger *slog.Logger, name string, run func(), recovered func(cause any)) (returned bool) {
	defer func() {
		if cause := recover(); cause != nil {
			Log(logger, name, cause)
			if recovered != nil {
				protect(logger, name, func() { recovered(cause) }, nil)
			}
		}
	}()
	run()
	return true
}

// Log tells the log about a panic, with the stack of the goroutine that it came through. It is called by the function
// that recovered it.
func Log(logger *slog.Logger, name string, cause any) {
	defer func() { _ = recover() }() // a cause that cannot be printed, or a logger that panics
	logger.LogAttrs(context.Background(), slog.LevelError, "a panic was caught; this is a defect of the library",
		slog.String("where", name), slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
}
