package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// generous is a time that passes only when something hangs.
const generous = 20 * time.Second

func startServer(t *testing.T, options fakeagent.Options) *fakeagent.Agent {
	t.Helper()
	server, err := fakeagent.Start(options)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server
}

func open(t *testing.T, address string, options Options) *Agent {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	a, err := Open(address, options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	return a
}

func waitReady(t *testing.T, a *Agent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	require.NoError(t, a.WaitReady(ctx))
}

func request(labels ...check.Label) *check.Request {
	return &check.Request{ControlPoint: "checkout", Labels: labels, Timeout: generous}
}

// reason returns the reason of an error that must be an UnreachableError.
func reason(t *testing.T, err error) check.UnreachableReason {
	t.Helper()
	unreachable, ok := errors.AsType[*check.UnreachableError](err)
	require.True(t, ok, "%v is no UnreachableError", err)
	return unreachable.Reason
}

// closedAddress returns an address of loopback where nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

func TestCheckSendsTheRequest(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{UserAgent: "shop/1.0"})

	answer, err := a.Check(t.Context(), &check.Request{
		ControlPoint: "checkout",
		Labels:       check.Labels{{Key: "tier", Value: "silver"}, {Key: "empty"}, {Key: "tier", Value: "gold"}},
		RampMode:     true,
		Timeout:      3 * time.Second,
	})
	require.NoError(t, err)
	assert.False(t, answer.Rejected)
	assert.Equal(t, "checkout", answer.Response.CheckResponse().GetControlPoint())

	checks := server.Recorded().Checks
	require.Len(t, checks, 1)
	sent := checks[0].Request
	assert.Equal(t, "checkout", sent.GetControlPoint())
	assert.Equal(t, map[string]string{"tier": "gold", "empty": ""}, sent.GetLabels())
	assert.True(t, sent.GetRampMode())
	assert.True(t, sent.GetExpectEnd())
	assert.Nil(t, sent.GetCacheLookupRequest())

	// B29: a deadline travels with every Check.
	assert.Greater(t, checks[0].Timeout, time.Duration(0))
	assert.LessOrEqual(t, checks[0].Timeout, 3*time.Second)
	// An agent behind TLS answers 404 to any other content type.
	assert.Equal(t, []string{"application/grpc"}, checks[0].Metadata.Get("content-type"))
	require.Len(t, checks[0].Metadata.Get("user-agent"), 1)
	assert.Regexp(t, `^shop/1\.0 grpc-go/`, checks[0].Metadata.Get("user-agent")[0])
	// B8: without a key there is no empty one.
	assert.Empty(t, checks[0].Metadata.Get("x-api-key"))
}

// B8, B9, B40.
func TestAPIKeyGoesWithEveryCallAlsoInsecure(t *testing.T) {
	var log bytes.Buffer
	server := startServer(t, fakeagent.Options{RequireAPIKey: "s3cr3t-key"})
	server.Set(fakeagent.Behaviour{InFlight: 1})
	a := open(t, server.Address(), Options{APIKey: "s3cr3t-key", Logger: slog.New(slog.NewTextHandler(&log, nil))})

	answer, err := a.Check(t.Context(), request())
	require.NoError(t, err)
	_, err = a.FlowEnd(t.Context(), &checkv1.FlowEndRequest{ControlPoint: "checkout", InflightRequests: answer.InFlight}, generous)
	require.NoError(t, err)
	_, err = a.Export(t.Context(), &tracev1.TracesData{})
	require.NoError(t, err)

	recorded := server.Recorded()
	for _, md := range []metadata.MD{recorded.Checks[0].Metadata, recorded.FlowEnds[0].Metadata, recorded.Exports[0].Metadata} {
		assert.Equal(t, []string{"s3cr3t-key"}, md.Get("x-api-key"))
	}
	assert.Equal(t, 1, strings.Count(log.String(), "plaintext"), "one warning: %s", log.String())
	assert.NotContains(t, log.String(), "s3cr3t-key")
}

// B21.
func TestMetadataOfTheCallerStays(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{APIKey: "key"})
	_, err := a.Check(metadata.AppendToOutgoingContext(t.Context(), "x-custom", "1"), request())
	require.NoError(t, err)
	md := server.Recorded().Checks[0].Metadata
	assert.Equal(t, []string{"1"}, md.Get("x-custom"))
	assert.Equal(t, []string{"key"}, md.Get("x-api-key"))
}

