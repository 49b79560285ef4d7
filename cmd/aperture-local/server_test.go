package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/testcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// generous is a time that passes only when something hangs.
const generous = 20 * time.Second

// limited accepts two flows of each user at the control point checkout, and no more for an hour.
const limited = `blueprint: rate-limiting/base
policy:
  policy_name: per-user
  rate_limiter:
    bucket_capacity: 2
    fill_amount: 2
    parameters:
      interval: 3600s
      limit_by_label_key: user_id
    selectors:
      - control_point: checkout
        agent_group: default
`

// policyFile writes a policy and returns its path.
func policyFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// startServer starts a server of the policy limited on a free port, without metrics unless the flags say otherwise. It
// is stopped when the test ends.
func startServer(t testing.TB, flags ...string) *server {
	t.Helper()
	return startServerWith(t, limited, flags...)
}

func startServerWith(t testing.TB, policies string, flags ...string) *server {
	t.Helper()
	arguments := append([]string{"--listen", "127.0.0.1:0", "--metrics", "off"}, flags...)
	config, err := parseFlags(append(arguments, policyFile(t, policies)))
	require.NoError(t, err)
	s, err := start(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	return s
}

// dial connects to a server; without credentials in plaintext. The connection is closed when the test ends.
func dial(t testing.TB, s *server, transport credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	connection, err := grpc.NewClient(s.address(), grpc.WithTransportCredentials(transport))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	t.Cleanup(cancel)
	return ctx
}

func TestHealthKnowsTheServerAndItsService(t *testing.T) {
	client := healthpb.NewHealthClient(dial(t, startServer(t), nil))
	for _, name := range []string{
		"", "aperture.flowcontrol.v1.FlowControlService", "aperture.flowcontrol.check.v1.FlowControlService",
	} {
		response, err := client.Check(patient(t), &healthpb.HealthCheckRequest{Service: name})
		require.NoError(t, err, name)
		assert.Equal(t, healthpb.HealthCheckResponse_SERVING, response.GetStatus(), name)
	}
	_, err := client.Check(patient(t), &healthpb.HealthCheckRequest{Service: "another"})
	assert.Equal(t, codes.NotFound, status.Code(err))
}

// watch starts to follow the server's health and returns once it is good. The stream is a call in progress until its
// context ends.
func watch(ctx context.Context, t *testing.T, s *server) grpc.ServerStreamingClient[healthpb.HealthCheckResponse] {
	t.Helper()
	stream, err := healthpb.NewHealthClient(dial(t, s, nil)).Watch(ctx, &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	response, err := stream.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, response.GetStatus())
	return stream
}

// unstopped returns a server that serves and that the test itself stops.
func unstopped(t *testing.T) *server {
	t.Helper()
	config, err := parseFlags([]string{"--listen", "127.0.0.1:0", policyFile(t, limited)})
	require.NoError(t, err)
	s, err := start(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s
}

func TestAStoppingServerIsNotServingAndWaitsForItsCalls(t *testing.T) {
	s := unstopped(t)
	call, endCall := context.WithCancel(patient(t))
	stream := watch(call, t, s)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, nil) }()

	response, err := stream.Recv()
	require.NoError(t, err)
	assert.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, response.GetStatus())
	endCall()
	assert.NoError(t, <-ended)
	assert.Error(t, s.engine.WaitReady(ctx), "the engine is closed")
}

func TestAStoppingServerEndsCallsThatGoOn(t *testing.T) {
	s := unstopped(t)
	stream := watch(patient(t), t, s)
	s.stop(time.Millisecond)
	for {
		if _, err := stream.Recv(); err != nil {
			assert.Equal(t, codes.Unavailable, status.Code(err))
			return
		}
	}
}

func TestAListenerThatFailsEndsTheServer(t *testing.T) {
	s := unstopped(t)
	require.NoError(t, s.listener.Close())
	assert.ErrorContains(t, s.run(patient(t), nil), "serving gRPC")
}

func TestTLS(t *testing.T) {
	certificates, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	directory := t.TempDir()
	require.NoError(t, certificates.Write(directory))
	s := startServer(t, "--tls-cert", filepath.Join(directory, "server.pem"), "--tls-key", filepath.Join(directory, "server-key.pem"))

	authorities := x509.NewCertPool()
	require.True(t, authorities.AppendCertsFromPEM(certificates.CA))
	trusted := checkv1.NewFlowControlServiceClient(dial(t, s, credentials.NewTLS(&tls.Config{RootCAs: authorities})))
	_, err = trusted.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout"})
	require.NoError(t, err)

	for name, transport := range map[string]credentials.TransportCredentials{
		"plaintext":         nil,
		"another authority": credentials.NewTLS(&tls.Config{RootCAs: x509.NewCertPool()}),
	} {
		client := checkv1.NewFlowControlServiceClient(dial(t, s, transport))
		_, err = client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout"})
		assert.Equal(t, codes.Unavailable, status.Code(err), name)
	}
}

func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	missing := filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		flags []string
		want  string
	}{
		"address in use":         {[]string{"--listen", taken.Addr().String()}, "address already in use"},
		"metrics address in use": {[]string{"--metrics", taken.Addr().String()}, "metrics: listen"},
		"no certificate":         {[]string{"--tls-cert", missing, "--tls-key", missing}, "--tls-cert and --tls-key: open " + missing},
		"no API key file":        {[]string{"--require-api-key-file", missing}, "reading the API key: open " + missing},
	} {
		t.Run(name, func(t *testing.T) {
			arguments := append([]string{"--listen", "127.0.0.1:0"}, test.flags...)
			config, err := parseFlags(append(arguments, policyFile(t, limited)))
			require.NoError(t, err)
			_, err = start(config, slog.New(slog.DiscardHandler))
			assert.ErrorContains(t, err, test.want)
		})
	}
}
