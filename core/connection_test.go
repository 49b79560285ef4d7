package core

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/testcert"
)

// B8, B40: one flow with TLS and an API key, which every call carries.
func TestFlowOverTLSWithAnAPIKey(t *testing.T) {
	directory := t.TempDir()
	certificates, err := testcert.Make("127.0.0.1", "agent.example.org")
	require.NoError(t, err)
	require.NoError(t, certificates.Write(directory))
	other, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	otherCA := filepath.Join(directory, "other-ca.pem")
	require.NoError(t, os.WriteFile(otherCA, other.CA, 0o600))
	config, err := certificates.TLS()
	require.NoError(t, err)
	server := startServer(t, fakeagent.Options{TLS: config, RequireAPIKey: "key"})
	server.Set(fakeagent.Behaviour{InFlight: 1})
	right := Options{Address: server.Address(), APIKey: "key", CAFile: filepath.Join(directory, "ca.pem")}

	client := connect(t, right)
	require.NoError(t, client.WaitReady(t.Context()))
	flow := start(t, client, patient)
	require.NoError(t, flow.Err())
	result, err := flow.End(t.Context())
	require.NoError(t, err)
	assert.True(t, result.Response.GetTokenReturnStatuses()[0].GetReturned())
	require.NoError(t, client.Close(t.Context()))
	assert.Equal(t, 1, server.Recorded().SpanCount)

	for name, change := range map[string]func(*Options){
		"another authority":   func(o *Options) { o.CAFile = otherCA },
		"the system's roots":  func(o *Options) { o.CAFile = "" },
		"another server name": func(o *Options) { o.ServerName = "elsewhere.example.org" },
		"no API key":          func(o *Options) { o.APIKey = "" },
		"wrong API key":       func(o *Options) { o.APIKey = "guess" },
	} {
		t.Run(name, func(t *testing.T) {
			options := right
			change(&options)
			flow := start(t, connect(t, options), patient)
			assert.Equal(t, check.UnreachableMisconfigured, flow.UnreachableReason(), "%v", flow.Err())
			assert.True(t, flow.ShouldRun())
		})
	}
	right.ServerName = "agent.example.org"
	assert.NoError(t, start(t, connect(t, right), patient).Err())
}

func TestClientCertificates(t *testing.T) {
	directory := t.TempDir()
	certificates, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	require.NoError(t, certificates.Write(directory))
	other, err := testcert.Make()
	require.NoError(t, err)
	config, err := certificates.TLSWithClients()
	require.NoError(t, err)
	server := startServer(t, fakeagent.Options{TLS: config})
	ca, client, key := string(certificates.CA), string(certificates.Client), string(certificates.ClientKey)

	for name, test := range map[string]struct {
		options Options
		want    check.UnreachableReason
	}{
		"files": {Options{
			CAFile:         filepath.Join(directory, "ca.pem"),
			ClientCertFile: filepath.Join(directory, "client.pem"),
			ClientKeyFile:  filepath.Join(directory, "client-key.pem"),
		}, check.UnreachableNone},
		"text":                {Options{CAPEM: ca, ClientCertPEM: client, ClientKeyPEM: key}, check.UnreachableNone},
		"one text":            {Options{CAPEM: ca, ClientCertPEM: client + key, ClientKeyPEM: client + key}, check.UnreachableNone},
		"unverified":          {Options{SkipVerify: true, ClientCertPEM: client, ClientKeyPEM: key}, check.UnreachableNone},
		"none":                {Options{CAPEM: ca}, check.UnreachableMisconfigured},
		"a server's":          {Options{CAPEM: ca, ClientCertPEM: string(certificates.Server), ClientKeyPEM: string(certificates.ServerKey)}, check.UnreachableMisconfigured},
		"another authority's": {Options{CAPEM: ca, ClientCertPEM: string(other.Client), ClientKeyPEM: string(other.ClientKey)}, check.UnreachableMisconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Address = server.Address()
			client := connect(t, test.options)
			// The reason of a refusal may come too late to be read, but not every time.
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				flow := start(t, client, patient)
				assert.Equal(c, test.want, flow.UnreachableReason(), "%v", flow.Err())
			}, generous, time.Millisecond)
		})
	}
}

