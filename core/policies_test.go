package core

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local"
)

const onePolicy = `{blueprint: rate-limiting/base, policy: {policy_name: one, rate_limiter: {bucket_capacity: 1, fill_amount: 0,
  parameters: {interval: 1s}, selectors: [{control_point: checkout}]}}}
`

func TestReloadAndSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policies.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(onePolicy)
	client, err := NewClient(Options{Address: "local:" + path})
	require.NoError(t, err)
	snapshot := func() (snapshot local.Snapshot) {
		text, err := client.Snapshot()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &snapshot))
		return snapshot
	}
	flow, err := client.StartFlow(t.Context(), "checkout", FlowParams{})
	require.NoError(t, err)
	assert.True(t, flow.ShouldRun())
	assert.EqualValues(t, 1, snapshot().Components[0].Accepted)

	write("nonsense")
	var loadError *local.LoadError
	require.ErrorAs(t, client.Reload(), &loadError)
	write(strings.Replace(onePolicy, "bucket_capacity: 1", "bucket_capacity: 2", 1))
	require.NoError(t, client.Reload())
	assert.Equal(t, 2.0, snapshot().Components[0].Bucket.Capacity)
	assert.Zero(t, snapshot().Components[0].Accepted)
	assert.EqualValues(t, 1, snapshot().Reloads)

	require.NoError(t, client.Close(t.Context()))
	assert.ErrorIs(t, client.Reload(), ErrClosed)
	_, err = client.Snapshot()
	assert.ErrorIs(t, err, ErrClosed)
}

func TestOnlyALocalClientHasPolicies(t *testing.T) {
	client := clientOf(t, &fakeDecider{}, Options{})
	var wrong *ArgumentError
	require.ErrorAs(t, client.Reload(), &wrong)
	assert.Equal(t, "client", wrong.Argument)
	_, err := client.Snapshot()
	assert.ErrorAs(t, err, &wrong)
}

func TestWhatPoliciesSayInVainIsLoggedAtEachReading(t *testing.T) {
	logger, logged := recordedLogger()
	path := filepath.Join(t.TempDir(), "policies.yaml")
	text := strings.Replace(onePolicy, "interval: 1s", "interval: 1s, lazy_sync: {enabled: true}", 1)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	lines := func() int {
		logged.mu.Lock()
		defer logged.mu.Unlock()
		return strings.Count(logged.written.String(), "lazy_sync: ignored")
	}
	client := connect(t, Options{Address: "local:" + path, Logger: logger})
	require.Equal(t, 1, lines())
	require.NoError(t, client.Reload())
	assert.Equal(t, 2, lines())
	require.NoError(t, os.WriteFile(path, []byte("nonsense"), 0o600))
	require.Error(t, client.Reload())
	assert.Equal(t, 2, lines(), "nothing has changed")
}

// closing is an engine that is closed while its client is not yet.
type closing struct{ fakeDecider }

func (*closing) Reload() error {
	return &check.UnreachableError{Reason: check.UnreachableClosed, Err: errors.New("for a test")}
}

func TestReloadThatACloseOvertakes(t *testing.T) {
	assert.ErrorIs(t, clientOf(t, &closing{}, Options{}).Reload(), ErrClosed)
}

func TestBoundsReachTheLocalEngine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policies.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`{blueprint: concurrency-scheduling/base, policy: {policy_name: slots,
  concurrency_scheduler: {max_concurrency: 1, concurrency_limiter: {max_inflight_duration: 3600s, limit_by_label_key: user},
  selectors: [{control_point: checkout}]}}}
`), 0o600))
	client := connect(t, Options{Address: "local:" + path, MaxLabels: 2, MaxWaiting: 1, CacheBytes: local.LeastCacheBytes})
	begin := func(user string) (*Flow, *WaitingFlow) {
		prepared, err := client.PrepareFlow("checkout", &FlowParams{Labels: map[string]string{"user": user}, CheckTimeout: time.Hour})
		require.NoError(t, err)
		return prepared.Begin()
	}
	for _, user := range []string{"1", "2", "3"} {
		flow, _ := begin(user)
		require.NotNil(t, flow)
		defer func() { _, _ = flow.End(t.Context()) }()
	}
	_, waiting := begin("3")
	require.NotNil(t, waiting)
	defer waiting.Cancel()
	full, _ := begin("3")
	require.NotNil(t, full)
	assert.Equal(t, check.RejectReasonNoTokens, full.RejectReason())
	_, err := full.End(t.Context())
	require.NoError(t, err)

	for _, key := range []string{"1", "2", "3"} {
		require.NoError(t, client.CacheSet(t.Context(), CacheEntry{
			CacheKey: CacheKey{ControlPoint: "checkout", Scope: GlobalCache, Key: key}, Value: make([]byte, 400<<10), TTL: time.Hour,
		}))
	}
	text, err := client.Snapshot()
	require.NoError(t, err)
	var snapshot local.Snapshot
	require.NoError(t, json.Unmarshal(text, &snapshot))
	assert.Equal(t, 2, snapshot.Components[0].Labels)
	assert.EqualValues(t, 1, snapshot.Components[0].Evicted)
	assert.EqualValues(t, 1, snapshot.Components[0].Queue.Full)
	assert.EqualValues(t, 1, snapshot.Cache.Evicted)
}
