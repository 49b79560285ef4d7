package fakeagent

import (
	"context"
	"errors"
	"fmt"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that garbageCodec stands before
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// traceService takes spans. It is written by hand because the generated one brings grpc-gateway with it.
var traceService = grpc.ServiceDesc{
	ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(agent any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			request := &tracev1.TracesData{} // the wire form of ExportTraceServiceRequest
			if err := decode(request); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: agent, FullMethod: "/opentelemetry.proto.collector.trace.v1.TraceService/Export"}
			return interceptor(ctx, request, info, func(ctx context.Context, request any) (any, error) {
				return agent.(*Agent).export(ctx, request.(*tracev1.TracesData))
			})
		},
	}},
}

// partialSuccess returns an ExportTraceServiceResponse that says how many spans were refused.
func partialSuccess(rejected int64) proto.Message {
	response := &emptypb.Empty{}
	if rejected > 0 {
		partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rejected))
		partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), "refused by the fake agent")
		response.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial))
	}
	return response
}

// withInFlight returns a copy of a response with decisions of a concurrency limiter.
func (a *Agent) withInFlight(response *checkv1.CheckResponse, n int) *checkv1.CheckResponse {
	response = proto.CloneOf(response)
	for range n {
		response.LimiterDecisions = append(response.LimiterDecisions, &checkv1.LimiterDecision{
			PolicyName:  "fake-policy",
			PolicyHash:  "fake-hash",
			ComponentId: "root.0",
			Details: &checkv1.LimiterDecision_ConcurrencyLimiterInfo_{ConcurrencyLimiterInfo: &checkv1.LimiterDecision_ConcurrencyLimiterInfo{
				Label:      "fake-label",
				RequestId:  fmt.Sprintf("request-%d", a.requestID.Add(1)),
				TokensInfo: &checkv1.LimiterDecision_TokensInfo{Consumed: 1},
			}},
		})
	}
	return response
}

// garbage stands for a response of bytes that are no message.
type garbage struct{}

var errGarbage = errors.New("send garbage")

// garbageCodec is the codec of protobuf, but for garbage.
type garbageCodec struct{ encoding.CodecV2 }

func newGarbageCodec() encoding.CodecV2 { return garbageCodec{encoding.GetCodecV2("proto")} }

func (c garbageCodec) Marshal(message any) (mem.BufferSlice, error) {
	if _, ok := message.(garbage); ok {
		// A field that says it is longer than what follows.
		return mem.BufferSlice{mem.SliceBuffer{0x2a, 0xff, 0x01, 'x'}}, nil
	}
	return c.CodecV2.Marshal(message)
}
