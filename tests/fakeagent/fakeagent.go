// Package fakeagent is an Aperture agent for tests and benchmarks: it answers as it is told, on loopback, and remembers
// what it was asked. It makes no decision of its own, and has caches.
package fakeagent

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
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

// Agent is a running fake agent.
type Agent struct {
	options   Options
	address   string
	server    *grpc.Server
	served    chan struct{} // closed when the server has stopped serving
	behaviour atomic.Pointer[Behaviour]
	requestID atomic.Uint64
	journal   journal
	cache     *cache

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
	a := &Agent{options: options, address: listener.Addr().String(), served: make(chan struct{}), cache: newCache()}
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
