package main

import (
	"io"

	"google.golang.org/grpc/grpclog"
)

// A library is a guest: it writes nothing to the host's stderr, where grpc-go logs errors unless it is told otherwise
// before its first use.
func init() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}
