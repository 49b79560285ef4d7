package main_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core"
)

// startProgram builds and starts the program. It returns where it listens and a function that ends it and returns its
// summary.
func startProgram(t *testing.T, end func(*exec.Cmd, io.Closer), arguments ...string) (address string, stop func() map[string]any) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "fakeagent")
	output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(output))
	command := exec.Command(program, arguments...)
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
	return address, func() map[string]any {
		end(command, stdin)
		var summary map[string]any
		require.NoError(t, json.NewDecoder(lines).Decode(&summary))
		require.NoError(t, command.Wait())
		return summary
	}
}

func TestProgramAnswersAsItsFlagsSayAndTellsWhatItWasAsked(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, io.Closer){
		"SIGTERM":      func(command *exec.Cmd, _ io.Closer) { _ = command.Process.Signal(syscall.SIGTERM) },
		"closed stdin": func(_ *exec.Cmd, stdin io.Closer) { _ = stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			address, stop := startProgram(t, end, "-decision", "reject", "-reason", "NO_TOKENS", "-wait-time", "1500ms",
				"-in-flight", "2", "-require-api-key", "key", "-flow-end-error", "INTERNAL")
			client, err := core.NewClient(core.Options{Address: address, Insecure: true, APIKey: "key"})
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

			summary := stop()
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

func TestProgramRefusesFlagsThatMakeNoSense(t *testing.T) {
	program := filepath.Join(t.TempDir(), "fakeagent")
	output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(output))
	for _, arguments := range [][]string{
		{"-decision", "maybe"}, {"-decision", "reject", "-reason", "WHIM"}, {"-error", "OOPS"}, {"-export-error", "OK"},
		{"-tls-cert", "server.pem"}, {"stray"}, {"-address", "nowhere"},
	} {
		output, err := exec.Command(program, arguments...).CombinedOutput()
		assert.Error(t, err, "%v", arguments)
		assert.Contains(t, string(output), "fakeagent: ", "%v", arguments)
	}
}
