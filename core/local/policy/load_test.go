package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

const blueprint = `# values of a blueprint
blueprint: rate-limiting/base
uri: github.com/example/blueprints@v1
policy:
  policy_name: checkout
  rate_limiter:
    bucket_capacity: 12.5
    fill_amount: 3
    parameters:
      interval: 0.25s
      limit_by_label_key: user_id
      continuous_fill: false
      delay_initial_fill: true
      max_idle_time: 0s
      lazy_sync: {enabled: false, num_sync: 4}
    request_parameters:
      tokens_label_key: cost
      denied_response_status_code: PaymentRequired
    selectors:
      - control_point: checkout
        agent_group: eu
        service: shop
        label_matcher:
          match_labels: {tier: gold}
          match_list:
            - {key: zone, operator: In, values: [a, b]}
          expression:
            any:
              of:
                - label_exists: x
                - not: {label_equals: {label: y, value: z}}
      - control_point: pay
    alerter: {alert_name: a, severity: info, resolve_timeout: 5s, alert_channels: [c], labels: {k: v}}
  components: []
  resources: {flow_control: {classifiers: []}}
`

const rendered = `circuit:
  evaluation_interval: 1s
  components:
    - alerter: {anything: goes}
    - flow_control:
        rate_limiter:
          in_ports:
            bucket_capacity: {constant_signal: {value: 12.5}}
            fill_amount: {constant_signal: {value: 3}}
            pass_through: {constant_signal: {value: 1}}
          out_ports: {accept_percentage: {signal_name: ACCEPT}}
          parameters: {interval: 60s, label_key: user_id}
          selectors:
            - control_point: checkout
    - decider: {in_ports: {}}
resources:
  flow_control: {}
`

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

var resource = "apiVersion: fluxninja.com/v1alpha1\nkind: Policy\nmetadata:\n  name: checkout\n  labels: {a: b}\nspec:\n" + indent(rendered)

func TestLoadBlueprintValues(t *testing.T) {
	policies, warnings, err := Load("p.yaml", []byte(blueprint))
	require.NoError(t, err)
	assert.Empty(t, warnings)
	require.Len(t, policies, 1)
	assert.Len(t, policies[0].Hash, 32)
	assert.Equal(t, Policy{
		Name: "checkout",
		Hash: policies[0].Hash,
		RateLimiters: []RateLimiter{{
			TokenBucket: TokenBucket{
				BucketCapacity:   12.5,
				FillAmount:       3,
				Interval:         250 * time.Millisecond,
				DelayInitialFill: true,
				LimitByLabelKey:  "user_id",
			},
			TokensLabelKey: "cost",
			Component: Component{ID: "root.0", DeniedStatus: checkv1.StatusCode_PaymentRequired, Selectors: []Selector{
				{
					ControlPoint: "checkout", AgentGroup: "eu", Service: "shop",
					LabelMatcher: &LabelMatcher{
						Labels:       []Label{{"tier", "gold"}},
						Requirements: []Requirement{{Key: "zone", Operator: In, Values: []string{"a", "b"}}},
						Expression: &Expression{Any: &ExpressionList{Of: []Expression{
							{LabelExists: "x"},
							{Not: &Expression{LabelEquals: &Label{"y", "z"}}},
						}}},
					},
				},
				{ControlPoint: "pay", AgentGroup: "aperture-cloud", Service: "any"},
			}},
		}},
	}, policies[0])
}

func TestLoadRenderedPolicyAndResource(t *testing.T) {
	for name, text := range map[string]string{"rendered": rendered, "resource": resource} {
		t.Run(name, func(t *testing.T) {
			policies, warnings, err := Load("dir/checkout.yaml", []byte(text))
			require.NoError(t, err)
			assert.Empty(t, warnings)
			require.Len(t, policies, 1)
			assert.Equal(t, Policy{
				Name: "checkout",
				Hash: policies[0].Hash,
				RateLimiters: []RateLimiter{{
					Component: Component{
						ID:        "root.1",
						Selectors: []Selector{{ControlPoint: "checkout", AgentGroup: "aperture-cloud", Service: "any"}},
					},
					TokenBucket: TokenBucket{
						BucketCapacity:  12.5,
						FillAmount:      3,
						Interval:        time.Minute,
						ContinuousFill:  true,
						MaxIdleTime:     7200 * time.Second,
						LimitByLabelKey: "user_id",
						PassThrough:     true,
					},
				}},
			}, policies[0])
		})
	}
}

