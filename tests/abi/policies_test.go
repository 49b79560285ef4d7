package abi

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

func snapshot(t *testing.T, client host.Handle) string {
	t.Helper()
	var length uintptr
	require.Equal(t, host.ErrorBufferTooSmall, host.Lib.ClientSnapshot(client, nil, 0, &length, nil))
	text := make([]byte, length+100)
	require.Equal(t, host.OK, host.Lib.ClientSnapshot(client, &text[0], uintptr(len(text)), &length, nil))
	return string(text[:length])
}

func TestReloadAndSnapshot(t *testing.T) {
	host.NoLeak(t)
	path := host.WriteFile(t, host.OneAtATime)
	client := host.OpenClient(t, host.OptionsFor("local:"+path))
	first, _ := host.Start(t, client, host.ParamsFor("checkout"))
	require.Contains(t, snapshot(t, client), `"kind":"concurrency_scheduler","accepted":1,`)

	failed := host.NewFailure()
	require.NoError(t, os.WriteFile(path, []byte("nonsense"), 0o600))
	require.Equal(t, host.ErrorPolicy, host.Lib.ClientReload(client, failed))
	require.Contains(t, failed.Text(), path+":1:1: ")
	require.NoError(t, os.WriteFile(path, []byte(host.OneAtATime+"---\n"+host.OneAfterTheOther), 0o600))
	require.Equal(t, host.OK, host.Lib.ClientReload(client, failed))
	text := snapshot(t, client)
	require.Contains(t, text, `"in_flight":{"max_concurrency":1,"flows":1,`, "it goes on")
	require.Contains(t, text, `"policy":"one-after-the-other"`)
	require.Contains(t, text, `"reloads":1,"reloads_failed":1,`)
	require.Equal(t, host.OK, host.Lib.FlowClose(first, nil))
}

func TestBoundsReachTheEngineOfThisProcess(t *testing.T) {
	host.NoLeak(t)
	policy := strings.Replace(host.OneAtATime, "max_inflight_duration: ", "limit_by_label_key: user_id, max_inflight_duration: ", 1)
	options := host.OptionsFor("local:" + host.WriteFile(t, policy))
	options.MaxLabels, options.MaxWaiting, options.CacheBytes = 1, 1, 1<<20
	client := host.OpenClient(t, options)
	for _, user := range []string{"alice", "bob"} {
		flow, decision := host.Start(t, client, host.ParamsFor("checkout", "user_id", user))
		require.EqualValues(t, 1, decision.ShouldRun)
		require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	}
	require.Contains(t, snapshot(t, client), `"labels":1,"evicted":1,`)

	running, _ := host.Start(t, client, host.ParamsFor("checkout", "user_id", "bob"))
	waiting := host.StartAsync(t, client, 1, host.Patient(host.ParamsFor("checkout", "user_id", "bob")))
	full, decision := host.Start(t, client, host.Patient(host.ParamsFor("checkout", "user_id", "bob")))
	require.EqualValues(t, 0, decision.ShouldRun)
	require.Contains(t, snapshot(t, client), `"waiting":1,"refused":0,"timed_out":0,"full":1,`)
	require.Equal(t, host.OK, host.Lib.CallCancel(waiting, nil))
	require.Equal(t, host.ErrorCancelled, host.Take(t, waiting).Code)
	for _, flow := range []host.Handle{running, full} {
		require.Equal(t, host.OK, host.Lib.FlowClose(flow, nil))
	}

	for _, key := range []string{"1", "2", "3"} {
		require.Equal(t, host.OK, host.Lib.CacheSet(client, host.EntryFor("checkout", key, strings.Repeat("v", 400<<10)), nil))
	}
	require.Contains(t, snapshot(t, client), `"stored":3,"evicted":1,`)
}

func TestAClientOfAnAgentHasNoPolicies(t *testing.T) {
	host.NoLeak(t)
	client := host.OpenClient(t, host.OptionsFor(host.ClosedAddress(t)))
	failed := host.NewFailure()
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.ClientReload(client, failed))
	require.Contains(t, failed.Text(), `only a client with a "local:" address`)
	var length uintptr = 7
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.ClientSnapshot(client, nil, 0, &length, failed))
	require.Zero(t, length)
}
