package fakeagent

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Report is a recording in a form that is written as JSON, for tests in any language.
type Report struct {
	CheckCount       int            `json:"check_count"`
	CancelledCount   int            `json:"cancelled_count"`
	FlowEndCount     int            `json:"flow_end_count"`
	CacheLookupCount int            `json:"cache_lookup_count"`
	CacheUpsertCount int            `json:"cache_upsert_count"`
	CacheDeleteCount int            `json:"cache_delete_count"`
	ExportCount      int            `json:"export_count"`
	SpanCount        int            `json:"span_count"`
	ControlPoints    map[string]int `json:"control_points"` // of Checks
	APIKeys          []string       `json:"api_keys"`       // each different one, of all kinds of calls; "" for a call without
	UserAgents       []string       `json:"user_agents"`

	Checks       []CheckReport       `json:"checks"`
	FlowEnds     []FlowEndReport     `json:"flow_ends"`
	CacheLookups []CacheLookupReport `json:"cache_lookups"`
	CacheUpserts []CacheUpsertReport `json:"cache_upserts"`
	CacheDeletes []CacheDeleteReport `json:"cache_deletes"`
	Exports      []ExportReport      `json:"exports"`
	Spans        []SpanReport        `json:"spans"`
}

// CallReport is what is known of every call.
type CallReport struct {
	TimeoutMS float64             `json:"timeout_ms"` // 0 when the call had no deadline
	Metadata  map[string][]string `json:"metadata"`   // without what gRPC itself sends
	Encoding  string              `json:"encoding"`   // how the request was compressed, "" when it was not
}

// CheckReport is one Check.
type CheckReport struct {
	CallReport
	ControlPoint       string            `json:"control_point"`
	Labels             map[string]string `json:"labels"`
	RampMode           bool              `json:"ramp_mode"`
	ExpectEnd          bool              `json:"expect_end"`
	CacheLookupRequest *CacheKeys        `json:"cache_lookup_request"` // null for a Check without
	ContentType        string            `json:"content_type"`
}

// FlowEndReport is one FlowEnd.
type FlowEndReport struct {
	CallReport
	ControlPoint string   `json:"control_point"`
	RequestIDs   []string `json:"request_ids"`
}

// CacheKeys are the keys that a look-up or a delete names.
type CacheKeys struct {
	ControlPoint    string   `json:"control_point"`
	ResultCacheKey  string   `json:"result_cache_key"`
	GlobalCacheKeys []string `json:"global_cache_keys"`
}

// CacheLookupReport is one CacheLookup.
type CacheLookupReport struct {
	CallReport
	CacheKeys
}

// CacheUpsertReport is one CacheUpsert.
type CacheUpsertReport struct {
	CallReport
	ControlPoint       string                      `json:"control_point"`
	ResultCacheEntry   *CacheEntryReport           `json:"result_cache_entry"` // null for an upsert without
	GlobalCacheEntries map[string]CacheEntryReport `json:"global_cache_entries"`
}

