// Package inflight is a stand-in.
package inflight

import (
	"fmt"
	"sync"
	"time"

	"github.com/libaperture/libaperture/core/local/labels"
)

type Parameters struct {
	MaxConcurrency float64
	Lifetime       time.Duration
	MaxIdle        time.Duration
}

type Taken struct {
	OK                 bool
	ID                 string
	Remaining, Current float64
}

type entry struct {
	n       float64
	expires int64
}

type Table struct {
	mu     sync.Mutex
	p      Parameters
	next   int
	m      map[string]map[string]entry
	wakes  map[string]func()
	counts Counts
}

type Counts struct {
	Accepted, Rejected, Returned, ExpiredFlows uint64
	Flows                                      int
	Tokens                                     float64
	labels.Counts
}

func New(p Parameters, _ int) *Table {
	return &Table{p: p, m: map[string]map[string]entry{}, wakes: map[string]func(){}}
}

func (t *Table) take(now int64, label string, n float64) Taken {
	t.next++
	taken := Taken{ID: fmt.Sprint("id-", t.next)}
	if t.m[label] == nil {
		t.m[label] = map[string]entry{}
	}
	for id, e := range t.m[label] {
		if e.expires < now {
			delete(t.m[label], id)
			continue
		}
		taken.Current += e.n
	}
	taken.Remaining = t.p.MaxConcurrency - taken.Current
	taken.OK = taken.Remaining > 0
	if taken.OK {
		t.m[label][taken.ID] = entry{n, now + int64(t.p.Lifetime)}
	}
	return taken
}

func (t *Table) Take(now int64, label string, n float64) Taken {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.take(now, label, n)
}

func (t *Table) TakeOrWait(now int64, label string, n float64, wake func()) (Taken, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.take(now, label, n)
	var first int64
	if !taken.OK {
		t.wakes[label] = wake
		for _, e := range t.m[label] {
			if first == 0 || e.expires < first {
				first = e.expires
			}
		}
	}
	if first == 0 {
		return taken, 0
	}
	return taken, time.Duration(first - now + 1)
}

func (t *Table) StopWaiting(label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wakes, label)
}

func (t *Table) Return(now int64, label, id string) bool {
	t.mu.Lock()
	e, ok := t.m[label][id]
	delete(t.m[label], id)
	wake := t.wakes[label]
	delete(t.wakes, label)
	t.mu.Unlock()
	if wake != nil {
		wake()
	}
	return ok && e.expires >= now
}

func (t *Table) Sweep(int64) {}

func (t *Table) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.m {
		for _, e := range m {
			t.counts.Flows++
			t.counts.Tokens += e.n
		}
	}
	c := t.counts
	t.counts.Flows, t.counts.Tokens = 0, 0
	return c
}
