package abi

import (
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
)

// hanging starts an agent that answers no check, and a client of it.
func hanging(t *testing.T) (*fakeagent.Agent, handle) {
	t.Helper()
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	return agent, readyClient(t, agent)
}

func TestAsyncOnALocalAddressIsDoneAtOnce(t *testing.T) {
	noLeak(t)
	client := openClient(t, optionsFor("local:"))
	var flow handle
	var call handle = 7
	decided := newDecision()
	require.Equal(t, ok, lib.startFlowAsync(client, paramsFor("checkout"), 1, &flow, decided, &call, nil))
	require.NotZero(t, flow)
	require.Zero(t, call)
	require.EqualValues(t, 1, decided.shouldRun)

	call = 7
	require.Equal(t, ok, lib.clientWaitReadyAsync(client, 0, 2, &call, nil))
	require.Zero(t, call)

	call = 7
	require.Equal(t, ok, lib.flowEndAsync(flow, 3, newEndResult(), &call, nil))
	require.Zero(t, call)
	require.Equal(t, ok, lib.flowClose(flow, nil))
	require.Empty(t, poll(t, client, 4), "no completion follows")
}

func TestAsyncOnAnAgentIsPending(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	client := readyClient(t, agent)

	call := startAsync(t, client, 41, patient(paramsFor("checkout")))
	done := take(t, call)
	require.EqualValues(t, completionStartFlow, done.kind)
	require.Equal(t, ok, done.code)
	require.EqualValues(t, 41, done.tag)
	flow := done.flow
	decided := newDecision()
	require.Equal(t, ok, lib.flowDecision(flow, decided, nil))
	require.EqualValues(t, 1, decided.shouldRun)

	require.Equal(t, pending, lib.flowEndAsync(flow, 42, nil, &call, nil))
	done = take(t, call)
	require.EqualValues(t, completionFlowEnd, done.kind)
	require.Equal(t, ok, done.code)
	require.EqualValues(t, 42, done.tag)
	require.Equal(t, flow, done.flow)
	result := newEndResult()
	require.Equal(t, ok, lib.flowEndResult(flow, result, nil))
	require.EqualValues(t, 1, result.returnedCount)
	require.Equal(t, ok, lib.flowClose(flow, nil))
}

func TestUnreachableFlowCompletesWithoutError(t *testing.T) {
	noLeak(t)
	client := openClient(t, optionsFor(closedAddress(t)))
	done := take(t, startAsync(t, client, 1, patient(paramsFor("checkout"))))
	require.Equal(t, ok, done.code)
	reason := newFailure()
	require.Equal(t, ok, lib.flowError(done.flow, reason, nil))
	require.Equal(t, errorUnreachable, reason.code)
	require.Equal(t, ok, lib.flowClose(done.flow, nil))
}

func TestDescriptorIsReadableWhileCompletionsWait(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	fd := completionFD(t, client)
	require.False(t, readable(t, fd, 0))

	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	require.Zero(t, errno)
	require.NotZero(t, flags&syscall.O_NONBLOCK)
	flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	require.Zero(t, errno)
	require.NotZero(t, flags&syscall.FD_CLOEXEC)

	const flows = 10
	for tag := range uint64(flows) {
		startAsync(t, client, tag, patient(paramsFor("checkout")))
	}
	tags := map[uint64]bool{}
	for len(tags) < flows {
		require.True(t, readable(t, fd, soon))
		batch := poll(t, client, 3)
		require.NotEmpty(t, batch, "readable, but nothing waits")
		for _, done := range batch {
			require.Equal(t, ok, done.code)
			require.Equal(t, ok, lib.flowClose(done.flow, nil))
			tags[done.tag] = true
		}
	}
	require.False(t, readable(t, fd, 0), "everything was taken")
	require.Zero(t, readStats(t, client).callsPending)
}

