package cache

// expiryHeap has the entries of a shard by the time at which they expire, the first of them at its root. The times are in
// the heap itself, because those of entries would be cold memory.
type expiryHeap []expiring

type expiring struct {
	expires int64
	entry   *entry
}

func (heap *expiryHeap) push(expires int64, added *entry) {
	*heap = append(*heap, expiring{})
	heap.up(len(*heap)-1, expiring{expires, added})
}

func (heap *expiryHeap) remove(removed *entry) {
	h, index := *heap, int(removed.place)
	last := h[len(h)-1]
	h[len(h)-1] = expiring{}
	*heap = h[:len(h)-1]
	if index == len(*heap) {
		return
	}
	if index > 0 && last.expires < h[(index-1)/2].expires {
		heap.up(index, last)
	} else {
		heap.down(index, last)
	}
}

// up puts one at the index, or nearer to the root.
func (heap expiryHeap) up(index int, one expiring) {
	for index > 0 {
		parent := (index - 1) / 2
		if heap[parent].expires <= one.expires {
			break
		}
		heap.put(index, heap[parent])
		index = parent
	}
	heap.put(index, one)
}

// down puts one at the index, or farther from the root.
func (heap expiryHeap) down(index int, one expiring) {
	for {
		child := 2*index + 1
		if child >= len(heap) {
			break
		}
		if child+1 < len(heap) && heap[child+1].expires < heap[child].expires {
			child++
		}
		if one.expires <= heap[child].expires {
			break
		}
		heap.put(index, heap[child])
		index = child
	}
	heap.put(index, one)
}

func (heap expiryHeap) put(index int, one expiring) {
	heap[index] = one
	one.entry.place = int32(index)
}
