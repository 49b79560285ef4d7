// Package fakeagent is an Aperture agent for tests and benchmarks: it answers as it is told, on loopback, and remembers
// what it was asked. It makes no decision of its own.
package fakeagent

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Options say where an agent listens and whom it serves.
type Options struct {
	// Address is "host:port" or "unix:///path". The default is a free port of 127.0.0.1.
	Address string
	// TLS is the server's certificate; nil serves plaintext.
	TLS *tls.Config
	// RequireAPIKey refuses calls without this x-api-key, as Aperture Cloud does.
	RequireAPIKey string
	// Keep is how many calls and spans of each kind are remembered in detail; the rest is only counted. 0 is 10,000, and
	// a negative number remembers none.
	Keep int
	// ObeyLabels lets each flow choose how its Check is answered, with the labels LabelAnswer and so on.
	ObeyLabels bool
	// Journal gets a record of every answer before it is sent, for an agent that is going to be killed; nil for none.
	Journal io.Writer
}

// Behaviour says how calls are answered. The zero value accepts every flow.
type Behaviour struct {
	// Response answers Check; nil accepts the flow. It is sent as it is, with InFlight added to a copy of it.
	Response *checkv1.CheckResponse
	// InFlight adds that many decisions of a concurrency limiter, each with a request id of its own.
	InFlight int

	Check   Trouble
	FlowEnd Trouble
	Export  Trouble
	// RejectSpans is how many spans each Export says it refused.
	RejectSpans int64
}

// Trouble is what goes wrong with a call.
type Trouble struct {
	// Delay passes before the call is answered.
	Delay time.Duration
	// Hang answers only when the caller has given up.
	Hang bool
	// Error fails the call with this code and Message.
	Error   codes.Code
	Message string
	// Garbage answers with bytes that are no message.
	Garbage bool
}

// Rejection returns a response that rejects a flow. A status of 0 and a negative wait are left out.
func Rejection(reason checkv1.CheckResponse_RejectReason, denied int32, wait time.Duration) *checkv1.CheckResponse {
	response := &checkv1.CheckResponse{
		DecisionType:             checkv1.CheckResponse_DECISION_TYPE_REJECTED,
		RejectReason:             reason,
		DeniedResponseStatusCode: checkv1.StatusCode(denied),
	}
	if wait >= 0 {
		response.WaitTime = durationpb.New(wait)
	}
	return response
}

// Agent is a running fake agent.
type Agent struct {
	options   Options
	address   string
	server    *grpc.Server
	served    chan struct{} // closed when the server has stopped serving
	behaviour atomic.Pointer[Behaviour]
	requestID atomic.Uint64
	journal   journal

	mu       sync.Mutex
	recorded Recording
}

// Start starts an agent that listens before Start returns. Stop ends it.
func Start(options Options) (*Agent, error) {
	network, address := "tcp", options.Address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, address = "unix", path
	} else if address == "" {
		address = "127.0.0.1:0"
	}
	if options.Keep == 0 {
		options.Keep = 10_000
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("fake agent: %w", err)
	}
	a := &Agent{options: options, address: listener.Addr().String(), served: make(chan struct{})}
	a.journal.out = options.Journal
	if network == "unix" {
		a.address = options.Address
	}
	a.behaviour.Store(&Behaviour{})

	serverOptions := []grpc.ServerOption{
		grpc.UnaryInterceptor(a.intercept),
		grpc.ForceServerCodecV2(newGarbageCodec()),
		grpc.NumStreamWorkers(2),
		grpc.WaitForHandlers(true), // what is still answered when the agent stops is recorded before Stop returns
	}
	if options.TLS != nil {
		serverOptions = append(serverOptions, grpc.Creds(credentials.NewTLS(options.TLS)))
	}
	a.server = grpc.NewServer(serverOptions...)
	checkv1.RegisterFlowControlServiceServer(a.server, &flowControl{agent: a})
	a.server.RegisterService(&traceService, a)
	go func() {
		defer close(a.served)
		_ = a.server.Serve(listener) // ends with Stop
	}()
	return a, nil
}

// Address returns the address for a client's options.
func (a *Agent) Address() string { return a.address }

