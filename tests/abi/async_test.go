package abi

import (
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// hanging starts an agent that answers no check, and a client of it.
func hanging(t *testing.T) (*fakeagent.Agent, host.Handle) {
	t.Helper()
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	return agent, host.ReadyClient(t, agent)
}

func TestAsyncOnALocalAddressIsDoneAtOnce(t *testing.T) {
	host.NoLeak(t)
	client := host.OpenClient(t, host.OptionsFor("local:"))
	var flow host.Handle
	var call host.Handle = 7
	decided := host.NewDecision()
	require.Equal(t, host.OK, host.Lib.StartFlowAsync(client, host.ParamsFor("checkout"), 1, &flow, decided, &call, nil))
	require.NotZero(t, flow)
	require.Zero(t, call)
	require.EqualValues(t, 1, decided.ShouldRun)

	call = 7
	require.Equal(t, host.OK, host.Lib.ClientWaitReadyAsync(client, 0, 2, &call, nil))
	require.Zero(t, call)

	call = 7
	require.Equal(t, host.OK, host.Lib.FlowEndAsync(flow, 3, host.NewEndResult(), &call, nil))
	require.Zero(t, call)
	require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	require.Empty(t, host.Poll(t, client, 4), "no completion follows")
}

func TestAsyncOnAnAgentIsPending(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	client := host.ReadyClient(t, agent)

	call := host.StartAsync(t, client, 41, host.Patient(host.ParamsFor("checkout")))
	done := host.Take(t, call)
	require.EqualValues(t, host.CompletionStartFlow, done.Kind)
	require.Equal(t, host.OK, done.Code)
	require.EqualValues(t, 41, done.Tag)
	flow := done.Flow
	decided := host.NewDecision()
	require.Equal(t, host.OK, host.Lib.FlowDecision(flow, decided, nil))
	require.EqualValues(t, 1, decided.ShouldRun)

	require.Equal(t, host.Pending, host.Lib.FlowEndAsync(flow, 42, nil, &call, nil))
	done = host.Take(t, call)
	require.EqualValues(t, host.CompletionFlowEnd, done.Kind)
	require.Equal(t, host.OK, done.Code)
	require.EqualValues(t, 42, done.Tag)
	require.Equal(t, flow, done.Flow)
	result := host.NewEndResult()
	require.Equal(t, host.OK, host.Lib.FlowEndResult(flow, result, nil))
	require.EqualValues(t, 1, result.ReturnedCount)
	require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
}

func TestUnreachableFlowCompletesWithoutError(t *testing.T) {
	host.NoLeak(t)
	client := host.OpenClient(t, host.OptionsFor(host.ClosedAddress(t)))
	done := host.Take(t, host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout"))))
	require.Equal(t, host.OK, done.Code)
	reason := host.NewFailure()
	require.Equal(t, host.OK, host.Lib.FlowError(done.Flow, reason, nil))
	require.Equal(t, host.ErrorUnreachable, reason.Code)
	require.Equal(t, host.OK, host.Lib.FlowClose(done.Flow, nil))
}

func TestDescriptorIsReadableWhileCompletionsWait(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	fd := host.CompletionFD(t, client)
	require.False(t, host.Readable(t, fd, 0))

	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	require.Zero(t, errno)
	require.NotZero(t, flags&syscall.O_NONBLOCK)
	flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	require.Zero(t, errno)
	require.NotZero(t, flags&syscall.FD_CLOEXEC)

	const flows = 10
	for tag := range uint64(flows) {
		host.StartAsync(t, client, tag, host.Patient(host.ParamsFor("checkout")))
	}
	tags := map[uint64]bool{}
	for len(tags) < flows {
		require.True(t, host.Readable(t, fd, host.Soon))
		batch := host.Poll(t, client, 3)
		require.NotEmpty(t, batch, "readable, but nothing waits")
		for _, done := range batch {
			require.Equal(t, host.OK, done.Code)
			require.Equal(t, host.OK, host.Lib.FlowClose(done.Flow, nil))
			tags[done.Tag] = true
		}
	}
	require.False(t, host.Readable(t, fd, 0), "everything was taken")
	require.Zero(t, host.ReadStats(t, client).CallsPending)
}

func TestDescriptorThatIsMadeLateKnowsWhatWaits(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout")))
	host.Eventually(t, "the call ends", func() bool { return host.ReadStats(t, client).CallsPending == 0 })
	require.True(t, host.Readable(t, host.CompletionFD(t, client), 0))
	for _, done := range host.Poll(t, client, 1) {
		require.Equal(t, host.OK, host.Lib.FlowClose(done.Flow, nil))
	}
}

// A host that was compiled with a later header has larger completions.
func TestPollWritesAtTheStrideOfTheCaller(t *testing.T) {
	host.NoLeak(t)
	type laterCompletion struct {
		host.Completion
		added [3]uint64
	}
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	const flows = 5
	for tag := range uint64(flows) {
		host.StartAsync(t, client, 100+tag, host.Patient(host.ParamsFor("checkout")))
	}
	host.Eventually(t, "all calls end", func() bool { return host.ReadStats(t, client).CallsPending == 0 })

	batch := make([]laterCompletion, flows+1)
	batch[0].StructSize = unsafe.Sizeof(laterCompletion{})
	batch[flows].Tag = 7
	var count uintptr
	require.Equal(t, host.OK, host.Lib.ClientPoll(client, &batch[0].Completion, flows+1, &count, nil))
	require.EqualValues(t, flows, count)
	tags := map[uint64]bool{}
	for _, done := range batch[:flows] {
		require.Equal(t, unsafe.Sizeof(laterCompletion{}), done.StructSize)
		require.Zero(t, done.added)
		require.EqualValues(t, host.CompletionStartFlow, done.Kind)
		require.Equal(t, host.OK, host.Lib.FlowClose(done.Flow, nil))
		tags[done.Tag] = true
	}
	require.Len(t, tags, flows)
	require.EqualValues(t, 7, batch[flows].Tag, "written behind the last completion")
}

func TestWaitTakesTheCompletionOnce(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	client := host.ReadyClient(t, agent)
	call := host.StartAsync(t, client, 5, host.Patient(host.ParamsFor("checkout")))

	done, failed := host.NewCompletion(), host.NewFailure()
	require.Equal(t, host.ErrorTimeout, host.Lib.CallWait(call, 0, done, failed))
	require.Equal(t, host.ErrorTimeout, host.Lib.CallWait(call, int64(10*time.Millisecond), done, failed))
	require.Contains(t, failed.Text(), "pending")
	require.Equal(t, *host.NewCompletion(), *done)

	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
	taken := host.Take(t, call)
	require.Equal(t, host.ErrorCancelled, taken.Code)
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.CallWait(call, 0, done, failed))
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.CallCancel(call, failed))
	require.Empty(t, host.Poll(t, client, 1), "poll hands it out a second time")
}