// CacheEntryReport is one entry that was to be stored.
type CacheEntryReport struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`  // base64 in JSON
	TTLNS *int64 `json:"ttl_ns"` // null for an entry without
}

// CacheDeleteReport is one CacheDelete.
type CacheDeleteReport struct {
	CallReport
	CacheKeys
}

// ExportReport is one Export that was taken.
type ExportReport struct {
	CallReport
	SpanCount int `json:"span_count"`
}

// SpanReport is one span.
type SpanReport struct {
	Name       string         `json:"name"`
	Root       bool           `json:"root"`
	Attributes map[string]any `json:"attributes"` // of string, int64, Double and bool
	// What the check response in the attributes says.
	ControlPoint string `json:"control_point"`
	Rejected     bool   `json:"rejected"`
}

// Double is a double that can be told from an integer in JSON: 1 is written as 1.0. What JSON has no number for is the
// text "NaN", "Infinity" or "-Infinity", as in the JSON of protobuf.
type Double float64

// MarshalJSON implements json.Marshaler.
func (d Double) MarshalJSON() ([]byte, error) {
	switch number := float64(d); {
	case math.IsNaN(number):
		return []byte(`"NaN"`), nil
	case math.IsInf(number, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(number, -1):
		return []byte(`"-Infinity"`), nil
	default:
		text := strconv.AppendFloat(nil, number, 'g', -1, 64)
		if !bytes.ContainsAny(text, ".e") {
			text = append(text, ".0"...)
		}
		return text, nil
	}
}

// Report returns the recording as a report.
func (r *Recording) Report() *Report {
	report := &Report{
		CheckCount:       r.CheckCount,
		CancelledCount:   r.CancelledCount,
		FlowEndCount:     r.FlowEndCount,
		CacheLookupCount: r.CacheLookupCount,
		CacheUpsertCount: r.CacheUpsertCount,
		CacheDeleteCount: r.CacheDeleteCount,
		ExportCount:      r.ExportCount,
		SpanCount:        r.SpanCount,
		ControlPoints:    map[string]int{},
		Checks:           reportCalls(r.Checks, reportCheck),
		FlowEnds:         reportCalls(r.FlowEnds, reportFlowEnd),
		CacheLookups: reportCalls(r.CacheLookups, func(call CallReport, request *checkv1.CacheLookupRequest) CacheLookupReport {
			return CacheLookupReport{call, cacheKeys(request)}
		}),
		CacheUpserts: reportCalls(r.CacheUpserts, reportCacheUpsert),
		CacheDeletes: reportCalls(r.CacheDeletes, func(call CallReport, request *checkv1.CacheDeleteRequest) CacheDeleteReport {
			return CacheDeleteReport{call, cacheKeys(request)}
		}),
		Exports: reportCalls(r.Exports, func(call CallReport, spans int) ExportReport {
			return ExportReport{call, spans}
		}),
		Spans: make([]SpanReport, 0, len(r.Spans)),
	}
	for i, call := range r.Checks {
		report.ControlPoints[call.Request.GetControlPoint()]++
		report.Checks[i].ContentType = joined(call.Metadata, "content-type")
	}
	for i := range r.Spans {
		report.Spans = append(report.Spans, reportSpan(&r.Spans[i]))
	}
	report.APIKeys = r.everyCallsMetadata("x-api-key")
	report.UserAgents = r.everyCallsMetadata("user-agent")
	return report
}

// reportCalls reports calls of one kind, with what is known of every call and what only this kind has.
func reportCalls[Request, Reported any](calls []Call[Request], report func(CallReport, Request) Reported) []Reported {
	reported := make([]Reported, 0, len(calls)) // never null in JSON
	for i := range calls {
		call := CallReport{
			TimeoutMS: float64(calls[i].Timeout) / float64(time.Millisecond),
			Metadata:  ownMetadata(calls[i].Metadata),
			Encoding:  calls[i].Encoding,
		}
		reported = append(reported, report(call, calls[i].Request))
	}
	return reported
}

// ownMetadata returns metadata without what gRPC itself sends.
func ownMetadata(md metadata.MD) map[string][]string {
	own := map[string][]string{}
	for key, values := range md {
		if key != "content-type" && key != "user-agent" && !strings.HasPrefix(key, ":") && !strings.HasPrefix(key, "grpc-") {
			own[key] = values
		}
	}
	return own
}

func reportCheck(call CallReport, request *checkv1.CheckRequest) CheckReport {
	check := CheckReport{
		CallReport:   call,
		ControlPoint: request.GetControlPoint(),
		Labels:       request.GetLabels(),
		RampMode:     request.GetRampMode(),
		ExpectEnd:    request.GetExpectEnd(),
	}
	if lookup := request.GetCacheLookupRequest(); lookup != nil {
		keys := cacheKeys(lookup)
		check.CacheLookupRequest = &keys
	}
	return check
}

func reportFlowEnd(call CallReport, request *checkv1.FlowEndRequest) FlowEndReport {
	end := FlowEndReport{CallReport: call, ControlPoint: request.GetControlPoint(), RequestIDs: []string{}}
	for _, ref := range request.GetInflightRequests() {
		end.RequestIDs = append(end.RequestIDs, ref.GetRequestId())
	}
	return end
}

// cacheKeys returns the keys of a look-up or a delete.
func cacheKeys(request interface {
	GetControlPoint() string
	GetResultCacheKey() string
	GetGlobalCacheKeys() []string
}) CacheKeys {
	global := request.GetGlobalCacheKeys()
	if global == nil {
		global = []string{}
	}
	return CacheKeys{request.GetControlPoint(), request.GetResultCacheKey(), global}
}

func reportCacheUpsert(call CallReport, request *checkv1.CacheUpsertRequest) CacheUpsertReport {
	upsert := CacheUpsertReport{CallReport: call, ControlPoint: request.GetControlPoint(), GlobalCacheEntries: map[string]CacheEntryReport{}}
	if entry := request.GetResultCacheEntry(); entry != nil {
		reported := reportCacheEntry(entry)
		upsert.ResultCacheEntry = &reported
	}
	for key, entry := range request.GetGlobalCacheEntries() {
		upsert.GlobalCacheEntries[key] = reportCacheEntry(entry)
	}
	return upsert
}

func reportCacheEntry(entry *checkv1.CacheEntry) CacheEntryReport {
	reported := CacheEntryReport{Key: entry.GetKey(), Value: entry.GetValue()}
	if reported.Value == nil {
		reported.Value = []byte{} // no null in JSON
	}
	if ttl := entry.GetTtl(); ttl != nil {
		nanoseconds := int64(ttl.AsDuration())
		reported.TTLNS = &nanoseconds
	}
	return reported
}

func reportSpan(span *Span) SpanReport {
	reported := SpanReport{Name: span.Name, Root: len(span.ParentSpanID) == 0, Attributes: maps.Clone(span.Attributes)}
	for key, value := range span.Attributes {
		if number, ok := value.(float64); ok {
			reported.Attributes[key] = Double(number)
		}
	}
	if response, err := span.CheckResponse(); err == nil {
		reported.ControlPoint = response.GetControlPoint()
		reported.Rejected = response.GetDecisionType() == checkv1.CheckResponse_DECISION_TYPE_REJECTED
	}
	return reported
}

// everyCallsMetadata returns the different values of a key of the metadata of all calls, in order.
func (r *Recording) everyCallsMetadata(key string) []string {
	values := map[string]bool{}
	note(values, key, r.Checks)
	note(values, key, r.FlowEnds)
	note(values, key, r.CacheLookups)
	note(values, key, r.CacheUpserts)
	note(values, key, r.CacheDeletes)
	note(values, key, r.Exports)
	sorted := slices.AppendSeq([]string{}, maps.Keys(values)) // never null in JSON
	slices.Sort(sorted)
	return sorted
}

func note[Request any](values map[string]bool, key string, calls []Call[Request]) {
	for i := range calls {
		values[joined(calls[i].Metadata, key)] = true
	}
}

func joined(md metadata.MD, key string) string { return strings.Join(md.Get(key), ",") }
