package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

// write replaces the policies of an engine's file.
func write(t *testing.T, engine *Engine, documents ...string) {
	t.Helper()
	require.NoError(t, os.WriteFile(engine.paths[0], []byte(strings.Join(documents, "---\n")), 0o600))
}

func TestReloadKeepsWhatIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		same := limiter{name: "same", bucket: "bucket_capacity: 10, fill_amount: 0"}
		changed := limiter{name: "changed", bucket: "bucket_capacity: 10, fill_amount: 0"}
		engine := open(t, same, changed)
		for range 3 {
			ask(t, engine)
		}
		changed.bucket = "bucket_capacity: 20, fill_amount: 0"
		write(t, engine, "# a comment\n"+same.document(), changed.document())
		require.NoError(t, engine.Reload())
		decisions := ask(t, engine).Response.CheckResponse().GetLimiterDecisions()
		require.Len(t, decisions, 2)
		assert.Equal(t, 6.0, decisions[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining())
		assert.Equal(t, 19.0, decisions[1].GetRateLimiterInfo().GetTokensInfo().GetRemaining())
		components := engine.Snapshot().Components
		assert.EqualValues(t, 4, components[0].Accepted)
		assert.EqualValues(t, 1, components[1].Accepted)

		write(t, engine, changed.document())
		require.NoError(t, engine.Reload())
		assert.Len(t, ask(t, engine).Response.CheckResponse().GetLimiterDecisions(), 1, "a policy that is gone decides no more")
		assert.EqualValues(t, 2, engine.Snapshot().Reloads)
	})
}

func TestReloadOfABrokenFileChangesNothing(t *testing.T) {
	engine := open(t, limiter{name: "p", bucket: "bucket_capacity: 10, fill_amount: 0"})
	ask(t, engine)
	for _, text := range []string{"", "nonsense", "blueprint: rate-limiting/base"} {
		write(t, engine, text)
		err := engine.Reload()
		var loadError *LoadError
		require.ErrorAs(t, err, &loadError)
		assert.ErrorContains(t, err, "the policies stay as they were")
		assert.ErrorContains(t, err, engine.paths[0])
	}
	require.NoError(t, os.Remove(engine.paths[0]))
	require.ErrorIs(t, engine.Reload(), os.ErrNotExist)
	decisions := ask(t, engine).Response.CheckResponse().GetLimiterDecisions()
	assert.Equal(t, 8.0, decisions[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining())
	snapshot := engine.Snapshot()
	assert.EqualValues(t, 4, snapshot.ReloadsFailed)
	assert.Zero(t, snapshot.Reloads)
	require.NoError(t, engine.Close())
	unreachable := &check.UnreachableError{}
	require.ErrorAs(t, engine.Reload(), &unreachable)
	assert.Equal(t, check.UnreachableClosed, unreachable.Reason)
}

// recompose is a reload without files.
func recompose(engine *Engine, loaded ...policy.Policy) {
	engine.reloading.Lock()
	defer engine.reloading.Unlock()
	engine.replace(loaded, nil)
}

// What waits or is in flight when its policy changes is still served by the former one.
func TestReloadWhileFlowsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := concurrencyPolicy(1)
		before.ConcurrencySchedulers[0].MaxIdleTime = time.Minute // there is a sweeper
		engine := engineOf(t, before)
		_, first := askFor(t, engine, 0)
		var second check.Answer
		var group sync.WaitGroup
		group.Go(func() { _, second = askFor(t, engine, time.Hour) })
		synctest.Wait()
		after := concurrencyPolicy(1)
		after.Hash = "another"
		recompose(engine, after)
		_, third := askFor(t, engine, 0)
		assert.False(t, third.Rejected, "the changed policy begins anew")
		time.Sleep(time.Second)
		assert.Equal(t, []bool{true}, end(t, engine, first))
		group.Wait()
		assert.False(t, second.Rejected)
		recompose(engine, after)
		assert.Len(t, *engine.retired.Load(), 1, "something is in flight there")
		assert.Equal(t, []bool{true}, end(t, engine, second))
		assert.Equal(t, []bool{true}, end(t, engine, third))
		recompose(engine, after)
		assert.Empty(t, *engine.retired.Load())

		_, fourth := askFor(t, engine, 0)
		recompose(engine, before)
		recompose(engine, after)
		assert.Equal(t, []bool{true}, end(t, engine, fourth), "a policy that comes back goes on")
		askFor(t, engine, 0)
		recompose(engine, before)
		assert.Len(t, *engine.retired.Load(), 1)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Empty(t, *engine.retired.Load(), "the sweeper lets go of it")
	})
}

func TestCloseEndsTheWaitForFormerPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := engineOf(t, concurrencyPolicy(1))
		askFor(t, engine, 0)
		_, waiting, err := engine.Start(&check.Request{ControlPoint: "checkout", Timeout: time.Hour}, func(_ check.Answer, err error) {
			unreachable := &check.UnreachableError{}
			assert.ErrorAs(t, err, &unreachable)
		})
		require.NoError(t, err)
		require.NotNil(t, waiting)
		recompose(engine)
		require.NoError(t, engine.Close())
		assert.Zero(t, queueOf((*engine.retired.Load())[0]).Counts().Waiting)
	})
}

func TestReloadMovesARampByItsDynamicSettingsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ramp := func(start, reset bool) policy.Policy {
			return policy.Policy{Name: "ramp", Hash: "h", Samplers: []policy.Sampler{{
				Component: everywhere("root.10.1"), RampMode: true, SessionLabelKey: "user",
				Ramp: &policy.Ramp{Start: start, Reset: reset, Steps: []policy.RampStep{
					{TargetAcceptPercentage: 0}, {TargetAcceptPercentage: 100, Duration: 10 * time.Second},
				}},
			}}}
		}
		engine := engineOf(t, ramp(true, false))
		share := func() float64 { return *engine.Snapshot().Components[0].AcceptPercentage }
		time.Sleep(5 * time.Second)
		halfway := share()
		assert.InDelta(t, 50, halfway, 11)
		recompose(engine, ramp(false, false))
		time.Sleep(time.Minute)
		assert.Equal(t, halfway, share(), "it stays where it was")
		recompose(engine, ramp(true, false))
		time.Sleep(time.Minute)
		assert.Equal(t, 100.0, share())
		recompose(engine, ramp(true, true))
		assert.Zero(t, share())
	})
}

func TestReloadWhileFlowsRun(t *testing.T) {
	documents := []string{limiter{name: "a"}.document(), limiter{name: "b", bucket: "bucket_capacity: 5, fill_amount: 1"}.document()}
	engine := openText(t, documents[0], Options{})
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, err := engine.Check(context.Background(), &check.Request{ControlPoint: "checkout", Timeout: time.Second})
					assert.NoError(t, err)
				}
			}
		})
	}
	for i := range 50 {
		path := engine.paths[0] + ".new"
		require.NoError(t, os.WriteFile(path, []byte(documents[i%2]), 0o600))
		require.NoError(t, os.Rename(path, engine.paths[0]))
		require.NoError(t, engine.Reload())
		engine.Snapshot()
	}
	close(stop)
	group.Wait()
	assert.EqualValues(t, 50, engine.Snapshot().Reloads)
}

func TestSnapshotAsJSON(t *testing.T) {
	config := concurrencyPolicy(1)
	config.QuotaSchedulers = quotaPolicy(1, 1).QuotaSchedulers
	engine := engineOf(t, config)
	askFor(t, engine, 0)
	text, err := engine.SnapshotJSON()
	require.NoError(t, err)
	for _, part := range []string{
		`{"no_matching_ramp":0,"reloads":0,"reloads_failed":0,"cache":{"hits":0,"misses":0,"stored":0,"evicted":0,"expired":0,"refused":0,"entries":0,"bytes":0},"components":[{"policy":"concurrency","component":"root.0","kind":"concurrency_scheduler","accepted":1,`,
		`"in_flight":{"max_concurrency":1,"flows":1,"tokens":1,"returned":0,"expired":0,"forgotten":0,"overflowed":0}`,
		`"kind":"quota_scheduler"`, `"bucket":{"capacity":1,"looked":1,"available":0`, `"waits":[{"up_to":0.001,"flows":0}`,
	} {
		assert.Contains(t, string(text), part)
	}
}

func TestOpenWithoutAnyPath(t *testing.T) {
	engine, err := Open(nil, Options{})
	require.NoError(t, err)
	require.NoError(t, engine.Reload())
	require.NoError(t, engine.Close())
}

func TestOpenSeveralFiles(t *testing.T) {
	folder := t.TempDir()
	var paths []string
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(folder, name+".yaml")
		require.NoError(t, os.WriteFile(path, []byte(limiter{name: name}.document()), 0o600))
		paths = append(paths, path)
	}
	for _, some := range [][]string{paths, {folder}} {
		engine, err := Open(some, Options{})
		require.NoError(t, err, fmt.Sprint(some))
		assert.Len(t, engine.Snapshot().Components, 2)
		require.NoError(t, engine.Close())
	}
}
