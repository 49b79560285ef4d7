package inflight

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
)

// counter is the state of one label value.
type counter struct {
	tokens   sum
	requests list
	// waiting says that the ledger has a function to call when there is room.
	waiting bool
}

// ledger holds what is in flight for the labels of one shard, whose lock guards it. Its requests are slots of an array,
// linked by indexes: the garbage collector has no pointers to follow. They all live equally long, so that the order of
// admission is the order of expiry.
type ledger struct {
	slots    []slot // slot 0 is never used, so that 0 is the index of none
	free     int32  // the first slot that is not in use; the links by label lead on
	requests list
	used     int
	tokens   sum

	// waiters has what to call when a label has room, by the label's index.
	waiters map[int32]func()
	// due is what is to be called by the next return or sweep, without the lock.
	due []func()

	accepted, rejected, overflowed, returned, expired, forgotten uint64
}

// fewSlots is how many slots a ledger keeps when nothing is in flight.
const fewSlots = 1024

// slot is a request in flight.
type slot struct {
	id     requestID
	tokens float64
	// expires is when the request still counts for the last time.
	expires int64
	label   int32 // the index of its label
	links   [2]links
}

// The lists that a request is in.
const (
	byLabel = iota
	byShard
)

type links struct{ older, newer int32 }

// list is a list of requests in the order of their admission.
type list struct{ oldest, newest int32 }

func (list *list) push(slots []slot, by int, index int32) {
	slots[index].links[by] = links{older: list.newest}
	if list.newest != 0 {
		slots[list.newest].links[by].newer = index
	} else {
		list.oldest = index
	}
	list.newest = index
}

func (list *list) remove(slots []slot, by int, index int32) {
	links := slots[index].links[by]
	if links.newer != 0 {
		slots[links.newer].links[by].older = links.older
	} else {
		list.newest = links.older
	}
	if links.older != 0 {
		slots[links.older].links[by].newer = links.newer
	} else {
		list.oldest = links.newer
	}
}

// add puts a request in flight. Its id gets the place in it.
func (ledger *ledger) add(counter *counter, label int32, id requestID, tokens float64, expires int64) requestID {
	index := ledger.free
	if index != 0 {
		ledger.free = ledger.slots[index].links[byLabel].newer
	} else {
		if len(ledger.slots) == 0 {
			ledger.slots = append(ledger.slots, slot{})
		}
		index = int32(len(ledger.slots))
		ledger.slots = append(ledger.slots, slot{})
	}
	if newest := ledger.requests.newest; newest != 0 {
		// Callers read the clock before they lock, so that one may be a little late.
		expires = max(expires, ledger.slots[newest].expires)
	}
	id = id.at(index)
	ledger.slots[index] = slot{id: id, tokens: tokens, expires: expires, label: label}
	counter.requests.push(ledger.slots, byLabel, index)
	ledger.requests.push(ledger.slots, byShard, index)
	counter.tokens.add(tokens)
	ledger.tokens.add(tokens)
	ledger.used++
	return id
}

// find returns the slot of a label's request, or 0.
func (ledger *ledger) find(label int32, id requestID) int32 {
	index := id.place()
	if index == 0 || index >= uint32(len(ledger.slots)) {
		return 0
	}
	if slot := &ledger.slots[index]; slot.id != id || slot.label != label {
		return 0
	}
	return int32(index)
}

// remove takes a request out of flight.
func (ledger *ledger) remove(counter *counter, index int32) {
	removed := &ledger.slots[index]
	counter.requests.remove(ledger.slots, byLabel, index)
	ledger.requests.remove(ledger.slots, byShard, index)
	counter.tokens.add(-removed.tokens)
	ledger.tokens.add(-removed.tokens)
	ledger.used--
	*removed = slot{links: [2]links{byLabel: {newer: ledger.free}}}
	ledger.free = index
	// Nothing in flight is exactly 0 tokens, whatever was rounded.
	if counter.requests.oldest == 0 {
		counter.tokens = sum{}
	}
	if ledger.used == 0 {
		ledger.tokens = sum{}
		if len(ledger.slots) > fewSlots {
			ledger.slots, ledger.free = nil, 0
		}
	}
}

// wake lets the waiter of a label be called, which then waits no more.
func (ledger *ledger) wake(counter *counter, label int32) {
	ledger.due = append(ledger.due, ledger.waiters[label])
	ledger.stopWaiting(counter, label)
}

func (ledger *ledger) stopWaiting(counter *counter, label int32) {
	delete(ledger.waiters, label)
	counter.waiting = false
}

// takeDue returns what is to be called as soon as the lock is given up.
func (ledger *ledger) takeDue() []func() {
	due := ledger.due
	ledger.due = nil
	return due
}

func (ledger *ledger) wait(counter *counter, label int32, wake func()) {
	if ledger.waiters == nil {
		ledger.waiters = make(map[int32]func())
	}
	ledger.waiters[label] = wake
	counter.waiting = true
}

// sum is a sum of tokens that small numbers are not lost from when large ones come and go: what an addition rounds away
// is kept apart (Neumaier's summation).
type sum struct{ rounded, rest float64 }

func (sum *sum) add(tokens float64) {
	total := sum.rounded + tokens
	if math.Abs(sum.rounded) >= math.Abs(tokens) {
		sum.rest += sum.rounded - total + tokens
	} else {
		sum.rest += tokens - total + sum.rounded
	}
	sum.rounded = total
}

func (sum sum) value() float64 { return sum.rounded + sum.rest }

// requestID is random but for the last 32 bits, which are the place of a request that is in flight.
type requestID [2]uint64

// newRequestID makes an id that nobody can guess: the source is ChaCha8 with a seed of the system's.
func newRequestID() requestID { return requestID{rand.Uint64(), rand.Uint64()} }

func (id requestID) at(place int32) requestID {
	return requestID{id[0], id[1]&^math.MaxUint32 | uint64(place)}
}

func (id requestID) place() uint32 { return uint32(id[1]) }

// text returns the id as it is on the wire: 32 hexadecimal digits.
func (id requestID) text() string {
	var bytes [16]byte
	binary.BigEndian.PutUint64(bytes[:8], id[0])
	binary.BigEndian.PutUint64(bytes[8:], id[1])
	var text [2 * len(bytes)]byte
	hex.Encode(text[:], bytes[:])
	return string(text[:])
}

// parse reads an id from its text, and says whether it is one.
func parse(text string) (requestID, bool) {
	var bytes [16]byte
	if len(text) != hex.EncodedLen(len(bytes)) {
		return requestID{}, false
	}
	if _, err := hex.Decode(bytes[:], []byte(text)); err != nil {
		return requestID{}, false
	}
	return requestID{binary.BigEndian.Uint64(bytes[:8]), binary.BigEndian.Uint64(bytes[8:])}, true
}
