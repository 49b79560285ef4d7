package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each case puts something wrong in the place of a part of a good document, and lists all problems that come of it.
func TestLoadRefusesInTheOtherForms(t *testing.T) {
	dynamicResource := "kind: Policy\nmetadata: {name: a}\ndynamicConfig: {start: true}\nspec:\n" + indent(renderedRamp)
	for name, test := range map[string]struct {
		document, old, new string
		problems           string // of file p.yaml
	}{
		"quota: unknown key":               {quotaScheduling, "    scheduler:", "    schedular:", `:16:5: policy.quota_scheduler: unknown key "schedular", did you mean scheduler?`},
		"quota: no rate_limiter":           {quotaScheduling, "    rate_limiter:", "    parameters:", `:6:5: policy.quota_scheduler: missing "rate_limiter": expected a mapping` + "\n" + `:8:5: policy.quota_scheduler: unknown key "parameters", expected one of alerter, bucket_capacity, fill_amount, rate_limiter, scheduler, selectors`},
		"quota: request_parameters":        {quotaScheduling, "    alerter:", "    request_parameters: {}\n    alerter:", `:33:5: policy.quota_scheduler: unknown key "request_parameters", expected one of alerter, bucket_capacity, fill_amount, rate_limiter, scheduler, selectors`},
		"quota: no fill amount":            {quotaScheduling, "    fill_amount: 30\n", "", `:6:5: policy.quota_scheduler: missing "fill_amount": expected a number`},
		"quota: interval of 0":             {quotaScheduling, "interval: 60s", "interval: 0s", `:9:17: policy.quota_scheduler.rate_limiter.interval: found "0s", expected more than 0s`},
		"quota: negative capacity":         {quotaScheduling, "bucket_capacity: 60", "bucket_capacity: -1", `:6:22: policy.quota_scheduler.bucket_capacity: found the number -1, expected a number that is not negative`},
		"scheduler: unknown key":           {quotaScheduling, "fairness_label_key", "fairnes_label_key", `:29:7: policy.quota_scheduler.scheduler: unknown key "fairnes_label_key", did you mean fairness_label_key?`},
		"scheduler: unknown status":        {quotaScheduling, "TooManyRequests", "TooManyRequest", `:30:36: policy.quota_scheduler.scheduler.denied_response_status_code: unknown status "TooManyRequest", expected a name such as TooManyRequests, did you mean TooManyRequests?`},
		"scheduler: negative margin":       {quotaScheduling, "margin: 0s", "margin: -1s", `:25:33: policy.quota_scheduler.scheduler.decision_deadline_margin: found "-1s", expected decimal seconds with the suffix s, such as "0.5s"`},
		"workload: unknown key":            {quotaScheduling, "name: gold", "names: gold", `:19:11: policy.quota_scheduler.scheduler.workloads[0]: unknown key "names", did you mean name?`},
		"workload: no mapping":             {quotaScheduling, "- label_matcher: {}\n          parameters:\n            queue_timeout: 2.5s\n", "- silver\n", `:21:11: policy.quota_scheduler.scheduler.workloads[1]: found "silver", expected a mapping`},
		"workload: no matcher":             {quotaScheduling, "- label_matcher: {}\n          parameters:", "- parameters:", `:21:11: policy.quota_scheduler.scheduler.workloads[1]: missing "label_matcher": expected a mapping`},
		"workload: unknown parameter":      {quotaScheduling, "tokens: 0, queue", "timeout: 1s, queue", `:20:41: policy.quota_scheduler.scheduler.workloads[0].parameters: unknown key "timeout", expected one of priority, queue_timeout, tokens`},
		"workload: priority of 0":          {quotaScheduling, "priority: 200.5", "priority: 0", `:20:34: policy.quota_scheduler.scheduler.workloads[0].parameters.priority: found the number 0, expected a number that is more than 0`},
		"workload: negative priority":      {quotaScheduling, "priority: 0.5", "priority: -2", `:24:47: policy.quota_scheduler.scheduler.default_workload_parameters.priority: found the number -2, expected a number that is more than 0`},
		"workload: priority in text":       {quotaScheduling, "priority: 0.5", "priority: high", `:24:47: policy.quota_scheduler.scheduler.default_workload_parameters.priority: found "high", expected a finite number`},
		"workload: negative tokens":        {quotaScheduling, "tokens: 2,", "tokens: -0.5,", `:24:60: policy.quota_scheduler.scheduler.default_workload_parameters.tokens: found the number -0.5, expected a number that is not negative`},
		"workload: timeout in minutes":     {quotaScheduling, "queue_timeout: 1s", "queue_timeout: 1m", `:24:78: policy.quota_scheduler.scheduler.default_workload_parameters.queue_timeout: found "1m", expected decimal seconds with the suffix s, such as "0.5s"`},
		"workload: name twice":             {quotaScheduling, "- label_matcher: {}", "- name: gold\n          label_matcher: {}", `:21:17: policy.quota_scheduler.scheduler.workloads[1].name: duplicate workload name "gold": first in line 19`},
		"workload: name of the default":    {quotaScheduling, "name: gold", "name: default", `:19:17: policy.quota_scheduler.scheduler.workloads[0].name: duplicate workload name "default": the default workload has it`},
		"workload: name of an index":       {quotaScheduling, "name: gold", `name: "1"`, `:21:11: policy.quota_scheduler.scheduler.workloads[1]: duplicate workload name "1": first in line 19`},
		"in flight: no duration":           {concurrencyLimiting, "      max_inflight_duration: 30s\n", "", `:8:7: policy.concurrency_limiter.parameters: missing "max_inflight_duration": expected decimal seconds with the suffix s, such as "1s"`},
		"in flight: duration of 0":         {concurrencyLimiting, "30s", "0s", `:9:30: policy.concurrency_limiter.parameters.max_inflight_duration: found "0s", expected more than 0s`},
		"in flight: old label key":         {concurrencyLimiting, "limit_by_label_key", "label_key", `:8:7: policy.concurrency_limiter.parameters: unknown key "label_key", expected one of limit_by_label_key, max_idle_time, max_inflight_duration`},
		"in flight: no concurrency":        {concurrencyLimiting, "    max_concurrency: 2.5\n", "", `:6:5: policy.concurrency_limiter: missing "max_concurrency": expected a number`},
		"in flight: negative concurrency":  {concurrencyLimiting, "2.5", "-2.5", `:6:22: policy.concurrency_limiter.max_concurrency: found the number -2.5, expected a number that is not negative`},
		"in flight: bad request parameter": {concurrencyLimiting, "tokens_label_key", "token_label_key", `:12:7: policy.concurrency_limiter.request_parameters: unknown key "token_label_key", did you mean tokens_label_key?`},
		"in flight: scheduler":             {concurrencyLimiting, "    alerter:", "    scheduler: {}\n    alerter:", `:16:5: policy.concurrency_limiter: unknown key "scheduler", expected one of alerter, max_concurrency, parameters, request_parameters, selectors`},
		"line: no concurrency_limiter":     {concurrencyScheduling, "    concurrency_limiter:", "    parameters:", `:5:5: policy.concurrency_scheduler: missing "concurrency_limiter": expected a mapping` + "\n" + `:6:5: policy.concurrency_scheduler: unknown key "parameters", expected one of alerter, concurrency_limiter, max_concurrency, scheduler, selectors`},
		"line: duration of 0":              {concurrencyScheduling, "60s", "0.0s", `:8:30: policy.concurrency_scheduler.concurrency_limiter.max_inflight_duration: found "0.0s", expected more than 0s`},
		"line: no selectors":               {concurrencyScheduling, "    selectors:\n      - control_point: report\n", "", `:5:5: policy.concurrency_scheduler: missing "selectors": expected a list of at least one selector`},

		"ramp: no load_ramp":         {loadRamping, "  load_ramp:", "  ramp:", `:4:3: policy: missing "load_ramp": expected a mapping` + "\n" + `:5:3: policy: unknown key "ramp", expected one of components, drivers, kubelet_metrics, load_ramp, policy_name, resources, start`},
		"ramp: no sampler":           {loadRamping, "    sampler:", "    regulator:", `:6:5: policy.load_ramp: missing "sampler": expected a mapping` + "\n" + `:6:5: policy.load_ramp: unknown key "regulator", expected one of sampler, steps`},
		"ramp: old label key":        {loadRamping, "session_label_key", "label_key", `:9:7: policy.load_ramp.sampler: unknown key "label_key", expected one of denied_response_status_code, ramp_mode, selectors, session_label_key`},
		"ramp: no steps":             {loadRamping, "    steps:\n      - {target_accept_percentage: 0, duration: 0s}\n      - {target_accept_percentage: 50.5, duration: 60s}\n      - {target_accept_percentage: 100, duration: 600s}\n", "", `:6:5: policy.load_ramp: missing "steps": expected a list of at least one step`},
		"ramp: empty steps":          {loadRamping, "    steps:\n      - {target_accept_percentage: 0, duration: 0s}\n      - {target_accept_percentage: 50.5, duration: 60s}\n      - {target_accept_percentage: 100, duration: 600s}\n", "    steps: []\n", `:12:12: policy.load_ramp.steps: found an empty list, expected at least one step`},
		"ramp: no duration":          {loadRamping, "50.5, duration: 60s", "50.5", `:14:9: policy.load_ramp.steps[1]: missing "duration": expected decimal seconds with the suffix s, such as "1s"`},
		"ramp: more than everything": {loadRamping, "50.5", "100.5", `:14:36: policy.load_ramp.steps[1].target_accept_percentage: found the number 100.5, expected a number from 0 to 100`},
		"ramp: less than nothing":    {loadRamping, "50.5", "-1", `:14:36: policy.load_ramp.steps[1].target_accept_percentage: found the number -1, expected a number from 0 to 100`},
		"ramp: unknown key of steps": {loadRamping, "{target_accept_percentage: 50.5", "{target: 50.5", `:14:10: policy.load_ramp.steps[1]: unknown key "target", expected one of duration, target_accept_percentage`},
		"ramp: start in text":        {loadRamping, "start: true", "start: yes", `:16:10: policy.start: found "yes", expected true or false`},
		"ramp: driver":               {loadRamping, "promql_drivers: []", "promql_drivers: [{query_string: up}]", `:17:29: policy.drivers.promql_drivers: unsupported: needs an Aperture cluster`},
		"ramp: latency driver":       {loadRamping, "average_latency_drivers: []", "average_latency_drivers: [{}]", `:17:58: policy.drivers.average_latency_drivers: unsupported: needs an Aperture cluster`},
		"ramp: percentile driver":    {loadRamping, "percentile_latency_drivers: []", "percentile_latency_drivers: [{}]", `:17:90: policy.drivers.percentile_latency_drivers: unsupported: needs an Aperture cluster`},
		"ramp: unknown driver":       {loadRamping, "promql_drivers: []", "ema_drivers: []", `:17:13: policy.drivers: unknown key "ema_drivers", expected one of average_latency_drivers, percentile_latency_drivers, promql_drivers`},
		"ramp: kubelet metrics":      {loadRamping, "kubelet_metrics: {}", "kubelet_metrics: {criteria: {}}", `:18:20: policy.kubelet_metrics: unsupported: needs an Aperture cluster`},
		"ramp: kubelet metrics list": {loadRamping, "kubelet_metrics: {}", "kubelet_metrics: []", `:18:20: policy.kubelet_metrics: found a list, expected a mapping`},

		"dynamic: unknown key":                 {loadRamping + rampStarts, "reset: true", "rset: true", `:23:32: dynamic_config: unknown key "rset", did you mean reset?`},
		"dynamic: not a truth value":           {loadRamping + rampStarts, "reset: true", "reset: 1", `:23:39: dynamic_config.reset: found the number 1, expected true or false`},
		"dynamic: no list":                     {loadRamping + rampStarts, "[alice, bob]", "alice", `:23:72: dynamic_config.pass_through_label_values: found "alice", expected a list`},
		"dynamic: number in list":              {loadRamping + rampStarts, "[alice, bob]", "[12]", `:23:73: dynamic_config.pass_through_label_values[0]: found the number 12, expected a string: put it into quotes`},
		"dynamic: no name":                     {loadRamping + rampStarts, "---\npolicy_name: rollout\n", "---\n", `:22:1: missing "policy_name": expected a string that is not empty`},
		"dynamic: another name":                {loadRamping + rampStarts, "---\npolicy_name: rollout\n", "---\npolicy_name: rolout\n", `:22:14: policy_name: no policy is named "rolout", did you mean rollout?`},
		"dynamic: no mapping":                  {loadRamping + rampStarts, "{start: false, reset: true, pass_through_label_values: [alice, bob]}", "[]", `:23:17: dynamic_config: found a list, expected a mapping`},
		"dynamic: stray key":                   {loadRamping + rampStarts, "dynamic_config:", "start: true\ndynamic_config:", `:23:1: unknown key "start", expected one of dynamic_config, policy_name`},
		"dynamic: placeholder":                 {loadRamping + rampStarts, "[alice, bob]", "[__REQUIRED_FIELD__]", `:23:73: found __REQUIRED_FIELD__, expected a value in its place`},
		"dynamic: twice":                       {loadRamping + rampStarts, rampStarts, rampStarts + rampStarts, `:25:14: policy_name: second dynamic configuration of policy "rollout": first in :22`},
		"dynamic: nothing to set":              {quotaScheduling + "---\npolicy_name: quota\ndynamic_config: {}\n", "dynamic_config: {}\n", "dynamic_config: {start: true}\n", `:38:18: dynamic_config: unknown key "start"`},
		"dynamic: wrong variable":              {renderedSampler + "---\npolicy_name: p\ndynamic_config: {share: {value: 1}}\n", "{share: {value: 1}}", "{share: 1}", `:12:25: dynamic_config.share: found the number 1, expected a mapping`},
		"dynamic: share too large":             {renderedSampler + "---\npolicy_name: p\ndynamic_config: {share: {value: 1}}\n", "{share: {value: 1}}", "{share: {value: 101}}", `:6:55: circuit.components[1].flow_control.sampler.in_ports.accept_percentage.signal_name: found 101, expected a number from 0 to 100`},
		"dynamic: of a rendered policy":        {renderedSampler + "---\npolicy_name: p\ndynamic_config: {share: {value: 1}}\n", "{share: {value: 1}}", "{shares: {value: 1}}", `:12:18: dynamic_config: unknown key "shares", did you mean share?`},
		"dynamic: in the resource":             {dynamicResource, "start: true", "strat: true", `:3:17: dynamicConfig: unknown key "strat", did you mean start?`},
		"dynamic: beside that of the resource": {dynamicResource, "flux_meters: {}}}\n", "flux_meters: {}}}\n---\npolicy_name: a\ndynamic_config: {}\n", `:31:14: policy_name: second dynamic configuration of policy "a": first in :3`},

		"circuit: signal of a query":       {renderedRamp, "or: {in_ports: {inputs: []}", "query: {promql: {query_string: up}", `:16:45: circuit.components[10].flow_control.load_ramp.in_ports.forward.signal_name: signal "BACKWARD_INTENT" of a component query is unsupported: needs an Aperture cluster` + "\n" + `:16:79: circuit.components[10].flow_control.load_ramp.in_ports.backward.signal_name: signal "BACKWARD_INTENT" of a component query is unsupported: needs an Aperture cluster`},
		"circuit: signal of a decider":     {renderedRamp, "    - or: {in_ports: {inputs: []}", "    - decider: {operator: gt", `:16:45: circuit.components[10].flow_control.load_ramp.in_ports.forward.signal_name: signal "BACKWARD_INTENT" of a component decider is unsupported: needs an Aperture cluster` + "\n" + `:16:79: circuit.components[10].flow_control.load_ramp.in_ports.backward.signal_name: signal "BACKWARD_INTENT" of a component decider is unsupported: needs an Aperture cluster`},
		"circuit: signal of a limiter":     {renderedRamp, "forward: {signal_name: FORWARD}", "forward: {signal_name: AT_END}", `:16:45: circuit.components[10].flow_control.load_ramp.in_ports.forward.signal_name: signal "AT_END" of a component load_ramp is unsupported: needs an Aperture cluster`},
		"circuit: signal of itself":        {renderedRamp, "{inputs: [{signal_name: USER_RESET_CONTROL}]}", "{inputs: [{signal_name: NOT_RESET}]}", `:16:45: circuit.components[10].flow_control.load_ramp.in_ports.forward.signal_name: signal "NOT_RESET" depends on itself, expected one that is constant` + "\n" + `:16:79: circuit.components[10].flow_control.load_ramp.in_ports.backward.signal_name: signal "NOT_RESET" depends on itself, expected one that is constant` + "\n" + `:16:111: circuit.components[10].flow_control.load_ramp.in_ports.reset.signal_name: signal "NOT_RESET" depends on itself, expected one that is constant`},
		"circuit: signal of no component":  {renderedRamp, "{signal_name: FORWARD}, back", "{signal_name: FORWARDS}, back", `:16:45: circuit.components[10].flow_control.load_ramp.in_ports.forward.signal_name: no component puts out the signal "FORWARDS", did you mean FORWARD?`},
		"circuit: signal of two":           {renderedRamp, "{signal_name: NOT_RESET}}}\n", "{signal_name: RESET}}}\n", `:11:139: circuit.components[7].first_valid.out_ports.output.signal_name: signal "RESET" is there twice: another or has it` + "\n" + `:16:45: circuit.components[10].flow_control.load_ramp.in_ports.forward.signal_name: no component puts out the signal "NOT_RESET", expected one of AT_END, BACKWARD, BACKWARD_INTENT, FORWARD, INVERTED_BACKWARD_INTENT, INVERTED_RESET, NOT_BACKWARD, RESET, USER_RESET_CONTROL, USER_START_CONTROL` + "\n" + `:16:79: circuit.components[10].flow_control.load_ramp.in_ports.backward.signal_name: no component puts out the signal "NOT_RESET", expected one of AT_END, BACKWARD, BACKWARD_INTENT, FORWARD, INVERTED_BACKWARD_INTENT, INVERTED_RESET, NOT_BACKWARD, RESET, USER_RESET_CONTROL, USER_START_CONTROL`},
		"circuit: backward":                {renderedRamp, "or: {in_ports: {inputs: []}", "or: {in_ports: {inputs: [{constant_signal: {value: 1}}]}", `:16:65: circuit.components[10].flow_control.load_ramp.in_ports.backward: found a signal that is on, expected one that is off: the ramps of the local engine do not go backward`},
		"circuit: port with both":          {renderedRamp, "{constant_signal: {value: 1}}]}, out_ports: {output: {signal_name: NOT_BACKWARD}", "{signal_name: RESET, constant_signal: {value: 1}}]}, out_ports: {output: {signal_name: NOT_BACKWARD}", `:9:82: circuit.components[5].first_valid.in_ports.inputs[1]: expected either signal_name or constant_signal`},
		"circuit: port with neither":       {renderedRamp, "reset: {signal_name: RESET}", "reset: {}", `:16:97: circuit.components[10].flow_control.load_ramp.in_ports.reset: expected either signal_name or constant_signal`},
		"circuit: constant with neither":   {renderedSampler, "constant_output: {value: 25}", "constant_output: {}", `:3:35: circuit.components[0].variable.constant_output: expected either value or special_value`},
		"circuit: constant with both":      {renderedSampler, "constant_output: {value: 25}", "constant_output: {value: 25, special_value: NaN}", `:3:35: circuit.components[0].variable.constant_output: expected either value or special_value`},
		"circuit: variable of nothing":     {renderedSampler, "constant_output: {value: 25}, ", "", `:3:17: circuit.components[0].variable: missing "constant_output": expected a mapping`},
		"circuit: unknown key of variable": {renderedSampler, "config_key: share", "key: share", `:3:48: circuit.components[0].variable: unknown key "key", expected one of config_key, constant_output, out_ports`},
		"circuit: inverter with inputs":    {renderedRamp, "{input: {signal_name: RESET}}", "{inputs: [{signal_name: RESET}]}", `:10:29: circuit.components[6].inverter.in_ports: unknown key "inputs", did you mean input?`},
		"circuit: and with an input":       {renderedRamp, "{inputs: [{signal_name: BACKWARD_INTENT}, {signal_name: NOT_RESET}]}", "{input: {signal_name: RESET}}", `:13:24: circuit.components[9].and.in_ports: unknown key "input", did you mean inputs?` + "\n" + `:16:65: circuit.components[10].flow_control.load_ramp.in_ports.backward: found a signal that is on, expected one that is off: the ramps of the local engine do not go backward`},
		"circuit: truth in text":           {renderedRamp, "constant_output: true", `constant_output: "true"`, `:4:59: circuit.components[0].bool_variable.constant_output: found "true", expected true or false`},

		"sampler: no port":             {renderedSampler, "{accept_percentage: {signal_name: SHARE}}", "{}", `:6:21: circuit.components[1].flow_control.sampler.in_ports: missing "accept_percentage": expected constant_signal`},
		"sampler: share too large":     {renderedSampler, "value: 25", "value: 100.5", `:6:55: circuit.components[1].flow_control.sampler.in_ports.accept_percentage.signal_name: found 100.5, expected a number from 0 to 100`},
		"sampler: share negative":      {renderedSampler, "accept_percentage: {signal_name: SHARE}", "accept_percentage: {constant_signal: {value: -1}}", `:6:67: circuit.components[1].flow_control.sampler.in_ports.accept_percentage.constant_signal.value: found -1, expected a number from 0 to 100`},
		"sampler: infinite share":      {renderedSampler, "value: 25", "special_value: -Inf", `:3:51: circuit.components[0].variable.constant_output.special_value: found "-Inf", expected NaN, or a finite number under the key value`},
		"sampler: no selectors":        {renderedSampler, "selectors: [{control_point: search}], ", "", `:7:23: circuit.components[1].flow_control.sampler.parameters: missing "selectors": expected a list of at least one selector`},
		"rendered: port of blueprint":  {renderedAll, "max_concurrency: {signal_name: FIVE}", "max_concurrency: 5", `:12:39: circuit.components[1].flow_control.concurrency_scheduler.in_ports.max_concurrency: found the number 5, expected a mapping`},
		"rendered: negative signal":    {renderedAll, "constant_output: {value: 5}", "constant_output: {value: -5}", `:12:53: circuit.components[1].flow_control.concurrency_scheduler.in_ports.max_concurrency.signal_name: found -5, expected a number that is not negative` + "\n" + `:18:53: circuit.components[2].flow_control.quota_scheduler.in_ports.bucket_capacity.signal_name: found -5, expected a number that is not negative`},
		"rendered: amount not in port": {renderedAll, "          concurrency_limiter: {max", "          max_concurrency: 5\n          concurrency_limiter: {max", `:13:11: circuit.components[1].flow_control.concurrency_scheduler: unknown key "max_concurrency", expected one of concurrency_limiter, in_ports, out_ports, scheduler, selectors`},
		"rendered: alerter":            {renderedAll, "          rate_limiter: {int", "          alerter: {}\n          rate_limiter: {int", `:19:11: circuit.components[2].flow_control.quota_scheduler: unknown key "alerter", expected one of in_ports, out_ports, rate_limiter, scheduler, selectors`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, test.document, test.old)
			_, _, err := Load("p.yaml", []byte(test.document))
			require.NoError(t, err)
			policies, _, err := Load("p.yaml", []byte(strings.Replace(test.document, test.old, test.new, 1)))
			assert.Nil(t, policies)
			require.Error(t, err)
			assert.Equal(t, test.problems, strings.ReplaceAll(err.Error(), "p.yaml", ""))
		})
	}
}
