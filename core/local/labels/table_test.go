package labels

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const second = int64(time.Second)

// count is a state that is never 0 once it was used.
type count struct{ uses int }

func use(table *Table[count, int], now int64, value string) (uses int, fresh bool) {
	label := table.Acquire(now, value)
	defer label.Release()
	label.State.uses++
	label.Shard.Common++
	return label.State.uses, label.Fresh
}

func TestLabelsStayWithinTheirBound(t *testing.T) {
	for _, bound := range []int{1, 7, 1023, 5000} {
		t.Run(strconv.Itoa(bound), func(t *testing.T) {
			forgotten := 0
			table := New(Options[count, int]{MaxLabels: bound, MaxIdle: time.Hour, Forget: func(label Label[count, int]) {
				assert.Equal(t, 1, label.State.uses)
				forgotten++
			}})
			for i := range 4 * bound {
				uses, fresh := use(table, int64(i), fmt.Sprint("user-", i))
				require.True(t, fresh)
				require.Equal(t, 1, uses, "a new label has the zero value")
			}
			counts := table.Counts()
			assert.LessOrEqual(t, counts.Labels, bound)
			assert.Greater(t, counts.Labels, bound*9/10)
			assert.EqualValues(t, 4*bound-counts.Labels, counts.Evicted)
			assert.EqualValues(t, counts.Evicted, forgotten)
			common := 0
			for shard := range table.Shards() {
				assert.LessOrEqual(t, len(shard.entries), table.shardSize, "places of forgotten labels are used again")
				common += shard.Common
			}
			assert.Equal(t, 4*bound, common)
		})
	}
}

func TestSweptTableGivesItsMemoryBack(t *testing.T) {
	table := New(Options[count, int]{MaxLabels: 10_000, MaxIdle: 2 * time.Second})
	for i := range 3 * sweepBatch {
		use(table, 0, strconv.Itoa(i))
	}
	use(table, second, "0")
	table.Sweep(2 * second)
	assert.Equal(t, Counts{Labels: 1, Expired: 3*sweepBatch - 1}, table.Counts())
	table.Sweep(3 * second)
	assert.Equal(t, Counts{Expired: 3 * sweepBatch}, table.Counts())
	for shard := range table.Shards() {
		assert.Empty(t, shard.entries)
	}
	uses, fresh := use(table, 2*second, "0")
	assert.True(t, fresh)
	assert.Equal(t, 1, uses, "a table that was empty is usable")
}

func TestBusyLabelIsKeptThoughIdle(t *testing.T) {
	busy := true
	table := New(Options[count, int]{MaxLabels: 10, MaxIdle: time.Second, Busy: func(label Label[count, int]) bool {
		return busy && label.State.uses == 2
	}})
	use(table, 0, "busy")
	use(table, 0, "busy")
	use(table, 0, "idle")
	table.Sweep(second)
	assert.Equal(t, Counts{Labels: 1, Expired: 1}, table.Counts())

	busy = false
	table.Sweep(second*2 - 1)
	assert.Equal(t, 1, table.Counts().Labels, "it counts as used when it was found busy")
	busy = true
	uses, fresh := use(table, 3*second, "busy")
	assert.False(t, fresh)
	assert.Equal(t, 3, uses, "nor does a use find it idle")
	uses, fresh = use(table, 4*second, "busy")
	assert.True(t, fresh)
	assert.Equal(t, 1, uses)
}

func TestFindUsesNothing(t *testing.T) {
	table := New(Options[count, int]{MaxLabels: 10, MaxIdle: time.Second})
	label := table.Find("user")
	assert.Nil(t, label.State)
	label.Release()
	assert.Zero(t, table.Counts().Labels)

	use(table, 0, "user")
	label = table.Find("user")
	assert.Equal(t, 1, label.State.uses)
	assert.Same(t, label.State, label.Shard.State(label.Index))
	label.Release()
	table.Sweep(second)
	assert.Zero(t, table.Counts().Labels)
}

func TestRecentYieldsNoMoreThanAskedAndNothingIdle(t *testing.T) {
	table := New(Options[count, int]{MaxLabels: 100_000, MaxIdle: 10 * time.Second})
	for i := range 3000 {
		use(table, 0, strconv.Itoa(i))
	}
	recent := func(now int64, most int) (labels int) {
		for range table.Recent(now, most) {
			labels++
		}
		return labels
	}
	assert.Equal(t, 1024, recent(0, 1024))
	assert.Equal(t, 1, recent(0, 1))
	assert.Equal(t, 3000, recent(0, 5000))
	use(table, second, "0")
	assert.Equal(t, 1, recent(10*second, 1024))
	for label := range table.Recent(10*second, 1) {
		assert.Equal(t, 2, label.State.uses)
	}
	assert.Equal(t, 3000, table.Counts().Labels, "nothing is forgotten")
}

// The table behaves as a map does, whatever is used, swept and evicted.
func TestTableAgreesWithMap(t *testing.T) {
	type place struct {
		uses     int
		lastUsed int64
	}
	const idle = 20 * second
	rapid.Check(t, func(t *rapid.T) {
		model, forgotten := map[string]*place{}, 0
		busy := func(uses int) bool { return uses%5 == 0 }
		table := New(Options[count, int]{
			MaxLabels: 10_000,
			MaxIdle:   time.Duration(idle),
			Busy:      func(label Label[count, int]) bool { return busy(label.State.uses) },
			Forget:    func(Label[count, int]) { forgotten++ },
		})
		users, now := rapid.IntRange(1, 60).Draw(t, "users"), int64(0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += rapid.Int64Range(0, second).Draw(t, "later")
			if rapid.IntRange(0, 20).Draw(t, "sweep") == 0 {
				now += rapid.Int64Range(0, idle).Draw(t, "much later")
				table.Sweep(now)
			}
			value := strconv.Itoa(rapid.IntRange(1, users).Draw(t, "user"))
			one := model[value]
			fresh := one == nil || now-one.lastUsed >= idle && !busy(one.uses)
			if fresh {
				one = &place{}
				model[value] = one
			}
			one.uses++
			one.lastUsed = now
			uses, isFresh := use(table, now, value)
			require.Equal(t, one.uses, uses)
			require.Equal(t, fresh, isFresh)
			require.EqualValues(t, forgotten, table.Counts().Expired)
		}
		table.Sweep(now + 2*idle)
		kept := 0
		for _, one := range model {
			if busy(one.uses) {
				kept++
			}
		}
		require.Equal(t, kept, table.Counts().Labels)
	})
}
