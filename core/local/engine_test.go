package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local/cache"
	"github.com/libaperture/libaperture/core/local/policy"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limiter is one document of a policy file: a rate limiter for the control point "checkout" with 2 tokens, and one
// more each second. The parts are YAML in flow style.
type limiter struct {
	name       string
	bucket     string // instead of capacity 2 and fill 1
	parameters string // added to the interval
	request    string
	selectors  string // instead of control point checkout
}

func (l limiter) document() string {
	if l.bucket == "" {
		l.bucket = "bucket_capacity: 2, fill_amount: 1"
	}
	if l.selectors == "" {
		l.selectors = "{control_point: checkout}"
	}
	return fmt.Sprintf("{blueprint: rate-limiting/base, policy: {policy_name: %q, rate_limiter: {%s, parameters: {interval: 1s, %s}, "+
		"request_parameters: {%s}, selectors: [%s]}}}\n", l.name, l.bucket, l.parameters, l.request, l.selectors)
}

// openText opens an engine with the policies of a text.
func openText(t *testing.T, text string, options Options) *Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policies.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	engine, err := Open([]string{path}, options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, engine.Close()) })
	return engine
}

func open(t *testing.T, limiters ...limiter) *Engine {
	t.Helper()
	documents := make([]string, len(limiters))
	for i, limiter := range limiters {
		documents[i] = limiter.document()
	}
	return openText(t, strings.Join(documents, "---\n"), Options{})
}

// ask checks a flow at the control point "checkout". Its labels are keys and values in turn.
func ask(t *testing.T, engine *Engine, labels ...string) check.Answer {
	t.Helper()
	return askAt(t, engine, "checkout", labels...)
}

func askAt(t *testing.T, engine *Engine, controlPoint string, labels ...string) check.Answer {
	t.Helper()
	request := &check.Request{ControlPoint: controlPoint, Timeout: time.Second}
	for pair := range slices.Chunk(labels, 2) {
		request.Labels = append(request.Labels, check.Label{Key: pair[0], Value: pair[1]})
	}
	answer, err := engine.Check(t.Context(), request)
	require.NoError(t, err)
	return answer
}

// rateLimited is a decision of a rate limiter as a message, without the identity of its policy.
func rateLimited(label string, remaining, current, consumed float64) *checkv1.LimiterDecision {
	return &checkv1.LimiterDecision{
		WaitTime: durationpb.New(0),
		Details: &checkv1.LimiterDecision_RateLimiterInfo_{RateLimiterInfo: &checkv1.LimiterDecision_RateLimiterInfo{
			Label:      label,
			TokensInfo: &checkv1.LimiterDecision_TokensInfo{Remaining: remaining, Current: current, Consumed: consumed},
		}},
	}
}

// by sets whose decision a message is.
func by(engine *Engine, policyIndex int, decision *checkv1.LimiterDecision) *checkv1.LimiterDecision {
	of := engine.policies.Load().parts[policyIndex].common()
	decision.PolicyName = of.policy
	decision.PolicyHash = of.hash
	decision.ComponentId = "root.0"
	return decision
}

func assertMessage(t *testing.T, expected, actual proto.Message) {
	t.Helper()
	if !proto.Equal(expected, actual) {
		assert.Equal(t, prototext.Format(expected), prototext.Format(actual))
	}
}

func TestCheckMessageOfAcceptedFlow(t *testing.T) {
	text := limiter{name: "p", parameters: "limit_by_label_key: user", request: "denied_response_status_code: PaymentRequired"}.document()
	synctest.Test(t, func(t *testing.T) {
		engine := openText(t, text, Options{Services: []string{"shop.example"}})
		answer := ask(t, engine, "zone", "b", "user", "ann", "Zone", "c", "aperture.control_point_type", "mine", "user", "bob")
		assert.False(t, answer.Rejected)
		assert.Zero(t, answer.DeniedStatus)
		assert.False(t, answer.HasWaitTime)
		assert.Empty(t, answer.InFlight)

		decision := by(engine, 0, rateLimited("user:bob", 1, 1, 1))
		decision.DeniedResponseStatusCode = checkv1.StatusCode_PaymentRequired
		expected := &checkv1.CheckResponse{
			Start:         timestamppb.Now(),
			End:           timestamppb.Now(),
			Services:      []string{"shop.example"},
			ControlPoint:  "checkout",
			FlowLabelKeys: []string{"Zone", "aperture.control_point_type", "user", "zone"},
			TelemetryFlowLabels: map[string]string{
				"zone": "b", "Zone": "c", "user": "bob", "aperture.control_point_type": "feature",
			},
			LimiterDecisions: []*checkv1.LimiterDecision{decision},
			ExpectEnd:        true,
		}
		assertMessage(t, expected, answer.Response.CheckResponse())

		time.Sleep(time.Hour)
		ask(t, engine, "user", "bob")
		assertMessage(t, expected, answer.Response.CheckResponse())
	})
}

func TestCheckMessageOfRejectedFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := open(t, limiter{name: "p"})
		ask(t, engine)
		ask(t, engine)
		time.Sleep(250 * time.Millisecond)
		answer := ask(t, engine)
		assert.True(t, answer.Rejected)
		assert.Equal(t, check.RejectReasonRateLimited, answer.RejectReason)
		assert.EqualValues(t, 429, answer.DeniedStatus)
		assert.True(t, answer.HasWaitTime)
		assert.Equal(t, 750*time.Millisecond, answer.WaitTime)
		assert.Empty(t, answer.InFlight)

		decision := by(engine, 0, rateLimited("default", 0.25, 1.75, 0))
		decision.Dropped = true
		decision.WaitTime = durationpb.New(750 * time.Millisecond)
		assertMessage(t, &checkv1.CheckResponse{
			Start:                    timestamppb.Now(),
			End:                      timestamppb.Now(),
			ControlPoint:             "checkout",
			TelemetryFlowLabels:      map[string]string{"aperture.control_point_type": "feature"},
			DecisionType:             checkv1.CheckResponse_DECISION_TYPE_REJECTED,
			RejectReason:             checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED,
			LimiterDecisions:         []*checkv1.LimiterDecision{decision},
			WaitTime:                 durationpb.New(750 * time.Millisecond),
			DeniedResponseStatusCode: checkv1.StatusCode_TooManyRequests,
			ExpectEnd:                true,
		}, answer.Response.CheckResponse())

		time.Sleep(answer.WaitTime)
		assert.False(t, ask(t, engine).Rejected, "after the wait")
	})
}

func TestFlowThatNothingMatchesIsAccepted(t *testing.T) {
	engine := open(t, limiter{name: "p", bucket: "bucket_capacity: 0, fill_amount: 0"})
	for _, controlPoint := range []string{"", "other", "Checkout", "checkout ", "check.*"} {
		answer := askAt(t, engine, controlPoint)
		assert.False(t, answer.Rejected)
		response := answer.Response.CheckResponse()
		assert.Empty(t, response.GetLimiterDecisions())
		assert.Equal(t, controlPoint, response.GetControlPoint())
		assert.Equal(t, checkv1.CheckResponse_DECISION_TYPE_ACCEPTED, response.GetDecisionType())
	}
	empty, err := Open(nil, Options{})
	require.NoError(t, err)
	assert.False(t, ask(t, empty).Rejected, "an engine without policies")
	assert.Equal(t, check.StateReady, empty.State())
	assert.NoError(t, empty.Close())
	assert.Equal(t, check.StateClosed, empty.State())
}

func TestRampModeWithoutRampIsRejected(t *testing.T) {
	engine := open(t, limiter{name: "p"})
	answer, err := engine.Check(t.Context(), &check.Request{ControlPoint: "checkout", RampMode: true, Timeout: time.Second})
	require.NoError(t, err)
	assert.True(t, answer.Rejected)
	assert.Equal(t, check.RejectReasonNoMatchingRamp, answer.RejectReason)
	assert.Zero(t, answer.DeniedStatus)
	assert.False(t, answer.HasWaitTime)
	response := answer.Response.CheckResponse()
	assert.Empty(t, response.GetLimiterDecisions())
	assert.Nil(t, response.GetWaitTime())
	assert.Equal(t, checkv1.StatusCode_Empty, response.GetDeniedResponseStatusCode())
	assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_NO_MATCHING_RAMP, response.GetRejectReason())

	snapshot := engine.Snapshot()
	assert.EqualValues(t, 1, snapshot.NoMatchingRamp)
	assert.Zero(t, snapshot.Components[0].Accepted, "the rate limiter was asked")
}

