package main

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/libaperture/libaperture/core/local"
)

const (
	namespace = "aperture_local"
	// mostScrapes bounds the requests for metrics that are answered at the same time.
	mostScrapes = 8
)

// metrics are what the server counts itself. No series carries a label whose values clients choose, such as the control
// point: their number would have no bound.
type metrics struct {
	registry *prometheus.Registry

	checkAccepted, checkRejected, checkFailed     prometheus.Counter
	flowEnds                                      prometheus.Counter
	spansOK, spansError, spansOther, spansIgnored prometheus.Counter
}

func newMetrics(engine *local.Engine) *metrics {
	checks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "checks_total",
		Help: "Check calls by decision: accepted, rejected, or error when there was none.",
	}, []string{"decision"})
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "spans_total",
		Help: "Spans of ended flows by the flow's status: OK, Error or other.",
	}, []string{"status"})
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		checkAccepted: checks.WithLabelValues("accepted"),
		checkRejected: checks.WithLabelValues("rejected"),
		checkFailed:   checks.WithLabelValues("error"),
		flowEnds: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "flow_ends_total", Help: "FlowEnd calls.",
		}),
		spansOK:    spans.WithLabelValues(statusOK),
		spansError: spans.WithLabelValues(statusError),
		spansOther: spans.WithLabelValues(statusOther),
		spansIgnored: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "ignored_spans_total",
			Help: "Spans that are not of a flow: their source is not sdk, or they have no check response that can be decoded.",
		}),
	}
	m.registry.MustRegister(
		checks, spans, m.flowEnds, m.spansIgnored, newEngineCollector(engine),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// newHTTPServer returns a server of /metrics and of the status page.
func newHTTPServer(m *metrics, page *statusHandler, logger *slog.Logger) *http.Server {
	errorLog := slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: errorLog, MaxRequestsInFlight: mostScrapes,
	}))
	page.register(mux)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          errorLog,
	}
}

// metricsURL returns where a listener's metrics are.
func metricsURL(listener net.Listener) string {
	return "http://" + listener.Addr().String() + "/metrics"
}
