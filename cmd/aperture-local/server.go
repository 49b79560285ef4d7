package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/libaperture/libaperture/core/local"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

const (
	// stopTimeout bounds how long calls in progress may go on once the server is to stop.
	stopTimeout = 5 * time.Second
	// mostCallsPerConnection bounds the calls that one connection has in progress; a client keeps the rest back.
	mostCallsPerConnection = 10_000
	// shortestPing is how often a client may ping. Upstream agents take offence at less than five minutes, which breaks
	// the calls that wait in the connection.
	shortestPing = time.Second
)

// healthServices are the names that the health service knows: the server as a whole, the name that an agent answers to,
// and the service's own.
var healthServices = []string{"", "aperture.flowcontrol.v1.FlowControlService", checkv1.FlowControlService_ServiceDesc.ServiceName}

// server is a running aperture-local.
type server struct {
	config   *config
	logger   *slog.Logger
	engine   *local.Engine
	metrics  *metrics
	activity *activity
	health   *health.Server

	listener net.Listener
	grpc     *grpc.Server

	metricsListener net.Listener // nil when there are no metrics
	http            *http.Server

	serving sync.WaitGroup
	failed  chan error // takes the failure of each server
	stopped chan struct{}
}

// start opens the engine and the listeners, and begins to serve. The server runs until run has returned.
func start(config *config, logger *slog.Logger) (_ *server, err error) {
	s := &server{config: config, logger: logger, health: health.NewServer(), failed: make(chan error, 2), stopped: make(chan struct{}), activity: &activity{}}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	options, err := serverOptions(config)
	if err != nil {
		return nil, err
	}
	if s.engine, err = local.Open(config.policies, local.Options{
		AgentGroup: config.agentGroup,
		MaxLabels:  config.maxLabels,
		MaxWaiting: config.maxWaiting,
		CacheBytes: config.cacheBytes,
		Remote:     true,
		Logger:     logger,
	}); err != nil {
		return nil, err
	}
	s.logWarnings()
	if s.listener, err = listen(config.listen); err != nil {
		return nil, err
	}
	if config.metrics != metricsOff {
		if s.metricsListener, err = listen(config.metrics); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}

	s.metrics = newMetrics(s.engine)
	s.grpc = grpc.NewServer(options...)
	checkv1.RegisterFlowControlServiceServer(s.grpc, &flowControl{decider: s.engine, metrics: s.metrics, activity: s.activity})
	s.grpc.RegisterService(&traceService, &spanCounter{metrics: s.metrics})
	healthpb.RegisterHealthServer(s.grpc, s.health)
	for _, name := range healthServices {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}

	if config.allowRemote && (config.tlsCert == "" || config.apiKeyFile == "") {
		logger.Warn("--allow-remote without TLS or without an API key: whoever reaches the address is served, and may be listened to")
	}
	s.serving.Go(func() { s.serve("gRPC", s.grpc.Serve(s.listener)) })
	if s.metricsListener != nil {
		s.http = newHTTPServer(s.metrics, &statusHandler{
			engine: s.engine, activity: s.activity, files: config.policies, started: time.Now(), remote: config.allowRemote,
		}, logger)
		s.serving.Go(s.keepHistory)
		s.serving.Go(func() { s.serve("metrics", s.http.Serve(s.metricsListener)) })
	}
	return s, nil
}

func (s *server) logWarnings() {
	for _, warning := range s.engine.Warnings() {
		s.logger.Warn("the policies say something that is ignored", "problem", warning.String())
	}
}

// keepHistory ends a second of the history again and again, until the server stops.
func (s *server) keepHistory() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.activity.tick()
		case <-s.stopped:
			return
		}
	}
}

// reload reads the policies again. Those that are broken change nothing.
func (s *server) reload() {
	if err := s.engine.Reload(); err != nil {
		s.logger.Error("the policies were not read again", "error", err)
		return
	}
	s.logWarnings()
}

// serverOptions reads the certificate and the API key.
func serverOptions(config *config) ([]grpc.ServerOption, error) {
	options := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: shortestPing, PermitWithoutStream: true}),
		grpc.MaxConcurrentStreams(mostCallsPerConnection),
	}
	if config.tlsCert != "" {
		pair, err := tls.LoadX509KeyPair(config.tlsCert, config.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
		})))
	}
	if config.apiKeyFile != "" {
		key, err := readAPIKey(config.apiKeyFile)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.UnaryInterceptor(requireAPIKey(key)))
	}
	return options, nil
}

// serve takes the end of a server, which is a failure unless the server was stopped.
func (s *server) serve(what string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
		s.failed <- fmt.Errorf("serving %s: %w", what, err)
	}
}

// address returns where the server listens, in the form that a client takes.
func (s *server) address() string {
	if s.listener.Addr().Network() == "unix" {
		return unixScheme + s.listener.Addr().String()
	}
	return s.listener.Addr().String()
}

// metricsURL returns where the metrics are, "" when there are none.
func (s *server) metricsURL() string {
	if s.metricsListener == nil {
		return ""
	}
	return metricsURL(s.metricsListener)
}

// run serves until ctx ends or a listener fails, and stops everything. It reads the policies again whenever it is asked
// to.
func (s *server) run(ctx context.Context, reload <-chan os.Signal) (err error) {
	defer s.stop(stopTimeout)
	for {
		select {
		case <-ctx.Done():
			s.logger.Info("stopping")
			return nil
		case err := <-s.failed:
			return err
		case <-reload:
			s.reload()
		}
	}
}

// stop refuses new calls, gives those in progress some time to end, and ends the rest.
func (s *server) stop(patience time.Duration) {
	s.health.Shutdown()
	close(s.stopped)
	hardStop := time.AfterFunc(patience, func() {
		s.logger.Warn("calls in progress were ended", "after", patience)
		s.grpc.Stop()
		if s.http != nil {
			_ = s.http.Close()
		}
	})
	s.grpc.GracefulStop()
	if s.http != nil {
		_ = s.http.Shutdown(context.Background()) // ends when hardStop closes the server, at the latest
	}
	hardStop.Stop()
	s.serving.Wait()
	s.release()
}

// release closes what start has opened, as far as it came.
func (s *server) release() {
	if s.metricsListener != nil {
		_ = s.metricsListener.Close()
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.engine != nil {
		_ = s.engine.Close()
	}
}
