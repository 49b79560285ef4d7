package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/internal/guard"
)

// State says how it stands with the connection.
func (a *Agent) State() check.State {
	if a.calls.Err() != nil {
		return check.StateClosed
	}
	switch a.conn.GetState() {
	case connectivity.Connecting:
		return check.StateConnecting
	case connectivity.Ready:
		return check.StateReady
	case connectivity.TransientFailure:
		return check.StateFailing
	case connectivity.Shutdown:
		return check.StateClosed
	default:
		return check.StateIdle
	}
}

// WaitReady waits until there is a connection to the agent.
func (a *Agent) WaitReady(ctx context.Context) error {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := guard.AfterFunc(a.calls, a.logger, "agent.wait.end", cancel, func(any) { cancel() })
	defer stop()
	for {
		state := a.conn.GetState()
		if state == connectivity.Ready && a.calls.Err() == nil {
			return nil
		}
		if !a.conn.WaitForStateChange(wait, state) {
			return a.notReady(ctx, state)
		}
	}
}

// notReady says why there is no connection.
func (a *Agent) notReady(ctx context.Context, state connectivity.State) *check.UnreachableError {
	switch {
	case a.calls.Err() != nil:
		return &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	case errors.Is(ctx.Err(), context.Canceled):
		return &check.UnreachableError{Reason: check.UnreachableCancelled, Err: context.Cause(ctx)}
	case state == connectivity.TransientFailure:
		// gRPC tells the cause only to a call. One that is made in this state fails at once and sends nothing.
		if err := a.probe(); status.Code(err) == codes.Unavailable {
			return a.classify(err)
		}
	}
	return &check.UnreachableError{
		Reason: check.UnreachableTimeout,
		Err:    fmt.Errorf("no connection to the agent yet (%s): %w", state, ctx.Err()),
	}
}

// probe makes a harmless call.
func (a *Agent) probe() error {
	ctx, cancel := context.WithTimeout(a.calls, 100*time.Millisecond)
	defer cancel()
	var request, response emptypb.Empty
	return a.conn.Invoke(ctx, "/grpc.health.v1.Health/Check", &request, &response)
}
