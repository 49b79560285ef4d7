package fakeagent

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Report is a recording in a form that is written as JSON, for tests in any language.
type Report struct {
	CheckCount     int            `json:"check_count"`
	CancelledCount int            `json:"cancelled_count"`
	FlowEndCount   int            `json:"flow_end_count"`
	ExportCount    int            `json:"export_count"`
	SpanCount      int            `json:"span_count"`
	ControlPoints  map[string]int `json:"control_points"`
	APIKeys        []string       `json:"api_keys"` // each different one, of all kinds of calls; "" for a call without
	UserAgents     []string       `json:"user_agents"`

	Checks   []CheckReport   `json:"checks"`
	FlowEnds []FlowEndReport `json:"flow_ends"`
	Spans    []SpanReport    `json:"spans"`
}

// CheckReport is one Check.
type CheckReport struct {
	ControlPoint string            `json:"control_point"`
	Labels       map[string]string `json:"labels"`
	RampMode     bool              `json:"ramp_mode"`
	ExpectEnd    bool              `json:"expect_end"`
	TimeoutMS    float64           `json:"timeout_ms"` // 0 when the call had no deadline
	ContentType  string            `json:"content_type"`
}

// FlowEndReport is one FlowEnd.
type FlowEndReport struct {
	ControlPoint string   `json:"control_point"`
	RequestIDs   []string `json:"request_ids"`
	TimeoutMS    float64  `json:"timeout_ms"`
}

// SpanReport is one span.
type SpanReport struct {
	Name       string         `json:"name"`
	Root       bool           `json:"root"`
	Attributes map[string]any `json:"attributes"`
	// What the check response in the attributes says.
	ControlPoint string `json:"control_point"`
	Rejected     bool   `json:"rejected"`
}

// Report returns the recording as a report.
func (r *Recording) Report() *Report {
	report := &Report{
		CheckCount:     r.CheckCount,
		CancelledCount: r.CancelledCount,
		FlowEndCount:   r.FlowEndCount,
		ExportCount:    r.ExportCount,
		SpanCount:      r.SpanCount,
		ControlPoints:  map[string]int{},
		Checks:         []CheckReport{},
		FlowEnds:       []FlowEndReport{},
		Spans:          []SpanReport{},
	}
	keys, agents := map[string]bool{}, map[string]bool{}
	note := func(md metadata.MD) {
		keys[strings.Join(md.Get("x-api-key"), ",")] = true
		agents[strings.Join(md.Get("user-agent"), ",")] = true
	}
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for _, call := range r.Checks {
		note(call.Metadata)
		report.ControlPoints[call.Request.GetControlPoint()]++
		report.Checks = append(report.Checks, CheckReport{
			ControlPoint: call.Request.GetControlPoint(),
			Labels:       call.Request.GetLabels(),
			RampMode:     call.Request.GetRampMode(),
			ExpectEnd:    call.Request.GetExpectEnd(),
			TimeoutMS:    milliseconds(call.Timeout),
			ContentType:  strings.Join(call.Metadata.Get("content-type"), ","),
		})
	}
	for _, call := range r.FlowEnds {
		note(call.Metadata)
		end := FlowEndReport{ControlPoint: call.Request.GetControlPoint(), RequestIDs: []string{}, TimeoutMS: milliseconds(call.Timeout)}
		for _, ref := range call.Request.GetInflightRequests() {
			end.RequestIDs = append(end.RequestIDs, ref.GetRequestId())
		}
		report.FlowEnds = append(report.FlowEnds, end)
	}
	for _, call := range r.Exports {
		note(call.Metadata)
	}
	for _, span := range r.Spans {
		one := SpanReport{Name: span.Name, Root: len(span.ParentSpanID) == 0, Attributes: span.Attributes}
		if response, err := span.CheckResponse(); err == nil {
			one.ControlPoint = response.GetControlPoint()
			one.Rejected = response.GetDecisionType() == checkv1.CheckResponse_DECISION_TYPE_REJECTED
		}
		report.Spans = append(report.Spans, one)
	}
	report.APIKeys = slices.Sorted(maps.Keys(keys))
	report.UserAgents = slices.Sorted(maps.Keys(agents))
	return report
}
