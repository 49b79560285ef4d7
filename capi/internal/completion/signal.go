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
	lent              []int // read ends of a thread that may end without closing them
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

// duplicate returns a read end of the caller's own: net.Socket closes what it is given.
func (s *signal) duplicate() (int, error) {
	number, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(s.readEnd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, fmt.Errorf("duplicate descriptor: %w", errno)
	}
	return int(number), nil
}

// lend is duplicate for a thread that may end without closing what it got. Those that it has closed are forgotten here.
func (s *signal) lend() (int, error) {
	s.lent = slices.DeleteFunc(s.lent, func(descriptor int) bool { return !s.isReadEnd(descriptor) })
	descriptor, err := s.duplicate()
	if err == nil {
		s.lent = append(s.lent, descriptor)
	}
	return descriptor, err
}

// reclaim closes what was lent and not closed, once the thread has ended: then a number that still is this pipe is nobody
// else's.
func (s *signal) reclaim() {
	for _, descriptor := range s.lent {
		if s.isReadEnd(descriptor) {
			_ = syscall.Close(descriptor)
		}
	}
	s.lent = nil
}

// isReadEnd says whether a descriptor is this pipe: its number may have become another file's.
func (s *signal) isReadEnd(descriptor int) bool {
	var own, other syscall.Stat_t
	return s.readEnd >= 0 && syscall.Fstat(s.readEnd, &own) == nil && syscall.Fstat(descriptor, &other) == nil &&
		own.Dev == other.Dev && own.Ino == other.Ino
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
