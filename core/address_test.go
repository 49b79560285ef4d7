package core

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local"
	"github.com/libaperture/libaperture/tests/testcert"
)

func TestAgentTarget(t *testing.T) {
	for address, want := range map[string]string{
		"localhost:8080":                   "dns:///localhost:8080",
		"127.0.0.1:1":                      "dns:///127.0.0.1:1",
		"[::1]:65535":                      "dns:///[::1]:65535",
		"org.app.fluxninja.com:443":        "dns:///org.app.fluxninja.com:443",
		"local:8080":                       "dns:///local:8080", // never asked: NewClient takes it for a policy file
		"dns:///agent:8080":                "dns:///agent:8080",
		"dns://10.0.0.2:53/agent:8080":     "dns://10.0.0.2:53/agent:8080",
		"unix:///run/agent.sock":           "unix:///run/agent.sock",
		"unix:/run/agent.sock":             "unix:/run/agent.sock",
		"unix:agent.sock":                  "unix:agent.sock",
		"unix:" + strings.Repeat("x", 107): "unix:" + strings.Repeat("x", 107),
	} {
		got, err := agentTarget(address)
		assert.NoError(t, err, address)
		assert.Equal(t, want, got)
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	for address, hint := range map[string]string{
		"":                                 "is empty",
		"agent":                            "has no port",
		"agent:":                           "from 1 to 65535",
		"agent:http":                       "from 1 to 65535",
		"agent:0":                          "from 1 to 65535",
		"agent:65536":                      "from 1 to 65535",
		"agent:-1":                         "from 1 to 65535",
		":8080":                            "localhost",
		"::1:8080":                         "[::1]:8080",
		"agent/path:80":                    "no host name has",
		"user@agent:80":                    "no host name has",
		"http://agent:8080":                `starts with "http://"`,
		"https://agent:443":                "host:port",
		"grpc://agent:8080":                `starts with "grpc://"`,
		"dns://agent:8080":                 "three slashes",
		"dns:///agent":                     "has no port",
		"local":                            "without a colon",
		"agent:80\n":                       "control character",
		"my agent:80":                      "space",
		"agent\x00:80":                     "control character",
		"agent\xff:80":                     "not UTF-8",
		"unix:":                            "names no socket",
		"unix://agent.sock":                "two slashes",
		"unix:" + strings.Repeat("x", 108): "at most 107",
		"local:a\x00b":                     "NUL",
	} {
		_, err := NewClient(Options{Address: address})
		argument(t, err, "address")
		assert.ErrorContains(t, err, hint, address)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	directory := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(directory, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	certificates, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	damaged := []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

	for name, test := range map[string]struct {
		options  Options
		argument string
		hint     string
	}{
		"key with a line break":  {Options{APIKey: "s3cr3t\n"}, "API key", "printable ASCII"},
		"key that is not ASCII":  {Options{APIKey: "s3cr3té"}, "API key", "printable ASCII"},
		"user agent":             {Options{UserAgent: "a\rb"}, "user agent", "printable ASCII"},
		"server name":            {Options{ServerName: "a\x00"}, "server name", ""},
		"CA file and insecure":   {Options{CAFile: "ca.pem", Insecure: true}, "CA file", "insecure"},
		"server name, insecure":  {Options{ServerName: "agent", Insecure: true}, "server name", "insecure"},
		"missing CA file":        {Options{CAFile: filepath.Join(directory, "none")}, "CA file", "no such file"},
		"CA file is a directory": {Options{CAFile: directory}, "CA file", "directory"},
		"empty CA file":          {Options{CAFile: write("empty", nil)}, "CA file", "no certificate"},
		"text as CA file":        {Options{CAFile: write("text", []byte("hello"))}, "CA file", "no certificate"},
		"key as CA file":         {Options{CAFile: write("key", certificates.ServerKey)}, "CA file", "no certificate"},
		"damaged CA file":        {Options{CAFile: write("damaged", append(certificates.CA, damaged...))}, "CA file", "certificate 2"},
		"flow end timeout":       {Options{FlowEndTimeout: -1}, "flow end timeout", "negative"},
		"telemetry queue":        {Options{TelemetryQueue: -1}, "telemetry queue", "negative"},
		"telemetry batch":        {Options{TelemetryBatch: -1}, "telemetry batch", "negative"},
		"telemetry interval":     {Options{TelemetryInterval: -1}, "telemetry interval", "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Address = "127.0.0.1:1"
			_, err := NewClient(test.options)
			argument(t, err, test.argument)
			assert.ErrorContains(t, err, test.hint)
			assert.NotContains(t, err.Error(), "s3cr3t")
		})
	}
}

func TestDefaultsAndLimitsOfOptions(t *testing.T) {
	options, err := Options{}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, Options{
		UserAgent: "libaperture", FlowEndTimeout: DefaultFlowEndTimeout, TelemetryQueue: DefaultTelemetryQueue,
		TelemetryBatch: DefaultTelemetryBatch, TelemetryInterval: DefaultTelemetryInterval, Logger: options.Logger,
	}, options)

	const huge = 1 << 62
	options, err = Options{FlowEndTimeout: huge, TelemetryQueue: huge, TelemetryBatch: huge, TelemetryInterval: huge}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, MaxFlowEndTimeout, options.FlowEndTimeout)
	assert.Equal(t, MaxTelemetryQueue, options.TelemetryQueue)
	assert.Equal(t, MaxTelemetryBatch, options.TelemetryBatch)
	assert.Equal(t, MaxTelemetryInterval, options.TelemetryInterval)

	options, err = Options{TelemetryQueue: 10}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, 10, options.TelemetryBatch, "a batch must be able to fill")
}

func TestLocalAddress(t *testing.T) {
	client := connect(t, Options{Address: "local:", APIKey: "key", Insecure: true, CAFile: "none.pem", ServerName: "agent"})
	assert.True(t, client.Immediate())
	assert.Equal(t, check.StateReady, client.State())
	assert.NoError(t, client.WaitReady(t.Context()))
	flow := start(t, client, FlowParams{})
	assert.Equal(t, Accepted, flow.Decision())
	assert.False(t, flow.EndNeedsCall())
	_, err := flow.End(t.Context())
	assert.NoError(t, err)
	require.NoError(t, client.Close(t.Context()))
	_, err = client.StartFlow(t.Context(), "checkout", FlowParams{})
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorIs(t, client.WaitReady(t.Context()), ErrClosed)
	assert.Equal(t, check.StateClosed, client.State())
}

func TestLocalPoliciesThatCannotBeLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my policies.yaml")
	_, err := NewClient(Options{Address: "local:" + path})
	var loadError *local.LoadError
	require.ErrorAs(t, err, &loadError)
	assert.ErrorContains(t, err, "my policies.yaml")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
