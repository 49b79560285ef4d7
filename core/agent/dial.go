package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"

	"google.golang.org/grpc"

	"github.com/libaperture/libaperture/internal/guard"
)

// errDialPanicked is the error of a connection that the library panicked at.
var errDialPanicked = errors.New("a defect of the library: making the connection panicked")

// dialOption makes gRPC use connections that wrap, unless it is nil, has seen. A wrapper in the transport credentials
// would be simpler, but gRPC closes a connection whose handshake fails without it.
func dialOption(wrap func(net.Conn) net.Conn, logger *slog.Logger) grpc.DialOption {
	// TCP probes a quiet connection every 15 s, Go's default; gRPC's own dialer leaves the two hours of the system. So a
	// NAT or balancer does not forget the connection under a flow that waits in an agent's queue for minutes, and an
	// agent that vanished is noticed. Unlike pings of gRPC, no agent counts these.
	var dialer net.Dialer
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		network := "tcp"
		if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
			network, address = "unix", strings.TrimPrefix(path, "//")
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil || wrap == nil {
			return conn, err
		}
		wrapped := false
		defer func() {
			if !wrapped {
				_ = conn.Close()
			}
		}()
		result := wrap(conn)
		wrapped = true
		return result, nil
	}
	return grpc.WithContextDialer(func(ctx context.Context, address string) (conn net.Conn, err error) {
		// gRPC calls this in a goroutine of its own.
		if !guard.Do(logger, "agent.dial", func() { conn, err = dial(ctx, address) }, nil) {
			return nil, errDialPanicked
		}
		return conn, err
	})
}
