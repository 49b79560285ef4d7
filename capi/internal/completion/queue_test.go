package completion

import (
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libaperture/libaperture/capi/internal/abi"
)

func begin(q *Queue, tag uint64) *Call {
	call := q.Begin(abi.CompletionStartFlow, tag, nil, 0)
	call.Named(1000 + tag)
	return call
}

func readable(t *testing.T, descriptor int) bool {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(descriptor), Events: unix.POLLIN}}
	_, err := unix.Poll(poll, 0)
	require.NoError(t, err)
	return poll[0].Revents&unix.POLLIN != 0
}

func descriptorOf(t *testing.T, q *Queue) int {
	t.Helper()
	descriptor, err := q.Descriptor(false)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(descriptor) })
	return descriptor
}

func TestPollHandsOutCompletionsOldestFirst(t *testing.T) {
	q := NewQueue()
	var out [2]Completion
	assert.Zero(t, q.Poll(out[:]))
	for tag := uint64(1); tag <= 3; tag++ {
		assert.True(t, begin(q, tag).End(Outcome{Flow: 10 * tag}))
	}
	require.Equal(t, 2, q.Poll(out[:]))
	assert.Equal(t, Completion{Kind: abi.CompletionStartFlow, Tag: 1, Call: 1001, Outcome: Outcome{Flow: 10}}, out[0])
	assert.Equal(t, uint64(2), out[1].Tag)
	require.Equal(t, 1, q.Poll(out[:]))
	assert.Equal(t, uint64(3), out[0].Tag)
	assert.Zero(t, q.Poll(out[:]))
}

func TestDescriptorIsReadableExactlyWhileTheQueueIsNotEmpty(t *testing.T) {
	q := NewQueue()
	early := begin(q, 0)
	early.End(Outcome{})
	descriptor := descriptorOf(t, q)
	assert.True(t, readable(t, descriptor), "a completion that was there before the descriptor")
	var out [8]Completion
	q.Poll(out[:])
	assert.False(t, readable(t, descriptor))

	begin(q, 1).End(Outcome{})
	begin(q, 2).End(Outcome{})
	assert.True(t, readable(t, descriptor))
	q.Poll(out[:1])
	assert.True(t, readable(t, descriptor), "one is left")
	q.Poll(out[:1])
	assert.False(t, readable(t, descriptor))
}

func TestDescriptorIsWrittenOncePerEdgeAndSurvivesAHostThatDrainsIt(t *testing.T) {
	q := NewQueue()
	descriptor := descriptorOf(t, q)
	var out [8]Completion
	for round := range 3 {
		for tag := range uint64(5) {
			begin(q, tag).End(Outcome{})
		}
		var bytes [16]byte
		read, err := syscall.Read(descriptor, bytes[:])
		require.NoError(t, err)
		assert.Equal(t, 1, read, "round %d: five completions, one byte", round)
		assert.Equal(t, 5, q.Poll(out[:]))
		assert.False(t, readable(t, descriptor))
	}
}

func TestDescriptorIsNonBlockingAndCloseOnExec(t *testing.T) {
	descriptor := descriptorOf(t, NewQueue())
	flags, err := unix.FcntlInt(uintptr(descriptor), unix.F_GETFL, 0)
	require.NoError(t, err)
	assert.NotZero(t, flags&unix.O_NONBLOCK)
	flags, err = unix.FcntlInt(uintptr(descriptor), unix.F_GETFD, 0)
	require.NoError(t, err)
	assert.NotZero(t, flags&unix.FD_CLOEXEC)
}

func TestClosingTheHostsDescriptorHurtsNobody(t *testing.T) {
	q := NewQueue()
	descriptor, err := q.Descriptor(false)
	require.NoError(t, err)
	require.NoError(t, syscall.Close(descriptor))
	begin(q, 1).End(Outcome{})
	var out [1]Completion
	assert.Equal(t, 1, q.Poll(out[:]))
	assert.True(t, func() bool { begin(q, 2).End(Outcome{}); return readable(t, descriptorOf(t, q)) }())
}

func TestCloseReleasesThePipe(t *testing.T) {
	before := countDescriptors(t)
	q := NewQueue()
	descriptor, err := q.Descriptor(false)
	require.NoError(t, err)
	q.Close()
	require.NoError(t, syscall.Close(descriptor))
	assert.Equal(t, before, countDescriptors(t))
	_, err = q.Descriptor(false)
	assert.Error(t, err)
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestWaitTakesTheCompletionFromTheQueue(t *testing.T) {
	q := NewQueue()
	descriptor := descriptorOf(t, q)
	call, other := begin(q, 1), begin(q, 2)
	call.End(Outcome{Flow: 7})
	other.End(Outcome{Flow: 8})

	completion, taken, gone := call.Wait(0)
	assert.True(t, taken)
	assert.False(t, gone)
	assert.Equal(t, uint64(7), completion.Flow)
	assert.True(t, readable(t, descriptor), "the other one is still there")

	var out [4]Completion
	require.Equal(t, 1, q.Poll(out[:]))
	assert.Equal(t, uint64(2), out[0].Tag)
	assert.False(t, readable(t, descriptor))

	_, taken, gone = call.Wait(0)
	assert.False(t, taken)
	assert.True(t, gone, "it was handed out before")
}

func TestWaitingDirectlyDoesNotDisturbTheDescriptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue()
		descriptor := descriptorOf(t, q)
		call := begin(q, 1)
		var completion Completion
		var taken bool
		go func() { completion, taken, _ = call.Wait(time.Minute) }()
		synctest.Wait()
		call.End(Outcome{Flow: 9})
		synctest.Wait()
		assert.True(t, taken)
		assert.Equal(t, uint64(9), completion.Flow)
		assert.False(t, readable(t, descriptor))
	})
}

func TestWaitGivesUpAndTheCallGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue()
		call := begin(q, 1)
		start := time.Now()
		_, taken, gone := call.Wait(100 * time.Millisecond)
		assert.False(t, taken)
		assert.False(t, gone)
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
		call.End(Outcome{Flow: 3})
		_, taken, _ = call.Wait(0)
		assert.True(t, taken)
	})
}

func TestOneOfSeveralWaitersGetsTheCompletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue()
		call := begin(q, 1)
		var mu sync.Mutex
		takenCount, goneCount := 0, 0
		for range 5 {
			go func() {
				_, taken, gone := call.Wait(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if taken {
					takenCount++
				}
				if gone {
					goneCount++
				}
			}()
		}
		synctest.Wait()
		call.End(Outcome{Flow: 3})
		synctest.Wait()
		assert.Equal(t, 1, takenCount)
		assert.Equal(t, 4, goneCount)
	})
}

func TestLimitBoundsPendingCalls(t *testing.T) {
	q := NewQueue()
	first := q.Begin(abi.CompletionStartFlow, 0, nil, 1)
	require.NotNil(t, first)
	assert.Nil(t, q.Begin(abi.CompletionStartFlow, 0, nil, 1))
	assert.Equal(t, 1, q.Pending())
	first.End(Outcome{})
	second := q.Begin(abi.CompletionStartFlow, 0, nil, 1)
	require.NotNil(t, second)
	second.Forget()
	assert.Zero(t, q.Pending())
}

func TestCloseReturnsWhatNobodyTook(t *testing.T) {
	q := NewQueue()
	begin(q, 1).End(Outcome{Flow: 5})
	late := begin(q, 2)
	left := q.Close()
	require.Len(t, left, 1)
	assert.Equal(t, uint64(5), left[0].Flow)
	assert.False(t, late.End(Outcome{Flow: 6}), "nobody will take it")
	_, taken, gone := late.Wait(0)
	assert.False(t, taken)
	assert.True(t, gone)
}

func TestNothingIsLostBetweenPollersWaitersAndEnders(t *testing.T) {
	q := NewQueue()
	const total = 20_000
	var group sync.WaitGroup
	var mu sync.Mutex
	seen := map[uint64]int{}
	note := func(tag uint64) { mu.Lock(); seen[tag]++; mu.Unlock() }
	stop := make(chan struct{})
	for range 2 {
		group.Go(func() {
			var out [16]Completion
			for {
				count := q.Poll(out[:])
				for _, completion := range out[:count] {
					note(completion.Tag)
				}
				select {
				case <-stop:
					if count == 0 {
						return
					}
				default:
				}
			}
		})
	}
	var calls sync.WaitGroup
	for tag := range uint64(total) {
		call := begin(q, tag)
		if tag%2 == 0 {
			calls.Go(func() {
				if completion, taken, _ := call.Wait(time.Millisecond); taken {
					note(completion.Tag)
				}
			})
		}
		calls.Go(func() { call.End(Outcome{Flow: tag}) })
	}
	calls.Wait()
	close(stop)
	group.Wait()
	assert.Len(t, seen, total)
	for tag, times := range seen {
		if times != 1 {
			t.Fatalf("completion %d was handed out %d times", tag, times)
		}
	}
}

func TestDescriptorsLentToAThreadThatIsGoneAreClosed(t *testing.T) {
	q := NewQueue()
	q.CloseLentDescriptors() // none was made
	left, err := q.Descriptor(true)
	require.NoError(t, err)
	closed, err := q.Descriptor(true)
	require.NoError(t, err)
	require.NoError(t, syscall.Close(closed))
	// The number of the closed one is another file's now.
	file, err := syscall.Dup(0)
	require.NoError(t, err)
	require.Equal(t, closed, file, "the lowest number that is free")
	t.Cleanup(func() { _ = syscall.Close(file) })

	q.CloseLentDescriptors()
	var status syscall.Stat_t
	assert.Equal(t, syscall.EBADF, syscall.Fstat(left, &status), "the descriptor that was left")
	assert.NoError(t, syscall.Fstat(file, &status), "the file with the old number")
	q.Close()
}

func TestDescriptorsOfOthersAreNotClosedWithTheLentOnes(t *testing.T) {
	q := NewQueue()
	lent, err := q.Descriptor(true)
	require.NoError(t, err)
	require.NoError(t, syscall.Close(lent))
	again := descriptorOf(t, q)
	require.Equal(t, lent, again, "the number goes to somebody else, on the same pipe")
	other := descriptorOf(t, q)

	q.CloseLentDescriptors()
	begin(q, 1).End(Outcome{})
	assert.True(t, readable(t, again))
	assert.True(t, readable(t, other))
	q.Close()
}
