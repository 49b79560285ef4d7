package fakeagent

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Recording is what an agent was asked. The counts are complete; the lists end at Options.Keep.
type Recording struct {
	CheckCount       int
	CancelledCount   int // Checks that the caller gave up
	FlowEndCount     int
	CacheLookupCount int // calls of their own; those within a Check are not counted
	CacheUpsertCount int
	CacheDeleteCount int
	ExportCount      int // those that were taken
	SpanCount        int

	Checks       []Call[*checkv1.CheckRequest]
	FlowEnds     []Call[*checkv1.FlowEndRequest]
	CacheLookups []Call[*checkv1.CacheLookupRequest]
	CacheUpserts []Call[*checkv1.CacheUpsertRequest]
	CacheDeletes []Call[*checkv1.CacheDeleteRequest]
	Exports      []Call[int] // the number of spans of each
	Spans        []Span
}

// Call is one call as it arrived.
type Call[Request any] struct {
	Request  Request
	Metadata metadata.MD
	// Timeout is how much time the caller gave, 0 when it gave no deadline.
	Timeout time.Duration
	// Encoding is how the request was compressed, "" when it was not.
	Encoding string
}

// Span is one span as an agent sees it.
type Span struct {
	Name             string
	TraceID, SpanID  []byte
	ParentSpanID     []byte
	Start, End       uint64         // Unix nanoseconds
	Attributes       map[string]any // of string, int64, float64 and bool
	OtherAttributes  int            // attributes that are no text, integer, double or bool
	DoubleAttributes int            // attributes whose key occurred before
}

// CheckResponse returns the decision that the span carries.
func (s *Span) CheckResponse() (*checkv1.CheckResponse, error) {
	text, ok := s.Attributes["aperture.check_response"].(string)
	if !ok {
		return nil, fmt.Errorf("the span has no check response")
	}
	wire, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	response := &checkv1.CheckResponse{}
	return response, proto.Unmarshal(wire, response)
}

// Recorded returns what the agent was asked so far.
func (a *Agent) Recorded() Recording {
	a.mu.Lock()
	defer a.mu.Unlock()
	recorded := a.recorded
	recorded.Checks = slices.Clone(recorded.Checks)
	recorded.FlowEnds = slices.Clone(recorded.FlowEnds)
	recorded.CacheLookups = slices.Clone(recorded.CacheLookups)
	recorded.CacheUpserts = slices.Clone(recorded.CacheUpserts)
	recorded.CacheDeletes = slices.Clone(recorded.CacheDeletes)
	recorded.Exports = slices.Clone(recorded.Exports)
	recorded.Spans = slices.Clone(recorded.Spans)
	return recorded
}

// newCall returns a call with what gRPC knows about it.
func newCall[Request any](ctx context.Context, request Request) Call[Request] {
	call := Call[Request]{Request: request, Encoding: encodingOf(ctx)}
	call.Metadata, _ = metadata.FromIncomingContext(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		call.Timeout = time.Until(deadline)
	}
	return call
}

// record counts a call, and remembers it if there is room. Count and calls are fields of a.recorded.
func record[Request any](ctx context.Context, a *Agent, count *int, calls *[]Call[Request], request Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	recordLocked(ctx, a, count, calls, request)
}

// recordLocked does the same while a.mu is held.
func recordLocked[Request any](ctx context.Context, a *Agent, count *int, calls *[]Call[Request], request Request) {
	*count++
	if len(*calls) < a.options.Keep {
		*calls = append(*calls, newCall(ctx, request))
	}
}

func (a *Agent) recordCancelled() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recorded.CancelledCount++
}

func (a *Agent) recordSpans(ctx context.Context, request *tracev1.TracesData) {
	a.mu.Lock()
	defer a.mu.Unlock()
	count := 0
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			count += len(scope.GetSpans())
			for _, span := range scope.GetSpans() {
				if len(a.recorded.Spans) < a.options.Keep {
					a.recorded.Spans = append(a.recorded.Spans, newSpan(span))
				}
			}
		}
	}
	a.recorded.SpanCount += count
	recordLocked(ctx, a, &a.recorded.ExportCount, &a.recorded.Exports, count)
}

// newSpan returns a span with its attributes as Go values: string, int64, float64 and bool.
func newSpan(from *tracev1.Span) Span {
	span := Span{
		Name:         from.GetName(),
		TraceID:      from.GetTraceId(),
		SpanID:       from.GetSpanId(),
		ParentSpanID: from.GetParentSpanId(),
		Start:        from.GetStartTimeUnixNano(),
		End:          from.GetEndTimeUnixNano(),
		Attributes:   make(map[string]any, len(from.GetAttributes())),
	}
	for _, attribute := range from.GetAttributes() {
		if _, seen := span.Attributes[attribute.GetKey()]; seen {
			span.DoubleAttributes++
		}
		switch value := attribute.GetValue().GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			span.Attributes[attribute.GetKey()] = value.StringValue
		case *commonv1.AnyValue_IntValue:
			span.Attributes[attribute.GetKey()] = value.IntValue
		case *commonv1.AnyValue_DoubleValue:
			span.Attributes[attribute.GetKey()] = value.DoubleValue
		case *commonv1.AnyValue_BoolValue:
			span.Attributes[attribute.GetKey()] = value.BoolValue
		default:
			span.OtherAttributes++
		}
	}
	return span
}
