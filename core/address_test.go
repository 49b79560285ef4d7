package core

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	other, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	damaged := []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	damagedKey := "-----BEGIN PRIVATE KEY-----\nczNjcjN0\n-----END PRIVATE KEY-----\n"
	encryptedKey := strings.ReplaceAll(damagedKey, "PRIVATE", "ENCRYPTED PRIVATE")
	oldEncryptedKey := "-----BEGIN EC PRIVATE KEY-----\nDEK-Info: AES-256-CBC,00\n\nczNjcjN0\n-----END EC PRIVATE KEY-----\n"
	certificateFile, keyFile := write("client", certificates.Client), write("client-key", certificates.ClientKey)
	clientPEM, keyPEM := string(certificates.Client), string(certificates.ClientKey)

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
		"CA PEM and insecure":    {Options{CAPEM: "x", Insecure: true}, "CA PEM", "insecure"},
		"CA twice":               {Options{CAPEM: string(certificates.CA), CAFile: "ca.pem"}, "CA PEM", "CA file are both given"},
		"path as CA PEM":         {Options{CAPEM: "ca.pem"}, "CA PEM", "no certificate"},
		"damaged CA PEM":         {Options{CAPEM: string(damaged)}, "CA PEM", "certificate 1"},
		"PEM as CA file":         {Options{CAFile: string(certificates.CA)}, "CA file", "as the CA PEM"},
		"CA file, unverified":    {Options{CAFile: write("ca", certificates.CA), SkipVerify: true}, "CA file", "not verified"},
		"CA PEM, unverified":     {Options{CAPEM: string(certificates.CA), SkipVerify: true}, "CA PEM", "not verified"},
		"unverified, insecure":   {Options{SkipVerify: true, Insecure: true}, "skip verify", "insecure"},

		"client certificate file, insecure": {Options{ClientCertFile: "c", Insecure: true}, "client certificate file", "insecure"},
		"client key file, insecure":         {Options{ClientKeyFile: "c", Insecure: true}, "client key file", "insecure"},
		"client certificate PEM, insecure":  {Options{ClientCertPEM: "c", Insecure: true}, "client certificate PEM", "insecure"},
		"client key PEM, insecure":          {Options{ClientKeyPEM: "c", Insecure: true}, "client key PEM", "insecure"},
		"client certificate file alone":     {Options{ClientCertFile: "c"}, "client certificate file", "needs the client key file"},
		"client key file alone":             {Options{ClientKeyFile: "c"}, "client key file", "needs the client certificate file"},
		"client certificate PEM alone":      {Options{ClientCertPEM: clientPEM}, "client certificate PEM", "needs the client key PEM"},
		"client key PEM alone":              {Options{ClientKeyPEM: keyPEM}, "client key PEM", "needs the client certificate PEM"},
		"certificate file and key PEM":      {Options{ClientCertFile: "c", ClientKeyPEM: keyPEM}, "client certificate file", "in the same way"},
		"client certificate twice": {
			Options{ClientCertFile: certificateFile, ClientKeyFile: keyFile, ClientCertPEM: clientPEM, ClientKeyPEM: keyPEM},
			"client certificate PEM", "client certificate file are both given",
		},
		"missing client certificate":  {Options{ClientCertFile: filepath.Join(directory, "none"), ClientKeyFile: keyFile}, "client certificate file", "no such file"},
		"missing client key":          {Options{ClientCertFile: certificateFile, ClientKeyFile: filepath.Join(directory, "none")}, "client key file", "no such file"},
		"key in place of certificate": {Options{ClientCertPEM: keyPEM, ClientKeyPEM: keyPEM}, "client certificate PEM", "no certificate"},
		"certificate in place of key": {Options{ClientCertPEM: clientPEM, ClientKeyPEM: clientPEM}, "client key PEM", "no private key"},
		"damaged client certificate":  {Options{ClientCertPEM: clientPEM + string(damaged), ClientKeyPEM: keyPEM}, "client certificate PEM", "certificate 2"},
		"damaged client key":          {Options{ClientCertPEM: clientPEM, ClientKeyPEM: damagedKey}, "client key PEM", "is damaged"},
		"encrypted client key":        {Options{ClientCertPEM: clientPEM, ClientKeyPEM: encryptedKey}, "client key PEM", "encrypted"},
		"client key encrypted as of old": {
			Options{ClientCertPEM: clientPEM, ClientKeyPEM: oldEncryptedKey}, "client key PEM", "encrypted",
		},
		"key of another certificate": {
			Options{ClientCertPEM: clientPEM, ClientKeyPEM: string(other.ClientKey)}, "client key PEM", "not the key of the first certificate",
		},
		"key of another certificate, in files": {
			Options{ClientCertFile: certificateFile, ClientKeyFile: write("other-key", other.ClientKey)}, "client key file", "client certificate file",
		},
		"key as path": {Options{ClientCertFile: certificateFile, ClientKeyFile: damagedKey}, "client key file", "as the client key PEM"},

		"compression":          {Options{Compression: 2}, "compression", "CompressionGzip (1)"},
		"negative compression": {Options{Compression: -1}, "compression", "CompressionGzip (1)"},
		"keepalive time":       {Options{KeepaliveTime: 5*time.Minute - 1}, "keepalive time", "too_many_pings"},
		"negative keepalive":   {Options{KeepaliveTime: -1}, "keepalive time", "negative"},
		"keepalive timeout":    {Options{KeepaliveTime: time.Hour, KeepaliveTimeout: time.Second - 1}, "keepalive timeout", "below 1 second"},
		"negative timeout":     {Options{KeepaliveTime: time.Hour, KeepaliveTimeout: -1}, "keepalive timeout", "negative"},
		"timeout alone":        {Options{KeepaliveTimeout: time.Minute}, "keepalive timeout", "without a keepalive time"},
		"flow end timeout":     {Options{FlowEndTimeout: -1}, "flow end timeout", "negative"},
		"telemetry queue":      {Options{TelemetryQueue: -1}, "telemetry queue", "negative"},
		"telemetry batch":      {Options{TelemetryBatch: -1}, "telemetry batch", "negative"},
		"telemetry interval":   {Options{TelemetryInterval: -1}, "telemetry interval", "negative"},
		"max labels":           {Options{MaxLabels: -1}, "max labels", "negative"},
		"max waiting":          {Options{MaxWaiting: -1}, "max waiting", "negative"},
		"negative cache bytes": {Options{CacheBytes: -1}, "cache bytes", "negative"},
		"cache bytes":          {Options{CacheBytes: local.LeastCacheBytes - 1}, "cache bytes", "is 1048575; use 1048576 (1 MiB) at least"},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Address = "127.0.0.1:1"
			_, err := NewClient(test.options)
			argument(t, err, test.argument)
			assert.ErrorContains(t, err, test.hint)
			assert.NotContains(t, err.Error(), "s3cr3t")
			assert.NotContains(t, err.Error(), "czNjcjN0") // the same in base64
			assert.NotContains(t, err.Error(), "BEGIN PRIVATE KEY")
		})
	}
}