func TestLoadSeveralDocuments(t *testing.T) {
	text := "---\n" + blueprint + "---\n# nothing but a comment\n---\n" + strings.Replace(resource, "name: checkout", "name: second", 1) + "---\n" + rendered + "...\n"
	policies, _, err := Load("third.yaml", []byte(text))
	require.NoError(t, err)
	var names []string
	for _, policy := range policies {
		names = append(names, policy.Name)
	}
	assert.Equal(t, []string{"checkout", "second", "third"}, names)
}

func TestLoadFollowsAliasesAndMergeKeys(t *testing.T) {
	policies, _, err := Load("p.yaml", []byte(`
circuit:
  components:
    - flow_control:
        rate_limiter: &limiter
          in_ports: &ports {bucket_capacity: &one {constant_signal: {value: 1}}, fill_amount: *one}
          parameters: {interval: 1s}
          selectors: [{control_point: a}]
    - flow_control:
        rate_limiter:
          <<: *limiter
          selectors: [{control_point: b}]
`))
	require.NoError(t, err)
	require.Len(t, policies[0].RateLimiters, 2)
	second := policies[0].RateLimiters[1]
	assert.Equal(t, "root.1", second.ID)
	assert.Equal(t, 1.0, second.FillAmount)
	assert.Equal(t, time.Second, second.Interval)
	assert.Equal(t, "b", second.Selectors[0].ControlPoint)
}

func TestExtraComponentsComeAfterThoseOfTheBlueprint(t *testing.T) {
	text := strings.Replace(blueprint, "components: []", `components:
    - flow_control: {rate_limiter: {in_ports: {bucket_capacity: {constant_signal: {value: 1}}, fill_amount: {constant_signal: {value: 1}}}, parameters: {interval: 1s}, selectors: [{control_point: x}]}}`, 1)
	policies, _, err := Load("p.yaml", []byte(text))
	require.NoError(t, err)
	require.Len(t, policies[0].RateLimiters, 2)
	assert.Equal(t, "root.3", policies[0].RateLimiters[1].ID)
}

func TestHashFollowsMeaning(t *testing.T) {
	hash := func(text string) string {
		policies, _, err := Load("p.yaml", []byte(text))
		require.NoError(t, err)
		return policies[0].Hash
	}
	const text = "blueprint: rate-limiting/base\npolicy: {policy_name: a, rate_limiter: {bucket_capacity: 1, fill_amount: 2, parameters: {interval: 1s}, selectors: [{control_point: x}]}}"
	assert.Equal(t, hash(text), hash("# comment\npolicy:\n  rate_limiter: {fill_amount: 2, bucket_capacity: 1, selectors: [control_point: 'x'], parameters: {interval: '1s'}}\n  policy_name: a\nblueprint: rate-limiting/base\n"))
	assert.NotEqual(t, hash(text), hash(strings.Replace(text, "fill_amount: 2", "fill_amount: 3", 1)))
	assert.NotEqual(t, hash(text), hash(strings.Replace(text, "control_point: x", "control_point: xx", 1)))
}

func TestLoadWarnsAboutWhatIsIgnored(t *testing.T) {
	for name, test := range map[string]struct{ old, new, warning string }{
		"lazy_sync":      {"enabled: false", "enabled: true", "p.yaml:15:18: policy.rate_limiter.parameters.lazy_sync: ignored by the local engine, which has nothing to synchronise with"},
		"classifiers":    {"classifiers: []", "classifiers: [{}]", "p.yaml:35:43: policy.resources.flow_control.classifiers: ignored by the local engine"},
		"flux meters":    {"classifiers: []", "flux_meters: {a: {}}", "p.yaml:35:43: policy.resources.flow_control.flux_meters: ignored by the local engine"},
		"infra meters":   {"resources: {", "resources: {infra_meters: {a: {}}, ", "p.yaml:35:29: policy.resources.infra_meters: ignored by the local engine"},
		"unused signals": {"components: []", "components: [{ema: {}}]", "p.yaml:34:22: policy.components[0].ema: ignored by the local engine, which has no signals"},
	} {
		t.Run(name, func(t *testing.T) {
			_, warnings, err := Load("p.yaml", []byte(strings.Replace(blueprint, test.old, test.new, 1)))
			require.NoError(t, err)
			require.Len(t, warnings, 1)
			assert.Equal(t, test.warning, warnings[0].String())
		})
	}
}