func TestSkipVerifyTakesAnyCertificateAndSaysSo(t *testing.T) {
	certificates, err := testcert.Make("elsewhere.example.org")
	require.NoError(t, err)
	config, err := certificates.TLS()
	require.NoError(t, err)
	names := make(chan string, 1)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return nil, nil
	}
	server := startServer(t, fakeagent.Options{TLS: config})
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	client := connect(t, Options{Address: server.Address(), SkipVerify: true, ServerName: "agent.example.org", Logger: logger})
	require.NoError(t, start(t, client, patient).Err())
	assert.Equal(t, "agent.example.org", <-names)
	require.NoError(t, start(t, client, patient).Err())
	require.NoError(t, client.Close(t.Context()))
	assert.Equal(t, 1, strings.Count(log.String(), "not verified"), "%s", log.String())
}

// writtenConn counts what is written to a connection.
type writtenConn struct {
	net.Conn
	written *atomic.Int64
}

func (c writtenConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	c.written.Add(int64(n))
	return n, err
}

func TestCompressionOfFlowsAndSpans(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	labels := map[string]string{"text": strings.Repeat("all work and no play ", 50_000)} // about 1 MB
	server.Set(fakeagent.Behaviour{Response: &checkv1.CheckResponse{TelemetryFlowLabels: labels}})
	for compression, most := range map[Compression]int64{CompressionNone: 4_000_000, CompressionGzip: 100_000} {
		var written atomic.Int64
		client := connect(t, Options{Address: server.Address(), Insecure: true, Compression: compression,
			WrapConn: func(conn net.Conn) net.Conn { return writtenConn{conn, &written} }})
		flow := start(t, client, FlowParams{Labels: labels, CheckTimeout: generous})
		require.NoError(t, flow.Err())
		afterCheck := written.Load()
		_, err := flow.End(t.Context())
		require.NoError(t, err)
		require.NoError(t, client.Close(t.Context()))
		assert.EqualValues(t, 1, client.Stats().SpansExported)
		exported := written.Load() - afterCheck
		assert.Less(t, afterCheck, most)
		assert.Less(t, exported, most)
		if compression == CompressionNone {
			assert.Greater(t, afterCheck, int64(1_000_000))
			assert.Greater(t, exported, int64(1_000_000))
		}
	}
	for _, sent := range server.Recorded().Checks {
		assert.Equal(t, labels, sent.Request.GetLabels())
	}
}

func TestFlowsAcrossARestartOfTheAgent(t *testing.T) {
	first := startServer(t, fakeagent.Options{})
	first.Set(fakeagent.Behaviour{InFlight: 1})
	client := connect(t, Options{Address: first.Address(), Insecure: true})
	running := start(t, client, patient)
	require.NoError(t, running.Err())

	first.Stop()
	require.Eventually(t, func() bool {
		return start(t, client, patient).UnreachableReason() == check.UnreachableUnavailable
	}, generous, time.Millisecond)
	_, err := running.End(t.Context())
	assert.Error(t, err, "nobody takes back what the flow holds")

	second := startServer(t, fakeagent.Options{Address: first.Address()})
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	require.NoError(t, client.WaitReady(ctx))
	flow := start(t, client, patient)
	require.NoError(t, flow.Err())
	_, err = flow.End(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Close(ctx))
	assert.Equal(t, 2, second.Recorded().SpanCount, "also the span of the flow that was ended meanwhile")
	assert.EqualValues(t, 1, client.Stats().FlowEndsFailed)
}

func TestStateFollowsTheAgent(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	client := connect(t, Options{Address: server.Address(), Insecure: true})
	becomes := func(want check.State) {
		t.Helper()
		require.Eventually(t, func() bool { return client.State() == want }, generous, time.Millisecond, "never %s", want)
	}
	becomes(check.StateReady)
	server.Stop()
	becomes(check.StateFailing)
	startServer(t, fakeagent.Options{Address: server.Address()})
	becomes(check.StateReady)
	require.NoError(t, client.Close(t.Context()))
	assert.Equal(t, check.StateClosed, client.State())
}