func TestErrorsOfTheAgentAreClassified(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{})
	for code, want := range map[codes.Code]check.UnreachableReason{
		codes.DeadlineExceeded:   check.UnreachableTimeout,
		codes.Unavailable:        check.UnreachableUnavailable,
		codes.Unauthenticated:    check.UnreachableMisconfigured,
		codes.PermissionDenied:   check.UnreachableMisconfigured,
		codes.InvalidArgument:    check.UnreachableMisconfigured,
		codes.Unimplemented:      check.UnreachableMisconfigured,
		codes.Canceled:           check.UnreachableAgentError, // nobody on this side cancelled
		codes.Unknown:            check.UnreachableAgentError,
		codes.NotFound:           check.UnreachableAgentError,
		codes.AlreadyExists:      check.UnreachableAgentError,
		codes.ResourceExhausted:  check.UnreachableAgentError,
		codes.FailedPrecondition: check.UnreachableAgentError,
		codes.Aborted:            check.UnreachableAgentError,
		codes.OutOfRange:         check.UnreachableAgentError,
		codes.Internal:           check.UnreachableAgentError,
		codes.DataLoss:           check.UnreachableAgentError,
		codes.Code(77):           check.UnreachableAgentError,
	} {
		t.Run(code.String(), func(t *testing.T) {
			server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Error: code, Message: "so it goes"}})
			_, err := a.Check(t.Context(), request())
			assert.Equal(t, want, reason(t, err))
			assert.Equal(t, code, status.Code(errors.Unwrap(err)))
			assert.Contains(t, err.Error(), "so it goes")
		})
	}
}

func TestGarbageIsAnErrorOfTheAgent(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{})
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Garbage: true}})
	_, err := a.Check(t.Context(), request())
	assert.Equal(t, check.UnreachableAgentError, reason(t, err))
}

func TestErrorsDoNotTellSecrets(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{APIKey: "s3cr3t-key"})
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{
		Error:   codes.InvalidArgument,
		Message: "key s3cr3t-key must not send\r\nlabel alice@example.org " + strings.Repeat("é", 2000),
	}})
	_, err := a.Check(t.Context(), request(check.Label{Key: "user", Value: "alice@example.org"}, check.Label{Key: "n", Value: "e"}))
	text := err.Error()
	assert.NotContains(t, text, "s3cr3t-key")
	assert.NotContains(t, text, "alice")
	assert.Contains(t, text, "key [API key] must not send  label [label value] é")
	assert.Less(t, len(text), 700)
}

func TestFirstCheckWaitsForTheConnection(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	for range 20 {
		a := open(t, server.Address(), Options{})
		_, err := a.Check(t.Context(), request())
		require.NoError(t, err)
	}
}

func TestCheckFailsAtOnceWhenTheAgentIsDown(t *testing.T) {
	a := open(t, closedAddress(t), Options{})
	for range 3 {
		begin := time.Now()
		_, err := a.Check(t.Context(), request())
		assert.Equal(t, check.UnreachableUnavailable, reason(t, err))
		assert.Contains(t, err.Error(), "connection refused")
		assert.Less(t, time.Since(begin), generous/2)
	}
}

func TestAgentIsFoundAgainAfterARestart(t *testing.T) {
	first := startServer(t, fakeagent.Options{})
	a := open(t, first.Address(), Options{})
	waitReady(t, a)
	first.Stop()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := a.Check(t.Context(), request())
		assert.Error(c, err)
	}, generous, time.Millisecond)

	startServer(t, fakeagent.Options{Address: first.Address()})
	waitReady(t, a) // without a call that would wake the connection
	_, err := a.Check(t.Context(), request())
	require.NoError(t, err)
}

func TestHangingAgentEndsWithTheTimeout(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}, FlowEnd: fakeagent.Trouble{Hang: true}})
	a := open(t, server.Address(), Options{})
	waitReady(t, a)

	_, err := a.Check(t.Context(), &check.Request{ControlPoint: "checkout", Timeout: 20 * time.Millisecond})
	assert.Equal(t, check.UnreachableTimeout, reason(t, err))

	// B28.
	_, err = a.FlowEnd(t.Context(), &checkv1.FlowEndRequest{}, 20*time.Millisecond)
	assert.Equal(t, check.UnreachableTimeout, reason(t, err))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = a.Check(ctx, request())
	assert.Equal(t, check.UnreachableTimeout, reason(t, err), "the caller's own deadline")
}

