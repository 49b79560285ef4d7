package main

import (
	"context"
	"encoding/base64"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The attributes that tell the span of a flow, and how its work went.
const (
	attributeSource        = "aperture.source"
	attributeStatus        = "aperture.flow.status"
	attributeCheckResponse = "aperture.check_response"

	sourceSDK = "sdk"
)

// The statuses that are counted. A client may send any text, so the rest counts together.
const (
	statusOK    = "OK"
	statusError = "Error"
	statusOther = "other"
)

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// traceService takes the spans of ended flows and counts them. It is written by hand because the generated one brings
// grpc-gateway with it.
var traceService = grpc.ServiceDesc{
	ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(service any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			request := &tracev1.TracesData{} // has the wire form of ExportTraceServiceRequest
			if err := decode(request); err != nil {
				return nil, err
			}
			export := func(_ context.Context, request any) (any, error) {
				return service.(*spanCounter).export(request.(*tracev1.TracesData)), nil
			}
			if interceptor == nil {
				return export(ctx, request)
			}
			return interceptor(ctx, request, &grpc.UnaryServerInfo{Server: service, FullMethod: exportMethod}, export)
		},
	}},
}

// spanCounter implements the trace service.
type spanCounter struct{ metrics *metrics }

// export counts spans. As with an agent the answer is always good, an empty ExportTraceServiceResponse, also for spans
// that are ignored.
func (c *spanCounter) export(request *tracev1.TracesData) *emptypb.Empty {
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.count(span)
			}
		}
	}
	return &emptypb.Empty{}
}

func (c *spanCounter) count(span *tracev1.Span) {
	var source, status, response *commonv1.AnyValue
	for _, attribute := range span.GetAttributes() {
		switch attribute.GetKey() {
		case attributeSource:
			source = attribute.GetValue()
		case attributeStatus:
			status = attribute.GetValue()
		case attributeCheckResponse:
			response = attribute.GetValue()
		}
	}
	if source.GetStringValue() != sourceSDK || !decodable(response) {
		c.metrics.spansIgnored.Inc()
		return
	}
	switch {
	case status.GetStringValue() == statusOK:
		c.metrics.spansOK.Inc()
	case status == nil, status.GetStringValue() == statusError: // an agent takes a flow without a status for one that failed
		c.metrics.spansError.Inc()
	default:
		c.metrics.spansOther.Inc()
	}
}

// decodable says whether an attribute is a check response: the base64 text, standard alphabet and padded, of its
// message.
func decodable(attribute *commonv1.AnyValue) bool {
	text, ok := attribute.GetValue().(*commonv1.AnyValue_StringValue)
	if !ok {
		return false
	}
	message, err := base64.StdEncoding.DecodeString(text.StringValue)
	return err == nil && proto.Unmarshal(message, &checkv1.CheckResponse{}) == nil
}