func TestDefaultsAndLimitsOfOptions(t *testing.T) {
	options, err := Options{}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, Options{
		UserAgent: "libaperture", FlowEndTimeout: DefaultFlowEndTimeout, TelemetryQueue: DefaultTelemetryQueue,
		TelemetryBatch: DefaultTelemetryBatch, TelemetryInterval: DefaultTelemetryInterval, MaxLabels: local.DefaultMaxLabels,
		MaxWaiting: local.DefaultMaxWaiting, CacheBytes: local.DefaultCacheBytes, Logger: options.Logger,
	}, options)

	const huge = 1 << 62
	options, err = Options{
		FlowEndTimeout: huge, TelemetryQueue: huge, TelemetryBatch: huge, TelemetryInterval: huge, MaxLabels: huge, MaxWaiting: huge,
		CacheBytes: huge,
	}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, MaxFlowEndTimeout, options.FlowEndTimeout)
	assert.Equal(t, MaxTelemetryQueue, options.TelemetryQueue)
	assert.Equal(t, MaxTelemetryBatch, options.TelemetryBatch)
	assert.Equal(t, MaxTelemetryInterval, options.TelemetryInterval)
	assert.Equal(t, local.MostLabels, options.MaxLabels)
	assert.Equal(t, local.MostWaiting, options.MaxWaiting)
	assert.Equal(t, local.MostCacheBytes, options.CacheBytes)

	options, err = Options{TelemetryQueue: 10}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, 10, options.TelemetryBatch, "a batch must be able to fill")
}

func TestKeepalive(t *testing.T) {
	for name, test := range map[string]struct {
		options       Options
		time, timeout time.Duration
	}{
		"none":     {Options{}, 0, 0},
		"shortest": {Options{KeepaliveTime: 5 * time.Minute, KeepaliveTimeout: time.Second}, 5 * time.Minute, time.Second},
		"default":  {Options{KeepaliveTime: time.Hour}, time.Hour, 20 * time.Second},
		"cut":      {Options{KeepaliveTime: 1 << 62, KeepaliveTimeout: 1 << 62}, 24 * time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			options, err := test.options.agentOptions()
			require.NoError(t, err)
			assert.Equal(t, test.time, options.KeepaliveTime)
			assert.Equal(t, test.timeout, options.KeepaliveTimeout)
		})
	}
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

func TestLocalPoliciesOfSeveralPaths(t *testing.T) {
	const values = "blueprint: rate-limiting/base\npolicy: {policy_name: %s, rate_limiter: {bucket_capacity: 0, fill_amount: 1, " +
		"parameters: {interval: 1s}, selectors: [{control_point: %s}]}}\n"
	folder := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(folder, name+".yaml")
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, values, filepath.Base(name), filepath.Base(name)), 0o600))
		return path
	}
	one := write("one")
	write("more/two")
	write("more/three")
	client := connect(t, Options{Address: "local:" + one + "," + filepath.Join(folder, "more")})
	for controlPoint, decision := range map[string]Decision{"one": Rejected, "two": Rejected, "three": Rejected, "four": Accepted} {
		flow, err := client.StartFlow(t.Context(), controlPoint, FlowParams{})
		require.NoError(t, err)
		assert.Equal(t, decision, flow.Decision(), controlPoint)
		_, err = flow.End(t.Context())
		require.NoError(t, err)
	}
	for _, address := range []string{"local:" + one + ",", "local:,", "local:," + one, "local:" + one + ",," + one} {
		_, err := NewClient(Options{Address: address})
		var wrong *ArgumentError
		require.ErrorAs(t, err, &wrong, address)
		assert.Equal(t, "address", wrong.Argument)
		assert.ErrorContains(t, err, "empty path")
	}
}
