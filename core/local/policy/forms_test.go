package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Every key that the blueprints have.
const (
	scheduler = `    scheduler:
      workloads:
        - name: gold
          label_matcher: {match_labels: {tier: gold}}
          parameters: {priority: 200.5, tokens: 0, queue_timeout: 0s}
        - label_matcher: {match_list: [{key: tier, operator: Exists}]}
      default_workload_parameters: {priority: 2, tokens: 3, queue_timeout: 0.5s}
      decision_deadline_margin: 0s
      tokens_label_key: tokens
      priority_label_key: priority
      workload_label_key: workload
      fairness_label_key: user
      denied_response_status_code: PaymentRequired
`
	quotaScheduling = `blueprint: quota-scheduling/base
policy:
  policy_name: quota
  quota_scheduler:
    bucket_capacity: 500
    fill_amount: 25
    rate_limiter:
      interval: 1s
      limit_by_label_key: api_key
      label_key: old
      continuous_fill: false
      delay_initial_fill: true
      max_idle_time: 60s
      lazy_sync: {enabled: false, num_sync: 4}
` + scheduler + `    selectors: [{control_point: checkout}]
    alerter: {alert_name: a}
  components: []
  resources: {}
`
	concurrencyLimiting = `blueprint: concurrency-limiting/base
policy:
  policy_name: limit
  concurrency_limiter:
    max_concurrency: 2.5
    parameters: {max_inflight_duration: 60s, limit_by_label_key: user, max_idle_time: 0s}
    request_parameters: {tokens_label_key: cost, denied_response_status_code: BadGateway}
    selectors: [{control_point: checkout}]
    alerter: {alert_name: a}
`
	concurrencyScheduling = `blueprint: concurrency-scheduling/base
policy:
  policy_name: slots
  concurrency_scheduler:
    max_concurrency: 7
    concurrency_limiter: {max_inflight_duration: 60s, limit_by_label_key: user, max_idle_time: 5s}
` + scheduler + `    selectors: [{control_point: checkout}]
    alerter: {alert_name: a}
`
	loadRamping = `blueprint: load-ramping/base
policy:
  policy_name: ramp
  load_ramp:
    sampler:
      selectors: [{control_point: checkout}]
      session_label_key: user
      denied_response_status_code: Forbidden
      ramp_mode: false
    steps:
      - {target_accept_percentage: 0, duration: 0s}
      - {target_accept_percentage: 100, duration: 2.5s}
  start: true
  drivers: {promql_drivers: [], average_latency_drivers: [], percentile_latency_drivers: []}
  kubelet_metrics: {}
`
	dynamicDocument = `policy_name: ramp
dynamic_config: {start: false, reset: true, pass_through_label_values: [ann, bob]}
`
	// What a load ramp without drivers comes to in a circuit.
	renderedRamp = `circuit:
  components:
    - bool_variable: {config_key: start, constant_output: false, out_ports: {output: {signal_name: START}}}
    - bool_variable: {config_key: reset, constant_output: false, out_ports: {output: {signal_name: RESET}}}
    - or: {in_ports: {inputs: []}, out_ports: {output: {signal_name: BACKWARD}}}
    - inverter: {in_ports: {input: {signal_name: RESET}}, out_ports: {output: {signal_name: NOT_RESET}}}
    - and: {in_ports: {inputs: [{signal_name: START}, {signal_name: NOT_RESET}]}, out_ports: {output: {signal_name: FORWARD}}}
    - flow_control:
        load_ramp:
          in_ports: {forward: {signal_name: FORWARD}, backward: {signal_name: BACKWARD}, reset: {signal_name: RESET}}
          out_ports: {accept_percentage: {signal_name: SHARE}}
          parameters:
            sampler: {selectors: [{control_point: checkout}]}
            steps: [{target_accept_percentage: 10, duration: 60s}]
          pass_through_label_values_config_key: pass
`
	constants = `circuit:
  components:
    - variable: {constant_output: {value: 7}, out_ports: {output: {signal_name: SEVEN}}}
    - variable: {config_key: most, constant_output: {value: 8}, out_ports: {output: {signal_name: MOST}}}
    - first_valid: {in_ports: {inputs: [{constant_signal: {special_value: NaN}}, {signal_name: MOST}]}, out_ports: {output: {signal_name: FIRST}}}
    - flow_control:
        concurrency_limiter:
          in_ports: {max_concurrency: {signal_name: FIRST}, pass_through: {constant_signal: {value: 0}}}
          parameters: {max_inflight_duration: 1s}
          selectors: [{control_point: checkout}]
    - flow_control:
        quota_scheduler:
          in_ports: {bucket_capacity: {signal_name: SEVEN}, fill_amount: {constant_signal: {special_value: NaN}}}
          rate_limiter: {interval: 1s}
          selectors: [{control_point: checkout}]
    - flow_control:
        sampler:
          in_ports: {accept_percentage: {constant_signal: {value: 12.5}}}
          parameters: {selectors: [{control_point: checkout}], session_label_key: user, ramp_mode: true}
          pass_through_label_values: [ann]
`
)

