// Package agent decides by asking an Aperture agent over gRPC.
package agent

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/internal/guard"
)

// Options say how to reach an agent.
type Options struct {
	// TLS says how to verify the agent; nil speaks plaintext.
	TLS *tls.Config
	// APIKey is sent with every call, unless it is empty.
	APIKey string
	// Metadata is sent with every call. Keys are in lower case, and are none of gRPC's nor "x-api-key".
	Metadata  map[string]string
	UserAgent string
	// Gzip compresses what is sent, and lets the agent compress its answers.
	Gzip bool
	// KeepaliveTime is how quiet the connection must have been, while a call waits, for a ping to be sent; 0 sends none.
	// A connection on which nothing comes for KeepaliveTimeout after a ping is given up.
	KeepaliveTime, KeepaliveTimeout time.Duration
	// WrapConn, unless it is nil, is given each connection when it is made, and returns what is used instead.
	WrapConn func(net.Conn) net.Conn
	Logger   *slog.Logger
}

// maxResponseBytes limits what an agent may answer. A response holds the labels of its request twice, which may have
// 4 MB, so gRPC's own limit of 4 MiB is too little.
const maxResponseBytes = 16 << 20

// Agent is a connection to an Aperture agent. It implements check.Decider.
type Agent struct {
	conn    *grpc.ClientConn
	service checkv1.FlowControlServiceClient
	secrets []secret // that every call carries
	logger  *slog.Logger

	calls    context.Context // ends when calls are to end, all but FlowEnd and Export
	endCalls context.CancelFunc
	returns  returns
	kept     chan struct{} // closed when keepConnected has returned
}

var _ check.Decider = (*Agent)(nil)

// Open starts to connect to a gRPC target and returns at once.
func Open(target string, options Options) (*Agent, error) { return openWith(target, options) }

// openWith is Open for a test that connects in a way of its own.
func openWith(target string, options Options, more ...grpc.DialOption) (*Agent, error) {
	transport := insecure.NewCredentials()
	if options.TLS != nil {
		transport = credentials.NewTLS(options.TLS)
		if options.TLS.InsecureSkipVerify {
			options.Logger.Warn("the agent's certificate is not verified: whoever answers is taken for the agent")
		}
	}
	callOptions := []grpc.CallOption{grpc.MaxCallRecvMsgSize(maxResponseBytes)}
	if options.Gzip {
		callOptions = append(callOptions, grpc.UseCompressor(gzip.Name))
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent(options.UserAgent),
		grpc.WithDefaultCallOptions(callOptions...),
		grpc.WithConnectParams(grpc.ConnectParams{
			// An agent that restarts is found soon, and one that is gone is not bothered.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// The connection stays: the first flow after a quiet time must not wait for a new one.
		grpc.WithIdleTimeout(0),
		// Options come from the caller alone: not from TXT records and not from the environment, of which a library
		// in another process sees an old copy.
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		dialOption(options.WrapConn, options.Logger),
	}
	if options.KeepaliveTime != 0 {
		dial = append(dial, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: options.KeepaliveTime, Timeout: options.KeepaliveTimeout}))
	}
	if options.APIKey != "" && options.TLS == nil {
		options.Logger.Warn("the API key travels in plaintext over an insecure connection")
	}
	metadata, secrets := everyCall(&options)
	if len(metadata) > 0 {
		dial = append(dial, grpc.WithPerRPCCredentials(metadata))
	}
	conn, err := grpc.NewClient(target, append(dial, more...)...)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		conn:    conn,
		service: checkv1.NewFlowControlServiceClient(conn),
		secrets: secrets,
		logger:  options.Logger,
		kept:    make(chan struct{}),
	}
	a.calls, a.endCalls = context.WithCancel(context.Background())
	a.returns.ctx, a.returns.end = context.WithCancel(context.Background())
	conn.Connect()
	guard.Keep(a.logger, "agent.connection", a.calls.Done(), a.keepConnected, nil, func() { close(a.kept) })
	return a, nil
}

// callMetadata is sent with every call. Unlike gRPC's own credentials it also goes over an insecure connection: the user
// asked for both, and dropping an API key without a word helps nobody.
type callMetadata map[string]string

func (m callMetadata) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return m, nil
}

