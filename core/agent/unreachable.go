package agent

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/libaperture/libaperture/core/check"
)

// StatusError is what gRPC, or the agent, said about a call that failed. The API key, the values of metadata and of
// labels, and the keys and values of cache entries are taken out of its message.
type StatusError struct {
	Code    codes.Code
	Message string
}

// Error returns the code's name and the message.
func (e *StatusError) Error() string { return e.Code.String() + ": " + e.Message }

// GRPCStatus lets status.FromError and status.Code read the error.
func (e *StatusError) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

var errClosed = errors.New("the client was closed")

// unreachable says why a call failed: ctx is the caller's, life ended the call if it has ended, and secrets are what the
// call carried.
func (a *Agent) unreachable(ctx, life context.Context, err error, secrets ...secret) *check.UnreachableError {
	switch {
	case life.Err() != nil:
		return &check.UnreachableError{Reason: check.UnreachableClosed, Err: errClosed}
	case errors.Is(ctx.Err(), context.Canceled):
		return &check.UnreachableError{Reason: check.UnreachableCancelled, Err: context.Cause(ctx)}
	}
	return a.classify(err, secrets...)
}

// classify says what an error of gRPC means.
func (a *Agent) classify(err error, secrets ...secret) *check.UnreachableError {
	s := status.Convert(err)
	return &check.UnreachableError{
		Reason: reasonOf(s.Code(), s.Message()),
		Err:    &StatusError{Code: s.Code(), Message: a.redact(s.Message(), secrets)},
	}
}

// reasonOf maps a gRPC code to a reason.
func reasonOf(code codes.Code, message string) check.UnreachableReason {
	switch code {
	case codes.DeadlineExceeded:
		return check.UnreachableTimeout
	case codes.Unavailable:
		if isHandshakeRefusal(message) {
			return check.UnreachableMisconfigured
		}
		return check.UnreachableUnavailable
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.Unimplemented:
		return check.UnreachableMisconfigured
	}
	return check.UnreachableAgentError
}

// isHandshakeRefusal says whether a connection failed because the two sides do not fit: the certificate of one is not
// trusted by the other, or one side speaks TLS and the other does not. gRPC passes on only the text of the error. A
// handshake that broke off is an outage.
//
// In TLS 1.3 an agent refuses the client's certificate when the client has finished the handshake, and may close the
// connection before its reason is read: then it looks like an outage until a later try reads the reason.
func isHandshakeRefusal(message string) bool {
	if _, cause, ok := strings.Cut(message, "authentication handshake failed"); ok {
		return strings.Contains(cause, "tls: ") || strings.Contains(cause, "x509: ") || strings.Contains(cause, "ALPN")
	}
	return strings.Contains(message, "error reading server preface: remote error: tls: ")
}

// isConnectionLoss says whether a call failed because its connection did.
func isConnectionLoss(err error) bool { return status.Code(err) == codes.Unavailable }
