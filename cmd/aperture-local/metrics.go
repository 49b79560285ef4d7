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

// newMetricsServer returns a server of /metrics.
func newMetricsServer(m *metrics, logger *slog.Logger) *http.Server {
	errorLog := slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: errorLog, MaxRequestsInFlight: mostScrapes,
	}))
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

// engineCollector reads what the engine counts, at the moment when it is asked.
type engineCollector struct {
	engine *local.Engine

	noMatchingRamp, decisions, reverted, invalidTokens, labels, forgotten *prometheus.Desc
}

func newEngineCollector(engine *local.Engine) *engineCollector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &engineCollector{
		engine: engine,
		noMatchingRamp: describe("no_matching_ramp_total",
			"Flows rejected because they asked for a load ramp and none matched."),
		decisions: describe("decisions_total",
			"Decisions of a component by outcome: accepted, rejected, or unlimited when no bucket was asked.",
			"policy", "component", "outcome"),
		reverted: describe("reverted_decisions_total",
			"Accepted decisions whose tokens were given back because another component rejected the flow.", "policy", "component"),
		invalidTokens: describe("invalid_tokens_total",
			"Tokens labels that are no number of tokens, and counted as 1.", "policy", "component"),
		labels: describe("labels",
			"Label values that have a bucket now.", "policy", "component"),
		forgotten: describe("forgotten_labels_total",
			"Buckets given up by cause: evicted because there were too many, or expired because they were idle.",
			"policy", "component", "cause"),
	}
}

// Describe implements prometheus.Collector.
func (c *engineCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{c.noMatchingRamp, c.decisions, c.reverted, c.invalidTokens, c.labels, c.forgotten} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (c *engineCollector) Collect(series chan<- prometheus.Metric) {
	counter := func(description *prometheus.Desc, value uint64, labels ...string) {
		series <- prometheus.MustNewConstMetric(description, prometheus.CounterValue, float64(value), labels...)
	}
	snapshot := c.engine.Snapshot()
	counter(c.noMatchingRamp, snapshot.NoMatchingRamp)
	for _, one := range snapshot.Components {
		counter(c.decisions, one.Accepted, one.Policy, one.Component, "accepted")
		counter(c.decisions, one.Rejected, one.Policy, one.Component, "rejected")
		counter(c.decisions, one.Unlimited, one.Policy, one.Component, "unlimited")
		counter(c.reverted, one.Reverted, one.Policy, one.Component)
		counter(c.invalidTokens, one.InvalidTokens, one.Policy, one.Component)
		counter(c.forgotten, one.Evicted, one.Policy, one.Component, "evicted")
		counter(c.forgotten, one.Expired, one.Policy, one.Component, "expired")
		series <- prometheus.MustNewConstMetric(c.labels, prometheus.GaugeValue, float64(one.Labels), one.Policy, one.Component)
	}
}
