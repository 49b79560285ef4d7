package abi

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// soon bounds what should happen at once. It only ends a test that hangs.
const soon = 20 * time.Second

// onePerHour is a policy that admits one flow of each user per hour at the control point "checkout".
const onePerHour = `blueprint: rate-limiting/base
policy:
  policy_name: one-per-hour
  rate_limiter:
    bucket_capacity: 1
    fill_amount: 1
    parameters:
      interval: 3600s
      limit_by_label_key: user_id
    request_parameters:
      denied_response_status_code: PaymentRequired
    selectors:
      - control_point: checkout
`

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policies.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func startAgent(t *testing.T) *fakeagent.Agent {
	t.Helper()
	agent, err := fakeagent.Start(fakeagent.Options{})
	require.NoError(t, err)
	t.Cleanup(agent.Stop)
	return agent
}

// closedAddress returns an address where nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// openClient makes a client that the test may close; it is closed at the end in any case.
func openClient(t *testing.T, options *clientOptions) handle {
	t.Helper()
	var client handle
	failed := newFailure()
	require.Equal(t, ok, lib.newClient(options, &client, failed), failed.text())
	require.NotZero(t, client)
	t.Cleanup(func() { lib.clientClose(client, int64(soon), nil) })
	return client
}

// readyClient makes a client of an agent and waits until the agent answers.
func readyClient(t *testing.T, agent *fakeagent.Agent) handle {
	t.Helper()
	client := openClient(t, optionsFor(agent.Address()))
	failed := newFailure()
	require.Equal(t, ok, lib.clientWaitReady(client, int64(soon), failed), failed.text())
	return client
}

// patient gives a check all the time of the test.
func patient(params *flowParams) *flowParams {
	params.checkTimeoutNS = int64(soon)
	return params
}

// start starts a flow, closed at the end of the test unless the test does it.
func start(t *testing.T, client handle, params *flowParams) (handle, *decision) {
	t.Helper()
	var flow handle
	decided, failed := newDecision(), newFailure()
	require.Equal(t, ok, lib.startFlow(client, params, &flow, decided, failed), failed.text())
	require.NotZero(t, flow)
	t.Cleanup(func() { lib.flowClose(flow, nil) })
	return flow, decided
}

// startAsync starts a flow that must become pending, and returns its call.
func startAsync(t *testing.T, client handle, tag uint64, params *flowParams) handle {
	t.Helper()
	var flow, call handle
	failed := newFailure()
	require.Equal(t, pending, lib.startFlowAsync(client, params, tag, &flow, newDecision(), &call, failed), failed.text())
	require.Zero(t, flow)
	require.NotZero(t, call)
	return call
}

// take waits for a call and takes its completion.
func take(t *testing.T, call handle) *completion {
	t.Helper()
	done, failed := newCompletion(), newFailure()
	require.Equal(t, ok, lib.callWait(call, int64(soon), done, failed), failed.text())
	require.Equal(t, call, done.call)
	return done
}

// poll takes the completions that wait.
func poll(t *testing.T, client handle, capacity int) []completion {
	t.Helper()
	batch := make([]completion, capacity)
	batch[0].structSize = unsafe.Sizeof(completion{})
	var count uintptr
	failed := newFailure()
	require.Equal(t, ok, lib.clientPoll(client, &batch[0], uintptr(capacity), &count, failed), failed.text())
	return batch[:count]
}

func readStats(t *testing.T, client handle) stats {
	t.Helper()
	counted := stats{structSize: unsafe.Sizeof(stats{})}
	failed := newFailure()
	require.Equal(t, ok, lib.clientStats(client, &counted, failed), failed.text())
	return counted
}

func closeClient(t *testing.T, client handle) {
	t.Helper()
	failed := newFailure()
	require.Equal(t, ok, lib.clientClose(client, int64(soon), failed), failed.text())
}

// noLeak asserts at the end of the test that it left no handle. Call it first: what is registered later is undone before.
func noLeak(t *testing.T) {
	t.Helper()
	before := lib.liveHandles()
	t.Cleanup(func() {
		require.Equal(t, before, lib.liveHandles(), "the test left handles open")
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, soon, time.Millisecond, what)
}

// completionFD returns the descriptor of a client, closed at the end of the test.
func completionFD(t *testing.T, client handle) int {
	t.Helper()
	var fd int32
	failed := newFailure()
	require.Equal(t, ok, lib.clientCompletionFD(client, &fd, failed), failed.text())
	t.Cleanup(func() { _ = syscall.Close(int(fd)) })
	return int(fd)
}

// readable waits until a descriptor is readable or the time is over.
func readable(t *testing.T, fd int, timeout time.Duration) bool {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		var set syscall.FdSet
		set.Bits[fd/64] |= 1 << (fd % 64)
		left := syscall.NsecToTimeval(max(0, time.Until(deadline)).Nanoseconds())
		n, err := syscall.Select(fd+1, &set, nil, nil, &left)
		if err == syscall.EINTR {
			continue
		}
		require.NoError(t, err)
		return n == 1
	}
}

// checkRequest is what an agent is asked.
type checkRequest = checkv1.CheckRequest

func user(number int) string { return fmt.Sprintf("user-%d", number) }
