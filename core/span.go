package core

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The attributes that an agent reads; everything else of a span it ignores. Its older versions know only the timestamps
// in nanoseconds, newer ones look for those in milliseconds first.
const (
	attributeSource          = "aperture.source"
	attributeStatus          = "aperture.flow.status"
	attributeCheckResponse   = "aperture.check_response"
	attributeFlowStart       = "aperture.flow_start_timestamp"
	attributeWorkloadStart   = "aperture.workload_start_timestamp"
	attributeFlowEnd         = "aperture.flow_end_timestamp"
	attributeFlowStartMS     = "aperture.flow_start_timestamp_ms"
	attributeWorkloadStartMS = "aperture.workload_start_timestamp_ms"
	attributeFlowEndMS       = "aperture.flow_end_timestamp_ms"
)

// span is an ended flow as it waits for its export: small, and made without the work of encoding.
type span struct {
	response check.Responder
	start    int64         // Unix nanoseconds
	workload time.Duration // from start until the work began
	end      time.Duration // from start until the flow was ended
	failed   bool          // the status is StatusError

	attributes []Attribute
}

// spanEncoder makes spans into the message that an agent takes. It uses its memory again, so a message is valid until
// the next one is made.
type spanEncoder struct {
	wire []byte // a check response
	text []byte // the same in base64
	size int    // of the last span, in bytes, rounded up
}

// maxExportBytes keeps an export below the 4 MiB that a gRPC server takes by default. A span that is larger by itself
// is sent alone, for a server that takes more.
const maxExportBytes = 3_500_000

// encode returns the message for the first spans, as many as may go into one export: taken. A span whose check response
// cannot be encoded is left out of the message, so encoded may be less.
func (e *spanEncoder) encode(spans []span) (message *tracev1.TracesData, taken, encoded int) {
	out := make([]*tracev1.Span, 0, len(spans))
	for bytes := 0; taken < len(spans); taken++ {
		one := e.encodeOne(&spans[taken])
		if one == nil {
			continue
		}
		if bytes += e.size; bytes > maxExportBytes && len(out) > 0 {
			break
		}
		out = append(out, one)
	}
	return &tracev1.TracesData{ResourceSpans: []*tracev1.ResourceSpans{{
		Resource:   &resourcev1.Resource{Attributes: []*commonv1.KeyValue{text("service.name", "libaperture")}},
		ScopeSpans: []*tracev1.ScopeSpans{{Scope: &commonv1.InstrumentationScope{Name: "libaperture"}, Spans: out}},
	}}}, taken, len(out)
}

const (
	// spanOverhead is what a span has on the wire beside its check response and its flow's attributes, rounded up.
	spanOverhead = 512
	// spanAttributes is the number of attributes of this package.
	spanAttributes = 9
)

var (
	sourceSDK   = text(attributeSource, "sdk")
	statusOK    = text(attributeStatus, "OK")
	statusError = text(attributeStatus, "Error")
)

// encodeOne returns one span, nil when its check response cannot be encoded.
func (e *spanEncoder) encodeOne(s *span) *tracev1.Span {
	var err error
	e.wire, err = proto.MarshalOptions{}.MarshalAppend(e.wire[:0], withoutPayloads(s.response.CheckResponse()))
	if err != nil {
		return nil
	}
	e.text = base64.StdEncoding.AppendEncode(e.text[:0], e.wire)
	status := statusOK
	if s.failed {
		status = statusError
	}
	workload, end := s.start+int64(s.workload), s.start+int64(s.end)
	// A root span: the sampling of whatever trace the caller is in must not lose it.
	ids := make([]byte, 24)
	binary.LittleEndian.PutUint64(ids, nonZero())
	binary.LittleEndian.PutUint64(ids[8:], nonZero())
	binary.LittleEndian.PutUint64(ids[16:], nonZero())
	attributes := make([]*commonv1.KeyValue, 0, spanAttributes+len(s.attributes))
	attributes = append(attributes,
		sourceSDK,
		status,
		text(attributeCheckResponse, string(e.text)),
		integer(attributeFlowStart, s.start),
		integer(attributeFlowStartMS, s.start/1e6),
		integer(attributeWorkloadStart, workload),
		integer(attributeWorkloadStartMS, workload/1e6),
		integer(attributeFlowEnd, end),
		integer(attributeFlowEndMS, end/1e6),
	)
	e.size = len(e.text) + spanOverhead
	for i := range s.attributes {
		one := &s.attributes[i]
		e.size += len(one.key) + one.size + bytesPerLabel
		attributes = append(attributes, &commonv1.KeyValue{Key: one.key, Value: one.value})
	}
	return &tracev1.Span{
		TraceId:           ids[:16:16],
		SpanId:            ids[16:],
		Name:              "Aperture Check",
		Kind:              tracev1.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(s.start),
		EndTimeUnixNano:   uint64(end),
		Attributes:        attributes,
	}
}

// nonZero returns a random number that is not 0: an identity of zeros is invalid.
func nonZero() uint64 { return rand.Uint64() | 1<<63 }

func text(key, value string) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
}

func integer(key string, value int64) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: value}}}
}

// withoutPayloads returns the response without cached values: the agent needs only their statuses, and they may be
// large or private. The response itself is not changed.
func withoutPayloads(response *checkv1.CheckResponse) *checkv1.CheckResponse {
	lookup := response.GetCacheLookupResponse()
	payloads := len(lookup.GetResultCacheResponse().GetValue())
	for _, answer := range lookup.GetGlobalCacheResponses() {
		payloads += len(answer.GetValue())
	}
	if payloads == 0 {
		return response
	}
	lookup = shallowCopy(lookup)
	if answer := lookup.ResultCacheResponse; answer != nil {
		lookup.ResultCacheResponse = withoutValue(answer)
	}
	answers := make(map[string]*checkv1.KeyLookupResponse, len(lookup.GlobalCacheResponses))
	for key, answer := range lookup.GlobalCacheResponses {
		answers[key] = withoutValue(answer)
	}
	lookup.GlobalCacheResponses = answers
	response = shallowCopy(response)
	response.CacheLookupResponse = lookup
	return response
}

func withoutValue(answer *checkv1.KeyLookupResponse) *checkv1.KeyLookupResponse {
	answer = shallowCopy(answer)
	answer.Value = nil
	return answer
}

// shallowCopy returns a message with the same fields, not copies of them.
func shallowCopy[M proto.Message](message M) M {
	from := message.ProtoReflect()
	to := from.New()
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.Set(field, value)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	return to.Interface().(M)
}