func TestCancelEndsTheCheckAtTheAgentToo(t *testing.T) {
	host.NoLeak(t)
	agent, client := hanging(t)
	call := host.StartAsync(t, client, 9, host.Patient(host.ParamsFor("checkout")))
	host.Eventually(t, "the agent is asked", func() bool { return agent.Recorded().CheckCount == 1 })
	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil), "cancelling twice does no harm")
	fd := host.CompletionFD(t, client)
	require.True(t, host.Readable(t, fd, host.Soon))
	batch := host.Poll(t, client, 2)
	require.Len(t, batch, 1)
	require.Equal(t, host.ErrorCancelled, batch[0].Code)
	require.EqualValues(t, 9, batch[0].Tag)
	require.Equal(t, call, batch[0].Call)
	require.Zero(t, batch[0].Flow)
	host.Eventually(t, "the agent sees it", func() bool { return agent.Recorded().CancelledCount == 1 })
	require.EqualValues(t, 1, host.ReadStats(t, client).UnreachableCancelled)
}

func TestAsyncCloseCompletesPendingCallsFirst(t *testing.T) {
	host.NoLeak(t)
	agent, client := hanging(t)
	const flows = 8
	for tag := range uint64(flows) {
		host.StartAsync(t, client, tag, host.Patient(host.ParamsFor("checkout")))
	}
	host.Eventually(t, "the agent is asked", func() bool { return agent.Recorded().CheckCount == flows })
	fd := host.CompletionFD(t, client)
	var closing host.Handle
	require.Equal(t, host.Pending, host.Lib.ClientCloseAsync(client, int64(host.Soon), 99, &closing, nil))

	var second host.Handle
	require.Equal(t, host.ErrorClosed, host.Lib.ClientCloseAsync(client, 0, 100, &second, nil), "another close")
	require.Zero(t, second)
	require.Equal(t, host.ErrorClosed, host.Lib.ClientClose(client, 0, nil), "another close")

	host.Eventually(t, "everything ends", func() bool { return host.ReadStats(t, client).CallsPending == 0 })
	require.EqualValues(t, flows, host.ReadStats(t, client).UnreachableClosed)
	var seen []host.Completion
	for len(seen) <= flows {
		require.True(t, host.Readable(t, fd, host.Soon))
		batch := host.Poll(t, client, 3)
		require.NotEmpty(t, batch)
		seen = append(seen, batch...)
	}
	for _, done := range seen[:flows] {
		require.EqualValues(t, host.CompletionStartFlow, done.Kind)
		decided := host.NewDecision()
		require.Equal(t, host.OK, host.Lib.FlowDecision(done.Flow, decided, nil))
		require.EqualValues(t, host.UnreachableClosed, decided.UnreachableReason)
		require.Equal(t, host.OK, host.Lib.FlowClose(done.Flow, nil))
	}
	require.EqualValues(t, host.CompletionClose, seen[flows].Kind)
	require.Equal(t, host.OK, seen[flows].Code)
	require.EqualValues(t, 99, seen[flows].Tag)
	require.Equal(t, closing, seen[flows].Call)
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.ClientStats(client, &host.Stats{StructSize: unsafe.Sizeof(host.Stats{})}, nil), "the completion released the client")
}

