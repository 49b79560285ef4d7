// Package sink writes the log of the library to a descriptor of the host. It never keeps a caller waiting: lines go
// through a bounded queue that a goroutine empties, and what does not fit is counted, and said in a line of its own.
package sink

import (
	"bytes"
	"log/slog"
	"math"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libaperture/libaperture/internal/guard"
)

const (
	// maxLines and maxBytes bound the queue.
	maxLines = 1024
	maxBytes = 1 << 20
	// maxLine bounds one line; the rest of a longer one is cut off. The longest are stack traces of 20 KiB.
	maxLine = 64 << 10
	// patience is how long a change of the descriptor waits for lines that are being written.
	patience = time.Second
	// stalled is how long a line may take before nobody waits for the log any more.
	stalled = 200 * time.Millisecond
)

// nothing is a level that no line has.
const nothing = slog.Level(math.MaxInt)

// Sink is a log on a descriptor that may change. Its methods may be called from several goroutines at once.
type Sink struct {
	logger *slog.Logger
	level  slog.LevelVar

	change sync.Mutex // held while the descriptor changes

	mu      sync.Mutex
	current *output // nil: there is no log
	lines   []line  // oldest first
	bytes   int
	dropped int           // since the last line that said so
	wake    chan struct{} // lines wait: one token
}

// line is a line of the log.
type line struct {
	text []byte
	lost int // how many lines are lost with it: more than one when it says how many were dropped
}

// New makes a sink without a descriptor.
func New() *Sink {
	s := &Sink{wake: make(chan struct{}, 1)}
	s.level.Set(nothing)
	s.logger = slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: &s.level}))
	return s
}

// Logger returns the logger whose lines go to the sink.
func (s *Sink) Logger() *slog.Logger { return s.logger }

// Write queues a line, or drops it. It never fails: nobody could be told.
func (s *Sink) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return len(text), nil
	}
	// A line fits when there is also room for the one that says how many did not.
	if len(s.lines)+1 >= maxLines || s.bytes+min(len(text), maxLine) > maxBytes {
		s.dropped++
		return len(text), nil
	}
	if s.dropped > 0 {
		s.sayDropped()
	}
	s.append(line{cut(text), 1})
	return len(text), nil
}

// append queues a line. The caller holds mu.
func (s *Sink) append(l line) {
	s.lines = append(s.lines, l)
	s.bytes += len(l.text)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sayDropped queues the line that says how many were dropped. The caller holds mu.
func (s *Sink) sayDropped() {
	var text bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Warn("lines were dropped", slog.Int("count", s.dropped))
	s.append(line{text.Bytes(), s.dropped})
	s.dropped = 0
}

// cut returns a copy of a line that is not too long.
func cut(text []byte) []byte {
	if len(text) <= maxLine {
		return bytes.Clone(text)
	}
	return append(bytes.Clone(text[:maxLine-1]), '\n')
}

// take puts the oldest line into the hand of an output. It returns false when there is none, or when the output is not
// the current one any more.
func (s *Sink) take(o *output) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != o {
		return false
	}
	if len(s.lines) == 0 && s.dropped > 0 && !o.failed {
		s.sayDropped()
	}
	if len(s.lines) == 0 {
		s.tellIdle(o)
		return false
	}
	o.hand, o.since, o.stalled = s.lines[0], time.Now(), false
	s.lines[0] = line{}
	s.lines = s.lines[1:]
	s.bytes -= len(o.hand.text)
	return true
}

// settle takes the line out of the hand of an output, and counts what is lost with it if it was not written.
func (s *Sink) settle(o *output, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !written {
		s.dropped += o.hand.lost
	}
	o.hand, o.failed = line{}, !written
}

