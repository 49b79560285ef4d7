package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
)

// index is index.json: what there is to cover, and who runs the cases.
type index struct {
	// Files are the files with cases, below cases/.
	Files []string `json:"files"`
	// Drivers run the cases.
	Drivers map[string]driver `json:"drivers"`
	// Requirements are what an Aperture client can do ("1.2 labels") and the defects of known clients that must not occur
	// here ("B38"), each with a few words of what is right.
	Requirements map[string]string `json:"requirements"`
	// NotHere says why a requirement has no case.
	NotHere map[string]string `json:"not_here"`
}

// driver is a program that runs cases in one language.
type driver struct {
	Command []string `json:"command"`
	// Lacks says why it has not an operation. Cases that need it are not run.
	Lacks map[string]string `json:"lacks"`
}

// suiteCase is one case.
type suiteCase struct {
	// Name says what must be so.
	Name string `json:"name"`
	// Covers are the requirements of the index that the case is about.
	Covers []string `json:"covers"`
	// Agent is what the agent is and does.
	Agent agentSetup `json:"agent"`
	// Policies are lines of YAML. A case with policies is decided by them instead of by an agent: in the process, and by
	// aperture-local.
	Policies []string `json:"policies"`
	// Engines says that the case also holds where nothing rejects a flow: with a local engine without policies.
	Engines bool `json:"engines"`
	// Steps are what the program does, and what it then sees.
	Steps []step `json:"steps"`
	// Seen is what the agent must have seen at the end.
	Seen map[string]any `json:"seen"`
	// Except says why a driver does not pass the case.
	Except map[string]string `json:"except"`

	file string
}

// agentSetup describes the fake agent of a case.
type agentSetup struct {
	// Script says how it answers; see fakeagent.ParseScript.
	Script json.RawMessage `json:"script"`
	// APIKey is what it asks of every call.
	APIKey string `json:"api_key"`
	// TLS is "server" or, for one that asks clients for their certificate, "mutual".
	TLS string `json:"tls"`
	// Down has nobody listen at its address until a step restarts it.
	Down bool `json:"down"`
}

// step is one operation with its arguments, for the driver or for the runner, and what is expected of the answer. Without
// an expectation there must be no error.
type step struct {
	operation string
	arguments map[string]any
	expect    map[string]any
}

// UnmarshalJSON reads {"operation": {arguments}, "expect": {answer}}.
func (s *step) UnmarshalJSON(text []byte) error {
	var members map[string]map[string]any
	if err := decode(text, &members); err != nil {
		return err
	}
	s.expect = members["expect"]
	delete(members, "expect")
	if len(members) != 1 {
		return fmt.Errorf("a step has one operation, not %d: %s", len(members), text)
	}
	for s.operation, s.arguments = range members {
	}
	return nil
}

// readSuite reads the index and all cases.
func readSuite(dir fs.FS) (*index, []suiteCase, error) {
	suite := &index{}
	if err := readJSON(dir, "index.json", suite); err != nil {
		return nil, nil, err
	}
	var cases []suiteCase
	for _, name := range suite.Files {
		var file struct {
			Cases []suiteCase `json:"cases"`
		}
		if err := readJSON(dir, "cases/"+name, &file); err != nil {
			return nil, nil, err
		}
		for _, one := range file.Cases {
			one.file = strings.TrimSuffix(name, ".json")
			cases = append(cases, one)
		}
	}
	return suite, cases, nil
}

