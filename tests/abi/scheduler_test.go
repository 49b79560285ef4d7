package abi

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

// oneAtATime opens a client in whose policy flows wait for each other, and starts the first.
func oneAtATime(t *testing.T, change func(*host.ClientOptions)) (client, first host.Handle) {
	t.Helper()
	options := host.OptionsFor("local:" + host.WriteFile(t, host.OneAtATime))
	if change != nil {
		change(options)
	}
	client = host.OpenClient(t, options)
	first, decided := host.Start(t, client, host.ParamsFor("checkout"))
	require.EqualValues(t, host.Accepted, decided.Decision)
	return client, first
}

func TestStartThatWaitsInTheProcess(t *testing.T) {
	host.NoLeak(t)
	client, first := oneAtATime(t, nil)
	call := host.StartAsync(t, client, 7, host.Patient(host.ParamsFor("checkout")))
	require.Empty(t, host.Poll(t, client, 4))
	require.EqualValues(t, 1, host.ReadStats(t, client).CallsPending)
	require.Equal(t, host.OK, host.Lib.FlowEnd(first, nil, nil))
	done := host.Take(t, call)
	require.Equal(t, host.OK, done.Code)
	require.EqualValues(t, 7, done.Tag)
	decided := host.NewDecision()
	require.Equal(t, host.OK, host.Lib.FlowDecision(done.Flow, decided, nil))
	require.EqualValues(t, host.Accepted, decided.Decision)
	result := host.NewEndResult()
	require.Equal(t, host.OK, host.Lib.FlowEnd(done.Flow, result, nil))
	require.EqualValues(t, 1, result.ReturnedCount)
	require.Equal(t, host.OK, host.Lib.FlowClose(done.Flow, nil))
	require.Equal(t, host.OK, host.Lib.FlowClose(first, nil))
}

func TestBlockingStartThatWaitsInTheProcess(t *testing.T) {
	host.NoLeak(t)
	client, first := oneAtATime(t, nil)
	params := host.ParamsFor("checkout")
	params.CheckTimeoutNS = int64(30 * time.Millisecond)
	began := time.Now()
	rejected, decided := host.Start(t, client, params)
	require.EqualValues(t, host.Rejected, decided.Decision)
	require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
	time.AfterFunc(30*time.Millisecond, func() { host.Lib.FlowEnd(first, nil, nil) })
	accepted, decided := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
	require.EqualValues(t, host.Accepted, decided.Decision)
	for _, flow := range []host.Handle{first, rejected, accepted} {
		require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	}
}

func TestCancelOfAStartThatWaitsInTheProcess(t *testing.T) {
	host.NoLeak(t)
	client, first := oneAtATime(t, nil)
	call := host.StartAsync(t, client, 7, host.Patient(host.ParamsFor("checkout")))
	require.Equal(t, host.OK, host.Lib.CallCancel(call, nil))
	done := host.Take(t, call)
	require.Equal(t, host.ErrorCancelled, done.Code)
	require.Zero(t, done.Flow)
	require.Equal(t, host.OK, host.Lib.FlowEnd(first, nil, nil))
	require.Equal(t, host.OK, host.Lib.FlowClose(first, nil))
	next, decided := host.Start(t, client, host.ParamsFor("checkout"))
	require.EqualValues(t, host.Accepted, decided.Decision, "nothing was kept")
	require.Equal(t, host.OK, host.Lib.FlowClose(next, nil))
	stats := host.ReadStats(t, client)
	require.EqualValues(t, 1, stats.UnreachableCancelled)
}

func TestMostStartsThatWaitInTheProcess(t *testing.T) {
	host.NoLeak(t)
	client, _ := oneAtATime(t, func(options *host.ClientOptions) { options.MaxPendingCalls = 2 })
	for range 2 {
		host.StartAsync(t, client, 7, host.Patient(host.ParamsFor("checkout")))
	}
	var flow, call host.Handle
	require.Equal(t, host.OK, host.Lib.StartFlowAsync(client, host.Patient(host.ParamsFor("checkout")), 7, &flow, nil, &call, nil))
	require.Zero(t, call)
	failed := host.NewFailure()
	require.Equal(t, host.OK, host.Lib.FlowError(flow, failed, nil))
	require.Equal(t, host.ErrorUnreachable, failed.Code)
	require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	host.CloseClient(t, client)
}

// Ten thousand flows wait without a thread, and a close ends them all.
func TestManyStartsThatWaitInTheProcess(t *testing.T) {
	host.NoLeak(t)
	const flows = 10_000
	client, _ := oneAtATime(t, func(options *host.ClientOptions) { options.MaxPendingCalls = flows })
	before := threads(t)
	calls := make([]host.Handle, flows)
	for tag := range calls {
		calls[tag] = host.StartAsync(t, client, uint64(tag), host.Patient(host.ParamsFor("checkout")))
	}
	require.LessOrEqual(t, threads(t), before+5)
	require.EqualValues(t, flows, host.ReadStats(t, client).CallsPending)
	require.Equal(t, host.OK, host.Lib.CallCancel(calls[flows/2], nil))
	require.Equal(t, host.ErrorCancelled, host.Take(t, calls[flows/2]).Code)
	var closing host.Handle
	require.Equal(t, host.Pending, host.Lib.ClientCloseAsync(client, int64(host.Soon), flows, &closing, nil))
	require.Equal(t, host.OK, host.Take(t, closing).Code)
	require.Equal(t, host.ErrorInvalidHandle, host.Lib.CallWait(calls[0], 0, host.NewCompletion(), nil), "it went with the client")
}

func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	return len(tasks)
}
