package sink

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds what should happen at once. It only ends a test that hangs.
const soon = 20 * time.Second

// pipe returns a reader and the descriptor of its writer, which is in blocking mode, as that of a host is.
func pipe(t *testing.T) (*os.File, int) {
	t.Helper()
	var ends [2]int
	require.NoError(t, syscall.Pipe2(ends[:], syscall.O_CLOEXEC))
	require.NoError(t, syscall.SetNonblock(ends[0], true)) // so that a read can be given a deadline
	reader := os.NewFile(uintptr(ends[0]), "reader")
	t.Cleanup(func() {
		_ = reader.Close()
		_ = syscall.Close(ends[1])
	})
	require.NoError(t, reader.SetReadDeadline(time.Now().Add(soon)))
	return reader, ends[1]
}

// open returns a sink on a descriptor, without one at the end of the test.
func open(t *testing.T, descriptor int, level slog.Level) *Sink {
	t.Helper()
	s := New()
	require.NoError(t, s.Set(descriptor, level))
	t.Cleanup(func() { require.NoError(t, s.Set(0, 0)) })
	return s
}

// fill writes to a pipe until nothing more goes into it.
func fill(t *testing.T, descriptor int) (written int) {
	t.Helper()
	require.NoError(t, syscall.SetNonblock(descriptor, true))
	for {
		n, err := syscall.Write(descriptor, bytes.Repeat([]byte("x"), 4096))
		if err == syscall.EAGAIN {
			require.NoError(t, syscall.SetNonblock(descriptor, false))
			return written
		}
		require.NoError(t, err)
		written += n
	}
}

func readLine(t *testing.T, lines *bufio.Reader) string {
	t.Helper()
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	return line
}

func TestLineIsWrittenAsText(t *testing.T) {
	reader, descriptor := pipe(t)
	s := open(t, descriptor, slog.LevelInfo)
	s.Logger().Info("something happened", slog.String("how", "in two\nlines"))
	line := readLine(t, bufio.NewReader(reader))
	assert.Regexp(t, `^time=\S+ level=INFO msg="something happened" how="in two\\nlines"\n$`, line)
}

// Packets keep the borders of the writes.
func TestEachLineIsOneWrite(t *testing.T) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = syscall.Close(ends[0]); _ = syscall.Close(ends[1]) }()
	s := open(t, ends[1], slog.LevelInfo)
	for i := range 3 {
		s.Logger().Info("line", slog.Int("number", i), slog.String("long", strings.Repeat("x", 10_000)))
	}
	packet := make([]byte, 1<<16)
	for i := range 3 {
		n, err := syscall.Read(ends[0], packet)
		require.NoError(t, err)
		assert.Contains(t, string(packet[:n]), fmt.Sprintf("number=%d ", i))
		assert.Equal(t, 1, strings.Count(string(packet[:n]), "\n"))
	}
}

func TestLevel(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	ctx := context.Background()
	s := New()
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelWarn, slog.LevelError} {
		assert.False(t, s.Logger().Enabled(ctx, level), "without a descriptor nothing is made")
	}
	require.NoError(t, s.Set(int(file.Fd()), slog.LevelWarn))
	s.Logger().Info("not this")
	s.Logger().Warn("but this")
	require.NoError(t, s.Set(0, slog.LevelWarn))
	s.Logger().Error("nor this")
	assert.False(t, s.Logger().Enabled(ctx, slog.LevelError))
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.Contains(t, string(text), "but this")
	assert.NotContains(t, string(text), "not")
	assert.NotContains(t, string(text), "nor")
}

func TestLinesThatNobodyReadsAreDroppedAndCounted(t *testing.T) {
	reader, descriptor := pipe(t)
	s := open(t, descriptor, slog.LevelInfo)
	garbage := fill(t, descriptor)
	const written = 5000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range written {
			s.Logger().Info("line", slog.Int("number", i))
		}
	}()
	select {
	case <-done:
	case <-time.After(soon):
		t.Fatal("the log keeps its caller waiting")
	}
	s.mu.Lock()
	assert.LessOrEqual(t, len(s.lines), maxLines)
	assert.LessOrEqual(t, s.bytes, maxBytes)
	s.mu.Unlock()

	lines := bufio.NewReader(reader)
	_, err := io.CopyN(io.Discard, lines, int64(garbage))
	require.NoError(t, err)
	read, next := 0, 0
	for {
		line := readLine(t, lines)
		var number, count int
		if _, after, ok := strings.Cut(line, "count="); ok {
			assert.Contains(t, line, `msg="lines were dropped"`)
			_, err := fmt.Sscan(after, &count)
			require.NoError(t, err)
			assert.Equal(t, written, read+count, "each line is read or counted")
			break
		}
		_, after, _ := strings.Cut(line, "number=")
		_, err := fmt.Sscan(after, &number)
		require.NoError(t, err)
		require.Equal(t, next, number)
		read, next = read+1, next+1
	}
	s.Logger().Info("again")
	assert.Contains(t, readLine(t, lines), "again")
}