func TestLabelValuesHaveBucketsOfTheirOwn(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, test := range map[string]struct {
		limiter limiter
		labels  []string
		label   string
	}{
		"one bucket without a label key": {limiter{name: "p"}, nil, "default"},
		"by value":                       {limiter{name: "p", parameters: "limit_by_label_key: user"}, []string{"user", "ann"}, "user:ann"},
		"an empty value is a value":      {limiter{name: "p", parameters: "limit_by_label_key: user"}, []string{"user", ""}, "user:"},
		"the old key":                    {limiter{name: "p", parameters: "label_key: user"}, []string{"user", "ann"}, "user:ann"},
		"the new key before the old":     {limiter{name: "p", parameters: "label_key: zone, limit_by_label_key: user"}, []string{"zone", "z", "user", "ann"}, "user:ann"},
		"a long value (D8)":              {limiter{name: "p", parameters: "limit_by_label_key: user"}, []string{"user", long}, "user:" + long},
		"the last of equal keys":         {limiter{name: "p", parameters: "limit_by_label_key: user"}, []string{"user", "ann", "user", "bob"}, "user:bob"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := open(t, test.limiter)
				for remaining := 1.0; remaining >= 0; remaining-- {
					answer := ask(t, engine, test.labels...)
					require.False(t, answer.Rejected)
					assertMessage(t, by(engine, 0, rateLimited(test.label, remaining, 2-remaining, 1)),
						answer.Response.CheckResponse().GetLimiterDecisions()[0])
				}
				assert.True(t, ask(t, engine, test.labels...).Rejected)
				if len(test.labels) > 0 {
					assert.False(t, ask(t, engine, "user", long+"y").Rejected, "another value")
				}
			})
		})
	}
}

func TestFlowWithoutTheLabelIsUnlimited(t *testing.T) {
	engine := open(t, limiter{name: "p", parameters: "limit_by_label_key: user", request: "tokens_label_key: cost"})
	expected := by(engine, 0, rateLimited("", 0, 0, 7))
	expected.Reason = checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND
	for range 5 {
		answer := ask(t, engine, "User", "ann", "cost", "7")
		assert.False(t, answer.Rejected)
		assertMessage(t, expected, answer.Response.CheckResponse().GetLimiterDecisions()[0])
	}
	component := engine.Snapshot().Components[0]
	assert.EqualValues(t, 5, component.Unlimited)
	assert.Zero(t, component.Accepted)
	assert.Zero(t, component.Labels)
}

func TestPassThroughLimitsNothing(t *testing.T) {
	engine := openText(t, `{circuit: {components: [{flow_control: {rate_limiter: {
		in_ports: {bucket_capacity: {constant_signal: {value: 0}}, fill_amount: {constant_signal: {value: 0}}, pass_through: {constant_signal: {value: 1}}},
		parameters: {interval: 1s}, selectors: [{control_point: checkout}]}}}]}}`, Options{})
	answer := ask(t, engine)
	assert.False(t, answer.Rejected)
	expected := by(engine, 0, rateLimited("", 0, 0, 1))
	expected.Reason = checkv1.LimiterDecision_LIMITER_REASON_KEY_NOT_FOUND
	assertMessage(t, expected, answer.Response.CheckResponse().GetLimiterDecisions()[0])
}

