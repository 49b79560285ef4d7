package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core"
)

func TestTheProgramServesUntilItIsTerminated(t *testing.T) {
	program := filepath.Join(t.TempDir(), "aperture-local")
	build := exec.Command("go", "build", "-o", program, ".")
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))

	ctx := patient(t)
	var stderr bytes.Buffer
	policies := policyFile(t, limited)
	command := exec.CommandContext(ctx, program, "--listen", "127.0.0.1:0", policies)
	command.Stderr = &stderr
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	defer func() { _ = command.Process.Kill() }()

	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "metrics line: %s", &stderr)
	url, ok := strings.CutPrefix(lines.Text(), "aperture-local: metrics on ")
	require.True(t, ok, lines.Text())
	require.True(t, lines.Scan(), "ready line: %s", &stderr)
	address, ok := strings.CutPrefix(lines.Text(), "aperture-local: listening on ")
	require.True(t, ok, lines.Text())

	client, err := core.NewClient(core.Options{Address: address, Insecure: true})
	require.NoError(t, err)
	decisions := make([]core.Decision, 3)
	for i := range decisions {
		flow, err := client.StartFlow(ctx, "checkout", core.FlowParams{
			Labels: map[string]string{"user_id": "alice"}, CheckTimeout: generous,
		})
		require.NoError(t, err)
		decisions[i] = flow.Decision()
		_, err = flow.End(ctx)
		require.NoError(t, err)
	}
	assert.Equal(t, []core.Decision{core.Accepted, core.Accepted, core.Rejected}, decisions)
	require.NoError(t, client.Close(ctx))
	assert.Contains(t, get(t, url).body, `aperture_local_spans_total{status="OK"} 3`)

	require.NoError(t, os.WriteFile(policies, []byte(limited+"# another comment\n"), 0o600))
	require.NoError(t, command.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool {
		return strings.Contains(get(t, url).body, `aperture_local_reloads_total{outcome="done"} 1`)
	}, generous, 10*time.Millisecond)

	require.NoError(t, command.Process.Signal(syscall.SIGTERM))
	assert.False(t, lines.Scan(), "nothing follows the ready line")
	require.NoError(t, command.Wait(), stderr.String())
	assert.Zero(t, command.ProcessState.ExitCode())
}

func TestExitCodes(t *testing.T) {
	stopped, stop := context.WithCancel(context.Background())
	stop()
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	broken := policyFile(t, strings.Replace(strings.Replace(limited, "bucket_capacity", "bucket_capacit", 1), "interval", "intervall", 1))
	for name, test := range map[string]struct {
		arguments      []string
		want           int
		stdout, stderr string
	}{
		"stopped":       {[]string{"--listen", "127.0.0.1:0", policyFile(t, limited)}, 0, "aperture-local: listening on 127.0.0.1:", "stopping"},
		"help":          {[]string{"--help"}, 0, "Usage: aperture-local", ""},
		"wrong flag":    {[]string{"--wrong", "policy.yaml"}, 2, "", "-wrong"},
		"remote":        {[]string{"--listen", "0.0.0.0:0", "policy.yaml"}, 2, "", "--allow-remote"},
		"no policy":     {[]string{missing}, 1, "", missing + ": no such file or directory\n"},
		"broken policy": {[]string{broken}, 1, "", broken + ":"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, test.want, run(stopped, nil, test.arguments, &stdout, &stderr))
			assert.Contains(t, stdout.String(), test.stdout)
			assert.Contains(t, stderr.String(), test.stderr)
			if test.stdout == "" {
				assert.Empty(t, stdout.String())
			}
		})
	}

	t.Run("every problem has a line of its own", func(t *testing.T) {
		var stdout, stderr bytes.Buffer
		run(stopped, nil, []string{broken}, &stdout, &stderr)
		problems := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		assert.Greater(t, len(problems), 1)
		for _, problem := range problems {
			assert.True(t, strings.HasPrefix(problem, broken+":"), problem)
		}
	})
}
