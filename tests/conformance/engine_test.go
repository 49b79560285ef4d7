package conformance

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

// decider is what decides about the flows of a case.
type decider struct {
	suffix string // of the test's name
	run    func(r *runner, t *testing.T, c *suiteCase, excepted bool) []string
}

// deciders returns those that a case is run with.
func (c *suiteCase) deciders() []decider {
	engines := []decider{
		{" (local:)", (*runner).runInProcess},
		{" (aperture-local)", (*runner).runOnServer},
	}
	switch {
	case len(c.Policies) > 0:
		return engines
	case c.Engines:
		return append(engines, decider{"", (*runner).run})
	}
	return []decider{{"", (*runner).run}}
}

// nothingRejects are the policies of a case without any: about a control point that no case has.
var nothingRejects = []string{
	"blueprint: rate-limiting/base",
	"policy:",
	"  policy_name: elsewhere",
	"  rate_limiter: {bucket_capacity: 1, fill_amount: 1, parameters: {interval: 1s}, selectors: [{control_point: elsewhere}]}",
}

// policyFile writes the policies of a case.
func (c *suiteCase) policyFile(t *testing.T) string {
	policies := c.Policies
	if len(policies) == 0 {
		policies = nothingRejects
	}
	directory, err := os.MkdirTemp("", "conformance-") // the name of a test may have a comma in it, an address not
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	file := filepath.Join(directory, "policies.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(policies, "\n")), 0o600))
	return file
}

// runInProcess runs a case with the engine in the driver's process.
func (r *runner) runInProcess(t *testing.T, c *suiteCase, _ bool) []string {
	return r.runSteps(c, "local:"+c.policyFile(t), nil)
}

// runOnServer runs a case with an aperture-local of its own, which must end with 0 when it is told to.
func (r *runner) runOnServer(t *testing.T, c *suiteCase, _ bool) []string {
	server := exec.Command(host.FromRoot("build", "aperture-local"), "--listen", "127.0.0.1:0", "--metrics", "off", c.policyFile(t))
	server.Stderr = os.Stderr
	output, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM) // it is gone otherwise
		timer := time.AfterFunc(patience, func() { _ = server.Process.Kill() })
		defer timer.Stop()
		assert.NoError(t, server.Wait(), "how aperture-local ends")
	}()
	lines := bufio.NewScanner(output)
	require.True(t, lines.Scan(), "aperture-local does not start")
	address, ok := strings.CutPrefix(lines.Text(), "aperture-local: listening on ")
	require.True(t, ok, lines.Text())
	return r.runSteps(c, address, nil)
}
