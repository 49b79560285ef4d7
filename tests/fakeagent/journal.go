package fakeagent

import (
	"encoding/binary"
	"io"
	"sync"
)

// The kinds of records of Options.Journal. A record is its kind and a number of 8 bytes, little-endian.
const (
	JournalAccepted byte = 'A' // a Check that is answered with an admission
	JournalRejected byte = 'R' // a Check that is answered with a rejection
	JournalFailed   byte = 'X' // a Check that gets no decision: an error, garbage, or a caller that gave up
	JournalFlowEnd  byte = 'E' // a FlowEnd that is answered
	JournalSpan     byte = 'S' // a span that was taken; the number is its span id
)

// journal writes down what an agent is about to answer, before it does: what a client was told is in the journal, also
// when the agent is killed. The last record of a killed agent may be cut short.
type journal struct {
	mu  sync.Mutex
	out io.Writer // nil keeps no journal
}

// record writes one record for each number.
func (j *journal) record(kind byte, numbers ...uint64) error {
	if j.out == nil {
		return nil
	}
	records := make([]byte, 0, 9*len(numbers))
	for _, number := range numbers {
		records = binary.LittleEndian.AppendUint64(append(records, kind), number)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.out.Write(records)
	return err
}
