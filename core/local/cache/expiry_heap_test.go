package cache

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFirstOfTheHeapExpiresFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var heap expiryHeap
	for range 20_000 {
		if len(heap) == 0 || random.IntN(100) < 52 {
			heap.push(random.Int64N(1000), &entry{})
		} else {
			heap.remove(heap[random.IntN(len(heap))].entry)
		}
	}
	require.Greater(t, len(heap), 500)
	last := int64(-1)
	for len(heap) > 0 {
		for i := range heap {
			require.EqualValues(t, i, heap[i].entry.place)
		}
		require.GreaterOrEqual(t, heap[0].expires, last)
		last = heap[0].expires
		heap.remove(heap[0].entry)
	}
}
