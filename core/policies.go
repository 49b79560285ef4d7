package core

import (
	"errors"
	"log/slog"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local"
)

var errNoPolicies = &ArgumentError{"client", `is one of an agent, which has its policies from its cluster; only a client with a "local:" address has some`}

// Reload reads the policy files of a client with a local: address again, while flows go on. Policies that are the same
// keep what they know. When something is wrong with the files, the error is a *local.LoadError and nothing changes. The
// client of an agent has no policies: its error is an *ArgumentError.
func (c *Client) Reload() error {
	reloader, ok := c.decider.(check.Reloader)
	switch {
	case c.closed.Load():
		return ErrClosed
	case !ok:
		return errNoPolicies
	}
	if err := reloader.Reload(); err != nil {
		if unreachable, ok := errors.AsType[*check.UnreachableError](err); ok && unreachable.Reason == check.UnreachableClosed {
			return ErrClosed // meanwhile
		}
		return err
	}
	if engine, ok := reloader.(*local.Engine); ok {
		logWarnings(engine, c.logger)
	}
	return nil
}

// logWarnings says what the policies of an engine say in vain.
func logWarnings(engine *local.Engine, logger *slog.Logger) {
	for _, ignored := range engine.Warnings() {
		logger.Warn("a part of the policies has no effect here", slog.String("where", ignored.String()))
	}
}

// Snapshot returns what the local engine has counted, as a JSON document in the form of local.Snapshot. The client of an
// agent counts no decisions of components: its error is an *ArgumentError.
func (c *Client) Snapshot() ([]byte, error) {
	snapshotter, ok := c.decider.(check.Snapshotter)
	switch {
	case c.closed.Load():
		return nil, ErrClosed
	case !ok:
		return nil, errNoPolicies
	}
	return snapshotter.SnapshotJSON()
}