func readJSON(dir fs.FS, name string, value any) error {
	text, err := fs.ReadFile(dir, name)
	if err != nil {
		return err
	}
	if err := decode(text, value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// needs returns the operations that a case asks of its driver.
func (c *suiteCase) needs() []string {
	var operations []string
	for i := range c.Steps {
		if !c.Steps[i].forRunner() {
			operations = append(operations, c.Steps[i].operation)
		}
	}
	return operations
}

// lacks returns the reason why a driver cannot run a case, or "".
func (d *driver) lacks(c *suiteCase) string {
	for _, operation := range c.needs() {
		if reason, ok := d.Lacks[operation]; ok {
			return operation + ": " + reason
		}
	}
	return ""
}

// problems returns what does not fit together in a suite.
func (suite *index) problems(cases []suiteCase) []string {
	var problems []string
	say := func(format string, arguments ...any) { problems = append(problems, fmt.Sprintf(format, arguments...)) }
	names := map[string]bool{}
	covered := map[string]bool{}
	for i := range cases {
		c := &cases[i]
		if name := c.file + "/" + c.Name; names[name] || c.Name == "" {
			say("there are two cases %q, or it has no name", name)
		} else {
			names[name] = true
		}
		if len(c.Policies) > 0 && (c.Agent.Script != nil || c.Agent.APIKey != "" || c.Agent.TLS != "" || c.Agent.Down || c.Seen != nil || c.Engines) {
			say("case %q has policies, and an agent beside them", c.Name)
		}
		if len(c.Covers) == 0 {
			say("case %q covers nothing", c.Name)
		}
		for name, reason := range c.Except {
			if _, ok := suite.Drivers[name]; !ok || reason == "" {
				say("case %q excepts %q, which is no driver, or gives no reason", c.Name, name)
			}
		}
		ran := false
		for name, driver := range suite.Drivers {
			ran = ran || driver.lacks(c) == "" && c.Except[name] == ""
		}
		if !ran {
			say("case %q is run by no driver", c.Name)
			continue
		}
		for _, id := range c.Covers {
			covered[id] = true
			if suite.Requirements[id] == "" {
				say("case %q covers %q, which is no requirement", c.Name, id)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(suite.Requirements)) {
		switch _, excused := suite.NotHere[id]; {
		case !covered[id] && !excused:
			say("requirement %q has no case", id)
		case covered[id] && excused:
			say("requirement %q has a case and need not be excused", id)
		}
	}
	for id, reason := range suite.NotHere {
		if suite.Requirements[id] == "" || reason == "" {
			say("%q is excused, but is no requirement, or there is no reason", id)
		}
	}
	used := map[string]bool{}
	for i := range cases {
		for _, operation := range cases[i].needs() {
			used[operation] = true
		}
	}
	for name, driver := range suite.Drivers {
		for operation, reason := range driver.Lacks {
			if !used[operation] || reason == "" {
				say("driver %s lacks %q, which no case needs, or gives no reason", name, operation)
			}
		}
	}
	slices.Sort(problems)
	return problems
}

// Every requirement has a case, or a reason why not; every exception has a reason, and names what there is.
func TestSuite(t *testing.T) {
	suite, cases, err := readSuite(os.DirFS("."))
	require.NoError(t, err)
	assert.Empty(t, suite.problems(cases))

	files, err := filepath.Glob("cases/*.json")
	require.NoError(t, err)
	for i, file := range files {
		files[i] = filepath.Base(file)
	}
	assert.ElementsMatch(t, files, suite.Files, "the files that the index names are those in cases/")

	for i := range cases {
		c := &cases[i]
		for _, s := range append(slices.Clone(c.Steps), step{operation: "agent", arguments: map[string]any{"script": c.Agent.Script}}) {
			assert.NoError(t, s.check(), "%s/%s: %s", c.file, c.Name, s.operation)
		}
	}
	for _, id := range knownDefects() {
		assert.NotEmpty(t, suite.Requirements[id], "defect %s is in the index", id)
	}
}

// knownDefects are the defects of the clients that were there before.
func knownDefects() (ids []string) {
	for number := 1; number <= 42; number++ {
		ids = append(ids, fmt.Sprintf("B%d", number))
	}
	for number := 1; number <= 25; number++ {
		ids = append(ids, fmt.Sprintf("S%d", number))
	}
	return ids
}

// check finds a step that cannot be run.
func (s *step) check() error {
	if !s.forRunner() {
		_, err := writeStep(s.operation, s.arguments)
		return err
	}
	if s.expect != nil {
		return errors.New("nothing can be expected of what the runner does")
	}
	if s.operation != "agent" {
		return nil
	}
	_, err := parseScript(s.arguments["script"])
	return err
}

// parseScript returns what the member "script" of a case or a step says.
func parseScript(script any) (fakeagent.Script, error) {
	text, err := json.Marshal(script)
	if err != nil {
		return fakeagent.Script{}, err
	}
	return fakeagent.ParseScript(text)
}

func TestSuiteFindsProblems(t *testing.T) {
	read := func(text string) (*index, []suiteCase) {
		var whole struct {
			Index index       `json:"index"`
			Cases []suiteCase `json:"cases"`
		}
		require.NoError(t, decode([]byte(text), &whole))
		return &whole.Index, whole.Cases
	}
	const drivers = `"drivers":{"c":{"lacks":{"guard":"no decorators"}},"go":{}}`
	for problem, text := range map[string]string{
		"": `{"index":{"requirements":{"B1":"right"},` + drivers + `},
			"cases":[{"name":"a","covers":["B1"],"steps":[{"guard":{}}]}]}`,
		`requirement "B1" has no case`: `{"index":{"requirements":{"B1":"right"}}}`,
		`requirement "B1" has a case and need not be excused`: `{"index":{"requirements":{"B1":"right"},"not_here":{"B1":"no"},"drivers":{"go":{}}},
			"cases":[{"name":"a","covers":["B1"]}]}`,
		`"B2" is excused, but is no requirement, or there is no reason`: `{"index":{"not_here":{"B2":"no"}}}`,
		`"B1" is excused, but is no requirement, or there is no reason`: `{"index":{"requirements":{"B1":"right"},"not_here":{"B1":""}}}`,
		`case "a" covers "B1", which is no requirement`:                 `{"index":{"drivers":{"go":{}}},"cases":[{"name":"a","covers":["B1"]}]}`,
		`case "a" has policies, and an agent beside them`: `{"index":{"requirements":{"B1":"right"},"drivers":{"go":{}}},
			"cases":[{"name":"a","covers":["B1"],"policies":["a"],"seen":{}}]}`,
		`case "a" covers nothing`: `{"index":{"drivers":{"go":{}}},"cases":[{"name":"a"}]}`,
		`case "a" is run by no driver`: `{"index":{"drivers":{"go":{}},"not_here":{"B1":"no"},"requirements":{"B1":"right"}},
			"cases":[{"name":"a","covers":["B1"],"except":{"go":"no"}}]}`,
		`case "a" excepts "go", which is no driver, or gives no reason`: `{"index":{"drivers":{"go":{}},"requirements":{"B1":"right"}},
			"cases":[{"name":"a","covers":["B1"],"except":{"go":""}}]}`,
		`driver go lacks "guard", which no case needs, or gives no reason`: `{"index":{"drivers":{"go":{"lacks":{"guard":"no"}}}}}`,
		`there are two cases "/a", or it has no name`: `{"index":{"drivers":{"go":{}},"requirements":{"B1":"right"}},
			"cases":[{"name":"a","covers":["B1"]},{"name":"a","covers":["B1"]}]}`,
	} {
		var want []string
		if problem != "" {
			want = []string{problem}
		}
		suite, cases := read(text)
		assert.Equal(t, want, suite.problems(cases), text)
	}
}
