package core

import (
	"errors"

	"github.com/libaperture/libaperture/core/check"
)

// ErrClosed says that the client was closed before the call.
var ErrClosed = errors.New("the client is closed")

// ErrAlreadyEnded says that the flow was ended before: a flow is ended once, and its status is set before that.
var ErrAlreadyEnded = errors.New("the flow was already ended")

// ArgumentError says which argument of a call is wrong and what would be right. It never contains a label, a label's
// value or an API key.
type ArgumentError struct {
	Argument string // the argument's or option's name, as "control point" or "API key"
	Problem  string // what is wrong with it, and what would be right
}

// Error returns the argument's name and its problem.
func (e *ArgumentError) Error() string { return e.Argument + " " + e.Problem }

// asUnreachable returns err in the form that flows report.
func asUnreachable(err error) *check.UnreachableError {
	if unreachable, ok := errors.AsType[*check.UnreachableError](err); ok {
		return unreachable
	}
	return &check.UnreachableError{Reason: check.UnreachableAgentError, Err: err}
}