// Set changes how the calls from now on are answered.
func (a *Agent) Set(behaviour Behaviour) { a.behaviour.Store(&behaviour) }

// Stop ends the agent as a crash would: connections break and calls in progress fail. It may be called twice.
func (a *Agent) Stop() {
	a.server.Stop()
	<-a.served
}

// intercept asks for the API key and sends garbage.
func (a *Agent) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if want := a.options.RequireAPIKey; want != "" {
		if keys := metadata.ValueFromIncomingContext(ctx, "x-api-key"); len(keys) != 1 || keys[0] != want {
			return nil, status.Error(codes.Unauthenticated, "the API key is missing or wrong")
		}
	}
	response, err := handler(ctx, request)
	if err == errGarbage {
		return garbage{}, nil
	}
	return response, err
}

// suffer does what goes wrong with a call; nil when nothing does.
func (t *Trouble) suffer(ctx context.Context) error {
	if t.Hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if t.Delay > 0 {
		timer := time.NewTimer(t.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	if t.Error != codes.OK {
		return status.Error(t.Error, t.Message)
	}
	if t.Garbage {
		return errGarbage
	}
	return nil
}

// flowControl is the service that decides.
type flowControl struct {
	checkv1.UnimplementedFlowControlServiceServer
	agent *Agent
}

func (s *flowControl) Check(ctx context.Context, request *checkv1.CheckRequest) (*checkv1.CheckResponse, error) {
	a := s.agent
	a.recordCheck(ctx, request)
	response, err := a.decide(ctx, request)
	if err != nil {
		if ctx.Err() != nil {
			a.recordCancelled()
		}
		_ = a.journal.record(JournalFailed, 0) // the caller is told no decision
		return nil, err
	}
	kind := JournalAccepted
	if response.GetDecisionType() == checkv1.CheckResponse_DECISION_TYPE_REJECTED {
		kind = JournalRejected
	}
	return response, a.journal.record(kind, 0)
}

// decide returns the answer to a Check.
func (a *Agent) decide(ctx context.Context, request *checkv1.CheckRequest) (*checkv1.CheckResponse, error) {
	behaviour := *a.behaviour.Load()
	if a.options.ObeyLabels {
		var err error
		if behaviour, err = behaviour.obey(request.GetLabels()); err != nil {
			return nil, err
		}
	}
	if err := behaviour.Check.suffer(ctx); err != nil {
		return nil, err
	}
	response := behaviour.Response
	if response == nil {
		response = &checkv1.CheckResponse{ControlPoint: request.GetControlPoint(), ExpectEnd: request.GetExpectEnd()}
	}
	if behaviour.InFlight > 0 {
		response = a.withInFlight(response, behaviour.InFlight)
	}
	return response, nil
}

func (s *flowControl) FlowEnd(ctx context.Context, request *checkv1.FlowEndRequest) (*checkv1.FlowEndResponse, error) {
	behaviour := s.agent.behaviour.Load()
	s.agent.recordFlowEnd(ctx, request)
	if err := behaviour.FlowEnd.suffer(ctx); err != nil {
		return nil, err
	}
	response := &checkv1.FlowEndResponse{}
	for _, ref := range request.GetInflightRequests() {
		response.TokenReturnStatuses = append(response.TokenReturnStatuses, &checkv1.TokenReturnStatus{InflightRequestRef: ref, Returned: true})
	}
	return response, s.agent.journal.record(JournalFlowEnd, 0)
}

func (a *Agent) export(ctx context.Context, request *tracev1.TracesData) (any, error) {
	behaviour := a.behaviour.Load()
	if err := behaviour.Export.suffer(ctx); err != nil {
		return nil, err
	}
	a.recordSpans(ctx, request)
	return partialSuccess(behaviour.RejectSpans), a.journal.record(JournalSpan, spanIDs(request)...)
}

// spanIDs returns the ids of the spans as numbers.
func spanIDs(request *tracev1.TracesData) []uint64 {
	var ids []uint64
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				var id [8]byte
				copy(id[:], span.GetSpanId())
				ids = append(ids, binary.LittleEndian.Uint64(id[:]))
			}
		}
	}
	return ids
}