func everywhere(id string) Component {
	return Component{ID: id, Selectors: []Selector{{ControlPoint: "checkout", AgentGroup: "aperture-cloud", Service: "any"}}}
}

var fullScheduler = Scheduler{
	Workloads: []Workload{
		{
			Label: "gold", Matcher: &LabelMatcher{Labels: []Label{{"tier", "gold"}}},
			WorkloadParameters: WorkloadParameters{Priority: 200.5, Tokens: 0, QueueTimeout: pointer(time.Duration(0))},
		},
		{
			Label: "1", Matcher: &LabelMatcher{Requirements: []Requirement{{Key: "tier", Operator: Exists}}},
			WorkloadParameters: WorkloadParameters{Priority: 1, Tokens: 1},
		},
	},
	DefaultWorkload:  WorkloadParameters{Priority: 2, Tokens: 3, QueueTimeout: pointer(500 * time.Millisecond)},
	TokensLabelKey:   "tokens",
	PriorityLabelKey: "priority",
	WorkloadLabelKey: "workload",
	FairnessLabelKey: "user",
}

func pointer[T any](value T) *T { return &value }

func loaded(t *testing.T, text string) Policy {
	t.Helper()
	policies, warnings, err := Load("p.yaml", []byte(text))
	require.NoError(t, err)
	assert.Empty(t, warnings)
	require.Len(t, policies, 1)
	assert.Len(t, policies[0].Hash, 32)
	policies[0].Hash = ""
	return policies[0]
}

func TestEveryKeyOfTheBlueprints(t *testing.T) {
	paid := everywhere("root.0")
	paid.DeniedStatus = checkv1.StatusCode_PaymentRequired
	assert.Equal(t, Policy{Name: "quota", QuotaSchedulers: []QuotaScheduler{{
		Component: paid,
		TokenBucket: TokenBucket{
			BucketCapacity: 500, FillAmount: 25, Interval: time.Second, DelayInitialFill: true, MaxIdleTime: time.Minute, LimitByLabelKey: "api_key",
		},
		Scheduler: fullScheduler,
	}}}, loaded(t, quotaScheduling))

	gone := everywhere("root.0")
	gone.DeniedStatus = checkv1.StatusCode_BadGateway
	assert.Equal(t, Policy{Name: "limit", ConcurrencyLimiters: []ConcurrencyLimiter{{
		Component: gone, TokensLabelKey: "cost",
		InFlight: InFlight{MaxConcurrency: 2.5, MaxInflightDuration: time.Minute, LimitByLabelKey: "user"},
	}}}, loaded(t, concurrencyLimiting))

	assert.Equal(t, Policy{Name: "slots", ConcurrencySchedulers: []ConcurrencyScheduler{{
		Component: paid, Scheduler: fullScheduler,
		InFlight: InFlight{MaxConcurrency: 7, MaxInflightDuration: time.Minute, LimitByLabelKey: "user", MaxIdleTime: 5 * time.Second},
	}}}, loaded(t, concurrencyScheduling))

	forbidden := everywhere("root.10.1")
	forbidden.DeniedStatus = checkv1.StatusCode_Forbidden
	ramp := Policy{Name: "ramp", Samplers: []Sampler{{
		Component: forbidden, SessionLabelKey: "user", RampMode: true,
		Ramp: &Ramp{Start: true, Steps: []RampStep{{0, 0}, {100, 2500 * time.Millisecond}}},
	}}}
	assert.Equal(t, ramp, loaded(t, loadRamping))
	ramp.Samplers[0].Ramp.Start, ramp.Samplers[0].Ramp.Reset = false, true
	ramp.Samplers[0].PassThroughLabelValues = []string{"ann", "bob"}
	assert.Equal(t, ramp, loaded(t, loadRamping+"---\n"+dynamicDocument))
	assert.Equal(t, ramp, loaded(t, dynamicDocument+"---\n"+loadRamping), "in either order")
}

