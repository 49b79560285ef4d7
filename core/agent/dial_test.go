package agent

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/testcert"
)

// openConns counts the connections that are wrapped and not closed.
type openConns struct{ made, open atomic.Int32 }

type countedConn struct {
	net.Conn
	counts *openConns
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.counts.open.Add(-1)
	}
	return c.Conn.Close()
}

func (o *openConns) wrap(conn net.Conn) net.Conn {
	o.made.Add(1)
	o.open.Add(1)
	return &countedConn{Conn: conn, counts: o}
}

// certified returns the two sides of a TLS connection on loopback.
func certified(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	certificates, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	server, err = certificates.TLS()
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(certificates.CA))
	return server, &tls.Config{RootCAs: roots}
}

// openToClose opens an agent that the test closes itself.
func openToClose(t *testing.T, address string, options Options) *Agent {
	t.Helper()
	options.Logger = slog.New(slog.DiscardHandler)
	a, err := Open(address, options)
	require.NoError(t, err)
	return a
}

func TestEveryConnectionIsWrapped(t *testing.T) {
	server, trusted := certified(t)
	unix := "unix://" + filepath.Join(t.TempDir(), "agent.sock")
	for name, test := range map[string]struct {
		server fakeagent.Options
		client Options
	}{
		"TCP":         {},
		"unix socket": {server: fakeagent.Options{Address: unix}},
		"TLS":         {server: fakeagent.Options{TLS: server}, client: Options{TLS: trusted}},
	} {
		t.Run(name, func(t *testing.T) {
			var conns openConns
			test.client.WrapConn = conns.wrap
			server := startServer(t, test.server)
			a := openToClose(t, server.Address(), test.client)
			waitReady(t, a)
			_, err := a.Check(t.Context(), request())
			require.NoError(t, err)
			assert.EqualValues(t, 1, conns.made.Load())
			require.NoError(t, a.Close())
			require.Eventually(t, func() bool { return conns.open.Load() == 0 }, generous, time.Millisecond)
		})
	}
}

// A connection whose handshake fails is closed through its wrapper too: whoever wraps it learns of its end.
func TestConnectionIsClosedThroughItsWrapperWhenTheHandshakeFails(t *testing.T) {
	certificate, _ := certified(t)
	var conns openConns
	server := startServer(t, fakeagent.Options{TLS: certificate})
	a := openToClose(t, server.Address(), Options{TLS: &tls.Config{RootCAs: x509.NewCertPool()}, WrapConn: conns.wrap})
	_, err := a.Check(t.Context(), request())
	require.Equal(t, check.UnreachableMisconfigured, reason(t, err))
	require.NoError(t, a.Close())
	require.Positive(t, conns.made.Load())
	require.Eventually(t, func() bool { return conns.open.Load() == 0 }, generous, time.Millisecond)
}

// The dialer runs in a goroutine of gRPC.
func TestConnectionAtWhichTheLibraryPanicsIsMadeAgain(t *testing.T) {
	var conns openConns
	var dials atomic.Int32
	server := startServer(t, fakeagent.Options{})
	a := openToClose(t, server.Address(), Options{WrapConn: func(conn net.Conn) net.Conn {
		if dials.Add(1) == 1 {
			panic("broken")
		}
		return conns.wrap(conn)
	}})
	waitReady(t, a)
	assert.EqualValues(t, 2, dials.Load())
	require.NoError(t, a.Close())
}
