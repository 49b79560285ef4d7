package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// renderedRamp is what the load-ramping blueprint makes of values without drivers.
const renderedRamp = `circuit:
  evaluation_interval: 1s
  components:
    - bool_variable: {config_key: start, constant_output: true, out_ports: {output: {signal_name: USER_START_CONTROL}}}
    - bool_variable: {config_key: reset, constant_output: false, out_ports: {output: {signal_name: USER_RESET_CONTROL}}}
    - or: {in_ports: {inputs: []}, out_ports: {output: {signal_name: BACKWARD_INTENT}}}
    - or: {in_ports: {inputs: [{signal_name: USER_RESET_CONTROL}]}, out_ports: {output: {signal_name: RESET}}}
    - inverter: {in_ports: {input: {signal_name: BACKWARD_INTENT}}, out_ports: {output: {signal_name: INVERTED_BACKWARD_INTENT}}}
    - first_valid: {in_ports: {inputs: [{signal_name: INVERTED_BACKWARD_INTENT}, {constant_signal: {value: 1}}]}, out_ports: {output: {signal_name: NOT_BACKWARD}}}
    - inverter: {in_ports: {input: {signal_name: RESET}}, out_ports: {output: {signal_name: INVERTED_RESET}}}
    - first_valid: {in_ports: {inputs: [{signal_name: INVERTED_RESET}, {constant_signal: {value: 1}}]}, out_ports: {output: {signal_name: NOT_RESET}}}
    - and: {in_ports: {inputs: [{signal_name: NOT_BACKWARD}, {signal_name: NOT_RESET}, {signal_name: USER_START_CONTROL}]}, out_ports: {output: {signal_name: FORWARD}}}
    - and: {in_ports: {inputs: [{signal_name: BACKWARD_INTENT}, {signal_name: NOT_RESET}]}, out_ports: {output: {signal_name: BACKWARD}}}
    - flow_control:
        load_ramp:
          in_ports: {forward: {signal_name: FORWARD}, backward: {signal_name: BACKWARD}, reset: {signal_name: RESET}}
          out_ports: {at_end: {signal_name: AT_END}}
          parameters:
            sampler: {selectors: [{control_point: new-cart}], session_label_key: user_id}
            steps:
              - {duration: 60s, target_accept_percentage: 10}
              - {duration: 0s, target_accept_percentage: 100}
          pass_through_label_values: [carol]
          pass_through_label_values_config_key: pass_through_label_values
resources: {flow_control: {classifiers: [], flux_meters: {}}}
`

const renderedSampler = `circuit:
  components:
    - variable: {constant_output: {value: 25}, config_key: share, out_ports: {output: {signal_name: SHARE}}}
    - flow_control:
        sampler:
          in_ports: {accept_percentage: {signal_name: SHARE}}
          parameters: {selectors: [{control_point: search}], session_label_key: user_id, denied_response_status_code: NotFound, ramp_mode: true}
          pass_through_label_values: [alice]
          pass_through_label_values_config_key: always
`

// renderedAll has each of the limiters that read a port.
const renderedAll = `circuit:
  components:
    - flow_control:
        concurrency_limiter:
          in_ports: {max_concurrency: {constant_signal: {value: 5}}, pass_through: {constant_signal: {value: 0}}}
          out_ports: {accept_percentage: {signal_name: ACCEPT}}
          parameters: {max_inflight_duration: 10s}
          request_parameters: {}
          selectors: [{control_point: a}]
    - flow_control:
        concurrency_scheduler:
          in_ports: {max_concurrency: {signal_name: FIVE}, pass_through: {signal_name: OFF}}
          concurrency_limiter: {max_inflight_duration: 10s}
          scheduler: {denied_response_status_code: Locked}
          selectors: [{control_point: b}]
    - flow_control:
        quota_scheduler:
          in_ports: {bucket_capacity: {signal_name: FIVE}, fill_amount: {constant_signal: {value: 1}}, pass_through: {constant_signal: {value: 2}}}
          rate_limiter: {interval: 10s}
          selectors: [{control_point: c}]
    - variable: {constant_output: {value: 5}, out_ports: {output: {signal_name: FIVE}}}
    - variable: {constant_output: {special_value: NaN}, out_ports: {output: {signal_name: OFF}}}
`

func TestLoadRenderedRamp(t *testing.T) {
	policies, warnings, err := Load("rollout.yaml", []byte(renderedRamp))
	require.NoError(t, err)
	assert.Empty(t, warnings)
	assert.Equal(t, []Policy{{
		Name: "rollout",
		Samplers: []Sampler{{
			Component:              Component{ID: "root.10.1", Selectors: anywhere("new-cart")},
			SessionLabelKey:        "user_id",
			RampMode:               true,
			PassThroughLabelValues: []string{"carol"},
			Ramp:                   &Ramp{Steps: []RampStep{{10, time.Minute}, {100, 0}}, Start: true},
		}},
	}}, noHash(t, policies))
}

