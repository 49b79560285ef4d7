package agent

import (
	"context"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// Export sends spans over the connection of the flows. It returns how many of them the agent says it refused. Its error
// is a *check.UnreachableError.
//
// TracesData has the wire form of ExportTraceServiceRequest. The package of that message would bring grpc-gateway and an
// HTTP stack with it.
func (a *Agent) Export(ctx context.Context, spans *tracev1.TracesData) (rejected int64, err error) {
	var response emptypb.Empty
	if err := a.conn.Invoke(ctx, exportMethod, spans, &response); err != nil {
		return 0, a.classify(err)
	}
	return rejectedSpans(response.ProtoReflect().GetUnknown()), nil
}

// rejectedSpans reads ExportTraceServiceResponse.partial_success.rejected_spans, field 1 in field 1.
func rejectedSpans(response []byte) int64 {
	partial, _ := field(response, protowire.BytesType)
	message, _ := protowire.ConsumeBytes(partial)
	value, ok := field(message, protowire.VarintType)
	if !ok {
		return 0
	}
	rejected, _ := protowire.ConsumeVarint(value)
	return max(0, int64(rejected))
}

// field returns what follows the tag of field 1 of the type, and false when a message has none or is damaged.
func field(message []byte, want protowire.Type) ([]byte, bool) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		message = message[n:]
		if number == 1 && kind == want {
			return message, true
		}
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return nil, false
		}
		message = message[n:]
	}
	return nil, false
}