func TestDescriptorThatIsMadeLateKnowsWhatWaits(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	startAsync(t, client, 1, patient(paramsFor("checkout")))
	eventually(t, "the call ends", func() bool { return readStats(t, client).callsPending == 0 })
	require.True(t, readable(t, completionFD(t, client), 0))
	for _, done := range poll(t, client, 1) {
		require.Equal(t, ok, lib.flowClose(done.flow, nil))
	}
}

// A host that was compiled with a later header has larger completions.
func TestPollWritesAtTheStrideOfTheCaller(t *testing.T) {
	noLeak(t)
	type laterCompletion struct {
		completion
		added [3]uint64
	}
	agent := startAgent(t)
	client := readyClient(t, agent)
	const flows = 5
	for tag := range uint64(flows) {
		startAsync(t, client, 100+tag, patient(paramsFor("checkout")))
	}
	eventually(t, "all calls end", func() bool { return readStats(t, client).callsPending == 0 })

	batch := make([]laterCompletion, flows+1)
	batch[0].structSize = unsafe.Sizeof(laterCompletion{})
	batch[flows].tag = 7
	var count uintptr
	require.Equal(t, ok, lib.clientPoll(client, &batch[0].completion, flows+1, &count, nil))
	require.EqualValues(t, flows, count)
	tags := map[uint64]bool{}
	for _, done := range batch[:flows] {
		require.Equal(t, unsafe.Sizeof(laterCompletion{}), done.structSize)
		require.Zero(t, done.added)
		require.EqualValues(t, completionStartFlow, done.kind)
		require.Equal(t, ok, lib.flowClose(done.flow, nil))
		tags[done.tag] = true
	}
	require.Len(t, tags, flows)
	require.EqualValues(t, 7, batch[flows].tag, "written behind the last completion")
}

func TestWaitTakesTheCompletionOnce(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	client := readyClient(t, agent)
	call := startAsync(t, client, 5, patient(paramsFor("checkout")))

	done, failed := newCompletion(), newFailure()
	require.Equal(t, errorTimeout, lib.callWait(call, 0, done, failed))
	require.Equal(t, errorTimeout, lib.callWait(call, int64(10*time.Millisecond), done, failed))
	require.Contains(t, failed.text(), "pending")
	require.Equal(t, *newCompletion(), *done)

	require.Equal(t, ok, lib.callCancel(call, nil))
	taken := take(t, call)
	require.Equal(t, errorCancelled, taken.code)
	require.Equal(t, errorInvalidHandle, lib.callWait(call, 0, done, failed))
	require.Equal(t, errorInvalidHandle, lib.callCancel(call, failed))
	require.Empty(t, poll(t, client, 1), "poll hands it out a second time")
}

func TestCancelEndsTheCheckAtTheAgentToo(t *testing.T) {
	noLeak(t)
	agent, client := hanging(t)
	call := startAsync(t, client, 9, patient(paramsFor("checkout")))
	eventually(t, "the agent is asked", func() bool { return agent.Recorded().CheckCount == 1 })
	require.Equal(t, ok, lib.callCancel(call, nil))
	require.Equal(t, ok, lib.callCancel(call, nil), "cancelling twice does no harm")
	fd := completionFD(t, client)
	require.True(t, readable(t, fd, soon))
	batch := poll(t, client, 2)
	require.Len(t, batch, 1)
	require.Equal(t, errorCancelled, batch[0].code)
	require.EqualValues(t, 9, batch[0].tag)
	require.Equal(t, call, batch[0].call)
	require.Zero(t, batch[0].flow)
	eventually(t, "the agent sees it", func() bool { return agent.Recorded().CancelledCount == 1 })
	require.EqualValues(t, 1, readStats(t, client).unreachableCancelled)
}

