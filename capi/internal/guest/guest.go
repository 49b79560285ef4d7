// Package guest keeps the library a good guest in somebody else's process: it is loaded by programs that fork, handle
// signals, run out of descriptors and end in their own ways, and that did not ask for a Go runtime. docs/guest.md says what
// a host can rely on.
//
// Most of it is C, because it has to be there before the runtime is, and after the runtime is dead. Each file is about
// one danger and begins with the reason:
//
//	process.c         which process this is: nothing enters the runtime of a parent
//	start.c           the runtime starts with the first client (start.ld moves its entry)
//	image.c           a forked child loads a fresh copy of the library
//	loader.c          unless the loader is locked for ever
//	thread_key.c      a thread of a child does not enter the dead runtime when it ends
//	thread_end.c      a thread of the host that ends is noticed
//	connections.c     a forked child closes its parent's connections (with connection.go)
//	threads.c         threads of the runtime take no signals of the host
//	signal_table.c    nor do they unblock them again
//	signals.c         handlers of the host never run on a goroutine's stack
//	calling_thread.c  but on one that is large enough, from where they may call the library
//	limits.c          the limit of files stays, and what the runtime would die without is looked for before
//	settings.c        aperture_configure, which a forked child inherits
//	environment.c     options come from the environment as it is, not as Go has copied it
//	stack_bounds.c    why a call on a foreign stack is cheap
//	failure.c         errors of what is answered in C
//	guest.go          what must be done in Go, right after the runtime has started
package guest

/*
#cgo CFLAGS: -std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter -I${SRCDIR}/../../../include -fvisibility=hidden
#cgo CFLAGS: -Werror=incompatible-pointer-types -Werror=int-conversion -Werror=implicit-function-declaration
#cgo LDFLAGS: -Wl,--wrap=pthread_getattr_np -Wl,--wrap=pthread_create -Wl,--wrap=pthread_key_create
#include "guest.h"
*/
import "C"

import (
	"os"
	"syscall"
	"time"
)

// Package os has raised the limit of files when this runs, and nothing of the library runs before it.
func init() {
	restoreFileLimit()
	startPoller()
}

// restoreFileLimit gives the host its limit of open files back. A limit that the host has changed meanwhile is its own.
func restoreFileLimit() {
	var soft C.uint64_t
	var now syscall.Rlimit
	if !C.aperture_guest_host_file_limit(&soft) || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now) != nil {
		return
	}
	if now.Cur > uint64(soft) {
		// Setrlimit also tells package os not to lower the limit of a child process again.
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(soft), Max: now.Max})
	}
}

// startPoller makes the runtime take the descriptors of its poller now: when it finds none at its first use of a timer or
// a socket, it ends the process.
func startPoller() {
	C.aperture_guest_release_descriptors()
	reader, writer, err := os.Pipe()
	if err != nil {
		return // only without the late start, which makes sure that there are descriptors
	}
	_ = reader.SetReadDeadline(time.Now().Add(time.Hour))
	_ = reader.Close()
	_ = writer.Close()
}

// Image says how many processes lie between this image of the library and the one that the host has loaded: 0 for the
// host's, 1 for the copy that a forked child has loaded, and so on.
func Image() int { return int(C.aperture_guest_image()) }