func TestAsyncCloseOfALocalClientCanBeAwaited(t *testing.T) {
	host.NoLeak(t)
	client := host.OpenClient(t, host.OptionsFor("local:"))
	var closing host.Handle
	require.Equal(t, host.Pending, host.Lib.ClientCloseAsync(client, 0, 1, &closing, nil))
	require.Equal(t, host.OK, host.Take(t, closing).Code)
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.ClientClose(client, 0, nil))
}

func TestNothingStartsOnAClosingClient(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	var closing, flow, call host.Handle
	require.Equal(t, host.Pending, host.Lib.ClientCloseAsync(client, 0, 1, &closing, nil))
	host.Eventually(t, "the close ends", func() bool { return host.ReadStats(t, client).CallsPending == 0 })
	failed := host.NewFailure()
	require.Equal(t, host.ErrorClosed, host.Lib.StartFlow(client, host.ParamsFor("checkout"), &flow, nil, failed))
	require.Contains(t, failed.Text(), "closed")
	require.Equal(t, host.ErrorClosed, host.Lib.StartFlowAsync(client, host.ParamsFor("checkout"), 2, &flow, nil, &call, nil))
	require.Equal(t, host.ErrorClosed, host.Lib.ClientWaitReady(client, 0, nil))
	require.Equal(t, host.ErrorClosed, host.Lib.ClientWaitReadyAsync(client, 0, 3, &call, nil))
	require.Zero(t, flow)
	require.Zero(t, call)
	require.Equal(t, host.OK, host.Take(t, closing).Code)
}

func TestBlockingCloseLeaksNoUndrainedCompletion(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	before := host.Lib.LiveHandles()
	for tag := range uint64(20) {
		host.StartAsync(t, client, tag, host.Patient(host.ParamsFor("checkout")))
	}
	host.Eventually(t, "some calls end", func() bool { return host.ReadStats(t, client).CallsPending < 10 })
	host.CloseClient(t, client)
	require.Equal(t, before-1, host.Lib.LiveHandles())
}

func TestDescriptorSurvivesItsClient(t *testing.T) {
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	fd := host.CompletionFD(t, client)
	host.CloseClient(t, client)
	require.True(t, host.Readable(t, fd, 0), "the end of the pipe wakes whoever watches it")
}