func TestAsyncCloseCompletesPendingCallsFirst(t *testing.T) {
	noLeak(t)
	agent, client := hanging(t)
	const flows = 8
	for tag := range uint64(flows) {
		startAsync(t, client, tag, patient(paramsFor("checkout")))
	}
	eventually(t, "the agent is asked", func() bool { return agent.Recorded().CheckCount == flows })
	fd := completionFD(t, client)
	var closing handle
	require.Equal(t, pending, lib.clientCloseAsync(client, int64(soon), 99, &closing, nil))

	var second handle
	require.Equal(t, errorClosed, lib.clientCloseAsync(client, 0, 100, &second, nil), "another close")
	require.Zero(t, second)
	require.Equal(t, errorClosed, lib.clientClose(client, 0, nil), "another close")

	eventually(t, "everything ends", func() bool { return readStats(t, client).callsPending == 0 })
	require.EqualValues(t, flows, readStats(t, client).unreachableClosed)
	var seen []completion
	for len(seen) <= flows {
		require.True(t, readable(t, fd, soon))
		batch := poll(t, client, 3)
		require.NotEmpty(t, batch)
		seen = append(seen, batch...)
	}
	for _, done := range seen[:flows] {
		require.EqualValues(t, completionStartFlow, done.kind)
		decided := newDecision()
		require.Equal(t, ok, lib.flowDecision(done.flow, decided, nil))
		require.EqualValues(t, unreachableClosed, decided.unreachableReason)
		require.Equal(t, ok, lib.flowClose(done.flow, nil))
	}
	require.EqualValues(t, completionClose, seen[flows].kind)
	require.Equal(t, ok, seen[flows].code)
	require.EqualValues(t, 99, seen[flows].tag)
	require.Equal(t, closing, seen[flows].call)
	require.Equal(t, errorInvalidHandle, lib.clientStats(client, &stats{structSize: unsafe.Sizeof(stats{})}, nil), "the completion released the client")
}

func TestAsyncCloseOfALocalClientCanBeAwaited(t *testing.T) {
	noLeak(t)
	client := openClient(t, optionsFor("local:"))
	var closing handle
	require.Equal(t, pending, lib.clientCloseAsync(client, 0, 1, &closing, nil))
	require.Equal(t, ok, take(t, closing).code)
	require.Equal(t, errorInvalidHandle, lib.clientClose(client, 0, nil))
}

func TestNothingStartsOnAClosingClient(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	var closing, flow, call handle
	require.Equal(t, pending, lib.clientCloseAsync(client, 0, 1, &closing, nil))
	eventually(t, "the close ends", func() bool { return readStats(t, client).callsPending == 0 })
	failed := newFailure()
	require.Equal(t, errorClosed, lib.startFlow(client, paramsFor("checkout"), &flow, nil, failed))
	require.Contains(t, failed.text(), "closed")
	require.Equal(t, errorClosed, lib.startFlowAsync(client, paramsFor("checkout"), 2, &flow, nil, &call, nil))
	require.Equal(t, errorClosed, lib.clientWaitReady(client, 0, nil))
	require.Equal(t, errorClosed, lib.clientWaitReadyAsync(client, 0, 3, &call, nil))
	require.Zero(t, flow)
	require.Zero(t, call)
	require.Equal(t, ok, take(t, closing).code)
}

func TestBlockingCloseLeaksNoUndrainedCompletion(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	before := lib.liveHandles()
	for tag := range uint64(20) {
		startAsync(t, client, tag, patient(paramsFor("checkout")))
	}
	eventually(t, "some calls end", func() bool { return readStats(t, client).callsPending < 10 })
	closeClient(t, client)
	require.Equal(t, before-1, lib.liveHandles())
}

func TestDescriptorSurvivesItsClient(t *testing.T) {
	agent := startAgent(t)
	client := readyClient(t, agent)
	fd := completionFD(t, client)
	closeClient(t, client)
	require.True(t, readable(t, fd, 0), "the end of the pipe wakes whoever watches it")
}

