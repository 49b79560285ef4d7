package abi

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
)

// The main thread cannot end before its process does: no goroutine but the one that has begun on it may run on it.
func init() { runtime.LockOSThread() }

// onThreadThatEnds runs a function on a thread of its own and returns when that thread ends or has ended. The thread may
// not run code of its own any more then, like one that its host ends from outside.
func onThreadThatEnds(run func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(done)
		run()
	}()
	<-done
}

func closeClientsWithThread(t *testing.T) {
	t.Helper()
	failed := newFailure()
	require.Equal(t, ok, lib.closeClientsWithThread(failed), failed.text())
}

func TestClientIsClosedWithItsThread(t *testing.T) {
	for name, open := range map[string]func(*testing.T, *fakeagent.Agent, handle){
		"idle": func(*testing.T, *fakeagent.Agent, handle) {},
		"a flow that was not ended": func(t *testing.T, agent *fakeagent.Agent, client handle) {
			start(t, client, patient(paramsFor("checkout")))
		},
		"pending starts": func(t *testing.T, agent *fakeagent.Agent, client handle) {
			agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
			for tag := range uint64(10) {
				startAsync(t, client, tag, patient(paramsFor("checkout")))
			}
		},
		"completions that nobody took": func(t *testing.T, agent *fakeagent.Agent, client handle) {
			startAsync(t, client, 1, patient(paramsFor("checkout")))
			eventually(t, "the call ends", func() bool { return readStats(t, client).callsPending == 0 })
		},
		"a pending end": func(t *testing.T, agent *fakeagent.Agent, client handle) {
			agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
			flow, _ := start(t, client, patient(paramsFor("checkout")))
			var call handle
			require.Equal(t, pending, lib.flowEndAsync(flow, 1, nil, &call, nil))
		},
		"a pending close": func(t *testing.T, agent *fakeagent.Agent, client handle) {
			agent.Set(fakeagent.Behaviour{Export: fakeagent.Trouble{Hang: true}})
			flow, _ := start(t, client, patient(paramsFor("checkout")))
			require.Equal(t, ok, lib.flowEnd(flow, nil, nil))
			var call handle
			require.Equal(t, pending, lib.clientCloseAsync(client, 50e6, 1, &call, nil))
		},
		"a close that has ended": func(t *testing.T, agent *fakeagent.Agent, client handle) {
			var call handle
			require.Equal(t, pending, lib.clientCloseAsync(client, 0, 1, &call, nil))
			require.True(t, readable(t, completionFD(t, client), soon))
		},
		"a flow of a client that was closed": func(t *testing.T, agent *fakeagent.Agent, client handle) {
			start(t, client, patient(paramsFor("checkout")))
			closeClient(t, client)
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			before := lib.liveHandles()
			agent := startAgent(t)
			onThreadThatEnds(func() {
				closeClientsWithThread(t)
				open(t, agent, readyClient(t, agent))
			})
			eventually(t, "everything is released", func() bool { return lib.liveHandles() == before })
		})
	}
}

func TestWhatAThreadLeavesIsGivenBackAndSent(t *testing.T) {
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	onThreadThatEnds(func() {
		closeClientsWithThread(t)
		client := readyClient(t, agent)
		for range 3 {
			start(t, client, patient(paramsFor("checkout")))
		}
	})
	eventually(t, "tokens are given back and spans sent", func() bool {
		recorded := agent.Recorded()
		return recorded.FlowEndCount == 3 && recorded.SpanCount == 3
	})
	for _, span := range agent.Recorded().Spans {
		require.Equal(t, "Error", span.Attributes["aperture.flow.status"])
	}
}

func TestAThreadClosesOnlyWhatItMadeAfterItSaidSo(t *testing.T) {
	noLeak(t)
	agent := startAgent(t)
	var other, before, after handle
	onThreadThatEnds(func() { other = readyClient(t, agent) })
	onThreadThatEnds(func() {
		before = readyClient(t, agent)
		closeClientsWithThread(t)
		closeClientsWithThread(t)
		after = readyClient(t, agent)
		start(t, other, patient(paramsFor("checkout")))
	})
	eventually(t, "the client of the thread is closed", func() bool {
		counted := stats{structSize: unsafe.Sizeof(stats{})}
		return lib.clientStats(after, &counted, nil) == errorInvalidHandle
	})
	for _, client := range []handle{other, before} {
		require.Equal(t, ok, lib.clientWaitReady(client, int64(soon), nil))
	}
	require.NotZero(t, readStats(t, other).flowsAccepted)
	closeClient(t, other)
	closeClient(t, before)
}

func TestManyThreadsLeaveNothing(t *testing.T) {
	noLeak(t)
	before := lib.liveHandles()
	agent := startAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	for range 200 {
		onThreadThatEnds(func() {
			var client, flow, call handle
			closeClientsWithThread(t)
			require.Equal(t, ok, lib.newClient(optionsFor(agent.Address()), &client, nil))
			require.Equal(t, pending, lib.startFlowAsync(client, patient(paramsFor("checkout")), 1, &flow, nil, &call, nil))
		})
	}
	eventually(t, "everything is released", func() bool { return lib.liveHandles() == before })
}
