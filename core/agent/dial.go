package agent

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc"
)

// dialOption makes gRPC use connections that wrap has seen. A wrapper in the transport credentials would be simpler, but
// gRPC closes a connection whose handshake fails without it.
func dialOption(wrap func(net.Conn) net.Conn) grpc.DialOption {
	// The intervals of keepalive are the system's, as with gRPC's own dialer.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}
	return grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		network := "tcp"
		if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
			network, address = "unix", strings.TrimPrefix(path, "//")
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wrap(conn), nil
	})
}
