package core

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/check"
)

// logInterval is how often the client logs about flows without a decision, for each reason: an outage is worth a line
// now and then, not one for every request.
const logInterval = 10 * time.Second

// logLimit lets one line pass in a while and counts those that it held back.
type logLimit struct {
	next atomic.Int64 // Unix nanoseconds from which the next line may pass
	held atomic.Int64
}

// pass says whether a line may be written now, and how many were held back since the last one.
func (l *logLimit) pass(now time.Time) (held int64, ok bool) {
	next := l.next.Load()
	if now.UnixNano() < next || !l.next.CompareAndSwap(next, now.Add(logInterval).UnixNano()) {
		l.held.Add(1)
		return 0, false
	}
	return l.held.Swap(0), true
}

// logUnreachable says that the agent could not be asked: as an error when it takes the operator to repair it.
func (c *Client) logUnreachable(message, controlPoint string, unreachable *check.UnreachableError) {
	level := slog.LevelWarn
	switch unreachable.Reason {
	case check.UnreachableCancelled, check.UnreachableClosed:
		return // the caller's own doing
	case check.UnreachableMisconfigured:
		level = slog.LevelError
	}
	if !c.logger.Enabled(context.Background(), level) {
		return
	}
	if held, ok := c.quiet[unreachable.Reason].pass(time.Now()); ok {
		c.logger.LogAttrs(context.Background(), level, message, slog.String("control_point", controlPoint),
			slog.String("reason", unreachable.Reason.String()), slog.Any("error", unreachable.Err), slog.Int64("held_back", held))
	}
}