func TestTokensLabel(t *testing.T) {
	for text, expected := range map[string]struct {
		tokens  float64
		invalid uint64
	}{
		"3":       {tokens: 3},
		"2.5":     {tokens: 2.5},
		"0":       {tokens: 0},
		"-0":      {tokens: 0},
		"1e1":     {tokens: 10},
		"0x1p2":   {tokens: 4},
		"":        {tokens: 1, invalid: 1},
		" 3":      {tokens: 1, invalid: 1},
		"many":    {tokens: 1, invalid: 1},
		"-3":      {tokens: 1, invalid: 1},
		"NaN":     {tokens: 1, invalid: 1},
		"Inf":     {tokens: 1, invalid: 1},
		"-Inf":    {tokens: 1, invalid: 1},
		"1e999":   {tokens: 1, invalid: 1},
		"missing": {tokens: 1},
	} {
		t.Run(text, func(t *testing.T) {
			engine := open(t, limiter{name: "p", bucket: "bucket_capacity: 100, fill_amount: 0", request: "tokens_label_key: cost"})
			labels := []string{"cost", text}
			if text == "missing" {
				labels = nil
			}
			answer := ask(t, engine, labels...)
			assertMessage(t, by(engine, 0, rateLimited("default", 100-expected.tokens, expected.tokens, expected.tokens)),
				answer.Response.CheckResponse().GetLimiterDecisions()[0])
			assert.Equal(t, expected.invalid, engine.Snapshot().Components[0].InvalidTokens)
		})
	}
}

func TestGroupRejectsWhenOneLimiterDoes(t *testing.T) {
	const closed = "bucket_capacity: 0, fill_amount: 1"
	for name, test := range map[string]struct {
		limiters []limiter
		dropped  []bool
		status   int32
		wait     time.Duration
	}{
		"the default status": {
			[]limiter{{name: "a"}, {name: "b", bucket: closed}}, []bool{false, true}, 429, time.Second,
		},
		"the status of the limiter that rejects": {
			[]limiter{
				{name: "a", request: "denied_response_status_code: PaymentRequired"},
				{name: "b", bucket: closed, request: "denied_response_status_code: ServiceUnavailable"},
			}, []bool{false, true}, 503, time.Second,
		},
		"the first status of those that reject": {
			[]limiter{
				{name: "a", bucket: closed},
				{name: "b", bucket: closed, request: "denied_response_status_code: ServiceUnavailable"},
				{name: "c", bucket: closed, request: "denied_response_status_code: Forbidden"},
			}, []bool{true, true, true}, 503, time.Second,
		},
		"the longest wait": {
			[]limiter{
				{name: "a", bucket: closed},
				{name: "b", bucket: "bucket_capacity: 0, fill_amount: 0.25"},
				{name: "c", bucket: "bucket_capacity: 0, fill_amount: 0"},
			}, []bool{true, true, true}, 429, 4 * time.Second,
		},
		"no wait when none helps (D23)": {
			[]limiter{{name: "a"}, {name: "b", bucket: "bucket_capacity: 0, fill_amount: 0"}}, []bool{false, true}, 429, 0,
		},
		"a finite wait for more than the bucket holds (D15)": {
			[]limiter{{name: "a", bucket: "bucket_capacity: 0.5, fill_amount: 0.25"}}, []bool{true}, 429, 2 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := open(t, test.limiters...)
				answer := ask(t, engine)
				assert.True(t, answer.Rejected)
				assert.Equal(t, check.RejectReasonRateLimited, answer.RejectReason)
				assert.Equal(t, test.status, answer.DeniedStatus)
				assert.Equal(t, test.wait, answer.WaitTime)
				assert.Equal(t, test.wait > 0, answer.HasWaitTime)
				response := answer.Response.CheckResponse()
				assert.EqualValues(t, test.status, response.GetDeniedResponseStatusCode())
				assert.Equal(t, test.wait > 0, response.WaitTime != nil)
				require.Len(t, response.GetLimiterDecisions(), len(test.limiters))
				for i, decision := range response.GetLimiterDecisions() {
					assert.Equal(t, test.limiters[i].name, decision.GetPolicyName(), "in the order of the policies")
					assert.Equal(t, test.dropped[i], decision.GetDropped(), "decision %d", i)
					assert.NotNil(t, decision.GetWaitTime(), "decision %d", i)
				}
			})
		})
	}
}