func TestDefaultsOfTheBlueprints(t *testing.T) {
	usual := Scheduler{
		DefaultWorkload: WorkloadParameters{Priority: 1, Tokens: 1}, DecisionDeadlineMargin: 10 * time.Millisecond,
	}
	selectors := "selectors: [{control_point: checkout}]"
	for _, test := range []struct {
		text string
		want Policy
	}{
		{
			"{blueprint: quota-scheduling/base, policy: {policy_name: p, quota_scheduler: {bucket_capacity: 0, fill_amount: 0, rate_limiter: {interval: 1s}, " + selectors + "}}}",
			Policy{Name: "p", QuotaSchedulers: []QuotaScheduler{{
				Component: everywhere("root.0"), Scheduler: usual,
				TokenBucket: TokenBucket{Interval: time.Second, ContinuousFill: true, MaxIdleTime: 2 * time.Hour},
			}}},
		},
		{
			"{blueprint: concurrency-limiting/base, policy: {policy_name: p, concurrency_limiter: {max_concurrency: 0, parameters: {max_inflight_duration: 1s}, " + selectors + "}}}",
			Policy{Name: "p", ConcurrencyLimiters: []ConcurrencyLimiter{{
				Component: everywhere("root.0"), InFlight: InFlight{MaxInflightDuration: time.Second, MaxIdleTime: 2 * time.Hour},
			}}},
		},
		{
			"{blueprint: concurrency-scheduling/base, policy: {policy_name: p, concurrency_scheduler: {max_concurrency: 1, concurrency_limiter: {max_inflight_duration: 1s}, " + selectors + "}}}",
			Policy{Name: "p", ConcurrencySchedulers: []ConcurrencyScheduler{{
				Component: everywhere("root.0"), Scheduler: usual,
				InFlight: InFlight{MaxConcurrency: 1, MaxInflightDuration: time.Second, MaxIdleTime: 2 * time.Hour},
			}}},
		},
		{
			"{blueprint: load-ramping/base, policy: {policy_name: p, load_ramp: {sampler: {" + selectors + "}, steps: [{duration: 1s}]}}}",
			Policy{Name: "p", Samplers: []Sampler{{
				Component: everywhere("root.10.1"), RampMode: true, Ramp: &Ramp{Steps: []RampStep{{0, time.Second}}},
			}}},
		},
	} {
		assert.Equal(t, test.want, loaded(t, test.text))
	}
}

func TestSignalsThatAreConstant(t *testing.T) {
	policies, warnings, err := Load("p.yaml", []byte(constants))
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	assert.Equal(t, "p.yaml:13:108: circuit.components[4].flow_control.quota_scheduler.in_ports.fill_amount.constant_signal.special_value: "+
		"not a number, so that the component lets every flow pass", warnings[0].String())
	policy := policies[0]
	require.Len(t, policy.ConcurrencyLimiters, 1)
	assert.Equal(t, "root.3", policy.ConcurrencyLimiters[0].ID)
	assert.Equal(t, 8.0, policy.ConcurrencyLimiters[0].MaxConcurrency)
	assert.False(t, policy.ConcurrencyLimiters[0].PassThrough)
	require.Len(t, policy.QuotaSchedulers, 1)
	assert.Equal(t, 7.0, policy.QuotaSchedulers[0].BucketCapacity)
	assert.True(t, policy.QuotaSchedulers[0].PassThrough)
	component := everywhere("root.5")
	assert.Equal(t, []Sampler{{
		Component: component, SessionLabelKey: "user", RampMode: true, AcceptPercentage: 12.5, PassThroughLabelValues: []string{"ann"},
	}}, policy.Samplers)
}

// A resource is what a cluster takes, with its dynamic configuration beside the policy.
func TestRenderedRampInAResource(t *testing.T) {
	resource := func(dynamic string) string {
		return "kind: Policy\nmetadata: {name: ramp}\n" + dynamic + "spec:\n" + indent(renderedRamp)
	}
	for dynamic, want := range map[string]struct {
		start, reset bool
		pass         []string
	}{
		"": {},
		"dynamicConfig: {start: true, pass: [ann]}\n":   {start: true, pass: []string{"ann"}},
		"dynamicConfig: {start: true, reset: true}\n":   {reset: true},
		"dynamicConfig: {start: false, reset: false}\n": {},
	} {
		policies, _, err := Load("p.yaml", []byte(resource(dynamic)))
		require.NoError(t, err, dynamic)
		sampler := policies[0].Samplers[0]
		assert.Equal(t, "root.5.1", sampler.ID)
		assert.True(t, sampler.RampMode)
		assert.Equal(t, want.start, sampler.Ramp.Start, dynamic)
		assert.Equal(t, want.reset, sampler.Ramp.Reset, dynamic)
		assert.Equal(t, want.pass, sampler.PassThroughLabelValues)
		without, _, err := Load("p.yaml", []byte(resource("")))
		require.NoError(t, err)
		assert.Equal(t, without[0].Hash, policies[0].Hash, "it does not make the policy another one")
	}
}