func TestCancelledCheckEndsAtTheAgentToo(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	a := open(t, server.Address(), Options{})

	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := a.Check(ctx, request())
		failed <- err
	}()
	require.Eventually(t, func() bool { return server.Recorded().CheckCount == 1 }, generous, time.Millisecond)
	cancel()
	assert.Equal(t, check.UnreachableCancelled, reason(t, <-failed))
	require.Eventually(t, func() bool { return server.Recorded().CancelledCount == 1 }, generous, time.Millisecond)
}

func TestEndCallsWakesWhoWaitsForADecision(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}, FlowEnd: fakeagent.Trouble{Hang: true}})
	a := open(t, server.Address(), Options{})
	a.AwaitReturns(t.Context()) // there are none

	failed, ends := make(chan error), make(chan error)
	for _, ctx := range []context.Context{context.Background(), t.Context()} {
		go func() {
			_, err := a.Check(ctx, request())
			failed <- err
		}()
		go func() {
			_, err := a.FlowEnd(ctx, &checkv1.FlowEndRequest{}, generous)
			ends <- err
		}()
	}
	require.Eventually(t, func() bool {
		recorded := server.Recorded()
		return recorded.CheckCount+recorded.FlowEndCount == 4
	}, generous, time.Millisecond)
	a.EndCalls()
	for range 2 {
		assert.Equal(t, check.UnreachableClosed, reason(t, <-failed))
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	a.AwaitReturns(short)
	assert.Error(t, short.Err(), "the ends go on")
	_, err := a.Check(t.Context(), request())
	assert.Equal(t, check.UnreachableClosed, reason(t, err))
	assert.Equal(t, check.UnreachableClosed, reason(t, a.WaitReady(t.Context())))
	_, err = a.Export(t.Context(), &tracev1.TracesData{})
	assert.NoError(t, err)

	a.returns.end() // as Close does
	for range 2 {
		assert.Equal(t, check.UnreachableClosed, reason(t, <-ends))
	}
	a.AwaitReturns(t.Context())
	_, err = a.FlowEnd(t.Context(), &checkv1.FlowEndRequest{}, generous)
	assert.Equal(t, check.UnreachableClosed, reason(t, err))
}

func TestFlowEndIsTriedAgainAfterALostConnection(t *testing.T) {
	for code, tries := range map[codes.Code]int{codes.Unavailable: 2, codes.Internal: 1, codes.DeadlineExceeded: 1} {
		t.Run(code.String(), func(t *testing.T) {
			server := startServer(t, fakeagent.Options{})
			server.Set(fakeagent.Behaviour{FlowEnd: fakeagent.Trouble{Error: code}})
			a := open(t, server.Address(), Options{})
			_, err := a.FlowEnd(t.Context(), &checkv1.FlowEndRequest{ControlPoint: "checkout"}, generous)
			assert.Error(t, err)
			assert.Equal(t, tries, server.Recorded().FlowEndCount)
		})
	}
}

func TestExportTellsHowManySpansWereRefused(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	a := open(t, server.Address(), Options{})
	for _, want := range []int64{0, 1, 300} {
		server.Set(fakeagent.Behaviour{RejectSpans: want})
		rejected, err := a.Export(t.Context(), &tracev1.TracesData{})
		require.NoError(t, err)
		assert.Equal(t, want, rejected)
	}
	server.Set(fakeagent.Behaviour{Export: fakeagent.Trouble{Error: codes.Unauthenticated}})
	_, err := a.Export(t.Context(), &tracev1.TracesData{})
	assert.Equal(t, check.UnreachableMisconfigured, reason(t, err))
}