func TestTokensComeBackWhenAnotherLimiterRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := open(t,
			limiter{name: "a", bucket: "bucket_capacity: 10, fill_amount: 0", request: "tokens_label_key: cost", parameters: "limit_by_label_key: user"},
			limiter{name: "b", bucket: "bucket_capacity: 1, fill_amount: 0"},
			limiter{name: "c", bucket: "bucket_capacity: 10, fill_amount: 0"},
			limiter{name: "d", parameters: "limit_by_label_key: absent"},
		)
		require.False(t, ask(t, engine, "user", "ann", "cost", "4").Rejected)
		for range 3 {
			answer := ask(t, engine, "user", "ann", "cost", "4")
			require.True(t, answer.Rejected)
			decisions := answer.Response.CheckResponse().GetLimiterDecisions()
			assertMessage(t, by(engine, 0, rateLimited("user:ann", 2, 8, 4)), decisions[0])
			assertMessage(t, by(engine, 2, rateLimited("default", 8, 2, 1)), decisions[2])
		}
		for i, expected := range []ComponentSnapshot{
			{Policy: "a", Accepted: 4, Reverted: 3, Labels: 1, Bucket: &BucketSnapshot{Capacity: 10, Looked: 1, Available: 6}},
			{Policy: "b", Accepted: 1, Rejected: 3, Labels: 1, Bucket: &BucketSnapshot{Capacity: 1, Looked: 1}},
			{Policy: "c", Accepted: 4, Reverted: 3, Labels: 1, Bucket: &BucketSnapshot{Capacity: 10, Looked: 1, Available: 9}},
			{Policy: "d", Unlimited: 4, Bucket: &BucketSnapshot{Capacity: 2}},
		} {
			expected.Component, expected.Kind = "root.0", KindRateLimiter
			assert.Equal(t, expected, engine.Snapshot().Components[i])
		}
	})
}

func TestSelectors(t *testing.T) {
	for name, test := range map[string]struct {
		selectors string
		options   Options
		labels    []string
		selected  bool
	}{
		"control point":                      {"{control_point: checkout}", Options{}, nil, true},
		"another control point":              {"{control_point: Checkout}", Options{}, nil, false},
		"control points are no patterns":     {"{control_point: check.*}", Options{}, nil, false},
		"any group without the option":       {"{control_point: checkout, agent_group: eu}", Options{}, nil, true},
		"the option's group":                 {"{control_point: checkout, agent_group: eu}", Options{AgentGroup: "eu"}, nil, true},
		"not the option's group":             {"{control_point: checkout, agent_group: eu}", Options{AgentGroup: "EU"}, nil, false},
		"the default group":                  {"{control_point: checkout}", Options{AgentGroup: "aperture-cloud"}, nil, true},
		"the default group is not another":   {"{control_point: checkout}", Options{AgentGroup: "default"}, nil, false},
		"any service":                        {"{control_point: checkout, service: any}", Options{}, nil, true},
		"a service of a flow without one":    {"{control_point: checkout, service: shop}", Options{}, nil, false},
		"a service of the flow":              {"{control_point: checkout, service: shop}", Options{Services: []string{"x", "shop"}}, nil, true},
		"not a service of the flow":          {"{control_point: checkout, service: shop}", Options{Services: []string{"shop.x"}}, nil, false},
		"any service of a flow with one":     {"{control_point: checkout}", Options{Services: []string{"shop"}}, nil, true},
		"one of several selectors":           {"{control_point: other}, {control_point: checkout}", Options{}, nil, true},
		"several match":                      {"{control_point: checkout}, {control_point: checkout, label_matcher: {match_labels: {a: b}}}, {control_point: checkout}", Options{}, []string{"a", "b"}, true},
		"matcher after selector without one": {"{control_point: checkout}, {control_point: checkout, label_matcher: {match_labels: {a: b}}}", Options{}, nil, true},
		"selector without matcher after one": {"{control_point: checkout, label_matcher: {match_labels: {a: b}}}, {control_point: checkout}", Options{}, nil, true},
		"one of several matchers":            {"{control_point: checkout, label_matcher: {match_labels: {a: b}}}, {control_point: other}, {control_point: checkout, label_matcher: {match_labels: {c: d}}}", Options{}, []string{"c", "d"}, true},
		"none of several matchers":           {"{control_point: checkout, label_matcher: {match_labels: {a: b}}}, {control_point: checkout, label_matcher: {match_labels: {c: d}}}", Options{}, []string{"a", "d"}, false},
		"matcher of another group":           {"{control_point: checkout, agent_group: eu}, {control_point: checkout, agent_group: us, label_matcher: {match_labels: {a: b}}}", Options{AgentGroup: "us"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine := openText(t, limiter{name: "p", selectors: test.selectors}.document(), test.options)
			decisions := ask(t, engine, test.labels...).Response.CheckResponse().GetLimiterDecisions()
			if !test.selected {
				assert.Empty(t, decisions)
				return
			}
			require.Len(t, decisions, 1, "a component runs once")
			assert.Equal(t, 1.0, decisions[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining(), "tokens were taken once")
		})
	}
}

func TestFlowEnd(t *testing.T) {
	engine := open(t, limiter{name: "p"})
	known := ask(t, engine).Response.CheckResponse().GetLimiterDecisions()[0]
	references := []*checkv1.InflightRequestRef{
		{PolicyName: known.PolicyName, PolicyHash: known.PolicyHash, ComponentId: known.ComponentId, Label: "default", RequestId: "1", Tokens: 1},
		{PolicyName: "unknown", PolicyHash: "0", ComponentId: "root.0", RequestId: "2"},
		{PolicyName: known.PolicyName, PolicyHash: known.PolicyHash, ComponentId: known.ComponentId},
	}
	response, err := engine.FlowEnd(t.Context(), &checkv1.FlowEndRequest{ControlPoint: "checkout", InflightRequests: references}, time.Second)
	require.NoError(t, err)
	require.Len(t, response.GetTokenReturnStatuses(), len(references))
	for i, message := range []string{
		"flow ender not found for limiter id", // a rate limiter has nothing to end
		"flow ender not found for limiter id",
		"request id cannot be empty",
	} {
		assertMessage(t, &checkv1.TokenReturnStatus{InflightRequestRef: references[i], Error: message}, response.GetTokenReturnStatuses()[i])
	}

	response, err = engine.FlowEnd(t.Context(), &checkv1.FlowEndRequest{}, time.Second)
	require.NoError(t, err)
	assert.Empty(t, response.GetTokenReturnStatuses())
}

func TestConcurrentChecksAdmitTheCapacity(t *testing.T) {
	engine := open(t,
		limiter{name: "a", bucket: "bucket_capacity: 100, fill_amount: 0", parameters: "limit_by_label_key: user"},
		limiter{name: "b", bucket: "bucket_capacity: 1000, fill_amount: 0", parameters: "limit_by_label_key: user"},
	)
	var admitted [3]atomic.Int64
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := range 300 {
				user := (worker + i) % len(admitted)
				request := check.Request{ControlPoint: "checkout", Labels: check.Labels{{Key: "user", Value: fmt.Sprint(user)}}, Timeout: time.Second}
				if answer, err := engine.Check(context.Background(), &request); err == nil && !answer.Rejected {
					admitted[user].Add(1)
				}
			}
		})
	}
	for range 20 {
		engine.Snapshot()
	}
	workers.Wait()
	for user := range admitted {
		assert.EqualValues(t, 100, admitted[user].Load())
	}
	components := engine.Snapshot().Components
	assert.EqualValues(t, 300, components[1].Accepted-components[1].Reverted, "tokens of the other limiter were given back")
}

