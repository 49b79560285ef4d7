package core

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"
)

// The defaults and limits of Options and FlowParams.
const (
	// DefaultCheckTimeout bounds a Check when FlowParams.CheckTimeout is 0.
	DefaultCheckTimeout = 200 * time.Millisecond
	// MaxCheckTimeout is the longest that a Check may wait; longer timeouts are cut to it.
	MaxCheckTimeout = 24 * time.Hour

	// DefaultFlowEndTimeout bounds a FlowEnd when Options.FlowEndTimeout is 0.
	DefaultFlowEndTimeout = time.Second
	// MaxFlowEndTimeout is the longest that End may wait; longer timeouts are cut to it.
	MaxFlowEndTimeout = time.Hour

	// DefaultTelemetryQueue is the number of spans that may wait when Options.TelemetryQueue is 0.
	DefaultTelemetryQueue = 16384
	// MaxTelemetryQueue is the greatest useful TelemetryQueue; greater ones are cut to it.
	MaxTelemetryQueue = 1 << 20

	// DefaultTelemetryBatch is the number of spans of one export when Options.TelemetryBatch is 0.
	DefaultTelemetryBatch = 512
	// MaxTelemetryBatch is the greatest useful TelemetryBatch; greater ones are cut to it.
	MaxTelemetryBatch = 8192

	// DefaultTelemetryInterval is the longest that a span waits when Options.TelemetryInterval is 0.
	DefaultTelemetryInterval = time.Second
	// MaxTelemetryInterval is the longest useful TelemetryInterval; longer ones are cut to it.
	MaxTelemetryInterval = time.Hour

	// DefaultCloseTimeout bounds Close when its context has no deadline.
	DefaultCloseTimeout = 5 * time.Second

	defaultUserAgent = "libaperture"
)

// Options say what a client decides with and how it gets there. The zero value of each field is its default; only
// Address must be set. With a local address the options of the connection are accepted and have no effect, so that
// moving between a process and a cluster changes the address and nothing else.
type Options struct {
	// Address is where decisions come from. "host:port", "dns:///host:port" and "unix:///path" reach an Aperture
	// agent; "local:" and "local:policies.yaml" decide in this process, without and with policies.
	Address string
	// APIKey is sent as x-api-key metadata on every call. Empty sends none. It must be printable ASCII.
	APIKey string
	// Insecure speaks plaintext. The default is TLS.
	Insecure bool
	// CAFile is a PEM file with the certificate authorities to trust instead of the system's.
	CAFile string
	// ServerName is the name that the agent's certificate must be for, instead of the host of Address.
	ServerName string
	// UserAgent is put before gRPC's own user agent. The default is "libaperture".
	UserAgent string
	// FlowEndTimeout bounds the call that gives back what a flow holds, default DefaultFlowEndTimeout.
	FlowEndTimeout time.Duration
	// TelemetryQueue is how many spans may wait to be exported, default DefaultTelemetryQueue. Spans beyond it are
	// dropped and counted.
	TelemetryQueue int
	// TelemetryBatch is how many spans go into one export at most, default DefaultTelemetryBatch.
	TelemetryBatch int
	// TelemetryInterval is how long a span waits at most before it is exported, default DefaultTelemetryInterval.
	TelemetryInterval time.Duration
	// TelemetryOff exports no spans. The agent then counts no flows of this client.
	TelemetryOff bool
	// WrapConn is given each connection to the agent when it is made, and returns what is used instead: for a program
	// that must know of them, for example to close them in a process that it forks.
	WrapConn func(net.Conn) net.Conn
	// Logger receives what an operator should know. Without one nothing is logged.
	Logger *slog.Logger
}

// withDefaults returns the options with defaults in place of zeros and great values cut, or the first mistake.
func (o Options) withDefaults() (Options, error) {
	var err error
	if o.FlowEndTimeout, err = pick("flow end timeout", o.FlowEndTimeout, DefaultFlowEndTimeout, MaxFlowEndTimeout); err != nil {
		return o, err
	}
	if o.TelemetryQueue, err = pick("telemetry queue", o.TelemetryQueue, DefaultTelemetryQueue, MaxTelemetryQueue); err != nil {
		return o, err
	}
	if o.TelemetryBatch, err = pick("telemetry batch", o.TelemetryBatch, DefaultTelemetryBatch, MaxTelemetryBatch); err != nil {
		return o, err
	}
	if o.TelemetryInterval, err = pick("telemetry interval", o.TelemetryInterval, DefaultTelemetryInterval, MaxTelemetryInterval); err != nil {
		return o, err
	}
	o.TelemetryBatch = min(o.TelemetryBatch, o.TelemetryQueue)
	if o.UserAgent == "" {
		o.UserAgent = defaultUserAgent
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// checkConnection finds mistakes in the options of a connection to an agent.
func (o *Options) checkConnection() error {
	if !printable(o.APIKey) {
		return &ArgumentError{"API key", "has characters that cannot be sent; it must be printable ASCII, without line breaks"}
	}
	if !printable(o.UserAgent) {
		return &ArgumentError{"user agent", "has characters that cannot be sent; it must be printable ASCII"}
	}
	if !printable(o.ServerName) {
		return &ArgumentError{"server name", "has characters that no host name has"}
	}
	if o.Insecure && o.CAFile != "" {
		return &ArgumentError{"CA file", "makes no sense on an insecure connection; leave out one of the two"}
	}
	if o.Insecure && o.ServerName != "" {
		return &ArgumentError{"server name", "makes no sense on an insecure connection; leave out one of the two"}
	}
	return nil
}

// tlsConfig returns how to verify the agent, nil for an insecure connection.
func (o *Options) tlsConfig() (*tls.Config, error) {
	if o.Insecure {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CAFile != "" {
		roots, err := readCertificates(o.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	return config, nil
}

// readCertificates returns the certificates of a PEM file. Unlike x509.CertPool it refuses a file of which it would
// have to leave something out.
func readCertificates(path string) (*x509.CertPool, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, &ArgumentError{"CA file", fmt.Sprintf("cannot be read: %v", err)}
	}
	roots := x509.NewCertPool()
	found := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		found++
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &ArgumentError{"CA file", fmt.Sprintf("%s: certificate %d is damaged: %v", path, found, err)}
		}
		roots.AddCert(certificate)
	}
	if found == 0 {
		return nil, &ArgumentError{"CA file", path + " has no certificate; it must be a PEM file with at least one CERTIFICATE block"}
	}
	return roots, nil
}

// pick returns the value that an option stands for: its default for zero, at most its limit.
func pick[T int | time.Duration](name string, value, byDefault, limit T) (T, error) {
	switch {
	case value < 0:
		return value, &ArgumentError{name, "is negative; use 0 for the default or a positive value"}
	case value == 0:
		return byDefault, nil
	default:
		return min(value, limit), nil
	}
}

// printable says whether text can be the value of a metadata entry.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
