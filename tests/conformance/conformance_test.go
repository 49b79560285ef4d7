package conformance

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "google.golang.org/grpc/encoding/gzip" // some clients compress

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/testcert"
)

// settling is how long the agent may take to see what a case expects, once the driver is done.
const settling = 10 * time.Second

// TestConformance runs each case with each driver. A driver is one process for all of its cases.
func TestConformance(t *testing.T) {
	suite, cases, err := readSuite(os.DirFS("."))
	require.NoError(t, err)
	for _, name := range slices.Sorted(maps.Keys(suite.Drivers)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runner{variables: map[string]string{}}
			r.makeCertificates(t)
			driver := suite.Drivers[name]
			r.driver, err = start(driver.Command)
			require.NoError(t, err)
			t.Cleanup(r.driver.kill)

			for operation := range driver.Lacks {
				answer, err := r.driver.ask(operation)
				require.NoError(t, err, "the index says that %s lacks %s", name, operation)
				require.Equal(t, "UNSUPPORTED", answer["error"], "the index says that %s lacks %s", name, operation)
			}
			for i := range cases {
				c := &cases[i]
				if driver.lacks(c) != "" {
					continue
				}
				for _, decider := range c.deciders() {
					t.Run(c.file+"/"+c.Name+decider.suffix, func(t *testing.T) {
						excepted := c.Except[name] != ""
						problems := decider.run(&r, t, c, excepted)
						switch {
						case excepted && len(problems) == 0:
							t.Errorf("the index says that %s does not pass this, but it does: %s", name, c.Except[name])
						case !excepted && len(problems) > 0:
							t.Error(short(problems))
						}
					})
					if r.gone {
						t.Fatalf("driver %s is gone", name)
					}
				}
			}
			require.NoError(t, r.driver.stop())
		})
	}
}

// runner runs cases with one driver.
type runner struct {
	driver       *process
	gone         bool // the driver
	certificates *testcert.Certificates
	variables    map[string]string // what "${name}" in an argument stands for
}

func (r *runner) makeCertificates(t *testing.T) {
	var err error
	r.certificates, err = testcert.Make("127.0.0.1", "agent.test")
	require.NoError(t, err)
	other, err := testcert.Make()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, r.certificates.Write(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "other-ca.pem"), other.CA, 0o600))
	r.variables["certificates"] = dir
	r.variables["ca_pem"] = string(r.certificates.CA)
	r.variables["client_pem"] = string(r.certificates.Client)
	r.variables["client_key_pem"] = string(r.certificates.ClientKey)
}

// run runs one case and returns what is not as it should be.
func (r *runner) run(t *testing.T, c *suiteCase, excepted bool) (problems []string) {
	agent := r.startAgent(t, &c.Agent)
	defer agent.Stop()
	problems = r.runSteps(c, agent.Address(), func(s *step) []string { return r.runStep(agent, s) })
	if r.gone {
		return problems
	}
	patience := settling
	if excepted { // what is expected will not come
		patience = settling / 20
	}
	return append(problems, waitFor(patience, func() []string { return compare(c.Seen, agent, true) })...)
}

// runSteps has the driver do the steps of a case with an address, and returns what is not as it should be.
func (r *runner) runSteps(c *suiteCase, address string, ofRunner func(*step) []string) (problems []string) {
	r.variables["address"] = address
	for i, s := range r.withOpen(c) {
		var found []string
		if s.forRunner() {
			found = ofRunner(&s)
		} else {
			found = r.askStep(&s, &c.Agent)
		}
		for _, problem := range found {
			problems = append(problems, fmt.Sprintf("step %d, %s: %s", i, s.operation, problem))
		}
		if r.gone {
			return problems
		}
	}
	found := r.askStep(&step{operation: "reset", expect: map[string]any{"handles": "0"}}, &c.Agent)
	problems = append(problems, found...)
	if printed := r.driver.printed(); printed != "" {
		problems = append(problems, "the driver wrote to its standard error: "+printed)
	}
	return problems
}

// startAgent starts the agent of a case.
func (r *runner) startAgent(t *testing.T, setup *agentSetup) *fakeagent.Agent {
	options := fakeagent.Options{RequireAPIKey: setup.APIKey}
	for kind, configuration := range map[string]func() (*tls.Config, error){
		"server": r.certificates.TLS,
		"mutual": r.certificates.TLSWithClients,
	} {
		if setup.TLS == kind {
			var err error
			options.TLS, err = configuration()
			require.NoError(t, err)
		}
	}
	require.Equal(t, setup.TLS != "", options.TLS != nil, "tls: %q is unknown", setup.TLS)
	agent, err := fakeagent.Start(options)
	require.NoError(t, err)
	if setup.Script != nil {
		script, err := parseScript(setup.Script)
		require.NoError(t, err)
		agent.SetScript(script)
	}
	if setup.Down {
		agent.Stop()
	}
	return agent
}

// withOpen returns the steps of a case. One that opens no client begins with a client that is ready.
func (r *runner) withOpen(c *suiteCase) []step {
	if len(c.Steps) > 0 && (c.Steps[0].operation == "open" || c.Steps[0].operation == "from_environment") {
		return c.Steps
	}
	opening := []step{{operation: "open"}}
	if !c.Agent.Down {
		opening = append(opening, step{operation: "wait_ready"})
	}
	return append(opening, c.Steps...)
}

// forRunner says whether a step is the runner's, and not the driver's.
func (s *step) forRunner() bool { return s.operation == "agent" || s.operation == "await" }

