package local

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTooManyLabelsEvictTheLeastRecentlyUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := openText(t, limiter{name: "p", bucket: "bucket_capacity: 1, fill_amount: 0", parameters: "limit_by_label_key: user"}.document(), Options{MaxLabels: 3})
		for _, user := range []string{"ann", "bob", "cyd"} {
			require.False(t, ask(t, engine, "user", user).Rejected)
			time.Sleep(2 * time.Second) // use is ordered to the second
		}
		require.True(t, ask(t, engine, "user", "ann").Rejected)
		require.False(t, ask(t, engine, "user", "dan").Rejected, "takes the place of bob")

		assert.True(t, ask(t, engine, "user", "ann").Rejected, "ann was kept")
		assert.True(t, ask(t, engine, "user", "cyd").Rejected, "cyd was kept")
		component := engine.Snapshot().Components[0]
		assert.Equal(t, 3, component.Labels)
		assert.EqualValues(t, 1, component.Evicted)

		assert.False(t, ask(t, engine, "user", "bob").Rejected, "bob begins anew, with a full bucket")
		assert.EqualValues(t, 2, engine.Snapshot().Components[0].Evicted)
	})
}

func TestLabelsStayWithinTheirBound(t *testing.T) {
	for _, bound := range []int{1, 7, 1023, 5000} {
		t.Run(strconv.Itoa(bound), func(t *testing.T) {
			parameters := bucketParameters{capacity: 1, fill: 1, interval: time.Second}
			table := newBucketTable(&parameters, time.Hour, bound)
			for i := range 4 * bound {
				table.take(int64(i), fmt.Sprint("user-", i), 1)
			}
			counts, labels := table.counts()
			assert.LessOrEqual(t, labels, bound)
			assert.Greater(t, labels, bound*9/10)
			assert.EqualValues(t, 4*bound, counts.accepted)
			assert.EqualValues(t, 4*bound-labels, counts.evicted)
			for i := range table.shards {
				assert.LessOrEqual(t, len(table.shards[i].entries), table.shardSize, "places of forgotten labels are used again")
			}
		})
	}
}

func TestIdleLabelBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := open(t, limiter{name: "p", bucket: "bucket_capacity: 1, fill_amount: 0", parameters: "limit_by_label_key: user, max_idle_time: 0.5s"})
		require.False(t, ask(t, engine, "user", "ann").Rejected)
		time.Sleep(499 * time.Millisecond)
		require.True(t, ask(t, engine, "user", "ann").Rejected, "a refused flow is a use, too")
		time.Sleep(499 * time.Millisecond)
		require.True(t, ask(t, engine, "user", "ann").Rejected)
		time.Sleep(500 * time.Millisecond)
		assert.False(t, ask(t, engine, "user", "ann").Rejected)
	})
}

func TestSweeperRemovesIdleLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := open(t,
			limiter{name: "short", parameters: "limit_by_label_key: user, max_idle_time: 10s"},
			limiter{name: "ever", parameters: "limit_by_label_key: user, max_idle_time: 0s"},
		)
		for i := range 3 * sweepBatch {
			ask(t, engine, "user", strconv.Itoa(i))
		}
		time.Sleep(5 * time.Second)
		ask(t, engine, "user", "0")
		time.Sleep(8 * time.Second)
		synctest.Wait()
		components := engine.Snapshot().Components
		assert.Equal(t, 1, components[0].Labels)
		assert.EqualValues(t, 3*sweepBatch-1, components[0].Expired)
		assert.Equal(t, 3*sweepBatch, components[1].Labels)

		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Zero(t, engine.Snapshot().Components[0].Labels)
		for i := range engine.limiters[0].buckets.shards {
			assert.Empty(t, engine.limiters[0].buckets.shards[i].entries, "memory is given back")
		}
		require.False(t, ask(t, engine, "user", "0").Rejected, "a table that was empty is usable")

		require.NoError(t, engine.Close())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 1, engine.Snapshot().Components[0].Labels, "nothing is swept after Close")
	})
}

// The table behaves as a map of buckets does, whatever is taken, swept and evicted.
func TestTableAgreesWithMap(t *testing.T) {
	type place struct {
		tokenBucket
		lastUsed int64
	}
	const idle = 20 * time.Second
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		parameters := bucketParameters{capacity: 4, fill: 1, interval: 3 * time.Second, continuous: true}
		table, model, now := newBucketTable(&parameters, idle, 10_000), map[string]*place{}, int64(0)
		for step := range 3000 {
			now += random.Int64N(int64(time.Second))
			value := strconv.Itoa(random.IntN(60))
			one := model[value]
			switch random.IntN(10) {
			case 0:
				table.sweep(now)
				for value, one := range model {
					if now-one.lastUsed >= int64(idle) {
						delete(model, value)
					}
				}
			case 1:
				table.giveBack(now, value, 1)
				if one != nil {
					one.take(&parameters, now, -1)
				}
			default:
				if one == nil || now-one.lastUsed >= int64(idle) {
					one = &place{tokenBucket: newTokenBucket(&parameters, now)}
					model[value] = one
				}
				one.lastUsed = now
				_, ok := one.take(&parameters, now, 1)
				taken := table.take(now, value, 1)
				require.Equal(t, ok, taken.ok, "seed %d, step %d", seed, step)
				require.Equal(t, one.available, taken.remaining, "seed %d, step %d", seed, step)
			}
		}
		table.sweep(now + int64(2*idle))
		_, labels := table.counts()
		assert.Zero(t, labels)
	}
}
