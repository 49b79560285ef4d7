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

// dialOption makes gRPC use connections that wrap has seen. A wrapper in the transport credentials would be simpler, but
// gRPC closes a connection whose handshake fails without it.
func dialOption(wrap func(net.Conn) net.Conn, logger *slog.Logger) grpc.DialOption {
	// The intervals of keepalive are the system's, as with gRPC's own dialer.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		network := "tcp"
		if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
			network, address = "unix", strings.TrimPrefix(path, "//")
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
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