// runStep does a step of the runner.
func (r *runner) runStep(agent *fakeagent.Agent, s *step) []string {
	if s.operation == "await" {
		return waitFor(settling, func() []string { return compare(s.arguments, agent, false) })
	}
	for name, argument := range s.arguments {
		switch name {
		case "stop":
			agent.Stop()
		case "restart":
			if err := agent.Restart(); err != nil {
				return []string{err.Error()}
			}
		case "script":
			script, err := parseScript(argument)
			if err != nil {
				return []string{err.Error()}
			}
			agent.SetScript(script)
		default:
			return []string{fmt.Sprintf("an agent cannot %q", name)}
		}
	}
	return nil
}

// compare compares what the agent saw with what a case expects: the whole of it, or only what is named.
func compare(want map[string]any, agent *fakeagent.Agent, whole bool) []string {
	seen, err := seenBy(agent)
	if err != nil {
		return []string{err.Error()}
	}
	return matchSeen(want, seen, whole)
}

// waitFor waits until there are no problems, and returns those that stay.
func waitFor(atMost time.Duration, look func() []string) []string {
	deadline := time.Now().Add(atMost)
	for {
		problems := look()
		if len(problems) == 0 || time.Now().After(deadline) {
			return problems
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// askStep has the driver do a step and compares its answer.
func (r *runner) askStep(s *step, setup *agentSetup) []string {
	line, err := writeStep(s.operation, r.complete(s, setup))
	if err != nil {
		return []string{err.Error()}
	}
	answer, err := r.driver.ask(line)
	if err != nil {
		r.gone = true
		return []string{err.Error()}
	}
	want := copyOf(s.expect)
	if _, expected := want["error"]; !expected {
		want["error"] = nil
	}
	problems := matcher{texts: true}.match("answer", inNanoseconds(want), answer)
	if len(problems) > 0 && answer["error"] != nil {
		problems = append(problems, fmt.Sprintf("(%v: %v)", answer["error"], answer["message"]))
	}
	return problems
}

// byDefault are the arguments that most steps of an operation have, so that cases need not give them. Every call may take
// longer than a test ever waits: no case fails because a machine is slow.
var byDefault = map[string]map[string]any{
	"open":                {"client": 0, "address": "${address}", "flow_end_timeout_ns": "60s"},
	"from_environment":    {"client": 0},
	"wait_ready":          {"client": 0, "timeout_ns": "60s"},
	"state":               {"client": 0},
	"stats":               {"client": 0},
	"close":               {"client": 0},
	"start_flow":          {"client": 0, "flow": 0, "control_point": "checkout", "check_timeout_ns": "60s"},
	"begin_flow":          {"client": 0, "flow": 0, "control_point": "checkout", "check_timeout_ns": "60s"},
	"join_flow":           {"flow": 0},
	"cancel_flow":         {"flow": 0},
	"read":                {"flow": 0},
	"check_response":      {"flow": 0},
	"set_status":          {"flow": 0},
	"set_attribute":       {"flow": 0},
	"end":                 {"flow": 0},
	"drop":                {"flow": 0},
	"result_cache":        {"flow": 0},
	"global_cache":        {"flow": 0},
	"set_result_cache":    {"flow": 0, "ttl_ns": "1m"},
	"delete_result_cache": {"flow": 0},
	"set_global_cache":    {"flow": 0, "ttl_ns": "1m"},
	"delete_global_cache": {"flow": 0},
	"cache_lookup":        {"client": 0, "control_point": "checkout", "timeout_ns": "60s"},
	"cache_set":           {"client": 0, "control_point": "checkout", "timeout_ns": "60s", "ttl_ns": "1m"},
	"cache_delete":        {"client": 0, "control_point": "checkout", "timeout_ns": "60s"},
	"guard":               {"client": 0, "control_point": "checkout", "check_timeout_ns": "60s"},
	"block":               {"client": 0, "control_point": "checkout", "check_timeout_ns": "60s"},
}

// complete returns the arguments of a step with those that are so by default. An argument that is null is left out.
func (r *runner) complete(s *step, setup *agentSetup) map[string]any {
	arguments := copyOf(byDefault[s.operation])
	if s.operation == "open" {
		_, caPEM := s.arguments["ca_pem"]
		_, skips := s.arguments["skip_verify"]
		if setup.TLS == "" {
			arguments["insecure"] = true
		} else if !caPEM && !skips {
			arguments["ca_file"] = "${certificates}/ca.pem"
		}
	}
	maps.Copy(arguments, s.arguments)
	for name, argument := range arguments {
		if argument == nil {
			delete(arguments, name)
		} else {
			arguments[name] = r.expand(argument)
		}
	}
	return inNanoseconds(arguments)
}

// expand replaces variables, also in the members of an object.
func (r *runner) expand(argument any) any {
	switch argument := argument.(type) {
	case string:
		for name, value := range r.variables {
			argument = strings.ReplaceAll(argument, "${"+name+"}", value)
		}
		return argument
	case map[string]any:
		expanded := make(map[string]any, len(argument))
		for name, member := range argument {
			expanded[name] = r.expand(member)
		}
		return expanded
	default:
		return argument
	}
}

// inNanoseconds replaces durations such as "200ms" of members whose name ends in _ns.
func inNanoseconds(members map[string]any) map[string]any {
	replaced := copyOf(members)
	for name, member := range members {
		if text, ok := member.(string); ok && strings.HasSuffix(name, "_ns") {
			if duration, err := time.ParseDuration(text); err == nil {
				replaced[name] = json.Number(fmt.Sprint(int64(duration)))
			}
		}
	}
	return replaced
}