func TestFlowOfEndedContextTakesNothing(t *testing.T) {
	engine := open(t, limiter{name: "p"})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for reason, ctx := range map[check.UnreachableReason]context.Context{
		check.UnreachableCancelled: cancelled,
		check.UnreachableTimeout:   late,
	} {
		_, err := engine.Check(ctx, &check.Request{ControlPoint: "checkout", Timeout: time.Second})
		var unreachable *check.UnreachableError
		require.ErrorAs(t, err, &unreachable)
		assert.Equal(t, reason, unreachable.Reason)
		assert.ErrorIs(t, err, ctx.Err())
	}
	assert.Zero(t, engine.Snapshot().Components[0].Accepted)
}

func TestClosedEngineRefuses(t *testing.T) {
	before := goleak.IgnoreCurrent()
	engine := open(t, limiter{name: "p"})
	assert.True(t, engine.Immediate())
	assert.NoError(t, engine.WaitReady(t.Context()))
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() { assert.NoError(t, engine.Close()) })
	}
	closers.Wait()
	goleak.VerifyNone(t, before)

	_, checkErr := engine.Check(t.Context(), &check.Request{ControlPoint: "checkout", Timeout: time.Second})
	_, flowEndErr := engine.FlowEnd(t.Context(), &checkv1.FlowEndRequest{}, time.Second)
	for _, err := range []error{checkErr, flowEndErr, engine.WaitReady(t.Context())} {
		var unreachable *check.UnreachableError
		require.ErrorAs(t, err, &unreachable)
		assert.Equal(t, check.UnreachableClosed, unreachable.Reason)
	}
}