// tellIdle wakes those who wait until an output has nothing to do. The caller holds mu.
func (s *Sink) tellIdle(o *output) {
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// Flush waits until the lines are written, for as long as timeout. It does not wait for a reader that takes none.
func (s *Sink) Flush(timeout time.Duration) {
	s.mu.Lock()
	o := s.current
	if o == nil || o.isStalled() || o.isIdle() {
		s.mu.Unlock()
		return
	}
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	s.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}

// Set changes where lines of which level go: to a duplicate of the descriptor, or nowhere when it is 0. What waits is
// still written to the old one, for a second at most; after that no write to it begins any more. A write that is under
// way then, to a reader that takes nothing, ends when the reader does; the duplicate is closed by then and not before,
// so that its number cannot belong to another file.
func (s *Sink) Set(descriptor int, level slog.Level) error {
	s.change.Lock()
	defer s.change.Unlock()
	var next *output
	if descriptor != 0 {
		var err error
		if next, err = newOutput(s, descriptor); err != nil {
			return err
		}
	} else {
		level = nothing
	}
	begin := time.Now()
	s.Flush(patience)

	s.mu.Lock()
	old := s.current
	s.current = next
	if next == nil {
		s.lines, s.bytes, s.dropped = nil, 0, 0
	}
	s.mu.Unlock()
	s.level.Set(level)
	if old != nil {
		old.end(patience - time.Since(begin))
	}
	if next != nil {
		guard.Keep(s.logger, "capi.log", next.ending, next.run, next.recovered, next.close)
	}
	return nil
}

// output is one descriptor and the goroutine that writes to it.
type output struct {
	sink       *Sink
	descriptor int           // the sink's own
	ending     chan struct{} // closed when another output takes over
	ended      chan struct{} // closed when the descriptor is

	// Guarded by the sink's lock.
	hand    line // is being written; its text is nil when none is
	since   time.Time
	stalled bool          // the reader does not take it
	failed  bool          // the last one could not be written
	idle    chan struct{} // closed when there is nothing to write; made by who waits for that
}

// isStalled says whether nobody should wait. The caller holds the sink's lock.
func (o *output) isStalled() bool {
	return o.stalled || o.hand.text != nil && time.Since(o.since) > stalled
}

// isIdle says whether there is nothing to write. The caller holds the sink's lock.
func (o *output) isIdle() bool {
	return o.hand.text == nil && len(o.sink.lines) == 0 && (o.sink.dropped == 0 || o.failed)
}

// newOutput duplicates a descriptor, above those of standard streams, which a host may close and open again.
func newOutput(s *Sink, descriptor int) (*output, error) {
	number, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(descriptor), syscall.F_DUPFD_CLOEXEC, 3)
	if errno != 0 {
		return nil, errno
	}
	return &output{sink: s, descriptor: int(number), ending: make(chan struct{}), ended: make(chan struct{})}, nil
}

// end lets the goroutine end, and waits for it as long as the timeout says.
func (o *output) end(timeout time.Duration) {
	close(o.ending)
	timer := time.NewTimer(max(0, timeout))
	defer timer.Stop()
	select {
	case <-o.ended:
	case <-timer.C:
	}
}

// run writes lines until another output takes over.
func (o *output) run() {
	for {
		for o.sink.take(o) {
			guard.Point("capi.log.line")
			o.sink.settle(o, o.write(o.hand.text))
		}
		select {
		case <-o.sink.wake:
		case <-o.ending:
			return
		}
	}
}

// recovered counts the line in hand.
func (o *output) recovered(any) {
	o.sink.settle(o, false)
}

// close closes the descriptor when nothing writes to it any more.
func (o *output) close() {
	defer close(o.ended)
	_ = syscall.Close(o.descriptor)
	o.sink.mu.Lock()
	defer o.sink.mu.Unlock()
	o.sink.tellIdle(o)
	select {
	case o.sink.wake <- struct{}{}: // a token that this output may have taken from the next one
	default:
	}
}

// The pauses between two tries to write to a reader that takes nothing.
const (
	firstPause = time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// write writes a line and says whether it did. It waits for a reader that takes nothing, without keeping a thread,
// until another output takes over. This is not os.File: for that, the runtime raises SIGPIPE when the pipe at
// descriptor 1 or 2 is broken.
func (o *output) write(text []byte) bool {
	begin := time.Now()
	pause := firstPause
	for {
		if o.writable() {
			written, err := syscall.Write(o.descriptor, text)
			text = text[max(0, written):]
			switch {
			case len(text) == 0:
				return true
			case err == nil, err == syscall.EINTR:
				pause = firstPause
				continue
			case err != syscall.EAGAIN:
				return false
			}
		}
		if time.Since(begin) >= stalled {
			o.noteStalled()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-o.ending:
			timer.Stop()
			return false
		}
		pause = min(2*pause, lastPause)
	}
}

// writable says whether a write will not wait. It also says so of a descriptor that is broken: the write finds out how.
// Another process that writes to the same pipe may be quicker; then the write waits all the same, in its goroutine.
func (o *output) writable() bool {
	poll := []unix.PollFd{{Fd: int32(o.descriptor), Events: unix.POLLOUT}}
	ready, err := unix.Poll(poll, 0)
	return err == nil && ready == 1
}

// noteStalled lets those go who wait.
func (o *output) noteStalled() {
	o.sink.mu.Lock()
	defer o.sink.mu.Unlock()
	o.stalled = true
	o.sink.tellIdle(o)
}
