package handle

import (
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type object struct{ name int }

func TestHandleLeadsToItsObjectUntilItIsClosed(t *testing.T) {
	table := NewTable[object](2, 0)
	one, two := &object{1}, &object{2}
	first, err := table.Open(one)
	require.NoError(t, err)
	second, err := table.Open(two)
	require.NoError(t, err)

	assert.Same(t, one, table.Get(first))
	assert.Same(t, two, table.Get(second))
	assert.Equal(t, 2, table.Live())

	assert.Same(t, one, table.Close(first))
	assert.Nil(t, table.Get(first))
	assert.Nil(t, table.Close(first), "closing twice finds nothing")
	assert.Same(t, two, table.Get(second))
	assert.Equal(t, 1, table.Live())
}

func TestForeignHandlesFindNothing(t *testing.T) {
	clients, flows := NewTable[object](1, 0), NewTable[object](2, 0)
	client, err := clients.Open(&object{})
	require.NoError(t, err)
	for name, handle := range map[string]uint64{
		"NULL":                  0,
		"small number":          42,
		"of another table":      client,
		"all bits":              ^uint64(0),
		"right kind, far index": 2<<kindShift | 1<<indexBits | (1<<indexBits - 1),
		"kind and nothing else": 2 << kindShift,
	} {
		t.Run(name, func(t *testing.T) {
			assert.Nil(t, flows.Get(handle))
			assert.Nil(t, flows.Close(handle))
		})
	}
	_, err = flows.Open(&object{})
	require.NoError(t, err)
	assert.Nil(t, flows.Get(2<<kindShift), "an empty slot has no handle")
}

func TestAllYieldsWhatIsOpen(t *testing.T) {
	table := NewTable[object](1, 0)
	require.Empty(t, maps.Collect(table.All()))
	open := map[uint64]*object{}
	for i := range 3 * slotsPerChunk {
		one := &object{i}
		handle, err := table.Open(one)
		require.NoError(t, err)
		open[handle] = one
	}
	for handle := range open {
		if len(open) == slotsPerChunk {
			break
		}
		table.Close(handle)
		delete(open, handle)
	}
	assert.Equal(t, open, maps.Collect(table.All()))

	for handle := range table.All() {
		assert.NotNil(t, table.Close(handle), "closing what was yielded is allowed")
		break
	}
	assert.Equal(t, slotsPerChunk-1, table.Live())
}

func TestHandlesOfAnotherImageAreInherited(t *testing.T) {
	parent, child := NewTable[object](2, 4), NewTable[object](2, 5)
	inherited, err := parent.Open(&object{})
	require.NoError(t, err)
	assert.True(t, child.Inherited(inherited))
	assert.Nil(t, child.Get(inherited))
	assert.Nil(t, child.Close(inherited))
	assert.False(t, parent.Inherited(inherited))

	// The child's own first handle may be in the same slot.
	for range shardCount * 4 {
		own, err := child.Open(&object{})
		require.NoError(t, err)
		assert.NotEqual(t, inherited, own)
		assert.False(t, child.Inherited(own))
		assert.Nil(t, child.Get(inherited))
	}
	for name, handle := range map[string]uint64{
		"NULL":                  0,
		"of another kind":       inherited ^ 1<<kindShift,
		"never given out":       2<<kindShift | 7<<imageShift | 1,
		"own image, not open":   2<<kindShift | 5<<imageShift | 9<<indexBits | 3,
		"more bits than it has": inherited | 1<<60,
	} {
		assert.False(t, child.Inherited(handle), name)
	}
	require.NotNil(t, parent.Close(inherited))
	assert.True(t, child.Inherited(inherited), "the child cannot know that it was closed")
}

func TestHandlesFitIntoADouble(t *testing.T) {
	table := NewTable[object](7, 1<<imageBits-1)
	for range 100 {
		handle, err := table.Open(&object{})
		require.NoError(t, err)
		assert.Equal(t, handle, uint64(float64(handle)))
		assert.Less(t, handle, uint64(1)<<53)
	}
}

func TestSlotIsReusedUnderAnotherHandle(t *testing.T) {
	table := NewTable[object](1, 0)
	seen := map[uint64]bool{}
	for range 10_000 {
		handle, err := table.Open(&object{})
		require.NoError(t, err)
		require.False(t, seen[handle], "a handle came back")
		seen[handle] = true
		require.NotNil(t, table.Close(handle))
	}
	for i := range table.shards {
		assert.LessOrEqual(t, table.shards[i].used, uint32(1), "slots are reused")
	}
}

func TestSlotIsRetiredWhenItsGenerationsAreUsedUp(t *testing.T) {
	table := NewTable[object](1, 0)
	shard := &table.shards[0]
	handle, ok := shard.open(table.kind, 0, &object{})
	require.True(t, ok)
	require.NotNil(t, table.Close(handle))
	(*shard.chunks.Load())[0][0].generation = lastGeneration - 1

	last, ok := shard.open(table.kind, 0, &object{})
	require.True(t, ok)
	require.NotNil(t, table.Close(last))
	next, ok := shard.open(table.kind, 0, &object{})
	require.True(t, ok)
	assert.NotEqual(t, indexInShard(last), indexInShard(next))
	assert.Nil(t, table.Get(last))
}

func TestConcurrentUseNeverLeadsToAWrongObject(t *testing.T) {
	table := NewTable[object](3, 0)
	var group sync.WaitGroup
	shared := make(chan uint64, 1024)
	for worker := range 4 {
		group.Go(func() {
			for i := range 20_000 {
				value := &object{worker<<32 | i}
				handle, err := table.Open(value)
				if !assert.NoError(t, err) || !assert.Same(t, value, table.Get(handle)) {
					return
				}
				if rand.IntN(2) == 0 {
					select {
					case shared <- handle:
						continue
					default:
					}
				}
				if !assert.Same(t, value, table.Close(handle)) {
					return
				}
				select {
				case other := <-shared:
					table.Get(handle)
					assert.NotNil(t, table.Close(other))
				default:
				}
			}
		})
	}
	group.Wait()
	close(shared)
	for handle := range shared {
		assert.NotNil(t, table.Close(handle))
	}
	assert.Zero(t, table.Live())
}

func BenchmarkOpenGetClose(b *testing.B) {
	table := NewTable[object](1, 0)
	value := &object{}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			handle, _ := table.Open(value)
			table.Get(handle)
			table.Close(handle)
		}
	})
}