func TestFlowOverTheLimitOfPendingCallsIsUnreachable(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	options := optionsFor(agent.Address())
	options.maxPendingCalls = 2
	client := openClient(t, options)
	require.Equal(t, ok, lib.clientWaitReady(client, int64(soon), nil))
	calls := []handle{startAsync(t, client, 1, patient(paramsFor("checkout"))), startAsync(t, client, 2, patient(paramsFor("checkout")))}

	for ramp, shouldRun := range map[int32]int32{0: 1, 1: 0} {
		var flow, call handle
		decided, reason := newDecision(), newFailure()
		params := paramsFor("checkout")
		params.rampMode = ramp
		require.Equal(t, ok, lib.startFlowAsync(client, params, 3, &flow, decided, &call, nil))
		require.Zero(t, call)
		require.EqualValues(t, unreachable, decided.decision)
		require.EqualValues(t, unreachableOverloaded, decided.unreachableReason)
		require.Equal(t, shouldRun, decided.shouldRun)
		require.Equal(t, ok, lib.flowError(flow, reason, nil))
		require.Contains(t, reason.text(), "pending")
		require.Equal(t, ok, lib.flowEnd(flow, nil, nil))
		require.Equal(t, ok, lib.flowClose(flow, nil))
	}
	var call handle
	require.Equal(t, errorResourceExhausted, lib.clientWaitReadyAsync(client, 1, 4, &call, nil))
	require.EqualValues(t, 2, readStats(t, client).unreachableOverloaded)
	require.EqualValues(t, 2, readStats(t, client).callsPending)
	for _, call := range calls {
		require.Equal(t, ok, lib.callCancel(call, nil))
		require.Equal(t, errorCancelled, take(t, call).code)
	}
}

func TestAsyncWaitReady(t *testing.T) {
	noLeak(t)
	for name, test := range map[string]struct {
		address string
		want    code
	}{
		"ready": {startAgent(t).Address(), ok},
		"down":  {closedAddress(t), errorTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			client := openClient(t, optionsFor(test.address))
			timeout := 100 * time.Millisecond
			if test.want == ok {
				timeout = soon
			}
			var call handle
			got := lib.clientWaitReadyAsync(client, int64(timeout), 6, &call, nil)
			if got == pending {
				done := take(t, call)
				require.EqualValues(t, completionWaitReady, done.kind)
				require.EqualValues(t, 6, done.tag)
				require.Zero(t, done.flow)
				got = done.code
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestCancelOfAWaitForADownAgent(t *testing.T) {
	noLeak(t)
	client := openClient(t, optionsFor(closedAddress(t)))
	require.Equal(t, errorTimeout, lib.clientWaitReady(client, int64(50*time.Millisecond), nil), "the first attempt has failed")
	var call handle
	require.Equal(t, pending, lib.clientWaitReadyAsync(client, int64(soon), 1, &call, nil))
	require.Equal(t, ok, lib.callCancel(call, nil))
	require.Equal(t, errorCancelled, take(t, call).code)
}

func TestFlowEndsOnceAlsoWhileAnEndIsPending(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	options := optionsFor(agent.Address())
	options.flowEndTimeoutNS = int64(soon)
	client := openClient(t, options)
	flow, _ := start(t, client, patient(paramsFor("checkout")))

	var first, second handle
	require.Equal(t, pending, lib.flowEndAsync(flow, 1, nil, &first, nil))
	require.Equal(t, errorAlreadyEnded, lib.flowEndAsync(flow, 2, nil, &second, nil))
	require.Zero(t, second)
	require.Equal(t, errorAlreadyEnded, lib.flowEnd(flow, nil, nil))
	require.Equal(t, errorAlreadyEnded, lib.flowSetStatus(flow, flowStatusError, nil))
	require.Equal(t, pending, lib.flowEndResult(flow, newEndResult(), nil))

	eventually(t, "the agent is asked", func() bool { return agent.Recorded().FlowEndCount == 1 })
	require.Equal(t, ok, lib.callCancel(first, nil))
	require.Equal(t, errorCancelled, take(t, first).code)
	require.Equal(t, pending, lib.flowEndResult(flow, newEndResult(), nil), "the giving back goes on")
	closeClient(t, client)
	require.Equal(t, errorUnreachable, lib.flowEndResult(flow, newEndResult(), nil))
}

func TestCancelledEndStillGivesTokensBack(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Delay: 50 * time.Millisecond}})
	client := readyClient(t, agent)
	flow, _ := start(t, client, patient(paramsFor("checkout")))
	var call handle
	require.Equal(t, pending, lib.flowEndAsync(flow, 1, nil, &call, nil))
	require.Equal(t, ok, lib.callCancel(call, nil))
	require.Equal(t, flow, take(t, call).flow)
	result := newEndResult()
	eventually(t, "the tokens come back", func() bool { return lib.flowEndResult(flow, result, nil) == ok })
	require.EqualValues(t, 1, result.returnedCount)
}

// The cancel comes before the end has asked the agent, or just after it: it ends the call in both cases.
func TestCancelOfAnEndWorksFromTheStart(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	options := optionsFor(agent.Address())
	options.flowEndTimeoutNS = int64(soon)
	client := openClient(t, options)
	for range 5 {
		flow, _ := start(t, client, patient(paramsFor("checkout")))
		var call handle
		require.Equal(t, pending, lib.flowEndAsync(flow, 1, nil, &call, nil))
		require.Equal(t, ok, lib.callCancel(call, nil))
		require.Equal(t, ok, lib.callWait(call, int64(3*time.Second), newCompletion(), nil), "the cancel was forgotten")
	}
}

func TestFlowClosedWhileItsEndIsPending(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Delay: 20 * time.Millisecond}})
	client := readyClient(t, agent)
	flow, _ := start(t, client, patient(paramsFor("checkout")))
	var call handle
	require.Equal(t, pending, lib.flowEndAsync(flow, 1, nil, &call, nil))
	require.Equal(t, ok, lib.flowClose(flow, nil))
	require.Equal(t, ok, take(t, call).code)
	require.Equal(t, 1, agent.Recorded().FlowEndCount)
}

