package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/internal/guard"
)

const (
	// exportTimeout bounds one try to export a batch.
	exportTimeout = 10 * time.Second
	// exportTries is how often a batch is tried before it is dropped, exportTriesClosing the same once the client is
	// being closed. With the pauses between them the first outlasts an agent that restarts: about 20 s.
	exportTries        = 10
	exportTriesClosing = 3
	// The pause after a failed try doubles from the first value to the second.
	exportPauseFirst = 100 * time.Millisecond
	exportPauseMost  = 5 * time.Second

	// maxQueueBytes bounds the queue by the size of the requests whose spans wait in it, for flows with very large
	// labels: the agent's responses, which the spans hold, repeat the labels.
	maxQueueBytes = 64 << 20
)

// A batch is what goes into one export.
type batch struct {
	spans []span
	bytes int
}

// telemetry is the bounded queue of the spans of ended flows and the goroutine that exports them.
type telemetry struct {
	agent    agentDecider
	logger   *slog.Logger
	queue    int // spans that may wait
	size     int // spans of a batch
	interval time.Duration

	mu      sync.Mutex
	full    []*batch // oldest first
	open    *batch   // not full yet; nil when empty
	waiting int      // spans in full, in open, and in hand
	bytes   int      // their size
	hand    *batch   // under way; nil when none is
	closed  bool

	exported, dropped uint64 // under mu

	wake    chan struct{} // something waits: one token
	closing chan struct{} // closed by close
	ctx     context.Context
	cancel  context.CancelFunc // ends the exports
	done    chan struct{}      // closed when the goroutine has ended

	// The goroutine's own until done is closed.
	flushing bool  // it has seen that the client is being closed
	lastErr  error // of the last export that failed since
}

