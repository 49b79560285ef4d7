// Package fakeagent is an Aperture agent for tests and benchmarks: it answers as it is told, on loopback, and remembers
// what it was asked. It makes no decision of its own, and has caches.
package fakeagent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

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

// Agent is a fake agent. It runs between Start and Stop, and after Restart.
type Agent struct {
	options   Options
	address   string
	behaviour atomic.Pointer[Behaviour]
	script    atomic.Pointer[scriptRun] // nil until the first one is set
	requestID atomic.Uint64
	journal   journal
	cache     *cache

	running sync.Mutex    // guards the two below, and is held for as long as a start or a stop takes
	server  *grpc.Server  // nil when the agent is stopped
	served  chan struct{} // closed when the server has stopped serving

	mu       sync.Mutex
	recorded Recording
}

// Start starts an agent that listens before Start returns. Stop ends it.
func Start(options Options) (*Agent, error) {
	if options.Address == "" {
		options.Address = "127.0.0.1:0"
	}
	if options.Keep == 0 {
		options.Keep = 10_000
	}
	listener, err := listen(options.Address)
	if err != nil {
		return nil, err
	}
	a := &Agent{options: options, address: options.Address, cache: newCache()}
	if listener.Addr().Network() == "tcp" {
		a.address = listener.Addr().String() // with the port that was chosen
	}
	a.journal.out = options.Journal
	a.behaviour.Store(&Behaviour{})
	a.serve(listener)
	return a, nil
}

func listen(address string) (net.Listener, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("fake agent: %w", err)
	}
	return listener, nil
}

// serve serves calls until Stop. a.running is held, or nobody knows the agent yet.
func (a *Agent) serve(listener net.Listener) {
	serverOptions := []grpc.ServerOption{
		grpc.UnaryInterceptor(a.intercept),
		grpc.ForceServerCodecV2(newGarbageCodec()),
		grpc.NumStreamWorkers(2),
		grpc.WaitForHandlers(true), // what is still answered when the agent stops is recorded before Stop returns
	}
	if a.options.Keep > 0 {
		serverOptions = append(serverOptions, grpc.StatsHandler(encodings{})) // it costs each call some time
	}
	if a.options.TLS != nil {
		serverOptions = append(serverOptions, grpc.Creds(credentials.NewTLS(a.options.TLS)))
	}
	server, served := grpc.NewServer(serverOptions...), make(chan struct{})
	checkv1.RegisterFlowControlServiceServer(server, &flowControl{agent: a})
	server.RegisterService(&traceService, a)
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Stop
	}()
	a.server, a.served = server, served
}

// Address returns the address for a client's options.
func (a *Agent) Address() string { return a.address }

// Set changes how the calls from now on are answered, but for those that a script answers.
func (a *Agent) Set(behaviour Behaviour) { a.behaviour.Store(&behaviour) }

// Reset forgets what the agent was asked and what its caches hold, and counts request ids from 1 again.
func (a *Agent) Reset() {
	a.mu.Lock()
	a.recorded = Recording{}
	a.mu.Unlock()
	a.cache.reset()
	a.requestID.Store(0)
}

// Stop ends the agent as a crash would: connections break and calls in progress fail. It may be called twice.
func (a *Agent) Stop() {
	a.running.Lock()
	defer a.running.Unlock()
	if a.server == nil {
		return
	}
	a.server.Stop()
	<-a.served
	a.server = nil
}

// Restart has an agent that was stopped listen again, on the same address. Everything else is as it was.
func (a *Agent) Restart() error {
	a.running.Lock()
	defer a.running.Unlock()
	if a.server != nil {
		return errors.New("fake agent: it is listening already")
	}
	listener, err := listen(a.address)
	if err != nil {
		return err
	}
	a.serve(listener)
	return nil
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