func TestPollersShareTheCompletions(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	const flows, pollers = 400, 4
	var mu sync.Mutex
	seen := map[uint64]int{}
	taken := 0
	var workers sync.WaitGroup
	for range pollers {
		workers.Go(func() {
			deadline := time.Now().Add(soon)
			for time.Now().Before(deadline) {
				batch := make([]completion, 7)
				batch[0].structSize = unsafe.Sizeof(completion{})
				var count uintptr
				if got := lib.clientPoll(client, &batch[0], uintptr(len(batch)), &count, nil); got != ok {
					t.Errorf("poll: %d", got)
					return
				}
				for _, done := range batch[:count] {
					if got := lib.flowClose(done.flow, nil); got != ok {
						t.Errorf("close: %d", got)
					}
				}
				mu.Lock()
				for _, done := range batch[:count] {
					seen[done.tag]++
					taken++
				}
				finished := taken >= flows
				mu.Unlock()
				if finished {
					return
				}
				if count == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for tag := range uint64(flows) {
		startAsync(t, client, tag, patient(paramsFor("checkout")))
	}
	workers.Wait()
	require.Len(t, seen, flows)
	require.Equal(t, flows, taken, "a completion was handed out twice")
}

// Of a waiter and a poller one gets the completion.
func TestWaitersAndPollersDoNotShareACompletion(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	client := readyClient(t, agent)
	for tag := range uint64(100) {
		call := startAsync(t, client, tag, patient(paramsFor("checkout")))
		var waited, polled int
		var worker sync.WaitGroup
		worker.Go(func() {
			done := newCompletion()
			switch got := lib.callWait(call, int64(soon), done, nil); got {
			case ok:
				waited++
				lib.flowClose(done.flow, nil)
			case errorInvalidHandle: // the poller was quicker
			default:
				t.Errorf("wait: %d", got)
			}
		})
		for _, done := range poll(t, client, 4) {
			polled++
			lib.flowClose(done.flow, nil)
		}
		worker.Wait()
		require.Equal(t, 1, waited+polled)
	}
}