// startTelemetry starts the export of spans to an agent.
func startTelemetry(agent agentDecider, options *Options) *telemetry {
	t := &telemetry{
		agent:    agent,
		logger:   options.Logger,
		queue:    options.TelemetryQueue,
		size:     options.TelemetryBatch,
		interval: options.TelemetryInterval,
		wake:     make(chan struct{}, 1),
		closing:  make(chan struct{}),
		done:     make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	guard.Keep(t.logger, "core.telemetry", t.ctx.Done(), t.run, t.recovered, t.end)
	return t
}

// add queues the span of a flow whose request has that many bytes, or drops it when the queue is full.
func (t *telemetry) add(s span, bytes int) {
	if t.enqueue(s, bytes) {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// enqueue does the work of add, and says whether the goroutine must be told.
func (t *telemetry) enqueue(s span, bytes int) (tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.waiting >= t.queue || t.waiting > 0 && t.bytes+bytes > maxQueueBytes {
		t.dropped++
		return false
	}
	t.waiting++
	t.bytes += bytes
	// The goroutine is told about the first span, whose time to wait begins, and about a full batch.
	if t.open == nil {
		t.open = &batch{}
		tell = true
	}
	t.open.spans = append(t.open.spans, s)
	t.open.bytes += bytes
	if len(t.open.spans) >= t.size {
		t.seal()
		tell = true
	}
	return tell
}

// seal makes the open batch a full one. The caller holds mu.
func (t *telemetry) seal() {
	t.full = append(t.full, t.open)
	t.open = nil
}

// take returns the oldest full batch, and with all set also one that is not full; nil when there is none. more says
// that spans are left which wait for their batch to fill.
func (t *telemetry) take(all bool) (b *batch, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if all && t.open != nil {
		t.seal()
	}
	if len(t.full) > 0 {
		b, t.full[0] = t.full[0], nil
		t.full = t.full[1:]
	}
	t.hand = b
	return b, t.open != nil
}

// settle counts what became of spans of a batch. The batch's bytes go with its last span.
func (t *telemetry) settle(b *batch, spans, exported int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.spans = b.spans[spans:]
	if len(b.spans) == 0 {
		t.bytes -= b.bytes
		t.hand = nil
	}
	t.waiting -= spans
	t.exported += uint64(exported)
	t.dropped += uint64(spans - exported)
}

// recovered gives up the batch at which run panicked: it would only panic again.
func (t *telemetry) recovered(cause any) {
	t.lastErr = fmt.Errorf("a defect of the library: panic: %v", cause)
	t.flushing = t.isClosing()
	t.mu.Lock()
	b := t.hand
	t.mu.Unlock()
	if b != nil {
		t.settle(b, len(b.spans), 0)
	}
}

// end counts what run left behind, which is nothing unless it panicked while the client was being closed.
func (t *telemetry) end() {
	defer close(t.done)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped += uint64(t.waiting)
	t.full, t.open, t.waiting, t.bytes = nil, nil, 0, 0
}

// counts returns the counts of Stats.
func (t *telemetry) counts() (exported, dropped, waiting uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exported, t.dropped, uint64(t.waiting)
}

// isFull says whether a span that is added now would be dropped.
func (t *telemetry) isFull() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting >= t.queue || t.bytes >= maxQueueBytes
}

// close exports what waits, until ctx ends, and ends the goroutine. It is called once.
func (t *telemetry) close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	before := t.dropped
	t.mu.Unlock()
	close(t.closing)
	select {
	case <-t.done:
	case <-ctx.Done():
	}
	t.cancel()
	<-t.done // at once: Export obeys its context, and so does the pause after a panic

	t.mu.Lock()
	lost := t.dropped - before
	t.mu.Unlock()
	if lost == 0 {
		return nil
	}
	cause := errors.Join(ctx.Err(), t.lastErr)
	if cause == nil {
		cause = errors.New("the agent does not take them")
	}
	return fmt.Errorf("%d spans could not be sent: %w", lost, cause)
}

// run exports batches as they fill, or when their oldest span has waited long enough, until close. It looks at the
// queue first: after a panic, what waits there was told about before.
func (t *telemetry) run() {
	var encoder spanEncoder
	timer := time.NewTimer(t.interval)
	defer timer.Stop()
	timer.Stop()
	armed, due, closing := false, false, false
	for {
		b, more := t.take(due || closing)
		for b != nil {
			t.send(&encoder, b)
			b, more = t.take(false)
		}
		if closing {
			return
		}
		if more && !armed {
			timer.Reset(t.interval)
			armed = true
		}
		due = false
		select {
		case <-t.wake:
		case <-timer.C:
			armed, due = false, true
		case <-t.closing:
			closing = true
			if !t.flushing {
				t.flushing, t.lastErr = true, nil
			}
		}
	}
}

// send exports a batch, or drops what the agent does not take.
func (t *telemetry) send(encoder *spanEncoder, b *batch) {
	guard.Point("core.telemetry.batch")
	for len(b.spans) > 0 {
		message, taken, encoded := encoder.encode(b.spans)
		rejected, err := t.export(message)
		exported := encoded - int(min(int64(encoded), rejected))
		if err != nil {
			exported = 0
			t.lastErr = err
			t.logger.Warn("spans were dropped: the agent does not take them", slog.Int("spans", taken), slog.Any("error", err))
		}
		t.settle(b, taken, exported)
	}
}

// export sends a message, trying again while that can help.
func (t *telemetry) export(message *tracev1.TracesData) (rejected int64, err error) {
	pause := exportPauseFirst
	for try := 1; ; try++ {
		rejected, err = t.exportOnce(message)
		if err == nil || !t.again(err, try) || !t.pause(pause) {
			return rejected, err
		}
		pause = min(2*pause, exportPauseMost)
	}
}

func (t *telemetry) exportOnce(message *tracev1.TracesData) (rejected int64, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, exportTimeout)
	defer cancel()
	return t.agent.Export(ctx, message)
}

// again says whether a batch that failed is worth another try: not when the agent refuses it, and not when it keeps
// newer spans out of the queue.
func (t *telemetry) again(err error, try int) bool {
	switch asUnreachable(err).Reason {
	case check.UnreachableUnavailable, check.UnreachableTimeout:
	default:
		return false
	}
	if t.isClosing() {
		return try < exportTriesClosing
	}
	return try < exportTries && !t.isFull()
}

// pause waits before another try, shorter when the client is being closed meanwhile. It returns false when there is no
// time left.
func (t *telemetry) pause(duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	closing := t.closing
	if t.isClosing() {
		closing = nil
	}
	select {
	case <-timer.C:
		return true
	case <-closing:
		return true
	case <-t.ctx.Done():
		return false
	}
}

func (t *telemetry) isClosing() bool {
	select {
	case <-t.closing:
		return true
	default:
		return false
	}
}