func TestDynamicConfigOfAResource(t *testing.T) {
	load := func(dynamicConfig string) Policy {
		text := "kind: Policy\nmetadata: {name: rollout}\n" + dynamicConfig + "spec:\n" + indent(renderedRamp)
		policies, warnings, err := Load("p.yaml", []byte(text))
		require.NoError(t, err)
		assert.Empty(t, warnings)
		return policies[0]
	}
	plain := load("")
	for config, want := range map[string]Ramp{
		"{}":                          {Start: true},
		"{start: false}":              {},
		"{reset: true}":               {Reset: true}, // and not forward
		"{start: true, reset: false}": {Start: true},
	} {
		t.Run(config, func(t *testing.T) {
			policy := load("dynamicConfig: " + config + "\n")
			assert.Equal(t, want.Start, policy.Samplers[0].Ramp.Start)
			assert.Equal(t, want.Reset, policy.Samplers[0].Ramp.Reset)
			assert.Equal(t, plain.Hash, policy.Hash)
			assert.Equal(t, []string{"carol"}, policy.Samplers[0].PassThroughLabelValues)
		})
	}
	assert.Equal(t, []string{"dave"}, load("dynamicConfig: {pass_through_label_values: [dave]}\n").Samplers[0].PassThroughLabelValues)
	assert.Empty(t, load("dynamicConfig: {pass_through_label_values: []}\n").Samplers[0].PassThroughLabelValues)
}

func TestLoadRenderedSampler(t *testing.T) {
	want := Sampler{
		Component:       Component{ID: "root.1", DeniedStatus: checkv1.StatusCode_NotFound, Selectors: anywhere("search")},
		SessionLabelKey: "user_id", RampMode: true, PassThroughLabelValues: []string{"alice"}, AcceptPercentage: 25,
	}
	policies, _, err := Load("p.yaml", []byte(renderedSampler))
	require.NoError(t, err)
	assert.Equal(t, []Sampler{want}, policies[0].Samplers)

	want.AcceptPercentage, want.PassThroughLabelValues = 75, []string{"bob"}
	policies, _, err = Load("p.yaml", []byte(renderedSampler+"---\npolicy_name: p\ndynamic_config: {share: {value: 75}, always: [bob]}\n"))
	require.NoError(t, err)
	assert.Equal(t, []Sampler{want}, policies[0].Samplers)
}

func TestLoadRenderedLimiters(t *testing.T) {
	policies, warnings, err := Load("p.yaml", []byte(renderedAll))
	require.NoError(t, err)
	assert.Empty(t, warnings)
	inFlight := InFlight{MaxConcurrency: 5, MaxInflightDuration: 10 * time.Second, MaxIdleTime: 7200 * time.Second}
	scheduler := Scheduler{
		DefaultWorkload: WorkloadParameters{Priority: 1, Tokens: 1}, DecisionDeadlineMargin: 10 * time.Millisecond,
	}
	assert.Equal(t, []Policy{{
		Name:                "p",
		ConcurrencyLimiters: []ConcurrencyLimiter{{Component: Component{ID: "root.0", Selectors: anywhere("a")}, InFlight: inFlight}},
		ConcurrencySchedulers: []ConcurrencyScheduler{{
			Component{ID: "root.1", Selectors: anywhere("b"), DeniedStatus: checkv1.StatusCode_Locked}, inFlight, scheduler,
		}},
		QuotaSchedulers: []QuotaScheduler{{
			Component{ID: "root.2", Selectors: anywhere("c")},
			TokenBucket{
				BucketCapacity: 5, FillAmount: 1, Interval: 10 * time.Second, ContinuousFill: true,
				MaxIdleTime: 7200 * time.Second, PassThrough: true,
			},
			scheduler,
		}},
	}}, noHash(t, policies))
	assert.Equal(t, 3, policies[0].Components())
}