// Each case puts something wrong in the place of a part of a good document.
func TestLoadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		document, old, new string
		problem            string // of file p.yaml
	}{
		"unknown key of the document":    {blueprint, "uri:", "url:", `:3:1: unknown key "url", did you mean uri?`},
		"unknown key of the policy":      {blueprint, "resources:", "resource:", `:35:3: policy: unknown key "resource", did you mean resources?`},
		"unknown key of the limiter":     {blueprint, "alerter:", "alert:", `:33:5: policy.rate_limiter: unknown key "alert", did you mean alerter?`},
		"unknown key of parameters":      {blueprint, "continuous_fill:", "continous_fill:", `:12:7: policy.rate_limiter.parameters: unknown key "continous_fill", did you mean continuous_fill?`},
		"unknown key of lazy_sync":       {blueprint, "num_sync", "sync", `:15:35: policy.rate_limiter.parameters.lazy_sync: unknown key "sync", expected one of enabled, num_sync`},
		"unknown request parameter":      {blueprint, "tokens_label_key", "tokens_label", `:17:7: policy.rate_limiter.request_parameters: unknown key "tokens_label", did you mean tokens_label_key?`},
		"unknown key of a selector":      {blueprint, "service:", "Service:", `:22:9: policy.rate_limiter.selectors[0]: unknown key "Service", did you mean service?`},
		"unknown key of a matcher":       {blueprint, "match_labels:", "matchLabels:", `:24:11: policy.rate_limiter.selectors[0].label_matcher: unknown key "matchLabels", did you mean match_labels?`},
		"unknown key of a requirement":   {blueprint, "{key: zone,", "{keys: zone, key: zone,", `:26:16: policy.rate_limiter.selectors[0].label_matcher.match_list[0]: unknown key "keys", did you mean key?`},
		"unknown key of an expression":   {blueprint, "{label_equals: {label: y,", "{label_equals: {lable: y, label: y,", `:31:40: policy.rate_limiter.selectors[0].label_matcher.expression.any.of[1].not.label_equals: unknown key "lable", did you mean label?`},
		"unknown key of the alerter":     {blueprint, "severity:", "sever:", `:33:30: policy.rate_limiter.alerter: unknown key "sever", expected one of alert_channels, alert_name, labels, resolve_timeout, severity`},
		"unknown key of resources":       {blueprint, "resources: {", "resources: {meters: 1, ", `:35:15: policy.resources: unknown key "meters", expected one of flow_control, infra_meters, telemetry_collectors`},
		"unknown key of flow_control":    {blueprint, "classifiers:", "classifier:", `:35:30: policy.resources.flow_control: unknown key "classifier", did you mean classifiers?`},
		"unknown key of the circuit":     {rendered, "evaluation_interval:", "interval:", `:2:3: circuit: unknown key "interval", expected one of components, evaluation_interval`},
		"unknown component":              {rendered, "flow_control:", "flow_controls:", `:5:7: circuit.components[1]: unknown key "flow_controls", did you mean flow_control?`},
		"unknown flow-control component": {rendered, "rate_limiter:", "rate_limit:", `:6:9: circuit.components[1].flow_control: unknown key "rate_limit", did you mean rate_limiter?`},
		"unknown port":                   {rendered, "pass_through:", "pass:", `:10:13: circuit.components[1].flow_control.rate_limiter.in_ports: unknown key "pass", expected one of bucket_capacity, fill_amount, pass_through`},
		"unknown key of a resource":      {resource, "spec:", "specs:", `:6:1: unknown key "specs", did you mean spec?`},

		"no mapping":                   {blueprint, blueprint, "- a\n", ":1:1: found a list, expected a mapping"},
		"not a policy":                 {blueprint, blueprint, "a: 1\n", ":1:1: not a policy: expected blueprint values (keys blueprint and policy), a resource of kind Policy, a rendered policy (keys circuit and resources), or a dynamic configuration (keys policy_name and dynamic_config)"},
		"blueprint of no name":         {blueprint, blueprint, "blueprint:\n", ":1:1: not a policy: expected blueprint values (keys blueprint and policy), a resource of kind Policy, a rendered policy (keys circuit and resources), or a dynamic configuration (keys policy_name and dynamic_config)"},
		"number in place of text":      {blueprint, "policy_name: checkout", "policy_name: 12", ":5:16: policy.policy_name: found the number 12, expected a string: put it into quotes"},
		"empty name":                   {blueprint, "policy_name: checkout", `policy_name: ""`, `:5:16: policy.policy_name: found "", expected a string that is not empty`},
		"text in place of number":      {blueprint, "12.5", `"12.5"`, `:7:22: policy.rate_limiter.bucket_capacity: found "12.5", expected a finite number`},
		"infinite number":              {blueprint, "12.5", ".inf", ":7:22: policy.rate_limiter.bucket_capacity: found the number .inf, expected a finite number"},
		"no number":                    {blueprint, "fill_amount: 3", "fill_amount: .nan", ":8:18: policy.rate_limiter.fill_amount: found the number .nan, expected a finite number"},
		"negative number":              {blueprint, "fill_amount: 3", "fill_amount: -3", ":8:18: policy.rate_limiter.fill_amount: found the number -3, expected a number that is not negative"},
		"number too large":             {blueprint, "12.5", "1e999", `:7:22: policy.rate_limiter.bucket_capacity: found "1e999", expected a finite number`},
		"text in place of truth value": {blueprint, "continuous_fill: false", "continuous_fill: no", `:12:24: policy.rate_limiter.parameters.continuous_fill: found "no", expected true or false`},
		"list in place of mapping":     {blueprint, "{enabled: false, num_sync: 4}", "[]", ":15:18: policy.rate_limiter.parameters.lazy_sync: found a list, expected a mapping"},
		"text in place of list":        {blueprint, "values: [a, b]", "values: a", `:26:49: policy.rate_limiter.selectors[0].label_matcher.match_list[0].values: found "a", expected a list`},
		"number in place of label":     {blueprint, "{tier: gold}", "{tier: 1}", ":24:32: policy.rate_limiter.selectors[0].label_matcher.match_labels.tier: found the number 1, expected a string: put it into quotes"},
		"number as a key":              {blueprint, "{tier: gold}", "{1: gold}", ":24:26: policy.rate_limiter.selectors[0].label_matcher.match_labels: found the number 1, expected a string as the key"},
		"num_sync of 0":                {blueprint, "num_sync: 4", "num_sync: 0", ":15:45: policy.rate_limiter.parameters.lazy_sync.num_sync: found the number 0, expected more than 0"},

		"milliseconds":       {blueprint, "0.25s", "500ms", `:10:17: policy.rate_limiter.parameters.interval: found "500ms", expected decimal seconds with the suffix s, such as "0.5s"`},
		"minutes":            {blueprint, "0.25s", "1m", `:10:17: policy.rate_limiter.parameters.interval: found "1m", expected decimal seconds with the suffix s, such as "0.5s"`},
		"duration in number": {blueprint, "0.25s", "5", `:10:17: policy.rate_limiter.parameters.interval: found the number 5, expected decimal seconds with the suffix s, such as "0.5s"`},
		"interval of 0":      {blueprint, "0.25s", "0s", `:10:17: policy.rate_limiter.parameters.interval: found "0s", expected more than 0s`},
		"negative duration":  {blueprint, "max_idle_time: 0s", "max_idle_time: -1s", `:14:22: policy.rate_limiter.parameters.max_idle_time: found "-1s", expected decimal seconds with the suffix s, such as "0.5s"`},
		"long duration":      {blueprint, "max_idle_time: 0s", "max_idle_time: 10000000000s", `:14:22: policy.rate_limiter.parameters.max_idle_time: found "10000000000s", expected at most 9223372036s`},

		"bad regular expression": {blueprint, "label_exists: x", `label_matches: {label: x, regex: "a(b"}`, `:30:52: policy.rate_limiter.selectors[0].label_matcher.expression.any.of[0].label_matches.regex: found "a(b", expected a regular expression in Go's syntax (RE2): missing closing ) in "a(b"`},
		"two expressions in one": {blueprint, "label_exists: x", "{label_exists: x, not: {label_exists: y}}", `:30:19: policy.rate_limiter.selectors[0].label_matcher.expression.any.of[0]: found not and label_exists together, expected exactly one of not, all, any, label_exists, label_equals, label_matches`},
		"empty expression":       {blueprint, "label_exists: x", "{}", `:30:19: policy.rate_limiter.selectors[0].label_matcher.expression.any.of[0]: found none, expected exactly one of not, all, any, label_exists, label_equals, label_matches`},
		"unknown operator":       {blueprint, "operator: In", "operator: in", `:26:37: policy.rate_limiter.selectors[0].label_matcher.match_list[0].operator: found "in", expected one of In, NotIn, Exists, DoesNotExist`},
		"unknown status":         {blueprint, "PaymentRequired", "PaymentsRequired", `:18:36: policy.rate_limiter.request_parameters.denied_response_status_code: unknown status "PaymentsRequired", expected a name such as TooManyRequests, did you mean PaymentRequired?`},
		"status by number":       {blueprint, "PaymentRequired", "402", `:18:36: policy.rate_limiter.request_parameters.denied_response_status_code: found the number 402, expected the status by its name: PaymentRequired`},
		"unknown status number":  {blueprint, "PaymentRequired", "999", `:18:36: policy.rate_limiter.request_parameters.denied_response_status_code: found the number 999, expected a string: put it into quotes`},

		"key twice":         {blueprint, "    fill_amount: 3", "    bucket_capacity: 3\n    fill_amount: 3", `:8:5: policy.rate_limiter: key "bucket_capacity" is there twice: first in line 7`},
		"policy name twice": {blueprint, blueprint, blueprint + "---\n" + resource, `:40:9: duplicate policy name "checkout": first in line 5`},

		"no policy":           {blueprint, blueprint, "blueprint: rate-limiting/base\n", `:1:1: missing "policy": expected a mapping`},
		"no policy name":      {blueprint, "  policy_name: checkout\n", "", `:5:3: policy: missing "policy_name": expected a string that is not empty`},
		"no rate limiter":     {blueprint, blueprint, "blueprint: rate-limiting/base\npolicy: {policy_name: a}\n", `:2:9: policy: missing "rate_limiter": expected a mapping`},
		"no capacity":         {blueprint, "    bucket_capacity: 12.5\n", "", `:7:5: policy.rate_limiter: missing "bucket_capacity": expected a number`},
		"null counts as none": {blueprint, "12.5", "null", `:7:5: policy.rate_limiter: missing "bucket_capacity": expected a number`},
		"no interval":         {blueprint, "      interval: 0.25s\n", "", `:10:7: policy.rate_limiter.parameters: missing "interval": expected decimal seconds with the suffix s, such as "1s"`},
		"no control point":    {blueprint, "- control_point: pay", "- service: any", `:32:9: policy.rate_limiter.selectors[1]: missing "control_point": expected a string that is not empty`},
		"no selectors":        {rendered, "          selectors:\n            - control_point: checkout\n", "", `:7:11: circuit.components[1].flow_control.rate_limiter: missing "selectors": expected a list of at least one selector`},
		"empty selectors":     {rendered, "          selectors:\n            - control_point: checkout\n", "          selectors: []\n", `:13:22: circuit.components[1].flow_control.rate_limiter.selectors: found an empty list, expected at least one selector`},
		"no port":             {rendered, "            fill_amount: {constant_signal: {value: 3}}\n", "", `:8:13: circuit.components[1].flow_control.rate_limiter.in_ports: missing "fill_amount": expected constant_signal`},
		"no metadata":         {resource, "metadata:\n  name: checkout\n  labels: {a: b}\n", "", `:1:1: missing "metadata": expected a mapping`},
		"no operator":         {blueprint, "operator: In, ", "", `:26:15: policy.rate_limiter.selectors[0].label_matcher.match_list[0]: missing "operator": expected one of In, NotIn, Exists, DoesNotExist`},

		"blueprint of a cluster":          {blueprint, "rate-limiting/base", "load-scheduling/average-latency", `:2:12: blueprint: "load-scheduling/average-latency" is unsupported: needs an Aperture cluster`},
		"unknown blueprint":               {blueprint, "rate-limiting/base", "rate-limit/base", `:2:12: blueprint: unknown blueprint "rate-limit/base", did you mean rate-limiting/base?`},
		"component of a cluster":          {rendered, "alerter: {anything: goes}", "auto_scale: {}", `:4:19: circuit.components[0].auto_scale: unsupported: needs an Aperture cluster`},
		"flow control of a cluster":       {rendered, "alerter: {anything: goes}", "flow_control: {aimd_load_scheduler: {}}", `:4:43: circuit.components[0].flow_control.aimd_load_scheduler: unsupported: needs an Aperture cluster`},
		"two kinds in one component":      {rendered, "alerter: {anything: goes}", "{alerter: {}, decider: {}}", `:4:7: circuit.components[0]: found alerter and decider together, expected one kind of component`},
		"component of no kind":            {rendered, "alerter: {anything: goes}", "{}", `:4:7: circuit.components[0]: found nothing, expected one kind of component`},
		"port with no signal":             {rendered, "{constant_signal: {value: 12.5}}", "{signal_name: CAPACITY}", `:8:44: circuit.components[1].flow_control.rate_limiter.in_ports.bucket_capacity.signal_name: no component puts out the signal "CAPACITY", expected one of ACCEPT`},
		"infinite special value":          {rendered, "value: 12.5", "special_value: +Inf", `:8:64: circuit.components[1].flow_control.rate_limiter.in_ports.bucket_capacity.constant_signal.special_value: found "+Inf", expected NaN, or a finite number under the key value`},
		"resource of another kind":        {resource, "kind: Policy", "kind: Secret", `:2:7: kind: found "Secret", expected Policy`},
		"value that nobody has filled in": {blueprint, "bucket_capacity: 12.5", "bucket_capacity: 12.5 # __REQUIRED_FIELD__", `:7:29: found __REQUIRED_FIELD__, expected a value in its place`},

		"alias to itself":   {blueprint, blueprint, "a: &a [*a]\n", ":1:1: the document is too deep, or an alias refers to itself: expected at most 100 levels"},
		"too many levels":   {blueprint, blueprint, strings.Repeat("[", 200) + strings.Repeat("]", 200), ":1:1: the document is too deep, or an alias refers to itself: expected at most 100 levels"},
		"alias bomb":        {blueprint, blueprint, aliasBomb(), ":1:1: the document is too large: expected at most 1000000 values, counting what aliases repeat"},
		"merge of no value": {blueprint, "uri:", "<<:", `:3:5: found "github.com/example/blueprints@v1", expected a mapping to merge`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, test.document, test.old)
			policies, _, err := Load("p.yaml", []byte(strings.Replace(test.document, test.old, test.new, 1)))
			assert.Nil(t, policies)
			var loadError *LoadError
			require.ErrorAs(t, err, &loadError)
			lines := strings.Split(loadError.Error(), "\n")
			assert.Contains(t, lines, "p.yaml"+test.problem)
		})
	}
}

