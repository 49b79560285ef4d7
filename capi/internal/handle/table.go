// Package handle gives objects numbers that a foreign caller can hold without ever touching the object.
//
// A handle says of which kind it is, which image of the library made it, which slot of its table it names, and which use
// of that slot: a handle that was closed, was invented or belongs to another table is recognised, and never reaches a
// wrong object. A forked child has an image of its own, whose empty tables would else give out the numbers of the parent
// once more.
//
//	bits 0-21   index of the slot
//	bits 22-43  generation: how often the slot was used before, plus one
//	bits 44-49  image
//	bits 50-52  kind
//
// Handles stay below 2^53, so that a language whose numbers are doubles holds them exactly.
package handle

import (
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	indexBits      = 22
	generationBits = 22
	imageBits      = 6
	imageShift     = indexBits + generationBits
	kindShift      = imageShift + imageBits

	shardBits     = 3
	shardCount    = 1 << shardBits
	slotsPerShard = 1 << (indexBits - shardBits)
	slotsPerChunk = 1 << 10
	pageBits      = 13

	lastGeneration = 1<<generationBits - 1
)

// ErrFull says that a table has no slot left: some four million handles are open.
var ErrFull = errors.New("too many open handles")

// Table holds the objects of one kind. Its methods may be called from several goroutines at once; Get takes no lock.
type Table[T any] struct {
	kind   uint64 // with the image: the bits that all handles of the table have in common
	shards [shardCount]shard[T]
}

// shard is a part of a table with a lock of its own, so that threads that open and close handles seldom meet.
type shard[T any] struct {
	mu     sync.Mutex
	free   []uint32
	used   uint32
	live   int
	chunks atomic.Pointer[[]*chunk[T]]
	_      [64]byte // keeps neighbours off one cache line
}

type chunk[T any] [slotsPerChunk]slot[T]

// slot is a place for one object. handle is 0 while it is empty. Readers look at handle before and after they read the
// value; since a handle never comes back, an unchanged handle means that the value was its own.
type slot[T any] struct {
	handle     atomic.Uint64
	value      atomic.Pointer[T]
	generation uint32 // of the last use; changed under the shard's lock
}

// NewTable makes a table for handles of a kind, from 1 to 7, in an image of the library. Images are told apart by the
// last six bits of their number.
func NewTable[T any](kind, image int) *Table[T] {
	return &Table[T]{kind: uint64(kind)<<imageBits | uint64(image)%(1<<imageBits)}
}

// Open gives an object a handle.
func (t *Table[T]) Open(value *T) (uint64, error) {
	// Each of Go's processors makes small objects from pages of its own, so that threads seldom meet in a shard.
	start := uint32(uintptr(unsafe.Pointer(value)) >> pageBits)
	for i := range uint32(shardCount) {
		number := (start + i) % shardCount
		if handle, ok := t.shards[number].open(t.kind, number, value); ok {
			return handle, nil
		}
	}
	return 0, ErrFull
}

// Get returns the object of a handle, or nil when the handle is not open in this table.
func (t *Table[T]) Get(handle uint64) *T {
	slot := t.slot(handle)
	if slot == nil || slot.handle.Load() != handle {
		return nil
	}
	value := slot.value.Load()
	if slot.handle.Load() != handle {
		return nil
	}
	return value
}

// Close takes a handle away and returns its object, or nil when the handle is not open in this table. Of several
// callers that close the same handle one gets the object.
func (t *Table[T]) Close(handle uint64) *T {
	slot := t.slot(handle)
	if slot == nil || !slot.handle.CompareAndSwap(handle, 0) {
		return nil
	}
	value := slot.value.Swap(nil)
	t.shards[shardOf(handle)].release(indexInShard(handle), slot.generation)
	return value
}

// Live returns how many handles are open.
func (t *Table[T]) Live() int {
	live := 0
	for i := range t.shards {
		t.shards[i].mu.Lock()
		live += t.shards[i].live
		t.shards[i].mu.Unlock()
	}
	return live
}

// All yields the handles that are open, and their objects. Handles that are opened or closed meanwhile may be missed.
func (t *Table[T]) All() iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		for i := range t.shards {
			chunks := t.shards[i].chunks.Load()
			if chunks == nil {
				continue
			}
			for _, chunk := range *chunks {
				for j := range chunk {
					handle := chunk[j].handle.Load()
					if value := t.Get(handle); value != nil && !yield(handle, value) {
						return
					}
				}
			}
		}
	}
}

// Inherited says whether a handle is of the table's kind but of another image: of a process that this one was forked
// from.
func (t *Table[T]) Inherited(handle uint64) bool {
	return handle>>kindShift == t.kind>>imageBits && handle>>imageShift != t.kind && generationOf(handle) != 0
}

func shardOf(handle uint64) uint64      { return handle % shardCount }
func indexInShard(handle uint64) uint32 { return uint32(handle % (1 << indexBits) >> shardBits) }
func generationOf(handle uint64) uint64 { return handle >> indexBits % (1 << generationBits) }

func (t *Table[T]) slot(handle uint64) *slot[T] {
	if handle>>imageShift != t.kind {
		return nil
	}
	chunks := t.shards[shardOf(handle)].chunks.Load()
	index := indexInShard(handle)
	if chunks == nil || int(index/slotsPerChunk) >= len(*chunks) {
		return nil
	}
	return &(*chunks)[index/slotsPerChunk][index%slotsPerChunk]
}

func (s *shard[T]) open(kind uint64, number uint32, value *T) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var index uint32
	switch {
	case len(s.free) > 0:
		index = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case s.used < slotsPerShard:
		index = s.used
		s.used++
		s.reach(index)
	default:
		return 0, false
	}
	s.live++
	slot := &(*s.chunks.Load())[index/slotsPerChunk][index%slotsPerChunk]
	slot.generation++
	handle := kind<<imageShift | uint64(slot.generation)<<indexBits | uint64(index)<<shardBits | uint64(number)
	slot.value.Store(value)
	slot.handle.Store(handle)
	return handle, true
}

// reach makes the chunk that an index is in. Readers see either the old list of chunks or the new one.
func (s *shard[T]) reach(index uint32) {
	if index%slotsPerChunk != 0 {
		return
	}
	var chunks []*chunk[T]
	if old := s.chunks.Load(); old != nil {
		chunks = append(chunks, *old...)
	}
	chunks = append(chunks, new(chunk[T]))
	s.chunks.Store(&chunks)
}

// release makes a slot free again, unless its generations are used up: then it is left alone for ever, so that no
// handle ever comes back.
func (s *shard[T]) release(index, generation uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live--
	if generation < lastGeneration {
		s.free = append(s.free, index)
	}
}
