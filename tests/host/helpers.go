package host

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
)

// Soon bounds what should happen at once. It only ends a test that hangs.
const Soon = 20 * time.Second

// OnePerHour is a policy that admits one flow of each user per hour at the control point "checkout".
const OnePerHour = `blueprint: rate-limiting/base
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

// OneAtATime is a policy that lets the flows at the control point "checkout" wait for each other's end.
const OneAtATime = `blueprint: concurrency-scheduling/base
policy:
  policy_name: one-at-a-time
  concurrency_scheduler:
    max_concurrency: 1
    concurrency_limiter: {max_inflight_duration: 3600s}
    selectors: [{control_point: checkout}]
`

// OneAfterTheOther is a policy that lets the flows at the control point "checkout" wait for a token, which comes each 50 ms.
const OneAfterTheOther = `blueprint: quota-scheduling/base
policy:
  policy_name: one-after-the-other
  quota_scheduler:
    bucket_capacity: 1
    fill_amount: 1
    rate_limiter: {interval: 0.05s}
    selectors: [{control_point: checkout}]
`

// WriteFile writes a policy file and returns its path.
func WriteFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policies.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// StartAgent starts an agent, stopped at the end of the test.
func StartAgent(t *testing.T) *fakeagent.Agent {
	t.Helper()
	agent, err := fakeagent.Start(fakeagent.Options{})
	require.NoError(t, err)
	t.Cleanup(agent.Stop)
	return agent
}

// ClosedAddress returns an address where nobody listens.
func ClosedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// OpenClient makes a client that the test may close; it is closed at the end in any case.
func OpenClient(t *testing.T, options *ClientOptions) Handle {
	t.Helper()
	var client Handle
	failed := NewFailure()
	require.Equal(t, OK, Lib.NewClient(options, &client, failed), failed.Text())
	require.NotZero(t, client)
	t.Cleanup(func() { Lib.ClientClose(client, int64(Soon), nil) })
	return client
}

// ReadyClient makes a client of an agent and waits until the agent answers.
func ReadyClient(t *testing.T, agent *fakeagent.Agent) Handle {
	t.Helper()
	client := OpenClient(t, OptionsFor(agent.Address()))
	failed := NewFailure()
	require.Equal(t, OK, Lib.ClientWaitReady(client, int64(Soon), failed), failed.Text())
	return client
}

// Patient gives a check all the time of the test.
func Patient(params *FlowParams) *FlowParams {
	params.CheckTimeoutNS = int64(Soon)
	return params
}

// Start starts a flow, closed at the end of the test unless the test does it.
func Start(t *testing.T, client Handle, params *FlowParams) (Handle, *Decision) {
	t.Helper()
	var flow Handle
	decided, failed := NewDecision(), NewFailure()
	require.Equal(t, OK, Lib.StartFlow(client, params, &flow, decided, failed), failed.Text())
	require.NotZero(t, flow)
	t.Cleanup(func() { Lib.FlowClose(flow, nil) })
	return flow, decided
}

// StartAsync starts a flow that must become pending, and returns its call.
func StartAsync(t *testing.T, client Handle, tag uint64, params *FlowParams) Handle {
	t.Helper()
	var flow, call Handle
	failed := NewFailure()
	require.Equal(t, Pending, Lib.StartFlowAsync(client, params, tag, &flow, NewDecision(), &call, failed), failed.Text())
	require.Zero(t, flow)
	require.NotZero(t, call)
	return call
}

// Take waits for a call and takes its completion.
func Take(t *testing.T, call Handle) *Completion {
	t.Helper()
	done, failed := NewCompletion(), NewFailure()
	require.Equal(t, OK, Lib.CallWait(call, int64(Soon), done, failed), failed.Text())
	require.Equal(t, call, done.Call)
	return done
}

// Poll takes the completions that wait.
func Poll(t *testing.T, client Handle, capacity int) []Completion {
	t.Helper()
	batch := make([]Completion, capacity)
	batch[0].StructSize = unsafe.Sizeof(Completion{})
	var count uintptr
	failed := NewFailure()
	require.Equal(t, OK, Lib.ClientPoll(client, &batch[0], uintptr(capacity), &count, failed), failed.Text())
	return batch[:count]
}

// ReadStats returns the counters of a client.
func ReadStats(t *testing.T, client Handle) Stats {
	t.Helper()
	counted := Stats{StructSize: unsafe.Sizeof(Stats{})}
	failed := NewFailure()
	require.Equal(t, OK, Lib.ClientStats(client, &counted, failed), failed.Text())
	return counted
}

// CloseClient closes a client, which must succeed.
func CloseClient(t *testing.T, client Handle) {
	t.Helper()
	failed := NewFailure()
	require.Equal(t, OK, Lib.ClientClose(client, int64(Soon), failed), failed.Text())
}

// NoLeak asserts at the end of the test that it left no handle. Call it first: what is registered later is undone before.
func NoLeak(t *testing.T) {
	t.Helper()
	before := Lib.LiveHandles()
	t.Cleanup(func() {
		require.Equal(t, before, Lib.LiveHandles(), "the test left handles open")
	})
}

// Eventually waits until a condition holds.
func Eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, Soon, time.Millisecond, what)
}

// CompletionFD returns the descriptor of a client, closed at the end of the test.
func CompletionFD(t *testing.T, client Handle) int {
	t.Helper()
	var fd int32
	failed := NewFailure()
	require.Equal(t, OK, Lib.ClientCompletionFD(client, &fd, failed), failed.Text())
	t.Cleanup(func() { _ = syscall.Close(int(fd)) })
	return int(fd)
}

// Readable waits until a descriptor is readable or the time is over.
func Readable(t *testing.T, fd int, timeout time.Duration) bool {
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