func TestLoadSaysWhereSyntaxIsWrong(t *testing.T) {
	for text, problem := range map[string]string{
		"a:\n  b: 1\n  c: 2\n d: 3\n  e: 4\nf: 5\n":         ":4: not YAML: did not find expected key",
		"a:\n  b: 1\n\tc: 2\nf: 5\ng: 6\n":                  ":2: not YAML: found a tab character that violates indentation (noticed in line 3)",
		"a:\n  b: 1\n  c: \"x\n  d: 5\ng: 6\n":              ":3: not YAML: found unexpected end of stream (noticed in line 5)",
		"a:\n  b: 1\n  c: [x, y\n  d: 5\ng: 6\n":            ":3: not YAML: did not find expected ',' or ']' (noticed in line 5)",
		"a:\n  b: 1\n  c: x: y\n  d: 5\ng: 6\n":             ":3: not YAML: mapping values are not allowed in this context",
		"a:\n  b: 1\n  c: @x\n  d: 5\ng: 6\n":               ":3: not YAML: found character that cannot start any token",
		"a:\n  b: 1\n  c: 'x' y\n  d: 5\ng: 6\n":            ":2: not YAML: did not find expected key (noticed in line 4)",
		"a:\n  - b: 1\n    c: 2\n   d: 3\n  - e: 5\ng: 6\n": ":2: not YAML: did not find expected '-' indicator (noticed in line 4)",
		"a: *b\n": ":1: not YAML: unknown anchor 'b' referenced",
		"a: {\n":  ":1: not YAML: did not find expected node content",
	} {
		_, _, err := Load("p.yaml", []byte(text))
		require.Error(t, err)
		assert.Contains(t, strings.Split(err.Error(), "\n"), "p.yaml"+problem, "%q", text)
	}
}

