package main_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core"
)

// program is the program while it runs.
type program struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	lines   *bufio.Reader
	address string
}

// buildProgram builds the program and returns its path.
func buildProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fakeagent")
	output, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	require.NoError(t, err, string(output))
	return path
}

// startProgram starts the program that was built at a path.
func startProgram(t *testing.T, path string, arguments ...string) *program {
	t.Helper()
	command := exec.Command(path, arguments...)
	stdin, err := command.StdinPipe()
	require.NoError(t, err)
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill() })

	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "fakeagent: listening on ")
	require.True(t, ok, line)
	return &program{command, stdin, lines, address}
}

// summary returns what the program prints when it has been told to end.
func (p *program) summary(t *testing.T) map[string]any {
	t.Helper()
	var summary map[string]any
	require.NoError(t, json.NewDecoder(p.lines).Decode(&summary))
	require.NoError(t, p.command.Wait())
	return summary
}

func TestProgramAnswersAsItsFlagsSayAndTellsWhatItWasAsked(t *testing.T) {
	for name, end := range map[string]func(*program) error{
		"SIGTERM":      func(p *program) error { return p.command.Process.Signal(syscall.SIGTERM) },
		"closed stdin": func(p *program) error { return p.stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			agent := startProgram(t, buildProgram(t), "-decision", "reject", "-reason", "NO_TOKENS", "-wait-time", "1500ms",
				"-in-flight", "2", "-require-api-key", "key", "-flow-end-error", "INTERNAL")
			client, err := core.NewClient(core.Options{Address: agent.address, Insecure: true, APIKey: "key"})
			require.NoError(t, err)
			flow, err := client.StartFlow(t.Context(), "checkout", core.FlowParams{Labels: map[string]string{"a": "b"}, CheckTimeout: 20e9})
			require.NoError(t, err)
			assert.Equal(t, core.Rejected, flow.Decision())
			assert.Equal(t, 503, flow.HTTPStatus())
			wait, _ := flow.RetryAfter()
			assert.EqualValues(t, 1500e6, wait)
			_, err = flow.End(t.Context())
			assert.Error(t, err)
			require.NoError(t, client.Close(t.Context()))

			require.NoError(t, end(agent))
			summary := agent.summary(t)
			assert.EqualValues(t, 1, summary["check_count"])
			assert.EqualValues(t, 1, summary["flow_end_count"])
			assert.EqualValues(t, 1, summary["span_count"])
			assert.Equal(t, map[string]any{"checkout": 1.0}, summary["control_points"])
			assert.Equal(t, []any{"key"}, summary["api_keys"])
			asked := summary["checks"].([]any)[0].(map[string]any)
			assert.Equal(t, map[string]any{"a": "b"}, asked["labels"])
			assert.Equal(t, "application/grpc", asked["content_type"])
			assert.Equal(t, []any{"request-1", "request-2"}, summary["flow_ends"].([]any)[0].(map[string]any)["request_ids"])
			span := summary["spans"].([]any)[0].(map[string]any)
			assert.Equal(t, true, span["rejected"])
			assert.Equal(t, "sdk", span["attributes"].(map[string]any)["aperture.source"])
		})
	}
}

// A test sends SIGTERM and closes the standard input then; the program may see the one after the other, or before it.
func TestProgramReportsWhenItIsToldTwiceToEnd(t *testing.T) {
	path := buildProgram(t)
	for i := range 50 {
		agent := startProgram(t, path)
		require.NoError(t, agent.stdin.Close())
		time.Sleep(time.Duration(i) * 20 * time.Microsecond)
		_ = agent.command.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
		agent.summary(t)
	}
}

// A soak kills the agent, and then wants to know what it told its client.
func TestJournalOutlivesAnAgentThatIsKilled(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	agent := startProgram(t, buildProgram(t), "-obey-labels", "-journal", journal)
	client, err := core.NewClient(core.Options{Address: agent.address, Insecure: true})
	require.NoError(t, err)
	for _, labels := range []map[string]string{
		{"fakeagent.answer": "accept", "fakeagent.in_flight": "1"},
		{"fakeagent.answer": "reject", "fakeagent.delay": "1ms"},
		{"fakeagent.answer": "error"},
		{"fakeagent.answer": "garbage"},
		{"fakeagent.answer": "perhaps"},
	} {
		flow, err := client.StartFlow(t.Context(), "checkout", core.FlowParams{Labels: labels, CheckTimeout: 20e9})
		require.NoError(t, err)
		_, err = flow.End(t.Context())
		require.NoError(t, err)
		switch labels["fakeagent.answer"] {
		case "accept":
			assert.Equal(t, core.Accepted, flow.Decision())
		case "reject":
			assert.Equal(t, core.Rejected, flow.Decision())
		default:
			assert.Equal(t, core.Unreachable, flow.Decision())
		}
	}
	require.NoError(t, client.Close(t.Context()))
	require.NoError(t, agent.command.Process.Kill())
	require.Error(t, agent.command.Wait())

	records, err := os.ReadFile(journal)
	require.NoError(t, err)
	require.Zero(t, len(records)%9)
	counts := map[string]int{}
	for record := range slices.Chunk(records, 9) {
		counts[string(record[:1])]++
	}
	assert.Equal(t, map[string]int{"A": 1, "R": 1, "X": 3, "E": 1, "S": 2}, counts)
}

func TestProgramRefusesFlagsThatMakeNoSense(t *testing.T) {
	path := buildProgram(t)
	for _, arguments := range [][]string{
		{"-decision", "maybe"}, {"-decision", "reject", "-reason", "WHIM"}, {"-error", "OOPS"}, {"-export-error", "OK"},
		{"-tls-cert", "server.pem"}, {"stray"}, {"-address", "nowhere"}, {"-journal", "/nowhere/journal"},
		{"-script", "/nowhere/script"}, {"-script", "main_test.go"},
		{"-tls-client-ca", "ca.pem"},
	} {
		output, err := exec.Command(path, arguments...).CombinedOutput()
		assert.Error(t, err, "%v", arguments)
		assert.Contains(t, string(output), "fakeagent: ", "%v", arguments)
	}
}
