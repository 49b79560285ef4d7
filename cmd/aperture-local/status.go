package main

import (
	_ "embed"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/libaperture/libaperture/core/local"
)

//go:embed status.html
var statusPage []byte

// statusReport is what the status page shows.
type statusReport struct {
	Started   time.Time         `json:"started"`
	Files     []string          `json:"files"`
	Totals    tally             `json:"totals"`
	PerSecond []tally           `json:"per_second"`
	Recent    []decisionSummary `json:"recent"`
	Engine    local.Snapshot    `json:"engine"`
	Warnings  []string          `json:"warnings"`
}

// statusHandler serves a page about the engine for a browser, and what the page reads.
type statusHandler struct {
	engine   *local.Engine
	activity *activity
	files    []string
	started  time.Time
	// remote lets pages of other hosts than this one ask.
	remote bool
}

func (s *statusHandler) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.guarded(func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", "text/html; charset=utf-8")
		// The page's own script and style, and nothing else from anywhere.
		response.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'")
		_, _ = response.Write(statusPage)
	}))
	mux.HandleFunc("GET /status.json", s.guarded(func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(response).Encode(s.report())
	}))
}

// guarded refuses requests for a host that is not this one: a web page elsewhere could have its name resolve to
// 127.0.0.1, and read along.
func (s *statusHandler) guarded(handle http.HandlerFunc) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		host, _, err := net.SplitHostPort(request.Host)
		if err != nil {
			host = request.Host
		}
		if !s.remote && !isLoopback(host) {
			http.Error(response, "the status page is for this machine only; --allow-remote opens it to others", http.StatusForbidden)
			return
		}
		response.Header().Set("Cache-Control", "no-store")
		response.Header().Set("X-Content-Type-Options", "nosniff")
		handle(response, request)
	}
}

func (s *statusHandler) report() statusReport {
	report := statusReport{
		Started:   s.started,
		Files:     s.files,
		Totals:    tally{s.activity.accepted.Load(), s.activity.rejected.Load(), s.activity.failed.Load()},
		PerSecond: s.activity.perSecond(),
		Recent:    s.activity.decisions(),
		Engine:    s.engine.Snapshot(),
		Warnings:  []string{},
	}
	for _, warning := range s.engine.Warnings() {
		report.Warnings = append(report.Warnings, warning.String())
	}
	return report
}
