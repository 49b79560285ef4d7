package abi

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	_ "google.golang.org/grpc/encoding/gzip" // the agent in this process understands what a client compresses

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
	"github.com/libaperture/libaperture/tests/testcert"
)

// Each option arrives where it has its effect; core tests what that is.
func TestOptionsReachTheAgent(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	options := host.OptionsFor(agent.Address())
	entries := []host.Label{{Key: host.TextOf("Tenant"), Value: host.TextOf("blue")}, {Key: host.TextOf("zone"), Value: host.TextOf("a")}}
	options.Metadata, options.MetadataCount = unsafe.SliceData(entries), uintptr(len(entries))
	options.Compression = 1
	options.KeepaliveTimeNS, options.KeepaliveTimeoutNS = int64(5*time.Minute), int64(time.Second)
	options.TelemetryBatch, options.TelemetryIntervalNS = 2, int64(time.Hour)
	client := host.OpenClient(t, options)
	require.Equal(t, host.OK, host.Lib.ClientWaitReady(client, int64(host.Soon), nil))
	for range 2 {
		flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout")))
		require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	}
	host.Eventually(t, "a full batch is sent at once", func() bool { return agent.Recorded().SpanCount == 2 })
	call := agent.Recorded().Checks[0]
	require.Equal(t, []string{"blue"}, call.Metadata.Get("tenant"))
	require.Equal(t, []string{"a"}, call.Metadata.Get("zone"))
	require.Equal(t, "gzip", call.Encoding)

	options.TelemetryQueue, options.TelemetryBatch = 1, 0
	bounded := host.OpenClient(t, options)
	for range 3 {
		flow, _ := host.Start(t, bounded, host.Patient(host.ParamsFor("checkout")))
		require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	}
	counted := host.ReadStats(t, bounded)
	require.EqualValues(t, 3, counted.SpansDropped+counted.SpansExported+counted.SpansQueued)
	require.LessOrEqual(t, counted.SpansQueued, uint64(1))
}

func TestOptionsOfTLS(t *testing.T) {
	host.NoLeak(t)
	certificates, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	config, err := certificates.TLSWithClients()
	require.NoError(t, err)
	agent, err := fakeagent.Start(fakeagent.Options{TLS: config})
	require.NoError(t, err)
	t.Cleanup(agent.Stop)
	with := func(change func(*host.ClientOptions)) host.Code {
		options := host.OptionsFor(agent.Address())
		options.Insecure = 0
		options.ClientCertificatePEM, options.ClientKeyPEM = host.TextOf(string(certificates.Client)), host.TextOf(string(certificates.ClientKey))
		change(options)
		client := host.OpenClient(t, options)
		defer host.CloseClient(t, client)
		return host.Lib.ClientWaitReady(client, int64(time.Second), nil)
	}
	require.Equal(t, host.OK, with(func(o *host.ClientOptions) { o.CAPem = host.TextOf(string(certificates.CA)) }))
	require.Equal(t, host.OK, with(func(o *host.ClientOptions) { o.SkipVerify = 1 }))
	require.Equal(t, host.OK, with(func(o *host.ClientOptions) {
		o.CAPem = host.TextOf(string(certificates.CA))
		o.ClientCertificatePEM, o.ClientKeyPEM = host.Text{}, host.Text{}
		o.ClientCertificateFile = host.TextOf(host.WriteFile(t, string(certificates.Client)))
		o.ClientKeyFile = host.TextOf(host.WriteFile(t, string(certificates.ClientKey)))
	}))
	require.Equal(t, host.ErrorTimeout, with(func(*host.ClientOptions) {}), "the system does not know the authority")
}

func TestBadOptionsOfTheTransport(t *testing.T) {
	host.NoLeak(t)
	agent := host.StartAgent(t)
	label := func(key, value string) *host.Label {
		return &host.Label{Key: host.TextOf(key), Value: host.TextOf(value)}
	}
	for name, test := range map[string]struct {
		change func(*host.ClientOptions)
		names  string
	}{
		"metadata of NULL":       {func(o *host.ClientOptions) { o.MetadataCount = 1 }, "options.metadata"},
		"65 entries":             {func(o *host.ClientOptions) { o.Metadata, o.MetadataCount = label("a", "b"), 65 }, "64"},
		"metadata value":         {func(o *host.ClientOptions) { o.Metadata, o.MetadataCount = label("a", "s3cr3t\n"), 1 }, "metadata"},
		"metadata of gRPC":       {func(o *host.ClientOptions) { o.Metadata, o.MetadataCount = label("grpc-timeout", "1S"), 1 }, "metadata"},
		"metadata without data":  {func(o *host.ClientOptions) { o.Metadata, o.MetadataCount = &host.Label{Key: host.Text{Length: 1}}, 1 }, "options.metadata: a key"},
		"keepalive of 10 s":      {func(o *host.ClientOptions) { o.KeepaliveTimeNS = int64(10 * time.Second) }, "5 min"},
		"negative keepalive":     {func(o *host.ClientOptions) { o.KeepaliveTimeNS = -1 }, "keepalive time"},
		"keepalive timeout only": {func(o *host.ClientOptions) { o.KeepaliveTimeoutNS = int64(time.Second) }, "keepalive timeout"},
		"compression":            {func(o *host.ClientOptions) { o.Compression = 2 }, "compression"},
		"skip_verify":            {func(o *host.ClientOptions) { o.SkipVerify = 2 }, "skip_verify"},
		"skip_verify, insecure":  {func(o *host.ClientOptions) { o.SkipVerify = 1 }, "skip verify"},
		"no PEM":                 {func(o *host.ClientOptions) { o.Insecure, o.CAPem = 0, host.TextOf("s3cr3t") }, "CA PEM"},
		"certificate alone":      {func(o *host.ClientOptions) { o.Insecure, o.ClientCertificatePEM = 0, host.TextOf("s3cr3t") }, "client key"},
		"telemetry queue":        {func(o *host.ClientOptions) { o.TelemetryQueue = 1 << 40 }, "telemetry_queue"},
		"max_labels":             {func(o *host.ClientOptions) { o.MaxLabels = 1 << 31 }, "options.max_labels: is 2147483648; the limit is 2147483647"},
		"max_waiting":            {func(o *host.ClientOptions) { o.MaxWaiting = 1 << 63 }, "options.max_waiting"},
		"cache_bytes":            {func(o *host.ClientOptions) { o.CacheBytes = 1 << 63 }, "options.cache_bytes: is 9223372036854775808"},
		"small cache_bytes":      {func(o *host.ClientOptions) { o.CacheBytes = 64 }, "cache bytes is 64; use 1048576 (1 MiB) at least"},
		"telemetry interval":     {func(o *host.ClientOptions) { o.TelemetryIntervalNS = -1 }, "telemetry interval"},
	} {
		t.Run(name, func(t *testing.T) {
			options := host.OptionsFor(agent.Address())
			test.change(options)
			var client host.Handle
			failed := host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.NewClient(options, &client, failed))
			require.Zero(t, client)
			require.Contains(t, strings.ToLower(failed.Text()), strings.ToLower(test.names))
			require.NotContains(t, failed.Text(), "s3cr3t")
		})
	}
}