func TestOpenRefusesBadOptionsAndFiles(t *testing.T) {
	for _, test := range []struct {
		options Options
		want    string
	}{
		{Options{MaxLabels: -1}, "MaxLabels is -1, expected a number from 1 to 1073741824, or 0 for the default"},
		{Options{MaxLabels: MostLabels + 1}, "MaxLabels is 1073741825, expected"},
		{Options{MaxWaiting: -1}, "MaxWaiting is -1, expected a number from 1 to 1073741824, or 0 for the default"},
		{Options{MaxWaiting: MostWaiting + 1}, "MaxWaiting is 1073741825, expected"},
		{Options{CacheBytes: -1}, "CacheBytes is -1, expected a number of bytes from 1048576 to 1099511627776, or 0 for the default"},
		{Options{CacheBytes: LeastCacheBytes - 1}, "CacheBytes is 1048575, expected"},
		{Options{CacheBytes: MostCacheBytes + 1}, "CacheBytes is 1099511627777, expected"},
	} {
		_, err := Open(nil, test.options)
		assert.ErrorContains(t, err, test.want)
	}
	path := filepath.Join(t.TempDir(), "absent.yaml")
	_, err := Open([]string{path}, Options{})
	var loadError *LoadError
	require.True(t, errors.As(err, &loadError))
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, path+": no such file or directory", err.Error())
}

func TestWarningsSayWhatIsIgnored(t *testing.T) {
	engine := open(t, limiter{name: "p", parameters: "lazy_sync: {enabled: true}"})
	warnings := engine.Warnings()
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0].String(), "policies.yaml:1:")
	assert.Contains(t, warnings[0].Message, "lazy_sync: ignored")
}

func TestExamplePoliciesLoad(t *testing.T) {
	engine, err := Open([]string{"../../examples/policies"}, Options{})
	require.NoError(t, err)
	assert.Empty(t, engine.Warnings())
	assert.NoError(t, engine.Close())
}

func TestSweeperGoesOnAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written bytes.Buffer // read when the sweeper has ended
		healthy := newRateLimiter(&policy.Policy{Name: "healthy"}, policy.RateLimiter{
			TokenBucket: policy.TokenBucket{BucketCapacity: 1, Interval: time.Hour, MaxIdleTime: 10 * time.Second},
		}, DefaultMaxLabels)
		broken := &rateLimiter{idle: healthy.idle} // without buckets
		engine := &Engine{options: Options{Logger: slog.New(slog.NewTextHandler(&written, nil))}, epoch: time.Now(), cache: cache.New(0)}
		engine.retired.Store(&[]part{})
		engine.policies.Store(&policies{parts: []part{healthy, broken}})
		engine.sweeper.start(engine)
		labels := func() int { return healthy.buckets.Counts().Labels }
		time.Sleep(5 * time.Second) // by now it has panicked
		healthy.buckets.Take(int64(time.Since(engine.epoch)), "alice", 1)
		assert.Equal(t, 1, labels())
		time.Sleep(15 * time.Second)
		synctest.Wait()
		assert.Zero(t, labels(), "what is idle is swept")
		assert.NoError(t, engine.Close(), "it can be closed")
		assert.Contains(t, written.String(), "where=local.sweeper")
		assert.Contains(t, written.String(), "Table).Sweep", "the stack")
		panics := strings.Count(written.String(), "\n")
		assert.Greater(t, panics, 2)
		assert.LessOrEqual(t, panics, 20, "it spins")
	})
}

// A caller that asks twice, for example because its buffer was too small at first, gets the same text twice.
func TestDecisionHasOneMessage(t *testing.T) {
	engine := open(t, limiter{name: "policy"})
	answer, err := engine.Check(t.Context(), &check.Request{ControlPoint: "checkout", Timeout: time.Second})
	require.NoError(t, err)
	assert.Same(t, answer.Response.CheckResponse(), answer.Response.CheckResponse())
}
