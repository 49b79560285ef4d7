package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Values of each blueprint with every key, and none of them at its default.
const (
	quotaScheduling = `blueprint: quota-scheduling/base
uri: github.com/example/blueprints@v1
policy:
  policy_name: quota
  quota_scheduler:
    bucket_capacity: 60
    fill_amount: 30
    rate_limiter:
      interval: 60s
      label_key: old
      limit_by_label_key: api_key
      continuous_fill: false
      max_idle_time: 0s
      delay_initial_fill: true
      lazy_sync: {enabled: false, num_sync: 1}
    scheduler:
      workloads:
        - label_matcher: {match_labels: {tier: gold}}
          name: gold
          parameters: {priority: 200.5, tokens: 0, queue_timeout: 0s}
        - label_matcher: {}
          parameters:
            queue_timeout: 2.5s
      default_workload_parameters: {priority: 0.5, tokens: 2, queue_timeout: 1s}
      decision_deadline_margin: 0s
      tokens_label_key: tokens
      priority_label_key: priority
      workload_label_key: workload
      fairness_label_key: user_id
      denied_response_status_code: TooManyRequests
    selectors:
      - {control_point: api, agent_group: eu, service: shop, label_matcher: {match_labels: {a: b}}}
    alerter: {alert_name: a, severity: crit, resolve_timeout: 1s, alert_channels: [c], labels: {k: v}}
  components: []
  resources: {flow_control: {classifiers: [], flux_meters: {}}, infra_meters: {}, telemetry_collectors: []}
`
	concurrencyLimiting = `blueprint: concurrency-limiting/base
uri: github.com/example/blueprints@v1
policy:
  policy_name: in-flight
  concurrency_limiter:
    max_concurrency: 2.5
    parameters:
      limit_by_label_key: user_id
      max_inflight_duration: 30s
      max_idle_time: 0s
    request_parameters:
      tokens_label_key: cost
      denied_response_status_code: Locked
    selectors:
      - control_point: api
    alerter: {alert_name: a}
  components: []
  resources: {}
`
	concurrencyScheduling = `blueprint: concurrency-scheduling/base
policy:
  policy_name: line
  concurrency_scheduler:
    max_concurrency: 10
    concurrency_limiter:
      limit_by_label_key: tenant
      max_inflight_duration: 60s
      max_idle_time: 600s
    scheduler:
      workloads:
        - name: paid
          label_matcher: {match_list: [{key: plan, operator: In, values: [paid]}]}
          parameters: {priority: 10}
    selectors:
      - control_point: report
    alerter: {}
`
	loadRamping = `blueprint: load-ramping/base
uri: github.com/example/blueprints@v1
policy:
  policy_name: rollout
  load_ramp:
    sampler:
      selectors:
        - control_point: new-cart
      session_label_key: user_id
      denied_response_status_code: NotFound
      ramp_mode: false
    steps:
      - {target_accept_percentage: 0, duration: 0s}
      - {target_accept_percentage: 50.5, duration: 60s}
      - {target_accept_percentage: 100, duration: 600s}
  start: true
  drivers: {promql_drivers: [], average_latency_drivers: [], percentile_latency_drivers: []}
  kubelet_metrics: {}
  components: []
  resources: {flow_control: {classifiers: []}}
`
	rampStarts = "---\npolicy_name: rollout\ndynamic_config: {start: false, reset: true, pass_through_label_values: [alice, bob]}\n"
)

func pointer[T any](of T) *T { return &of }

// anywhere returns the selectors of a component that a control point alone selects.
func anywhere(controlPoint string) []Selector {
	return []Selector{{ControlPoint: controlPoint, AgentGroup: "aperture-cloud", Service: "any"}}
}

// noHash takes the hash away, which changes with every letter.
func noHash(t *testing.T, policies []Policy) []Policy {
	t.Helper()
	for i := range policies {
		assert.Len(t, policies[i].Hash, 32)
		policies[i].Hash = ""
	}
	return policies
}