func (callMetadata) RequireTransportSecurity() bool { return false }

// everyCall returns what goes with every call, and what of it no error may tell.
func everyCall(options *Options) (callMetadata, []secret) {
	metadata := make(callMetadata, len(options.Metadata)+1)
	var secrets []secret
	for key, value := range options.Metadata {
		metadata[key] = value
		secrets = append(secrets, secret{value, secretMetadata})
	}
	if options.APIKey != "" {
		metadata["x-api-key"] = options.APIKey
		secrets = append(secrets, secret{options.APIKey, secretAPIKey})
	}
	return metadata, secrets
}

// keepConnected connects again when a connection ended, so that the next flow finds one. gRPC by itself waits for a
// call.
func (a *Agent) keepConnected() {
	// An agent that takes connections and drops them at once must not be hammered.
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for {
		state := a.conn.GetState()
		if state == connectivity.Idle {
			select {
			case <-pause.C:
			case <-a.calls.Done():
				return
			}
			guard.Point("agent.connection.again")
			a.conn.Connect()
		}
		if state == connectivity.Shutdown || !a.conn.WaitForStateChange(a.calls, state) {
			return
		}
	}
}

// Check asks the agent for a decision.
func (a *Agent) Check(ctx context.Context, request *check.Request) (check.Answer, error) {
	call, cancel := a.begin(ctx, a.calls, request.Timeout)
	defer cancel()
	response, err := a.service.Check(call, &checkv1.CheckRequest{
		ControlPoint:       request.ControlPoint,
		Labels:             request.Labels.Map(),
		RampMode:           request.RampMode,
		CacheLookupRequest: request.CacheLookup,
		ExpectEnd:          true, // tokens are given back by FlowEnd, not when the span arrives
	})
	if err != nil {
		return check.Answer{}, a.unreachable(ctx, a.calls, err, secretsOfCheck(request)...)
	}
	return answer(response)
}

// FlowEnd gives back what a flow holds. What is not given back costs the capacity until it expires; so EndCalls does not
// end it, and AwaitReturns waits for it.
func (a *Agent) FlowEnd(ctx context.Context, request *checkv1.FlowEndRequest, timeout time.Duration) (*checkv1.FlowEndResponse, error) {
	a.returns.begin()
	defer a.returns.done()
	return callAgain(ctx, a, a.returns.ctx, timeout, checkv1.FlowControlServiceClient.FlowEnd, request, secretsOfFlowEnd)
}

// callAgain makes a call that does no harm when it is made twice, and makes it once more when the connection was lost
// under it. Both together are bounded by timeout, and end with life. secrets are read only when the call failed.
func callAgain[Request, Response any](ctx context.Context, a *Agent, life context.Context, timeout time.Duration,
	method func(checkv1.FlowControlServiceClient, context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request, secrets func(*Request) []secret,
) (*Response, error) {
	call, cancel := a.begin(ctx, life, timeout)
	defer cancel()
	response, err := method(a.service, call, request)
	if err != nil && isConnectionLoss(err) {
		response, err = method(a.service, call, request)
	}
	if err != nil {
		return nil, a.unreachable(ctx, life, err, secrets(request)...)
	}
	return response, nil
}

// begin returns the context of a call: it ends with ctx, with life, and after timeout.
func (a *Agent) begin(ctx, life context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if ctx == context.Background() {
		return context.WithTimeout(life, timeout)
	}
	call, cancel := context.WithTimeout(ctx, timeout)
	stop := guard.AfterFunc(life, a.logger, "agent.call.end", cancel, func(any) { cancel() })
	return call, func() {
		stop()
		cancel()
	}
}

// Immediate is false: an agent is asked over a network.
func (a *Agent) Immediate() bool { return false }

// EndCalls ends the calls in progress with UnreachableClosed and refuses new ones. FlowEnd and Export still work.
func (a *Agent) EndCalls() { a.endCalls() }

// AwaitReturns waits until no FlowEnd is in progress, or ctx ends.
func (a *Agent) AwaitReturns(ctx context.Context) { a.returns.await(ctx) }

// Close ends everything.
func (a *Agent) Close() error {
	a.endCalls()
	a.returns.end()
	<-a.kept
	return a.conn.Close()
}
