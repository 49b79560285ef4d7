package bucket

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/local/labels"
)

const second = int64(time.Second)

var twoPerSecond = Parameters{Capacity: 10, Fill: 2, Interval: time.Second, Continuous: true}

func TestTableCountsAndReportsTheBucket(t *testing.T) {
	table := NewTable(twoPerSecond, time.Minute, 100)
	assert.Equal(t, Taken{OK: true, Remaining: 6, Current: 4}, table.Take(0, "ann", 4))
	assert.Equal(t, Taken{Wait: 500 * time.Millisecond, Remaining: 6, Current: 4}, table.Take(0, "ann", 7))
	assert.Equal(t, Taken{OK: true, Wait: time.Second, Remaining: -2, Current: 12}, table.Reserve(0, "ann", 8, time.Second))
	assert.Equal(t, Taken{Wait: 2 * time.Second, Remaining: -2, Current: 12}, table.Reserve(0, "ann", 2, time.Second))
	table.GiveBack(0, "ann", 8)
	table.GiveBack(0, "bob", 8)
	assert.Equal(t, Taken{OK: true, Remaining: 6, Current: 4}, table.Take(0, "ann", 0))
	assert.Equal(t, Counts{Accepted: 3, Rejected: 2, Reverted: 2, Counts: labels.Counts{Labels: 1}}, table.Counts())
}

func TestIdleBucketIsFullAgain(t *testing.T) {
	table := NewTable(Parameters{Capacity: 1, Interval: time.Second}, time.Minute, 100)
	require.True(t, table.Take(0, "ann", 1).OK)
	require.False(t, table.Take(59*second, "ann", 1).OK)
	table.GiveBack(100*second, "bob", 1)
	assert.True(t, table.Take(119*second, "ann", 1).OK)
	table.Sweep(179 * second)
	assert.Equal(t, labels.Counts{Expired: 2}, table.Counts().Counts)
}

func TestLevelIsThatOfTheMoment(t *testing.T) {
	table := NewTable(twoPerSecond, time.Minute, 100)
	assert.Zero(t, table.Level(0))
	table.Take(0, "ann", 10)
	table.Reserve(0, "bob", 15, time.Hour)
	assert.Equal(t, Level{Labels: 2, Available: -5}, table.Level(0))
	assert.Equal(t, Level{Labels: 2, Available: 2 - 3}, table.Level(second))
	assert.Equal(t, Level{Labels: 2, Available: 10 + 10}, table.Level(59*second))
	assert.Equal(t, Level{}, table.Level(60*second), "idle buckets are forgotten")
	assert.Equal(t, -5.0, table.Take(0, "bob", 0).Remaining, "looking changes nothing")
}

func TestLevelLooksAtNoMoreThan1024Buckets(t *testing.T) {
	table := NewTable(twoPerSecond, time.Minute, 100_000)
	for i := range 2000 {
		table.Take(0, fmt.Sprint("user-", i), 1)
	}
	assert.Equal(t, Level{Labels: 1024, Available: 1024 * 9}, table.Level(0))
}

func TestConcurrentTakesAndReservationsLoseNothing(t *testing.T) {
	table := NewTable(Parameters{Capacity: 1000, Interval: time.Second}, 0, 100)
	var accepted atomic.Int64
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 500 {
				switch {
				case worker%2 == 0 && table.Take(second, "ann", 1).OK, worker%2 == 1 && table.Reserve(second, "ann", 1, time.Hour).OK:
					if i%10 == 0 {
						table.GiveBack(second, "ann", 1)
					} else {
						accepted.Add(1)
					}
				}
				table.Level(second)
				table.Sweep(second)
			}
		})
	}
	group.Wait()
	assert.EqualValues(t, 1000, accepted.Load())
	assert.Zero(t, table.Take(second, "ann", 0).Remaining)
}

func BenchmarkTake(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			table, users := NewTable(twoPerSecond, time.Hour, 1_000_000), make([]string, keys)
			for i := range users {
				users[i] = fmt.Sprint("user-", i)
				table.Take(0, users[i], 1)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				table.Take(int64(i), users[i%keys], 1)
			}
		})
	}
}
