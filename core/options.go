package core

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/libaperture/libaperture/core/local"
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

	// MinKeepaliveTime is the shortest Options.KeepaliveTime: an agent, as any server that leaves gRPC's defaults, takes
	// one ping in five minutes. For more it closes the connection, and the flows that wait in its queue fail open.
	MinKeepaliveTime = 5 * time.Minute
	// MaxKeepaliveTime is the longest useful KeepaliveTime; longer ones are cut to it.
	MaxKeepaliveTime = 24 * time.Hour

	// DefaultKeepaliveTimeout is how long the answer to a ping may take when Options.KeepaliveTimeout is 0.
	DefaultKeepaliveTimeout = 20 * time.Second
	// MinKeepaliveTimeout is the shortest KeepaliveTimeout: an agent that is busy for a moment has not vanished.
	MinKeepaliveTimeout = time.Second
	// MaxKeepaliveTimeout is the longest useful KeepaliveTimeout; longer ones are cut to it.
	MaxKeepaliveTimeout = time.Hour

	// MaxMetadata is how many entries Options.Metadata may have.
	MaxMetadata = 64
	// MaxMetadataBytes is what the keys and values of Options.Metadata may have in total.
	MaxMetadataBytes = 8 << 10

	// DefaultCloseTimeout bounds Close when its context has no deadline.
	DefaultCloseTimeout = 5 * time.Second

	defaultUserAgent = "libaperture"
)

// Compression says how messages to the agent are compressed.
type Compression int32

// The compressions. An agent compresses its answers as the request was.
const (
	// CompressionNone sends messages as they are.
	CompressionNone Compression = iota
	// CompressionGzip compresses each message with gzip.
	CompressionGzip
)

// MetadataEntry is one entry of gRPC metadata: a header of every call.
type MetadataEntry struct {
	// Key has letters, which are sent in lower case, digits, "-", "_" and ".". It occurs once. Keys that belong to gRPC
	// and HTTP, or that another option is for, are refused, and those that end in "-bin", of binary values.
	Key string
	// Value is printable ASCII, without a space at either end.
	Value string
}

// Options say what a client decides with and how it gets there. The zero value of each field is its default; only
// Address must be set. With a local address the options of the connection are accepted and have no effect, so that
// moving between a process and a cluster changes the address and nothing else.
type Options struct {
	// Address is where decisions come from. "host:port", "dns:///host:port" and "unix:///path" reach an Aperture
	// agent; "local:" and "local:policies.yaml" decide in this process, without and with policies. Behind "local:" there
	// may be several paths, separated by commas, and a directory stands for its files *.yaml and *.yml.
	Address string
	// APIKey is sent as x-api-key metadata on every call. Empty sends none. It must be printable ASCII.
	APIKey string
	// Metadata is sent with every call, at most MaxMetadata entries of MaxMetadataBytes in total, for a proxy between
	// the client and the agent.
	Metadata []MetadataEntry
	// Insecure speaks plaintext. The default is TLS. The options about TLS, from CAFile to SkipVerify, make no sense
	// with it and are refused. Certificates and keys are read once, by NewClient.
	Insecure bool
	// CAFile is a PEM file with the certificate authorities to trust instead of the system's.
	CAFile string
	// CAPEM is what CAFile names, as text. One of the two may be given.
	CAPEM string
	// ServerName is the name that the agent's certificate must be for, instead of the host of Address.
	ServerName string
	// ClientCertFile is a PEM file with the certificate that the client shows to the agent, followed by those that
	// lead to its authority. ClientKeyFile is a PEM file with its private key, not encrypted. Both are given, or none.
	ClientCertFile, ClientKeyFile string
	// ClientCertPEM and ClientKeyPEM are what ClientCertFile and ClientKeyFile name, as text, and are given instead.
	ClientCertPEM, ClientKeyPEM string
	// SkipVerify speaks TLS with whatever answers: neither the authority nor the name of its certificate is looked at,
	// which is logged as a warning. CAFile and CAPEM make no sense with it; ServerName is still sent.
	SkipVerify bool
	// Compression of all that is sent to the agent, default CompressionNone. It pays for large labels and many spans over
	// a slow network; a small request grows by it.
	Compression Compression
	// KeepaliveTime is how quiet the connection must have been, while a flow waits for the agent, for a ping to be sent.
	// 0, the default, sends none; otherwise it is MinKeepaliveTime at least. TCP's own keepalive, which is always on,
	// does nearly all that pings do; they are for a proxy on the way that stays when the agent behind it vanishes.
	KeepaliveTime time.Duration
	// KeepaliveTimeout is how long the answer to a ping may take before the connection is given up, default
	// DefaultKeepaliveTimeout, MinKeepaliveTimeout at least. It is given with KeepaliveTime only.
	KeepaliveTimeout time.Duration
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
	// MaxLabels is how many label values each component of a local engine keeps state for, default
	// local.DefaultMaxLabels. The one that was not used for longest makes room for another, so that its bucket is full
	// when it comes again. With an agent's address the bounds of a local engine have no effect. Those that are greater
	// than the engine takes are cut.
	MaxLabels int
	// MaxWaiting is how many flows may wait in each scheduler of a local engine, default local.DefaultMaxWaiting. One
	// more is rejected.
	MaxWaiting int
	// CacheBytes is how much memory the result cache and the global cache of a local engine take together at most, in
	// bytes, default local.DefaultCacheBytes, local.LeastCacheBytes at least. When they are full, the entry that was not
	// used for longest goes.
	CacheBytes int64
	// WrapConn is given each connection to the agent when it is made, and returns what is used instead: for a program
	// that must know of them, for example to close them in a process that it forks.
	WrapConn func(net.Conn) net.Conn
	// Logger receives what an operator should know. Without one nothing is logged.
	Logger *slog.Logger
	// Owner is what Client.Owner returns, for a program that keeps something of its own for each client.
	Owner any
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
	if o.MaxLabels, err = pick("max labels", o.MaxLabels, local.DefaultMaxLabels, local.MostLabels); err != nil {
		return o, err
	}
	if o.MaxWaiting, err = pick("max waiting", o.MaxWaiting, local.DefaultMaxWaiting, local.MostWaiting); err != nil {
		return o, err
	}
	if o.CacheBytes, err = pick("cache bytes", o.CacheBytes, local.DefaultCacheBytes, local.MostCacheBytes); err != nil {
		return o, err
	}
	if o.CacheBytes < local.LeastCacheBytes {
		return o, &ArgumentError{"cache bytes", fmt.Sprintf("is %d; use %d (1 MiB) at least, or 0 for the default", o.CacheBytes, local.LeastCacheBytes)}
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

// pick returns the value that an option stands for: its default for zero, at most its limit.
func pick[T int | int64 | time.Duration](name string, value, byDefault, limit T) (T, error) {
	switch {
	case value < 0:
		return value, &ArgumentError{name, "is negative; use 0 for the default or a positive value"}
	case value == 0:
		return byDefault, nil
	default:
		return min(value, limit), nil
	}
}
