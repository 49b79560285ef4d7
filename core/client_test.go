package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

func TestStartFlowAsksTheDecider(t *testing.T) {
	decider := &fakeDecider{}
	client := clientOf(t, decider, Options{})
	for name, test := range map[string]struct {
		params FlowParams
		want   check.Request
	}{
		"nothing": {FlowParams{}, check.Request{Timeout: 200 * time.Millisecond}},
		"everything": {
			FlowParams{Labels: map[string]string{"a": "1"}, RampMode: true, CheckTimeout: time.Second},
			check.Request{Labels: check.Labels{{Key: "a", Value: "1"}}, RampMode: true, Timeout: time.Second},
		},
		"list and map": {
			FlowParams{LabelList: check.Labels{{Key: "a", Value: "list"}}, Labels: map[string]string{"a": "map"}},
			check.Request{Labels: check.Labels{{Key: "a", Value: "list"}, {Key: "a", Value: "map"}}, Timeout: 200 * time.Millisecond},
		},
		"shortest timeout": {FlowParams{CheckTimeout: 1}, check.Request{Timeout: 1}},
		"longest timeout":  {FlowParams{CheckTimeout: 1<<63 - 1}, check.Request{Timeout: 24 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			start(t, client, test.params)
			test.want.ControlPoint = "checkout"
			assert.Equal(t, test.want, *decider.requests[len(decider.requests)-1])
		})
	}
}

func TestArgumentsThatAreRefused(t *testing.T) {
	decider := &fakeDecider{}
	client := clientOf(t, decider, Options{})
	secret := strings.Repeat("s3cr3t", 1<<20)
	for name, test := range map[string]struct {
		controlPoint string
		params       FlowParams
		argument     string
		hint         string
	}{
		"empty control point":      {"", FlowParams{}, "control point", "empty"},
		"damaged control point":    {"a\xff", FlowParams{}, "control point", "UTF-8"},
		"negative timeout":         {"a", FlowParams{CheckTimeout: -1}, "check timeout", "negative"},
		"labels that are too many": {"a", FlowParams{LabelList: make(check.Labels, 250_000)}, "labels", "at most 4000000"},
		"value that is too long":   {"a", FlowParams{Labels: map[string]string{"s3cr3t-key": secret}}, "labels", "at most 4000000"},
		"long control point":       {strings.Repeat("c", MaxRequestBytes+1), FlowParams{}, "labels", "at most 4000000"},
	} {
		t.Run(name, func(t *testing.T) {
			flow, err := client.StartFlow(t.Context(), test.controlPoint, test.params)
			assert.Nil(t, flow)
			argument(t, err, test.argument)
			assert.ErrorContains(t, err, test.hint)
			assert.NotContains(t, err.Error(), "s3cr3t")
		})
	}
	assert.Empty(t, decider.requests)
	assert.Equal(t, Stats{}, client.Stats())
}

// B15: text that cannot be sent must not open the gate.
func TestLabelsThatAreNotUTF8AreRepaired(t *testing.T) {
	decider := &fakeDecider{}
	client := clientOf(t, decider, Options{})
	list := check.Labels{{Key: "ok", Value: "é"}, {Key: "k\xff", Value: "a\xff\xfeb"}}
	start(t, client, FlowParams{LabelList: list})
	assert.Equal(t, check.Labels{{Key: "ok", Value: "é"}, {Key: "k\uFFFD", Value: "a\uFFFDb"}}, decider.requests[0].Labels)
	assert.Equal(t, "a\xff\xfeb", list[1].Value, "the caller's list is not changed")
	assert.EqualValues(t, 1, client.Stats().FlowsSanitised)

	start(t, client, FlowParams{Labels: map[string]string{"k": "\xff"}})
	assert.Equal(t, check.Labels{{Key: "k", Value: "\uFFFD"}}, decider.requests[1].Labels)
	assert.EqualValues(t, 2, client.Stats().FlowsSanitised)

	// A repaired text may be longer than it was.
	_, err := client.StartFlow(t.Context(), "checkout", FlowParams{Labels: map[string]string{"k": strings.Repeat("\xffa", 1_500_000)}})
	argument(t, err, "labels")
}