func TestFlowOverTheLimitOfPendingCallsIsUnreachable(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	options := host.OptionsFor(agent.Address())
	options.MaxPendingCalls = 2
	client := host.OpenClient(t, options)
	require.Equal(t, host.OK, host.Lib.ClientWaitReady(client, int64(host.Soon), nil))
	calls := []host.Handle{host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout"))), host.StartAsync(t, client, 2, host.Patient(host.ParamsFor("checkout")))}

	for ramp, shouldRun := range map[int32]int32{0: 1, 1: 0} {
		var flow, call host.Handle
		decided, reason := host.NewDecision(), host.NewFailure()
		params := host.ParamsFor("checkout")
		params.RampMode = ramp
		require.Equal(t, host.OK, host.Lib.StartFlowAsync(client, params, 3, &flow, decided, &call, nil))
		require.Zero(t, call)
		require.EqualValues(t, host.Unreachable, decided.Decision)
		require.EqualValues(t, host.UnreachableOverloaded, decided.UnreachableReason)
		require.Equal(t, shouldRun, decided.ShouldRun)
		require.Equal(t, host.OK, host.Lib.FlowError(flow, reason, nil))
		require.Contains(t, reason.Text(), "pending")
		require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
		require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	}
	var call host.Handle
	require.Equal(t, host.ErrorResourceExhausted, host.Lib.ClientWaitReadyAsync(client, 1, 4, &call, nil))
	require.EqualValues(t, 2, host.ReadStats(t, client).UnreachableOverloaded)
	require.EqualValues(t, 2, host.ReadStats(t, client).CallsPending)
	for _, call := range calls {
		require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
		require.Equal(t, host.ErrorCancelled, host.Take(t, call).Code)
	}
}

func TestAsyncWaitReady(t *testing.T) {
	host.NoLeak(t)
	for name, test := range map[string]struct {
		address string
		want    host.Code
	}{
		"ready": {host.StartAgent(t).Address(), host.OK},
		"down":  {host.ClosedAddress(t), host.ErrorTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			client := host.OpenClient(t, host.OptionsFor(test.address))
			timeout := 100 * time.Millisecond
			if test.want == host.OK {
				timeout = host.Soon
			}
			var call host.Handle
			got := host.Lib.ClientWaitReadyAsync(client, int64(timeout), 6, &call, nil)
			if got == host.Pending {
				done := host.Take(t, call)
				require.EqualValues(t, host.CompletionWaitReady, done.Kind)
				require.EqualValues(t, 6, done.Tag)
				require.Zero(t, done.Flow)
				got = done.Code
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestCancelOfAWaitForADownAgent(t *testing.T) {
	host.NoLeak(t)
	client := host.OpenClient(t, host.OptionsFor(host.ClosedAddress(t)))
	require.Equal(t, host.ErrorTimeout, host.Lib.ClientWaitReady(client, int64(50*time.Millisecond), nil), "the first attempt has failed")
	var call host.Handle
	require.Equal(t, host.Pending, host.Lib.ClientWaitReadyAsync(client, int64(host.Soon), 1, &call, nil))
	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
	require.Equal(t, host.ErrorCancelled, host.Take(t, call).Code)
}

func TestFlowEndsOnceAlsoWhileAnEndIsPending(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	options := host.OptionsFor(agent.Address())
	options.FlowEndTimeoutNS = int64(host.Soon)
	client := host.OpenClient(t, options)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))

	var first, second host.Handle
	require.Equal(t, host.Pending, host.Lib.FlowEndAsync(flow, 1, nil, &first, nil))
	require.Equal(t, host.ErrorAlreadyEnded, host.Lib.FlowEndAsync(flow, 2, nil, &second, nil))
	require.Zero(t, second)
	require.Equal(t, host.ErrorAlreadyEnded, host.Lib.FlowEnd(flow, nil, nil))
	require.Equal(t, host.ErrorAlreadyEnded, host.Lib.FlowSetStatus(flow, host.FlowStatusError, nil))
	require.Equal(t, host.Pending, host.Lib.FlowEndResult(flow, host.NewEndResult(), nil))

	host.Eventually(t, "the agent is asked", func() bool { return agent.Recorded().FlowEndCount == 1 })
	require.Equal(t, host.OK, host.Lib.CallCancel(first, nil))
	require.Equal(t, host.ErrorCancelled, host.Take(t, first).Code)
	require.Equal(t, host.Pending, host.Lib.FlowEndResult(flow, host.NewEndResult(), nil), "the giving back goes on")
	// The close waits for the end that hangs, but no longer than it may.
	require.Equal(t, host.OK, host.Lib.ClientClose(client, int64(500*time.Millisecond), nil))
	require.Equal(t, host.ErrorUnreachable, host.Lib.FlowEndResult(flow, host.NewEndResult(), nil))
}

func TestCancelledEndStillGivesTokensBack(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Delay: 50 * time.Millisecond}})
	client := host.ReadyClient(t, agent)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	var call host.Handle
	require.Equal(t, host.Pending, host.Lib.FlowEndAsync(flow, 1, nil, &call, nil))
	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
	require.Equal(t, flow, host.Take(t, call).Flow)
	result := host.NewEndResult()
	host.Eventually(t, "the tokens come back", func() bool { return host.Lib.FlowEndResult(flow, result, nil) == host.OK })
	require.EqualValues(t, 1, result.ReturnedCount)
}