func TestLoadValuesWithEveryKey(t *testing.T) {
	for name, test := range map[string]struct {
		document string
		policy   Policy
	}{
		"quota-scheduling": {quotaScheduling, Policy{
			Name: "quota",
			QuotaSchedulers: []QuotaScheduler{{
				Component: Component{
					ID: "root.0", DeniedStatus: checkv1.StatusCode_TooManyRequests,
					Selectors: []Selector{{
						ControlPoint: "api", AgentGroup: "eu", Service: "shop", LabelMatcher: &LabelMatcher{Labels: []Label{{"a", "b"}}},
					}},
				},
				TokenBucket: TokenBucket{
					BucketCapacity: 60, FillAmount: 30, Interval: time.Minute, LimitByLabelKey: "api_key", DelayInitialFill: true,
				},
				Scheduler: Scheduler{
					Workloads: []Workload{
						{
							Label: "gold", Matcher: &LabelMatcher{Labels: []Label{{"tier", "gold"}}},
							WorkloadParameters: WorkloadParameters{Priority: 200.5, QueueTimeout: pointer(time.Duration(0))},
						},
						{
							Label: "1", Matcher: &LabelMatcher{},
							WorkloadParameters: WorkloadParameters{Priority: 1, Tokens: 1, QueueTimeout: pointer(2500 * time.Millisecond)},
						},
					},
					DefaultWorkload: WorkloadParameters{Priority: 0.5, Tokens: 2, QueueTimeout: pointer(time.Second)},
					TokensLabelKey:  "tokens", PriorityLabelKey: "priority", WorkloadLabelKey: "workload", FairnessLabelKey: "user_id",
				},
			}},
		}},
		"concurrency-limiting": {concurrencyLimiting, Policy{
			Name: "in-flight",
			ConcurrencyLimiters: []ConcurrencyLimiter{{
				Component:      Component{ID: "root.0", DeniedStatus: checkv1.StatusCode_Locked, Selectors: anywhere("api")},
				InFlight:       InFlight{MaxConcurrency: 2.5, MaxInflightDuration: 30 * time.Second, LimitByLabelKey: "user_id"},
				TokensLabelKey: "cost",
			}},
		}},
		"concurrency-scheduling": {concurrencyScheduling, Policy{
			Name: "line",
			ConcurrencySchedulers: []ConcurrencyScheduler{{
				Component: Component{ID: "root.0", Selectors: anywhere("report")},
				InFlight: InFlight{
					MaxConcurrency: 10, MaxInflightDuration: time.Minute, MaxIdleTime: 10 * time.Minute, LimitByLabelKey: "tenant",
				},
				Scheduler: Scheduler{
					Workloads: []Workload{{
						Label:              "paid",
						Matcher:            &LabelMatcher{Requirements: []Requirement{{Key: "plan", Operator: In, Values: []string{"paid"}}}},
						WorkloadParameters: WorkloadParameters{Priority: 10, Tokens: 1},
					}},
					DefaultWorkload:        WorkloadParameters{Priority: 1, Tokens: 1},
					DecisionDeadlineMargin: 10 * time.Millisecond,
				},
			}},
		}},
		"load-ramping": {loadRamping, Policy{
			Name: "rollout",
			Samplers: []Sampler{{
				Component:       Component{ID: "root.10.1", DeniedStatus: checkv1.StatusCode_NotFound, Selectors: anywhere("new-cart")},
				SessionLabelKey: "user_id",
				RampMode:        true,
				Ramp:            &Ramp{Steps: []RampStep{{0, 0}, {50.5, time.Minute}, {100, 10 * time.Minute}}, Start: true},
			}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			policies, warnings, err := Load("p.yaml", []byte(test.document))
			require.NoError(t, err)
			assert.Empty(t, warnings)
			assert.Equal(t, []Policy{test.policy}, noHash(t, policies))
		})
	}
}

func TestLoadValuesWithRequiredKeysOnly(t *testing.T) {
	defaults := TokenBucket{
		BucketCapacity: 1, FillAmount: 2, Interval: time.Second, ContinuousFill: true, MaxIdleTime: 7200 * time.Second,
	}
	inFlight := InFlight{MaxConcurrency: 1, MaxInflightDuration: time.Second, MaxIdleTime: 7200 * time.Second}
	scheduler := Scheduler{
		DefaultWorkload: WorkloadParameters{Priority: 1, Tokens: 1}, DecisionDeadlineMargin: 10 * time.Millisecond,
	}
	component := Component{ID: "root.0", Selectors: anywhere("c")}
	for name, test := range map[string]struct {
		section string
		policy  Policy
	}{
		"rate-limiting": {
			"rate_limiter: {bucket_capacity: 1, fill_amount: 2, parameters: {interval: 1s}, selectors: [{control_point: c}]}",
			Policy{Name: "a", RateLimiters: []RateLimiter{{Component: component, TokenBucket: defaults}}},
		},
		"quota-scheduling": {
			"quota_scheduler: {bucket_capacity: 1, fill_amount: 2, rate_limiter: {interval: 1s}, selectors: [{control_point: c}]}",
			Policy{Name: "a", QuotaSchedulers: []QuotaScheduler{{component, defaults, scheduler}}},
		},
		"concurrency-limiting": {
			"concurrency_limiter: {max_concurrency: 1, parameters: {max_inflight_duration: 1s}, selectors: [{control_point: c}]}",
			Policy{Name: "a", ConcurrencyLimiters: []ConcurrencyLimiter{{Component: component, InFlight: inFlight}}},
		},
		"concurrency-scheduling": {
			"concurrency_scheduler: {max_concurrency: 1, concurrency_limiter: {max_inflight_duration: 1s}, selectors: [{control_point: c}]}",
			Policy{Name: "a", ConcurrencySchedulers: []ConcurrencyScheduler{{component, inFlight, scheduler}}},
		},
		"load-ramping": {
			"load_ramp: {sampler: {selectors: [{control_point: c}]}, steps: [{duration: 1s}]}",
			Policy{Name: "a", Samplers: []Sampler{{
				Component: Component{ID: "root.10.1", Selectors: anywhere("c")}, RampMode: true,
				Ramp: &Ramp{Steps: []RampStep{{0, time.Second}}},
			}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			policies, warnings, err := Load("p.yaml", []byte("blueprint: "+name+"/base\npolicy: {policy_name: a, "+test.section+"}\n"))
			require.NoError(t, err)
			assert.Empty(t, warnings)
			assert.Equal(t, []Policy{test.policy}, noHash(t, policies))
		})
	}
}

func TestComponentsOfValuesFollowThoseOfTheBlueprint(t *testing.T) {
	const extra = `  components:
    - flow_control: {sampler: {in_ports: {accept_percentage: {constant_signal: {value: 1}}}, parameters: {selectors: [{control_point: x}]}}}
`
	for name, test := range map[string]struct{ document, id string }{
		"quota-scheduling":     {quotaScheduling, "root.3"},
		"concurrency-limiting": {concurrencyLimiting, "root.3"},
		"load-ramping":         {loadRamping, "root.11"},
	} {
		t.Run(name, func(t *testing.T) {
			policies, _, err := Load("p.yaml", []byte(strings.Replace(test.document, "  components: []\n", extra, 1)))
			require.NoError(t, err)
			samplers := policies[0].Samplers
			require.NotEmpty(t, samplers)
			assert.Equal(t, test.id, samplers[len(samplers)-1].ID)
		})
	}
}

func TestLoadRampIsConfiguredByADocumentOfItsOwn(t *testing.T) {
	for name, text := range map[string]string{
		"behind":   loadRamping + rampStarts,
		"in front": strings.TrimPrefix(rampStarts, "---\n") + "---\n" + loadRamping,
	} {
		t.Run(name, func(t *testing.T) {
			plain, _, err := Load("p.yaml", []byte(loadRamping))
			require.NoError(t, err)
			policies, warnings, err := Load("p.yaml", []byte(text))
			require.NoError(t, err)
			assert.Empty(t, warnings)
			require.Len(t, policies, 1)
			assert.False(t, policies[0].Samplers[0].Ramp.Start)
			assert.True(t, policies[0].Samplers[0].Ramp.Reset)
			assert.Equal(t, []string{"alice", "bob"}, policies[0].Samplers[0].PassThroughLabelValues)
			assert.Equal(t, plain[0].Hash, policies[0].Hash, "an agent forgets nothing")
		})
	}
}
