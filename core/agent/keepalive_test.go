package agent

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// queue is an agent at which every flow waits for an hour.
type queue struct {
	checkv1.UnimplementedFlowControlServiceServer
}

func (queue) Check(ctx context.Context, _ *checkv1.CheckRequest) (*checkv1.CheckResponse, error) {
	select {
	case <-time.After(time.Hour):
	case <-ctx.Done():
	}
	return &checkv1.CheckResponse{}, ctx.Err()
}

// mutableConn is a connection on which nothing arrives any more once it is muted.
type mutableConn struct {
	net.Conn
	muted *atomic.Bool
}

func (c mutableConn) Read(data []byte) (int, error) {
	for {
		n, err := c.Conn.Read(data)
		if err != nil || !c.muted.Load() {
			return n, err
		}
	}
}

// inQueue asks an agent with gRPC's default enforcement, in the memory of a bubble. Nothing arrives at the client any
// more after mute, unless it is 0. It returns how long Check took, and its error.
func inQueue(t *testing.T, options Options, mute time.Duration) (time.Duration, error) {
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	checkv1.RegisterFlowControlServiceServer(server, queue{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Stop
	}()
	var muted atomic.Bool
	options.Logger = slog.New(slog.DiscardHandler)
	a, err := openWith("passthrough:///agent", options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := listener.DialContext(ctx)
		return mutableConn{conn, &muted}, err
	}))
	require.NoError(t, err)
	if mute > 0 {
		time.AfterFunc(mute, func() { muted.Store(true) })
	}
	begin := time.Now()
	_, err = a.Check(t.Context(), &check.Request{ControlPoint: "checkout", Timeout: 2 * time.Hour})
	elapsed := time.Since(begin)
	assert.NoError(t, a.Close())
	server.Stop()
	<-served
	return elapsed, err
}

func TestFlowWaitsInTheQueueOfAnAgentThatTakesFewPings(t *testing.T) {
	for name, options := range map[string]Options{
		"without pings":             {},
		"a ping every five minutes": {KeepaliveTime: 5 * time.Minute, KeepaliveTimeout: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				elapsed, err := inQueue(t, options, 0)
				assert.NoError(t, err)
				assert.Equal(t, time.Hour, elapsed)
			})
		})
	}
}

// It is why core refuses shorter times.
func TestFlowIsThrownOutOfTheQueueForManyPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elapsed, err := inQueue(t, Options{KeepaliveTime: time.Minute, KeepaliveTimeout: 20 * time.Second}, 0)
		assert.Equal(t, check.UnreachableUnavailable, reason(t, err))
		assert.ErrorContains(t, err, "too_many_pings")
		assert.Less(t, elapsed, 10*time.Minute)
	})
}

func TestPingsFindAnAgentThatVanished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elapsed, err := inQueue(t, Options{KeepaliveTime: 5 * time.Minute, KeepaliveTimeout: 20 * time.Second}, time.Minute)
		assert.Equal(t, check.UnreachableUnavailable, reason(t, err))
		assert.LessOrEqual(t, elapsed, 11*time.Minute)
	})
	synctest.Test(t, func(t *testing.T) {
		elapsed, err := inQueue(t, Options{}, time.Minute)
		assert.Equal(t, check.UnreachableTimeout, reason(t, err))
		assert.Equal(t, 2*time.Hour, elapsed)
	})
}

func TestTCPProbesQuietConnections(t *testing.T) {
	conns := make(chan net.Conn, 1)
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{WrapConn: func(conn net.Conn) net.Conn {
		conns <- conn
		return conn
	}})
	waitReady(t, a)
	raw, err := (<-conns).(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	option := func(level, name int) (value int) {
		t.Helper()
		require.NoError(t, raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, name) }))
		require.NoError(t, err)
		return value
	}
	assert.Equal(t, 1, option(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE))
	assert.Equal(t, 15, option(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE), "seconds")
	assert.Equal(t, 15, option(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL), "seconds")
}