func TestQueueIsBoundedInBytes(t *testing.T) {
	_, descriptor := pipe(t)
	s := open(t, descriptor, slog.LevelInfo)
	fill(t, descriptor)
	for range 100 {
		s.Logger().Info("line", slog.String("long", strings.Repeat("x", 60_000)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	assert.LessOrEqual(t, s.bytes, maxBytes)
	assert.Greater(t, s.dropped, 80)
}

func TestLongLineIsCut(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	s := open(t, int(file.Fd()), slog.LevelInfo)
	s.Logger().Info("line", slog.String("long", strings.Repeat("x", 1<<20)))
	s.Logger().Info("next")
	s.Flush(soon)
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	first, second, _ := strings.Cut(string(text), "\n")
	assert.Len(t, first, maxLine-1)
	assert.Contains(t, second, "next")
}

func TestFlushWaitsForTheLinesButNotForAReader(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	s := open(t, int(file.Fd()), slog.LevelInfo)
	for range 500 {
		s.Logger().Info("line")
	}
	s.Flush(soon)
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.Equal(t, 500, bytes.Count(text, []byte("\n")))

	_, descriptor := pipe(t)
	fill(t, descriptor)
	stuck := open(t, descriptor, slog.LevelInfo)
	stuck.Logger().Info("line")
	begin := time.Now()
	stuck.Flush(time.Hour)
	stuck.Flush(time.Hour)
	assert.Less(t, time.Since(begin), soon, "it waited for a reader that takes nothing")
}

func TestBrokenPipeIsNoSignalAndIsCounted(t *testing.T) {
	reader, descriptor := pipe(t)
	s := open(t, descriptor, slog.LevelInfo)
	require.NoError(t, reader.Close())
	s.Logger().Info("one")
	s.Logger().Info("two")
	s.Flush(time.Second)

	next, nextDescriptor := pipe(t)
	require.NoError(t, s.Set(nextDescriptor, slog.LevelInfo))
	s.Logger().Info("three")
	text := make([]byte, 4096)
	seen := ""
	for !strings.Contains(seen, "three") {
		n, err := next.Read(text)
		require.NoError(t, err)
		seen += string(text[:n])
	}
	assert.Contains(t, seen, `msg="lines were dropped" count=`)
}

func TestChangeWritesWhatWaitsToTheOldDescriptor(t *testing.T) {
	first, firstDescriptor := pipe(t)
	second, secondDescriptor := pipe(t)
	s := open(t, firstDescriptor, slog.LevelInfo)
	s.Logger().Info("one")
	require.NoError(t, s.Set(secondDescriptor, slog.LevelInfo))
	s.Logger().Info("two")
	assert.Contains(t, readLine(t, bufio.NewReader(first)), "one")
	assert.Contains(t, readLine(t, bufio.NewReader(second)), "two")
}

// The descriptor of the caller may be closed, and its number belong to another file.
func TestDescriptorOfTheCallerIsNotUsed(t *testing.T) {
	reader, descriptor := pipe(t)
	own, err := syscall.Dup(descriptor)
	require.NoError(t, err)
	s := open(t, own, slog.LevelInfo)
	require.NoError(t, syscall.Close(own))
	s.Logger().Info("line")
	assert.Contains(t, readLine(t, bufio.NewReader(reader)), "line")
}

func TestChangeDoesNotWaitForAReaderThatIsStuck(t *testing.T) {
	for name, stuckInWrite := range map[string]bool{"the pipe is full": false, "the write is under way": true} {
		t.Run(name, func(t *testing.T) {
			reader, descriptor := pipe(t)
			s := open(t, descriptor, slog.LevelInfo)
			garbage := fill(t, descriptor)
			if stuckInWrite {
				// There is room for a beginning of the line, so that the write begins, and waits for the rest.
				_, err := io.CopyN(io.Discard, reader, 4096)
				require.NoError(t, err)
				garbage -= 4096
			}
			s.Logger().Info("line", slog.String("long", strings.Repeat("x", 20_000)))
			s.Flush(2 * stalled) // until it is clear that the line does not go out

			next, nextDescriptor := pipe(t)
			begin := time.Now()
			require.NoError(t, s.Set(nextDescriptor, slog.LevelInfo))
			assert.Less(t, time.Since(begin), soon, "it waits for the reader")
			s.Logger().Info("next")
			lines := bufio.NewReader(next)
			seen := ""
			for !strings.Contains(seen, "msg=next") {
				seen += readLine(t, lines)
			}
			assert.Equal(t, !stuckInWrite, strings.Contains(seen, `msg="lines were dropped" count=1`), "what became of the line")
			// What was under way ends now, and goes nowhere else.
			_, err := io.CopyN(io.Discard, reader, int64(garbage))
			require.NoError(t, err)
			if stuckInWrite {
				assert.Contains(t, readLine(t, bufio.NewReader(reader)), "msg=line")
			}
		})
	}
}

func TestBadDescriptorLeavesTheLogAsItIs(t *testing.T) {
	reader, descriptor := pipe(t)
	s := open(t, descriptor, slog.LevelInfo)
	assert.ErrorIs(t, s.Set(1<<20, slog.LevelInfo), syscall.EBADF)
	s.Logger().Info("line")
	assert.Contains(t, readLine(t, bufio.NewReader(reader)), "line")
}

func TestChangesWhileLinesAreWritten(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	s := open(t, int(file.Fd()), slog.LevelInfo)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.Logger().Info("line")
				}
			}
		})
	}
	for range 50 {
		require.NoError(t, s.Set(int(file.Fd()), slog.LevelInfo))
	}
	close(stop)
	writers.Wait()
	s.Logger().Info("the last one")
	s.Flush(soon)
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		require.Regexp(t, `^time=\S+ level=(INFO msg=(line|"the last one")|WARN msg="lines were dropped" count=\d+)\n$`, line)
	}
	assert.Contains(t, string(text), "the last one")
}