func TestLargeRequestsReachTheAgent(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	client := connect(t, Options{Address: server.Address(), Insecure: true})

	many := FlowParams{Labels: map[string]string{}, CheckTimeout: generous}
	for i := range 10_000 {
		many.Labels[fmt.Sprint("key", i)] = "value"
	}
	assert.NoError(t, start(t, client, many).Err())

	long := FlowParams{Labels: map[string]string{"long": strings.Repeat("x", 1<<20)}, CheckTimeout: generous}
	assert.NoError(t, start(t, client, long).Err())

	// As much as is taken, in the shape that needs most beside its texts.
	most := FlowParams{Labels: map[string]string{}, CheckTimeout: generous}
	for size := len("checkout"); size+bytesPerLabel+6 <= MaxRequestBytes; size += bytesPerLabel + 6 {
		most.Labels[fmt.Sprintf("%06x", len(most.Labels))] = ""
	}
	assert.NoError(t, start(t, client, most).Err())
	most = FlowParams{Labels: map[string]string{"x": strings.Repeat("x", MaxRequestBytes-len("checkout")-bytesPerLabel-1)}, CheckTimeout: generous}
	assert.NoError(t, start(t, client, most).Err())

	checks := server.Recorded().Checks
	require.Len(t, checks, 4)
	assert.Equal(t, many.Labels, checks[0].Request.GetLabels())
	assert.Equal(t, long.Labels, checks[1].Request.GetLabels())
}

// A response repeats the labels of its request, so it may be larger than what gRPC takes by default.
func TestLargeResponseIsRead(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{Response: &checkv1.CheckResponse{
		FlowLabelKeys: []string{strings.Repeat("k", 4_000_000)}, TelemetryFlowLabels: map[string]string{strings.Repeat("k", 4_000_000): ""},
	}})
	client := connect(t, Options{Address: server.Address(), Insecure: true})
	assert.NoError(t, start(t, client, patient).Err())
}

// S3: what the agent does is never an error of StartFlow.
func TestAgentThatFailsIsCounted(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	client := connect(t, Options{Address: server.Address(), Insecure: true})
	for code, reason := range map[codes.Code]check.UnreachableReason{
		codes.Unavailable:     check.UnreachableUnavailable,
		codes.Internal:        check.UnreachableAgentError,
		codes.Unauthenticated: check.UnreachableMisconfigured,
	} {
		server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Error: code}})
		flow := start(t, client, patient)
		assert.True(t, flow.ShouldRun())
		assert.Equal(t, reason, flow.UnreachableReason())
		assert.EqualValues(t, 1, client.Stats().UnreachableByReason[reason])
	}
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}})
	flow := start(t, client, FlowParams{CheckTimeout: 20 * time.Millisecond})
	assert.Equal(t, check.UnreachableTimeout, flow.UnreachableReason())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	flow, err := client.StartFlow(ctx, "checkout", patient)
	require.NoError(t, err)
	assert.Equal(t, check.UnreachableCancelled, flow.UnreachableReason())

	server.Set(fakeagent.Behaviour{})
	start(t, client, patient)
	server.Set(fakeagent.Behaviour{Response: fakeagent.Rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, 0)})
	start(t, client, patient)

	stats := client.Stats()
	assert.EqualValues(t, 1, stats.FlowsAccepted)
	assert.EqualValues(t, 1, stats.FlowsRejected)
	assert.EqualValues(t, 5, stats.FlowsUnreachable)
	assert.EqualValues(t, 0, stats.FlowsEnded)
}

func TestOutageIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var mu sync.Mutex
		reason := check.UnreachableTimeout
		decider := &fakeDecider{check: func(context.Context, *check.Request) (check.Answer, error) {
			return check.Answer{}, &check.UnreachableError{Reason: reason, Err: errors.New("for a test")}
		}}
		client := clientOf(t, decider, Options{Logger: slog.New(slog.NewTextHandler(&lockedWriter{&mu, &log}, nil))})
		lines := func() []string {
			mu.Lock()
			defer mu.Unlock()
			defer log.Reset()
			return strings.Split(strings.TrimSpace(log.String()), "\n")
		}
		labels := map[string]string{"user": "alice"}
		for range 100 {
			start(t, client, FlowParams{Labels: labels})
		}
		first := lines()
		require.Len(t, first, 1)
		assert.Contains(t, first[0], "level=WARN")
		assert.Contains(t, first[0], "reason=timeout")
		assert.NotContains(t, first[0], "alice")

		reason = check.UnreachableMisconfigured
		start(t, client, FlowParams{})
		assert.Contains(t, lines()[0], "level=ERROR")

		reason = check.UnreachableTimeout
		time.Sleep(logInterval)
		start(t, client, FlowParams{})
		assert.Contains(t, lines()[0], "held_back=99")

		reason = check.UnreachableCancelled
		start(t, client, FlowParams{})
		assert.Equal(t, []string{""}, lines())
	})
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w *lockedWriter) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(text)
}

func TestNewClientDoesNotWaitForTheAgent(t *testing.T) {
	client := connect(t, Options{Address: "127.0.0.1:1", Insecure: true})
	assert.False(t, client.Immediate())
	flow := start(t, client, patient)
	assert.Equal(t, check.UnreachableUnavailable, flow.UnreachableReason())

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, ok := errors.AsType[*check.UnreachableError](client.WaitReady(ctx))
	assert.True(t, ok)
}