func aliasBomb() string {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 x\n")
	for i := range 30 {
		fmt.Fprintf(&bomb, "a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	return bomb.String()
}

func TestLoadReportsAllProblemsInOrder(t *testing.T) {
	_, _, err := Load("p.yaml", []byte(`blueprint: rate-limiting/base
policy:
  policy_name: checkout
  rate_limiter:
    fill_amount: lots
    parameters: {interval: 1m, bucket: 1}
    selectors: []
---
kind: Policy
metadata: {name: checkout}
spec: {circuit: {components: [{flow_control: {load_scheduler: {}}}]}}
---
a: {
`))
	assert.EqualError(t, err, strings.Join([]string{
		`p.yaml:5:5: policy.rate_limiter: missing "bucket_capacity": expected a number`,
		`p.yaml:5:18: policy.rate_limiter.fill_amount: found "lots", expected a finite number`,
		`p.yaml:6:28: policy.rate_limiter.parameters.interval: found "1m", expected decimal seconds with the suffix s, such as "0.5s"`,
		`p.yaml:6:32: policy.rate_limiter.parameters: unknown key "bucket", expected one of continuous_fill, delay_initial_fill, interval, label_key, lazy_sync, limit_by_label_key, max_idle_time`,
		`p.yaml:7:16: policy.rate_limiter.selectors: found an empty list, expected at least one selector`,
		`p.yaml:10:18: duplicate policy name "checkout": first in line 3`,
		`p.yaml:11:63: spec.circuit.components[0].flow_control.load_scheduler: unsupported: needs an Aperture cluster`,
		`p.yaml:13: not YAML: did not find expected node content`,
	}, "\n"))
}

func TestLoadBoundsProblems(t *testing.T) {
	text := "blueprint: rate-limiting/base\n"
	for i := range 5000 {
		text += fmt.Sprintf("key%d: 1\n", i)
	}
	_, _, err := Load("p.yaml", []byte(text))
	var loadError *LoadError
	require.ErrorAs(t, err, &loadError)
	require.Len(t, loadError.Problems, mostProblems+1)
	assert.Equal(t, "p.yaml: and more problems", loadError.Problems[mostProblems].String())
	for i, problem := range loadError.Problems {
		assert.Equal(t, i == mostProblems, problem.More, problem.String())
	}
}

func TestProblemsHoldNoLongText(t *testing.T) {
	_, _, err := Load("p.yaml", []byte("blueprint: "+strings.Repeat("é", 1000)+"\n"))
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 400)
	assert.Contains(t, err.Error(), "é…")
}

func TestParseDuration(t *testing.T) {
	for text, expected := range map[string]time.Duration{
		"0s": 0, "1s": time.Second, "0.5s": 500 * time.Millisecond, "0.000000001s": 1, "007.10s": 7100 * time.Millisecond,
		"9223372035.999999999s": 9223372035*time.Second + 999999999,
	} {
		duration, err := parseDuration(text)
		assert.NoError(t, err, text)
		assert.Equal(t, expected, duration, text)
	}
	for _, text := range []string{
		"", "s", "1", ".5s", "1.s", "-1s", "+1s", "1 s", " 1s", "1e3s", "500ms", "1m", "1h", "0.0000000001s", "1_0s", "9223372036s",
		"99999999999999999999s",
	} {
		_, err := parseDuration(text)
		assert.Error(t, err, text)
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		blueprint, rendered, resource, blueprint + "---\n" + resource, aliasBomb(), "a: &a [*a]", "<<: [&a {b: *a}]", "---\n---\n", "? {a: b}\n: c\n",
		"!!binary a: b", "%YAML 1.1\n---\na", "kind: Policy\nkind: Policy", "{blueprint: !!str 1, policy: *x}", "&a a: *a",
		quotaScheduling, concurrencyLimiting, concurrencyScheduling, loadRamping, loadRamping + rampStarts, renderedRamp,
		renderedSampler, renderedAll, "kind: Policy\nmetadata: {name: a}\ndynamicConfig: {start: true}\nspec:\n" + indent(renderedRamp),
		"policy_name: a\ndynamic_config: {}", "circuit: {components: [{inverter: {in_ports: {input: {signal_name: a}}, out_ports: {output: {signal_name: a}}}}]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		policies, warnings, err := Load("p.yaml", content)
		require.LessOrEqual(t, len(warnings), mostProblems+1)
		if err != nil {
			require.Nil(t, policies)
			var loadError *LoadError
			require.ErrorAs(t, err, &loadError)
			require.NotEmpty(t, loadError.Problems)
			require.LessOrEqual(t, len(loadError.Problems), mostProblems+1)
			return
		}
		require.NotEmpty(t, policies)
		for i := range policies {
			requireSound(t, &policies[i])
		}
	})
}