func TestAPortThatIsNotANumberPassesEveryFlow(t *testing.T) {
	policies, warnings, err := Load("p.yaml", []byte(strings.Replace(renderedAll, "max_concurrency: {constant_signal: {value: 5}}", "max_concurrency: {constant_signal: {special_value: NaN}}", 1)))
	require.NoError(t, err)
	assert.True(t, policies[0].ConcurrencyLimiters[0].PassThrough)
	assert.False(t, policies[0].ConcurrencySchedulers[0].PassThrough)
	require.Len(t, warnings, 1)
	assert.Equal(t, "p.yaml:5:73: circuit.components[0].flow_control.concurrency_limiter.in_ports.max_concurrency.constant_signal.special_value: not a number, so that the component lets every flow pass", warnings[0].String())

	for rampMode, share := range map[string]float64{"true": 0, "false": 100} {
		text := strings.NewReplacer("{value: 25}", "{special_value: NaN}", "ramp_mode: true", "ramp_mode: "+rampMode).Replace(renderedSampler)
		policies, warnings, err = Load("p.yaml", []byte(text))
		require.NoError(t, err)
		assert.Equal(t, share, policies[0].Samplers[0].AcceptPercentage)
		require.Len(t, warnings, 1)
		assert.Contains(t, warnings[0].String(), "p.yaml:6:55: circuit.components[1].flow_control.sampler.in_ports.accept_percentage.signal_name: not a number")
	}
}

// Each combination is the port pass_through of a limiter. Its inputs are ON, OFF and NONE, a signal that is invalid.
func TestSignalsAreCombinedAsInACluster(t *testing.T) {
	for text, want := range map[string]bool{
		"and: {in_ports: {inputs: []}":                                                                   true,
		"and: {in_ports: {inputs: [{signal_name: ON}, {signal_name: ON}]}":                               true,
		"and: {in_ports: {inputs: [{signal_name: ON}, {signal_name: OFF}]}":                              false,
		"and: {in_ports: {inputs: [{signal_name: NONE}, {signal_name: ON}]}":                             false, // unknown
		"or: {in_ports: {inputs: []}":                                                                    false,
		"or: {in_ports: {inputs: [{signal_name: OFF}, {signal_name: NONE}]}":                             false, // unknown
		"or: {in_ports: {inputs: [{signal_name: NONE}, {signal_name: ON}]}":                              true,
		"inverter: {in_ports: {input: {signal_name: OFF}}":                                               true,
		"inverter: {in_ports: {input: {signal_name: ON}}":                                                false,
		"inverter: {in_ports: {input: {signal_name: NONE}}":                                              false, // unknown
		"inverter: {in_ports: {}":                                                                        false, // unknown
		"first_valid: {in_ports: {inputs: [{signal_name: NONE}, {signal_name: ON}, {signal_name: OFF}]}": true,
		"first_valid: {in_ports: {inputs: [{signal_name: OFF}, {signal_name: ON}]}":                      false,
		"first_valid: {in_ports: {inputs: [{signal_name: NONE}]}":                                        false,
		"variable: {constant_output: {value: -0.5}":                                                      true,
		"bool_variable: {config_key: unset":                                                              false,
	} {
		assert.Equal(t, want, passesThrough(t, "X", text), text)
	}
	// Whether an unknown signal is invalid and not false shows behind an inverter.
	for text, want := range map[string]bool{
		"and: {in_ports: {inputs: [{signal_name: NONE}, {signal_name: OFF}]}": true,
		"and: {in_ports: {inputs: [{signal_name: NONE}, {signal_name: ON}]}":  false,
		"or: {in_ports: {inputs: [{signal_name: OFF}, {signal_name: NONE}]}":  false,
		"inverter: {in_ports: {input: {signal_name: NONE}}":                   false,
	} {
		assert.Equal(t, want, passesThrough(t, "Y", text), text)
	}
}

// passesThrough says whether a limiter lets every flow pass, when a component puts out X, and Y is its inverse.
func passesThrough(t *testing.T, signal, component string) bool {
	t.Helper()
	policies, _, err := Load("p.yaml", []byte(`
circuit:
  components:
    - flow_control: {rate_limiter: {in_ports: {bucket_capacity: {constant_signal: {value: 1}}, fill_amount: {constant_signal: {value: 1}}, pass_through: {signal_name: `+signal+`}}, parameters: {interval: 1s}, selectors: [{control_point: x}]}}
    - variable: {constant_output: {value: 3}, out_ports: {output: {signal_name: ON}}}
    - bool_variable: {out_ports: {output: {signal_name: OFF}}}
    - variable: {constant_output: {special_value: NaN}, out_ports: {output: {signal_name: NONE}}}
    - inverter: {in_ports: {input: {signal_name: X}}, out_ports: {output: {signal_name: Y}}}
    - `+component+`, out_ports: {output: {signal_name: X}}}
`))
	require.NoError(t, err, component)
	return policies[0].RateLimiters[0].PassThrough
}

func TestSettingsOfComponentsThatAreIgnoredAreKnown(t *testing.T) {
	text := renderedSampler + "    - gradient_controller: {manual_mode_config_key: manual}\n---\npolicy_name: p\ndynamic_config: {manual: true}\n"
	_, warnings, err := Load("p.yaml", []byte(text))
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	assert.Equal(t, "p.yaml:10:28: circuit.components[2].gradient_controller: ignored by the local engine, which has no signals", warnings[0].String())
}
