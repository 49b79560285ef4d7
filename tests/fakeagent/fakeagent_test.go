package fakeagent_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// start starts an agent that is stopped at the end of the test.
func start(t *testing.T, options fakeagent.Options) *fakeagent.Agent {
	t.Helper()
	agent, err := fakeagent.Start(options)
	require.NoError(t, err)
	t.Cleanup(agent.Stop)
	return agent
}

// connect returns a plaintext connection to an agent that is closed at the end of the test.
func connect(t *testing.T, agent *fakeagent.Agent) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(agent.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// client returns a client of an agent's decisions.
func client(t *testing.T, agent *fakeagent.Agent) checkv1.FlowControlServiceClient {
	t.Helper()
	return checkv1.NewFlowControlServiceClient(connect(t, agent))
}

// equal asserts that two messages are the same.
func equal(t *testing.T, want, got proto.Message, messageAndArguments ...any) {
	t.Helper()
	if !proto.Equal(want, got) {
		assert.Fail(t, "the messages differ", append([]any{"want: %v\ngot:  %v", want, got}, messageAndArguments...)...)
	}
}

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// export sends spans to an agent, and returns its answer.
func export(t *testing.T, agent *fakeagent.Agent, spans ...*tracev1.Span) *emptypb.Empty {
	t.Helper()
	request := &tracev1.TracesData{ResourceSpans: []*tracev1.ResourceSpans{{ScopeSpans: []*tracev1.ScopeSpans{{Spans: spans}}}}}
	response := &emptypb.Empty{}
	require.NoError(t, connect(t, agent).Invoke(t.Context(), exportMethod, request, response))
	return response
}
