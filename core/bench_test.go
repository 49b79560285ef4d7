package core

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// instant is a Decider that costs nothing, so that what is left is the client's.
type instant struct{ fakeDecider }

func (*instant) Check(context.Context, *check.Request) (check.Answer, error) { return accepted, nil }
func (*instant) Immediate() bool                                             { return true }

// plainDecider hides that a decider takes spans.
type plainDecider struct{ check.Decider }

var benchLabels = check.Labels{{Key: "user_id", Value: "alice"}, {Key: "tier", Value: "gold"}}

func benchmarkFlows(b *testing.B, client *Client) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx := context.Background()
		for pb.Next() {
			flow, err := client.StartFlow(ctx, "checkout", FlowParams{LabelList: benchLabels, CheckTimeout: generous})
			if err != nil || flow.Decision() == Unreachable {
				b.Error(err, flow.Err())
				return
			}
			if _, err := flow.End(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkFlowOfTheClientAlone is a flow in process, but for the engine.
func BenchmarkFlowOfTheClientAlone(b *testing.B) {
	benchmarkFlows(b, clientOf(b, plainDecider{&instant{}}, Options{}))
}

// BenchmarkFlowInProcess is a flow of the engine without a policy.
func BenchmarkFlowInProcess(b *testing.B) {
	benchmarkFlows(b, connect(b, Options{Address: "local:"}))
}

// BenchmarkFlowOverGRPC is a flow over loopback, spans included.
func BenchmarkFlowOverGRPC(b *testing.B) {
	server := startServer(b, fakeagent.Options{Keep: -1})
	benchmarkFlows(b, connect(b, Options{Address: server.Address(), Insecure: true}))
}

// BenchmarkBareCheckOverGRPC is what gRPC itself costs, to compare with.
func BenchmarkBareCheckOverGRPC(b *testing.B) {
	server := startServer(b, fakeagent.Options{Keep: -1})
	conn, err := grpc.NewClient(server.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	service := checkv1.NewFlowControlServiceClient(conn)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(context.Background(), generous)
			_, err := service.Check(ctx, &checkv1.CheckRequest{ControlPoint: "checkout", Labels: benchLabels.Map(), ExpectEnd: true})
			cancel()
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
