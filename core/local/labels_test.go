package local

import (
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
		const users = 1000
		for i := range users {
			ask(t, engine, "user", strconv.Itoa(i))
		}
		time.Sleep(5 * time.Second)
		ask(t, engine, "user", "0")
		time.Sleep(8 * time.Second)
		synctest.Wait()
		components := engine.Snapshot().Components
		assert.Equal(t, 1, components[0].Labels)
		assert.EqualValues(t, users-1, components[0].Expired)
		assert.Equal(t, users, components[1].Labels)

		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Zero(t, engine.Snapshot().Components[0].Labels)
		require.False(t, ask(t, engine, "user", "0").Rejected, "a table that was empty is usable")

		require.NoError(t, engine.Close())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 1, engine.Snapshot().Components[0].Labels, "nothing is swept after Close")
	})
}