func TestRefusalsOfTheForms(t *testing.T) {
	for name, test := range map[string]struct{ text, old, new, problem string }{
		"no selector":                {quotaScheduling, "    selectors: [{control_point: checkout}]\n", "", `:5:5: policy.quota_scheduler: missing "selectors"`},
		"priority of 0":              {quotaScheduling, "priority: 200.5", "priority: 0", ":19:34: policy.quota_scheduler.scheduler.workloads[0].parameters.priority: found the number 0, expected a number that is more than 0"},
		"negative tokens":            {quotaScheduling, "tokens: 0,", "tokens: -1,", ":19:49: policy.quota_scheduler.scheduler.workloads[0].parameters.tokens: found the number -1, expected a number that is not negative"},
		"no matcher":                 {quotaScheduling, "label_matcher: {match_list: [{key: tier, operator: Exists}]}", "name: x", `policy.quota_scheduler.scheduler.workloads[1]: missing "label_matcher"`},
		"name of an index":           {quotaScheduling, "name: gold", "name: '1'", `duplicate workload name "1": first in line 17`},
		"name of the default":        {quotaScheduling, "name: gold", "name: default", `:17:17: policy.quota_scheduler.scheduler.workloads[0].name: duplicate workload name "default": the default workload has it`},
		"unknown key":                {quotaScheduling, "tokens_label_key", "token_label_key", `unknown key "token_label_key", did you mean tokens_label_key?`},
		"no capacity":                {quotaScheduling, "    bucket_capacity: 500\n", "", `policy.quota_scheduler: missing "bucket_capacity": expected a number`},
		"interval of 0":              {quotaScheduling, "interval: 1s", "interval: 0s", `policy.quota_scheduler.rate_limiter.interval: found "0s", expected more than 0s`},
		"milliseconds":               {concurrencyScheduling, "queue_timeout: 0.5s", "queue_timeout: 500ms", `queue_timeout: found "500ms", expected decimal seconds with the suffix s`},
		"lifetime of 0":              {concurrencyLimiting, "max_inflight_duration: 60s", "max_inflight_duration: 0s", `:6:41: policy.concurrency_limiter.parameters.max_inflight_duration: found "0s", expected more than 0s`},
		"no lifetime":                {concurrencyLimiting, "max_inflight_duration: 60s, ", "", `missing "max_inflight_duration"`},
		"an old key it never had":    {concurrencyLimiting, "limit_by_label_key", "label_key", `unknown key "label_key"`},
		"negative concurrency":       {concurrencyScheduling, "max_concurrency: 7", "max_concurrency: -7", `max_concurrency: found the number -7, expected a number that is not negative`},
		"share above 100":            {loadRamping, "target_accept_percentage: 100", "target_accept_percentage: 101", `:12:36: policy.load_ramp.steps[1].target_accept_percentage: found the number 101, expected a number from 0 to 100`},
		"no step":                    {loadRamping, "    steps:\n      - {target_accept_percentage: 0, duration: 0s}\n      - {target_accept_percentage: 100, duration: 2.5s}\n", "    steps: []\n", `policy.load_ramp.steps: found an empty list, expected at least one step`},
		"no time":                    {loadRamping, ", duration: 0s", "", `policy.load_ramp.steps[0]: missing "duration"`},
		"drivers":                    {loadRamping, "promql_drivers: []", "promql_drivers: [{query_string: up}]", `policy.drivers.promql_drivers: unsupported: needs an Aperture cluster`},
		"kubelet metrics":            {loadRamping, "kubelet_metrics: {}", "kubelet_metrics: {infra_context: {}}", `policy.kubelet_metrics: unsupported: needs an Aperture cluster`},
		"backward":                   {renderedRamp, "{signal_name: BACKWARD}, reset", "{constant_signal: {value: 1}}, reset", `expected one that is off: the ramps of the local engine do not go backward`},
		"signal of itself":           {renderedRamp, "{signal_name: START}, {signal_name: NOT_RESET}", "{signal_name: FORWARD}", `signal "FORWARD" depends on itself`},
		"signal of nobody":           {renderedRamp, "forward: {signal_name: FORWARD}", "forward: {signal_name: FORWARDS}", `no component puts out the signal "FORWARDS", did you mean FORWARD?`},
		"signal that is there twice": {renderedRamp, "{signal_name: RESET}}}\n", "{signal_name: START}}}\n", `signal "START" is there twice: another bool_variable has it`},
		"dynamic of nobody":          {dynamicDocument + "---\n" + loadRamping, "policy_name: ramp\ndynamic", "policy_name: lamp\ndynamic", `no policy is named "lamp", did you mean ramp?`},
		"dynamic key of nobody":      {dynamicDocument + "---\n" + loadRamping, "reset: true", "resets: true", `unknown key "resets"`},
		"share that is no number":    {constants, "value: 12.5", "value: 120", `found 120, expected a number from 0 to 100`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, test.text, test.old)
			policies, _, err := Load("p.yaml", []byte(strings.Replace(test.text, test.old, test.new, 1)))
			assert.Nil(t, policies)
			var loadError *LoadError
			require.ErrorAs(t, err, &loadError)
			assert.Contains(t, loadError.Error(), test.problem)
			for _, problem := range loadError.Problems {
				assert.Positive(t, problem.Line)
				assert.Positive(t, problem.Column)
			}
		})
	}
}