func TestRejectedSpansOfDamagedResponses(t *testing.T) {
	for name, response := range map[string][]byte{
		"empty":            nil,
		"other field":      {0x12, 0x01, 'x'},
		"cut tag":          {0x80},
		"cut length":       {0x0a},
		"cut message":      {0x0a, 0x05, 0x08},
		"field of a group": {0x0b, 0x0c},
		"no count":         {0x0a, 0x00},
		"negative":         {0x0a, 0x0b, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		t.Run(name, func(t *testing.T) { assert.Zero(t, rejectedSpans(response)) })
	}
	assert.EqualValues(t, 5, rejectedSpans([]byte{0x12, 0x01, 'x', 0x0a, 0x05, 0x12, 0x01, 'm', 0x08, 0x05}))
}

func TestTLS(t *testing.T) {
	certificates, err := testcert.Make("127.0.0.1", "agent.example.org")
	require.NoError(t, err)
	config, err := certificates.TLS()
	require.NoError(t, err)
	other, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	trust := func(pem []byte, serverName string) *tls.Config {
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(pem))
		return &tls.Config{RootCAs: roots, ServerName: serverName}
	}
	secure := startServer(t, fakeagent.Options{TLS: config, RequireAPIKey: "key"})
	plain := startServer(t, fakeagent.Options{})

	for name, test := range map[string]struct {
		server *fakeagent.Agent
		tls    *tls.Config
		want   check.UnreachableReason
		text   string
	}{
		"trusted":            {secure, trust(certificates.CA, ""), check.UnreachableNone, ""},
		"other server name":  {secure, trust(certificates.CA, "agent.example.org"), check.UnreachableNone, ""},
		"wrong authority":    {secure, trust(other.CA, ""), check.UnreachableMisconfigured, "unknown authority"},
		"system's roots":     {secure, &tls.Config{}, check.UnreachableMisconfigured, "unknown authority"},
		"wrong server name":  {secure, trust(certificates.CA, "localhost"), check.UnreachableMisconfigured, "not localhost"},
		"agent without TLS":  {plain, trust(certificates.CA, ""), check.UnreachableMisconfigured, "TLS handshake"},
		"client without TLS": {secure, nil, check.UnreachableUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, test.server.Address(), Options{TLS: test.tls, APIKey: "key"})
			_, err := a.Check(t.Context(), request())
			if test.want == check.UnreachableNone {
				require.NoError(t, err)
				assert.NoError(t, a.WaitReady(t.Context()))
				return
			}
			assert.Equal(t, test.want, reason(t, err), err)
			assert.ErrorContains(t, err, test.text)

			// WaitReady gives the same reason.
			require.Eventually(t, func() bool { return a.conn.GetState() == connectivity.TransientFailure }, generous, time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			assert.Equal(t, test.want, reason(t, a.WaitReady(ctx)))
		})
	}
}

func TestHandshakeThatBreaksOffIsAnOutage(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	a := open(t, listener.Addr().String(), Options{TLS: &tls.Config{}})
	_, err = a.Check(t.Context(), request())
	assert.Equal(t, check.UnreachableUnavailable, reason(t, err), err)
	require.NoError(t, listener.Close())
	<-done
}

func TestWaitReadyTellsWhyNot(t *testing.T) {
	a := open(t, closedAddress(t), Options{})
	require.Eventually(t, func() bool { return a.conn.GetState() == connectivity.TransientFailure }, generous, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := a.WaitReady(ctx)
	assert.Equal(t, check.UnreachableUnavailable, reason(t, err))
	assert.ErrorContains(t, err, "connection refused")

	woken := make(chan error)
	go func() { woken <- a.WaitReady(context.Background()) }()
	a.EndCalls()
	assert.Equal(t, check.UnreachableClosed, reason(t, <-woken))
}

// silent returns the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, listener.Close()) })
	return listener.Addr().String()
}

func TestServerThatSaysNothing(t *testing.T) {
	a := open(t, silent(t), Options{})
	_, err := a.Check(t.Context(), &check.Request{ControlPoint: "checkout", Timeout: 20 * time.Millisecond})
	assert.Equal(t, check.UnreachableTimeout, reason(t, err))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	assert.Equal(t, check.UnreachableTimeout, reason(t, a.WaitReady(ctx)))

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, check.UnreachableCancelled, reason(t, a.WaitReady(ctx)))
}

func TestStates(t *testing.T) {
	becomes := func(t *testing.T, a *Agent, want check.State) {
		t.Helper()
		require.Eventually(t, func() bool { return a.State() == want }, generous, time.Millisecond, "never %s", want)
	}
	t.Run("a server that says nothing", func(t *testing.T) {
		a := open(t, silent(t), Options{})
		becomes(t, a, check.StateConnecting)
	})
	t.Run("nobody listens", func(t *testing.T) {
		a := open(t, closedAddress(t), Options{})
		becomes(t, a, check.StateFailing)
	})
	t.Run("an agent", func(t *testing.T) {
		a := open(t, startServer(t, fakeagent.Options{}).Address(), Options{})
		becomes(t, a, check.StateReady)
		a.EndCalls()
		assert.Equal(t, check.StateClosed, a.State())
	})
}

func TestUnixSocket(t *testing.T) {
	address := "unix://" + filepath.Join(t.TempDir(), "agent.sock")
	server := startServer(t, fakeagent.Options{Address: address})
	a := open(t, server.Address(), Options{})
	_, err := a.Check(t.Context(), request())
	require.NoError(t, err)
}
