package main

// #include "aperture.h"
import "C"

import (
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/libaperture/libaperture/capi/internal/sink"
)

// The log of the process: what aperture_configure says about it, and the logger of everything in the library.
var (
	log    = sink.New()
	logger = log.Logger()
)

// logPatience is how long the close of a client waits for the log, so that a program that ends has its last lines.
const logPatience = 200 * time.Millisecond

// processors is what is known about GOMAXPROCS.
var processors struct {
	sync.Mutex
	set bool // the host has said how many
}

// aperture_go_configure is called when the runtime has started and when settings change, with settings that were
// checked, by one thread at a time. The descriptor may be closed when it has returned.
//
//export aperture_go_configure
func aperture_go_configure(maxProcs, logFD, logLevel C.int32_t) C.aperture_code {
	return enter("aperture_configure", nil, func() error {
		setProcessors(int(maxProcs))
		return log.Set(int(logFD), levelOf(logLevel))
	})
}

// levelOf returns the level that a level of the ABI stands for.
func levelOf(level C.int32_t) slog.Level {
	switch level {
	case C.APERTURE_LOG_LEVEL_DEBUG:
		return slog.LevelDebug
	case C.APERTURE_LOG_LEVEL_INFO:
		return slog.LevelInfo
	case C.APERTURE_LOG_LEVEL_ERROR:
		return slog.LevelError
	}
	return slog.LevelWarn
}

// setProcessors sets GOMAXPROCS, with 0 to what it is by itself. It stops the world, so what is so already is left
// alone.
func setProcessors(count int) {
	processors.Lock()
	defer processors.Unlock()
	switch {
	case count > 0:
		if count != runtime.GOMAXPROCS(0) || !processors.set {
			runtime.GOMAXPROCS(count)
		}
	case processors.set:
		runtime.SetDefaultGOMAXPROCS()
	}
	processors.set = count > 0
}