func TestFilesAndDirectories(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	names := func(paths ...string) (names []string) {
		policies, _, err := LoadFiles(paths...)
		require.NoError(t, err)
		for _, policy := range policies {
			names = append(names, policy.Name)
		}
		return names
	}
	quota := write("some/b.yaml", quotaScheduling)
	limit := write("some/a.yml", concurrencyLimiting)
	write("some/.hidden.yaml", "nonsense")
	write("some/notes.txt", "nonsense")
	write("some/folder.yaml/c.yaml", "nonsense")
	some := filepath.Dir(quota)
	assert.Equal(t, []string{"limit", "quota"}, names(some), "by the names of the files")
	assert.Equal(t, []string{"quota", "limit"}, names(quota, limit))

	// A volume of Kubernetes.
	write("volume/..2026/ramp.yaml", loadRamping)
	volume := filepath.Join(folder, "volume")
	require.NoError(t, os.Symlink("..2026", filepath.Join(volume, "..data")))
	require.NoError(t, os.Symlink("..data/ramp.yaml", filepath.Join(volume, "ramp.yaml")))
	assert.Equal(t, []string{"limit", "quota", "ramp"}, names(some, volume))

	for name, test := range map[string]struct {
		paths   []string
		problem string
	}{
		"the same file twice": {[]string{quota, quota}, quota + `:3:16: duplicate policy name "quota": first in ` + quota + ":3"},
		"an empty folder":     {[]string{t.TempDir()}, "no policy file in the directory: expected *.yaml or *.yml"},
		"all problems": {[]string{write("bad1.yaml", "a: 1"), write("bad2.yaml", "b: 1")},
			filepath.Join(folder, "bad2.yaml") + ":1:1: not a policy"},
	} {
		t.Run(name, func(t *testing.T) {
			policies, _, err := LoadFiles(test.paths...)
			assert.Nil(t, policies)
			assert.ErrorContains(t, err, test.problem)
		})
	}
	_, _, err := LoadFiles(filepath.Join(folder, "bad1.yaml"), filepath.Join(folder, "bad2.yaml"))
	assert.ErrorContains(t, err, filepath.Join(folder, "bad1.yaml")+":1:1: not a policy")
}

func TestTooManyFiles(t *testing.T) {
	folder := t.TempDir()
	for i := range MaxFiles + 1 {
		name := filepath.Join(folder, strings.Repeat("x", i%200+1)+string(rune('a'+i/200))+".yaml")
		require.NoError(t, os.WriteFile(name, []byte("#"), 0o600))
	}
	_, _, err := LoadFiles(folder)
	assert.ErrorContains(t, err, "and more problems")
	large := filepath.Join(t.TempDir(), "large.yaml")
	require.NoError(t, os.WriteFile(large, []byte(strings.Repeat("#", MaxFileSize)), 0o600))
	_, _, err = LoadFiles(large, large, large, large, large)
	assert.ErrorContains(t, err, "the files are too large together: expected at most 16777216 bytes")
}

func TestExamplesLoad(t *testing.T) {
	policies, warnings, err := LoadFiles("../../../examples/policies")
	require.NoError(t, err)
	assert.Empty(t, warnings)
	assert.GreaterOrEqual(t, len(policies), 5)
}