// requireSound checks what the engine relies on.
func requireSound(t *testing.T, policy *Policy) {
	require.NotEmpty(t, policy.Name)
	require.Len(t, policy.Hash, 32)
	component := func(component Component) {
		require.NotEmpty(t, component.ID)
		require.NotEmpty(t, component.Selectors)
	}
	bucket := func(bucket TokenBucket) {
		require.Positive(t, bucket.Interval)
		require.GreaterOrEqual(t, bucket.MaxIdleTime, time.Duration(0))
		require.GreaterOrEqual(t, bucket.BucketCapacity, 0.0)
		require.GreaterOrEqual(t, bucket.FillAmount, 0.0)
	}
	inFlight := func(inFlight InFlight) {
		require.Positive(t, inFlight.MaxInflightDuration)
		require.GreaterOrEqual(t, inFlight.MaxIdleTime, time.Duration(0))
		require.GreaterOrEqual(t, inFlight.MaxConcurrency, 0.0)
	}
	parameters := func(parameters WorkloadParameters) {
		require.Positive(t, parameters.Priority)
		require.GreaterOrEqual(t, parameters.Tokens, 0.0)
	}
	scheduler := func(scheduler Scheduler) {
		parameters(scheduler.DefaultWorkload)
		labels := map[string]bool{"default": true}
		for _, workload := range scheduler.Workloads {
			require.False(t, labels[workload.Label])
			labels[workload.Label] = true
			require.NotNil(t, workload.Matcher)
			parameters(workload.WorkloadParameters)
		}
	}
	for _, limiter := range policy.RateLimiters {
		component(limiter.Component)
		bucket(limiter.TokenBucket)
	}
	for _, limiter := range policy.ConcurrencyLimiters {
		component(limiter.Component)
		inFlight(limiter.InFlight)
	}
	for _, s := range policy.ConcurrencySchedulers {
		component(s.Component)
		inFlight(s.InFlight)
		scheduler(s.Scheduler)
	}
	for _, s := range policy.QuotaSchedulers {
		component(s.Component)
		bucket(s.TokenBucket)
		scheduler(s.Scheduler)
	}
	for _, sampler := range policy.Samplers {
		component(sampler.Component)
		require.True(t, sampler.AcceptPercentage >= 0 && sampler.AcceptPercentage <= 100)
		if sampler.Ramp == nil {
			continue
		}
		require.True(t, sampler.RampMode)
		require.NotEmpty(t, sampler.Ramp.Steps)
		for _, step := range sampler.Ramp.Steps {
			require.True(t, step.TargetAcceptPercentage >= 0 && step.TargetAcceptPercentage <= 100)
			require.GreaterOrEqual(t, step.Duration, time.Duration(0))
		}
	}
}
