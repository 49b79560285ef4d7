package core

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// generous is a time that passes only when something hangs.
const generous = 20 * time.Second

// fakeDecider is an agent of a few functions, for tests that need no network. A nil function answers at once and without
// an error.
type fakeDecider struct {
	check   func(ctx context.Context, request *check.Request) (check.Answer, error)
	flowEnd func(ctx context.Context, request *checkv1.FlowEndRequest, timeout time.Duration) (*checkv1.FlowEndResponse, error)
	export  func(ctx context.Context, spans *tracev1.TracesData) (int64, error)

	mu       sync.Mutex
	requests []*check.Request
	flowEnds []*checkv1.FlowEndRequest
	exported []*tracev1.TracesData
	ended    int
	closed   int
}

var accepted = check.Answer{Response: responder{&checkv1.CheckResponse{}}}

// responder is a message as a check.Responder.
type responder struct{ message *checkv1.CheckResponse }

func (r responder) CheckResponse() *checkv1.CheckResponse { return r.message }

func (d *fakeDecider) Check(ctx context.Context, request *check.Request) (check.Answer, error) {
	d.mu.Lock()
	d.requests = append(d.requests, request)
	d.mu.Unlock()
	if d.check == nil {
		return accepted, nil
	}
	return d.check(ctx, request)
}

func (d *fakeDecider) FlowEnd(ctx context.Context, request *checkv1.FlowEndRequest, timeout time.Duration) (*checkv1.FlowEndResponse, error) {
	d.mu.Lock()
	d.flowEnds = append(d.flowEnds, request)
	d.mu.Unlock()
	if d.flowEnd == nil {
		return &checkv1.FlowEndResponse{}, nil
	}
	return d.flowEnd(ctx, request, timeout)
}

func (d *fakeDecider) CacheLookup(context.Context, *checkv1.CacheLookupRequest, time.Duration) (*checkv1.CacheLookupResponse, error) {
	return &checkv1.CacheLookupResponse{}, nil
}

func (d *fakeDecider) CacheUpsert(context.Context, *checkv1.CacheUpsertRequest, time.Duration) (*checkv1.CacheUpsertResponse, error) {
	return &checkv1.CacheUpsertResponse{}, nil
}

func (d *fakeDecider) CacheDelete(context.Context, *checkv1.CacheDeleteRequest, time.Duration) (*checkv1.CacheDeleteResponse, error) {
	return &checkv1.CacheDeleteResponse{}, nil
}

// Export keeps a copy of what was sent without an error, since the message is the exporter's.
func (d *fakeDecider) Export(ctx context.Context, spans *tracev1.TracesData) (int64, error) {
	var rejected int64
	if d.export != nil {
		var err error
		if rejected, err = d.export(ctx, spans); err != nil {
			return 0, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.exported = append(d.exported, proto.CloneOf(spans))
	return rejected, nil
}

func (d *fakeDecider) AwaitReturns(context.Context) {}

func (d *fakeDecider) EndCalls() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended++
}

func (d *fakeDecider) Immediate() bool                 { return false }
func (d *fakeDecider) State() check.State              { return check.StateReady }
func (d *fakeDecider) WaitReady(context.Context) error { return nil }

func (d *fakeDecider) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
	return nil
}

// spans returns the spans of one export.
func spansOf(message *tracev1.TracesData) []*tracev1.Span {
	return message.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()
}

// clientOf returns a client of a decider, closed when the test ends.
func clientOf(t testing.TB, decider check.Decider, options Options) *Client {
	t.Helper()
	options, err := options.withDefaults()
	require.NoError(t, err)
	client := newClient(decider, &options)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

// startServer starts an agent on loopback, stopped when the test ends.
func startServer(t testing.TB, options fakeagent.Options) *fakeagent.Agent {
	t.Helper()
	server, err := fakeagent.Start(options)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server
}

// connect returns a client of an address, closed when the test ends.
func connect(t testing.TB, options Options) *Client {
	t.Helper()
	client, err := NewClient(options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

// patient are the parameters of a flow whose Check does not time out.
var patient = FlowParams{CheckTimeout: generous}

func start(t testing.TB, client *Client, params FlowParams) *Flow {
	t.Helper()
	flow, err := client.StartFlow(context.Background(), "checkout", params)
	require.NoError(t, err)
	return flow
}

// argument asserts that err blames an argument.
func argument(t *testing.T, err error, name string) {
	t.Helper()
	wrong, ok := errors.AsType[*ArgumentError](err)
	if assert.True(t, ok, "%v is no ArgumentError", err) {
		assert.Equal(t, name, wrong.Argument)
		assert.NotEmpty(t, wrong.Problem)
	}
}

// unreachable returns a Check that fails.
func unreachable(reason check.UnreachableReason) func(context.Context, *check.Request) (check.Answer, error) {
	return func(context.Context, *check.Request) (check.Answer, error) {
		return check.Answer{}, &check.UnreachableError{Reason: reason, Err: errors.New("for a test")}
	}
}

// answering returns a Check that succeeds.
func answering(answer check.Answer) func(context.Context, *check.Request) (check.Answer, error) {
	if answer.Response == nil {
		answer.Response = responder{&checkv1.CheckResponse{}}
	}
	return func(context.Context, *check.Request) (check.Answer, error) { return answer, nil }
}
