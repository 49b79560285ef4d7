package fakeagent

import (
	"context"

	"google.golang.org/grpc/stats"
)

// encodings notes how the request of a call was compressed, which gRPC tells to nobody else. It is for the process to
// import a compression, grpc's package encoding/gzip: every client in the process then offers it in each of its calls.
type encodings struct{}

type encodingKey struct{}

// encodingOf returns how the request of a call was compressed, "" when it was not.
func encodingOf(ctx context.Context) string {
	if encoding, ok := ctx.Value(encodingKey{}).(*string); ok {
		return *encoding
	}
	return ""
}

// TagRPC implements stats.Handler.
func (encodings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, encodingKey{}, new(string))
}

// HandleRPC implements stats.Handler.
func (encodings) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if header, ok := event.(*stats.InHeader); ok { // it comes before the call is handled
		*ctx.Value(encodingKey{}).(*string) = header.Compression
	}
}

// TagConn implements stats.Handler.
func (encodings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (encodings) HandleConn(context.Context, stats.ConnStats) {}
