package local

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/policy"
)

// labelValues is how many different label values come in a row: ten million when APERTURE_LABEL_VALUES says so.
func labelValues(t *testing.T) int {
	t.Helper()
	text := os.Getenv("APERTURE_LABEL_VALUES")
	if text == "" {
		return 300_000
	}
	values, err := strconv.Atoi(text)
	require.NoError(t, err)
	return values
}

// However many label values come, no component takes more memory than for as many as it may keep.
func TestLabelValuesTakeNoMoreThanTheirBound(t *testing.T) {
	const most = 20_000
	values := labelValues(t)
	bucketsByUser := buckets(1, 0)
	bucketsByUser.LimitByLabelKey = "user"
	inFlightByUser := policy.InFlight{MaxConcurrency: 1, MaxInflightDuration: time.Hour, LimitByLabelKey: "user"}
	for name, config := range map[string]policy.Policy{
		"rate limiter": {RateLimiters: []policy.RateLimiter{{Component: everywhere("root.0"), TokenBucket: bucketsByUser}}},
		"concurrency limiter": {ConcurrencyLimiters: []policy.ConcurrencyLimiter{{
			Component: everywhere("root.0"), InFlight: inFlightByUser,
		}}},
		"quota scheduler": {QuotaSchedulers: []policy.QuotaScheduler{{
			Component: everywhere("root.0"), TokenBucket: bucketsByUser, Scheduler: equal(),
		}}},
		"concurrency scheduler": {ConcurrencySchedulers: []policy.ConcurrencyScheduler{{
			Component: everywhere("root.0"), InFlight: inFlightByUser, Scheduler: equal(),
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			config.Name = "p"
			engine := newEngine([]policy.Policy{config}, nil, Options{MaxLabels: most})
			defer engine.Close()
			before := heap()
			for i := range values {
				answer, err := engine.Check(t.Context(), &check.Request{
					ControlPoint: "checkout", Labels: check.Labels{{Key: "user", Value: fmt.Sprint("user-", i)}},
				})
				require.NoError(t, err)
				require.False(t, answer.Rejected, "each has a state of its own")
			}
			taken := heap() - before
			component := engine.Snapshot().Components[0]
			assert.LessOrEqual(t, component.Labels, most)
			assert.EqualValues(t, values-component.Labels, component.Evicted)
			// 80 to 150 bytes for each, twice that while an array grows.
			assert.Less(t, taken, int64(most*400))
		})
	}
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Flows that nobody ends give their memory back even where no label value is ever forgotten.
func TestFlowsThatNobodyEndsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := policy.Policy{Name: "p", ConcurrencyLimiters: []policy.ConcurrencyLimiter{limited("root.0", 1)}}
		config.ConcurrencyLimiters[0].MaxInflightDuration = 10 * time.Second
		engine := engineOf(t, config)
		for i := range 100 {
			askFor(t, engine, 0, check.Label{Key: "user", Value: fmt.Sprint(i)})
		}
		assert.Equal(t, 100, engine.Snapshot().Components[0].InFlight.Flows)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		assert.Zero(t, engine.Snapshot().Components[0].InFlight.Flows)
		assert.EqualValues(t, 100, engine.Snapshot().Components[0].InFlight.Expired)
	})
}
