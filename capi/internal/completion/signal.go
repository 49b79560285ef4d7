package completion

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// errClosed says that the client was released.
var errClosed = errors.New("the client is closed")

// signal is a pipe that is readable while it is raised. It is a pipe and not an eventfd because Node's net.Socket
// refuses an eventfd. Both ends are non-blocking and close-on-exec; a byte is in the pipe at most once for each time
// that the queue became non-empty.
type signal struct {
	readEnd, writeEnd int
	raised            bool
	lent              []int // duplicates of a thread that may end without closing them; perhaps closed since
}

var noSignal = signal{readEnd: -1, writeEnd: -1}

// open makes the pipe, unless there is one: a host that never asks for the descriptor costs none.
func (s *signal) open() error {
	if s.readEnd >= 0 {
		return nil
	}
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	s.readEnd, s.writeEnd = ends[0], ends[1]
	return nil
}

// duplicate returns a read end of the caller's own: net.Socket closes what it is given. One that is lent is closed by
// closeLent too.
func (s *signal) duplicate(lent bool) (int, error) {
	number, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(s.readEnd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, fmt.Errorf("duplicate descriptor: %w", errno)
	}
	// A number that is free again was closed by the thread that it was lent to, whoever has it now.
	s.lent = slices.DeleteFunc(s.lent, func(one int) bool { return one == int(number) || !s.isDuplicate(one) })
	if lent {
		s.lent = append(s.lent, int(number))
	}
	return int(number), nil
}

// isDuplicate says whether a descriptor is open on this pipe. One that the caller has closed may be any file by now.
func (s *signal) isDuplicate(descriptor int) bool {
	var own, other syscall.Stat_t
	return syscall.Fstat(s.readEnd, &own) == nil && syscall.Fstat(descriptor, &other) == nil &&
		own.Dev == other.Dev && own.Ino == other.Ino
}

// closeLent closes what was lent, for a thread that is gone without having done so.
func (s *signal) closeLent() {
	for _, descriptor := range s.lent {
		if s.isDuplicate(descriptor) {
			_ = syscall.Close(descriptor)
		}
	}
	s.lent = nil
}

// raise makes the descriptor readable. A write that fails can only mean that the pipe is full, and then it is readable.
func (s *signal) raise() {
	if s.writeEnd < 0 || s.raised {
		return
	}
	s.raised = true
	var one [1]byte
	_, _ = syscall.Write(s.writeEnd, one[:])
}

// clear takes the byte away, if the host has not read it.
func (s *signal) clear() {
	if !s.raised {
		return
	}
	s.raised = false
	var some [8]byte
	_, _ = syscall.Read(s.readEnd, some[:])
}

func (s *signal) close() {
	if s.readEnd >= 0 {
		_ = syscall.Close(s.readEnd)
		_ = syscall.Close(s.writeEnd)
	}
	*s = noSignal
}