// The cancel comes before the end has asked the agent, or just after it: it ends the call in both cases.
func TestCancelOfAnEndWorksFromTheStart(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	options := host.OptionsFor(agent.Address())
	options.FlowEndTimeoutNS = int64(host.Soon)
	client := host.OpenClient(t, options)
	t.Cleanup(func() { host.Lib.ClientClose(client, 1, nil) }) // it would wait for the end that hangs
	for range 5 {
		flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
		var call host.Handle
		require.Equal(t, host.Pending, host.Lib.FlowEndAsync(flow, 1, nil, &call, nil))
		require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
		require.Equal(t, host.OK, host.Lib.CallWait(call, int64(3*time.Second), host.NewCompletion(), nil), "the cancel was forgotten")
	}
}

func TestFlowClosedWhileItsEndIsPending(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Delay: 20 * time.Millisecond}})
	client := host.ReadyClient(t, agent)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	var call host.Handle
	require.Equal(t, host.Pending, host.Lib.FlowEndAsync(flow, 1, nil, &call, nil))
	require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	require.Equal(t, host.OK, host.Take(t, call).Code)
	require.Equal(t, 1, agent.Recorded().FlowEndCount)
}

func TestPollersShareTheCompletions(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	const flows, pollers = 400, 4
	var mu sync.Mutex
	seen := map[uint64]int{}
	taken := 0
	var workers sync.WaitGroup
	for range pollers {
		workers.Go(func() {
			deadline := time.Now().Add(host.Soon)
			for time.Now().Before(deadline) {
				batch := make([]host.Completion, 7)
				batch[0].StructSize = unsafe.Sizeof(host.Completion{})
				var count uintptr
				if got := host.Lib.ClientPoll(client, &batch[0], uintptr(len(batch)), &count, nil); got != host.OK {
					t.Errorf("poll: %d", got)
					return
				}
				for _, done := range batch[:count] {
					if got := host.Lib.FlowClose(done.Flow, nil); got != host.OK {
						t.Errorf("close: %d", got)
					}
				}
				mu.Lock()
				for _, done := range batch[:count] {
					seen[done.Tag]++
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
		host.StartAsync(t, client, tag, host.Patient(host.ParamsFor("checkout")))
	}
	workers.Wait()
	require.Len(t, seen, flows)
	require.Equal(t, flows, taken, "a completion was handed out twice")
}

// Of a waiter and a poller one gets the completion.
func TestWaitersAndPollersDoNotShareACompletion(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	client := host.ReadyClient(t, agent)
	for tag := range uint64(100) {
		call := host.StartAsync(t, client, tag, host.Patient(host.ParamsFor("checkout")))
		var waited, polled int
		var worker sync.WaitGroup
		worker.Go(func() {
			done := host.NewCompletion()
			switch got := host.Lib.CallWait(call, int64(host.Soon), done, nil); got {
			case host.OK:
				waited++
				host.Lib.FlowClose(done.Flow, nil)
			case host.ErrorInvalidHandle: // the poller was quicker
			default:
				t.Errorf("wait: %d", got)
			}
		})
		for _, done := range host.Poll(t, client, 4) {
			polled++
			host.Lib.FlowClose(done.Flow, nil)
		}
		worker.Wait()
		require.Equal(t, 1, waited+polled)
	}
}
