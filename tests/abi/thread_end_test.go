package abi

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

func closeClientsWithThread(t *testing.T) {
	t.Helper()
	failed := host.NewFailure()
	require.Equal(t, host.OK, host.Lib.CloseClientsWithThread(failed), failed.Text())
}

func TestClientIsClosedWithItsThread(t *testing.T) {
	for name, open := range map[string]func(*testing.T, *fakeagent.Agent, host.Handle){
		"idle": func(*testing.T, *fakeagent.Agent, host.Handle) {},
		"a flow that was not ended": func(t *testing.T, agent *fakeagent.Agent, client host.Handle) {
			host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
		},
		"pending starts": func(t *testing.T, agent *fakeagent.Agent, client host.Handle) {
			agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
			for tag := range uint64(10) {
				host.StartAsync(t, client, tag, host.Patient(host.ParamsFor("checkout")))
			}
		},
		"completions that nobody took": func(t *testing.T, agent *fakeagent.Agent, client host.Handle) {
			host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout")))
			host.Eventually(t, "the call ends", func() bool { return host.ReadStats(t, client).CallsPending == 0 })
		},
		"a pending end": func(t *testing.T, agent *fakeagent.Agent, client host.Handle) {
			agent.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
			flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
			var call host.Handle
			require.Equal(t, host.Pending, host.Lib.FlowEndAsync(flow, 1, nil, &call, nil))
		},
		"a pending close": func(t *testing.T, agent *fakeagent.Agent, client host.Handle) {
			agent.Set(fakeagent.Behaviour{Export: fakeagent.Trouble{Hang: true}})
			flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
			require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
			var call host.Handle
			require.Equal(t, host.Pending, host.Lib.ClientCloseAsync(client, 50e6, 1, &call, nil))
		},
		"a close that has ended": func(t *testing.T, agent *fakeagent.Agent, client host.Handle) {
			var call host.Handle
			require.Equal(t, host.Pending, host.Lib.ClientCloseAsync(client, 0, 1, &call, nil))
			var fd int32 // closed with the thread, so not by the test: its number may be another file's then
			require.Equal(t, host.OK, host.Lib.ClientCompletionFD(client, &fd, nil))
			require.True(t, host.Readable(t, int(fd), host.Soon))
		},
		"a flow of a client that was closed": func(t *testing.T, agent *fakeagent.Agent, client host.Handle) {
			host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
			host.CloseClient(t, client)
		},
	} {
		t.Run(name, func(t *testing.T) {
			host.NoLeak(t)
			before := host.Lib.LiveHandles()
			agent := host.StartAgent(t)
			host.OnThreadThatEnds(func() {
				closeClientsWithThread(t)
				open(t, agent, host.ReadyClient(t, agent))
			})
			host.Eventually(t, "everything is released", func() bool { return host.Lib.LiveHandles() == before })
		})
	}
}

func TestWhatAThreadLeavesIsGivenBackAndSent(t *testing.T) {
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	host.OnThreadThatEnds(func() {
		closeClientsWithThread(t)
		client := host.ReadyClient(t, agent)
		for range 3 {
			host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
		}
	})
	host.Eventually(t, "tokens are given back and spans sent", func() bool {
		recorded := agent.Recorded()
		return recorded.FlowEndCount == 3 && recorded.SpanCount == 3
	})
	for _, span := range agent.Recorded().Spans {
		require.Equal(t, "Error", span.Attributes["aperture.flow.status"])
	}
}

func TestDescriptorsThatWereNotClosedAreClosedWithTheThread(t *testing.T) {
	agent := host.StartAgent(t)
	var left int32
	var pipe, now syscall.Stat_t
	host.OnThreadThatEnds(func() {
		closeClientsWithThread(t)
		require.Equal(t, host.OK, host.Lib.ClientCompletionFD(host.ReadyClient(t, agent), &left, nil))
		require.NoError(t, syscall.Fstat(int(left), &pipe))
	})
	host.Eventually(t, "the descriptor is closed", func() bool {
		return syscall.Fstat(int(left), &now) != nil || now.Ino != pipe.Ino
	})
}

func TestADescriptorOfAnotherThreadIsNotClosedWithTheThread(t *testing.T) {
	agent := host.StartAgent(t)
	before := host.Lib.LiveHandles()
	var other int
	var pipe, now syscall.Stat_t
	host.OnThreadThatEnds(func() {
		closeClientsWithThread(t)
		client := host.ReadyClient(t, agent)
		host.OnThreadThatEnds(func() { other = host.CompletionFD(t, client) })
		require.NoError(t, syscall.Fstat(other, &pipe))
	})
	host.Eventually(t, "the client is released", func() bool { return host.Lib.LiveHandles() == before })
	require.NoError(t, syscall.Fstat(other, &now), "the descriptor belongs to the other thread")
	require.Equal(t, pipe.Ino, now.Ino)
	require.True(t, host.Readable(t, other, host.Soon), "it says that the client is closed")
}

func TestAThreadClosesOnlyWhatItMadeAfterItSaidSo(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	var other, before, after host.Handle
	host.OnThreadThatEnds(func() { other = host.ReadyClient(t, agent) })
	host.OnThreadThatEnds(func() {
		before = host.ReadyClient(t, agent)
		closeClientsWithThread(t)
		closeClientsWithThread(t)
		after = host.ReadyClient(t, agent)
		host.Start(t, other, host.Patient(host.ParamsFor("checkout")))
	})
	host.Eventually(t, "the client of the thread is closed", func() bool {
		counted := host.Stats{StructSize: unsafe.Sizeof(host.Stats{})}
		return host.Lib.ClientStats(after, &counted, nil) == host.ErrorInvalidHandle
	})
	for _, client := range []host.Handle{other, before} {
		require.Equal(t, host.OK, host.Lib.ClientWaitReady(client, int64(host.Soon), nil))
	}
	require.NotZero(t, host.ReadStats(t, other).FlowsAccepted)
	host.CloseClient(t, other)
	host.CloseClient(t, before)
}

func TestManyThreadsLeaveNothing(t *testing.T) {
	host.NoLeak(t)
	before := host.Lib.LiveHandles()
	agent := host.StartAgent(t)
	agent.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	for range 200 {
		host.OnThreadThatEnds(func() {
			var client, flow, call host.Handle
			closeClientsWithThread(t)
			require.Equal(t, host.OK, host.Lib.NewClient(host.OptionsFor(agent.Address()), &client, nil))
			require.Equal(t, host.Pending, host.Lib.StartFlowAsync(client, host.Patient(host.ParamsFor("checkout")), 1, &flow, nil, &call, nil))
		})
	}
	host.Eventually(t, "everything is released", func() bool { return host.Lib.LiveHandles() == before })
}