func TestCloseWakesWhatWaits(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Hang: true}})
	client := connect(t, Options{Address: server.Address(), Insecure: true, FlowEndTimeout: generous})
	holding := start(t, client, patient)
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Hang: true}, FlowEnd: fakeagent.Trouble{Hang: true}})

	flows, ends := make(chan *Flow), make(chan error)
	go func() { flows <- start(t, client, FlowParams{CheckTimeout: time.Hour}) }()
	go func() {
		_, err := holding.End(context.Background())
		ends <- err
	}()
	require.Eventually(t, func() bool {
		recorded := server.Recorded()
		return recorded.CheckCount == 2 && recorded.FlowEndCount == 1
	}, generous, time.Millisecond)
	closing, cancel := context.WithCancel(t.Context())
	closed := make(chan error)
	go func() { closed <- client.Close(closing) }()
	assert.Equal(t, check.UnreachableClosed, (<-flows).UnreachableReason(), "who waits for a decision is woken at once")
	select {
	case <-ends:
		t.Error("an end was given up before the close was")
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	require.NoError(t, <-closed)
	failed, ok := errors.AsType[*check.UnreachableError](<-ends)
	require.True(t, ok)
	assert.Equal(t, check.UnreachableClosed, failed.Reason)
	assert.Equal(t, 1, server.Recorded().SpanCount, "the span of the flow that was ended")
}

// A client that is closed right after its last flow has ended does not keep that flow's tokens.
func TestCloseLetsEndsGiveBack(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{InFlight: 1, FlowEnd: fakeagent.Trouble{Delay: 50 * time.Millisecond}})
	client := connect(t, Options{Address: server.Address(), Insecure: true, FlowEndTimeout: generous})
	flow, another := start(t, client, patient), start(t, client, patient)
	ends := make(chan error)
	go func() {
		_, err := flow.End(context.Background())
		ends <- err
	}()
	require.Eventually(t, func() bool { return server.Recorded().FlowEndCount == 1 }, generous, time.Millisecond)
	require.NoError(t, client.Close(t.Context()))
	require.NoError(t, <-ends)
	_, err := another.End(t.Context())
	assert.Equal(t, check.UnreachableClosed, asUnreachable(err).Reason, "too late")
	assert.EqualValues(t, 1, client.Stats().FlowEndsFailed)
}

func TestClosedClient(t *testing.T) {
	decider := &fakeDecider{}
	client := clientOf(t, decider, Options{})
	flow := start(t, client, FlowParams{})
	require.NoError(t, client.Close(t.Context()))
	require.NoError(t, client.Close(t.Context()), "a second Close has nothing to do")
	assert.Equal(t, 1, decider.ended)
	assert.Equal(t, 1, decider.closed)

	_, err := client.StartFlow(t.Context(), "checkout", FlowParams{})
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorIs(t, client.WaitReady(t.Context()), ErrClosed)
	assert.Equal(t, check.StateClosed, client.State())
	_, err = flow.End(t.Context())
	assert.NoError(t, err)
	assert.EqualValues(t, 1, client.Stats().SpansDropped, "ended too late")
	assert.Empty(t, decider.exported)
}

func TestCloseIsBoundedByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := clientOf(t, &fakeDecider{export: hangingExport}, Options{})
		_, _ = start(t, client, FlowParams{}).End(t.Context())

		begin := time.Now()
		first := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			first <- client.Close(ctx)
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, client.Close(ctx), context.DeadlineExceeded, "a Close that waits for another one")
		assert.Equal(t, 100*time.Millisecond, time.Since(begin))

		err := <-first
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "1 spans could not be sent")
		assert.Equal(t, 300*time.Millisecond, time.Since(begin))
		assert.EqualValues(t, 1, client.Stats().SpansDropped)
		assert.NoError(t, client.Close(t.Context()))
	})
}

func TestCloseWithoutADeadlineHasOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := clientOf(t, &fakeDecider{export: hangingExport}, Options{})
		_, _ = start(t, client, FlowParams{}).End(t.Context())
		begin := time.Now()
		assert.Error(t, client.Close(context.Background()))
		assert.Equal(t, DefaultCloseTimeout, time.Since(begin))
	})
}

// hangingExport is an agent that takes spans and never answers.
func hangingExport(ctx context.Context, _ *tracev1.TracesData) (int64, error) {
	<-ctx.Done()
	return 0, &check.UnreachableError{Reason: check.UnreachableTimeout, Err: ctx.Err()}
}

func TestSanitisedTextIsUTF8(t *testing.T) {
	for _, label := range validLabels(check.Labels{{Key: "\xc3\x28", Value: "\xe2\x82"}, {Key: "", Value: "\xf0\x28\x8c\x28"}}) {
		assert.True(t, utf8.ValidString(label.Key))
		assert.True(t, utf8.ValidString(label.Value))
	}
}
