package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/host"
)

// child is what a case has: the library with its log in a file, and a fault that is not armed yet.
type child struct {
	*testing.T
	armed string
	log   *os.File
}

// runInChild runs a case. In the end the log must have the trace, and another flow must work.
func runInChild(t *testing.T, name string, test fault) {
	if test.armed == "" {
		test.armed = name + ":1"
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	c := &child{T: t, armed: test.armed, log: log}
	c.logTo(log)
	host.NoLeak(t)
	test.run(c)

	for named := range strings.SplitSeq(test.armed, ",") {
		point, _, _ := strings.Cut(named, ":")
		host.Eventually(t, "the trace is in the log", func() bool { return c.traces(point) > 0 })
	}
	if test.trace == "" {
		test.trace = "internal/guard.Do"
	}
	require.Contains(t, c.logged(), test.trace+"(", "the function is not in the trace")
	c.disarm()
	c.flowWorks()
}

// logTo sends the log of the library to a file.
func (c *child) logTo(file *os.File) {
	options := host.NewProcessOptions()
	options.LogFD = int32(file.Fd())
	failed := host.NewFailure()
	require.Equal(c, host.OK, host.Lib.Configure(options, failed), failed.Text())
}

// arm lets the fault happen from here on, disarm no more.
func (c *child) arm()    { setenv(c.T, panicAt, c.armed) }
func (c *child) disarm() { setenv(c.T, panicAt, "none") }

// setenv sets a variable in C's environment, the one that the library sees.
func setenv(t *testing.T, name, value string) {
	t.Helper()
	symbol, err := purego.Dlsym(purego.RTLD_DEFAULT, "setenv")
	require.NoError(t, err)
	var function func(name, value string, overwrite int32) int32
	purego.RegisterFunc(&function, symbol)
	require.Zero(t, function(name, value, 1))
}

func (c *child) logged() string {
	text, err := os.ReadFile(c.log.Name())
	require.NoError(c, err)
	return string(text)
}

// traces returns how many panics of a point are in the log.
func (c *child) traces(point string) int {
	traces := 0
	for line := range strings.Lines(c.logged()) {
		if strings.Contains(line, `panic="a fault at `+point+`"`) && strings.Contains(line, "stack=\"goroutine ") {
			traces++
		}
	}
	return traces
}

// flowWorks runs flows from their start to the span that the agent gets, in process and over a connection.
func (c *child) flowWorks() {
	local := host.OpenClient(c.T, host.OptionsFor("local:"))
	flow, decided := host.Start(c.T, local, host.ParamsFor("checkout"))
	require.EqualValues(c, 1, decided.ShouldRun)
	require.Equal(c, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	host.CloseClient(c.T, local)

	agent := c.agentWithTokens()
	client := host.ReadyClient(c.T, agent)
	flow, _ = host.Start(c.T, client, host.Patient(host.ParamsFor("checkout")))
	result := host.NewEndResult()
	require.Equal(c, host.OK, host.Lib.FlowEnd(flow, result, nil))
	require.EqualValues(c, 1, result.ReturnedCount)
	done := host.Take(c.T, host.StartAsync(c.T, client, 1, host.Patient(host.ParamsFor("checkout"))))
	require.Equal(c, host.OK, done.Code)
	require.Equal(c, host.OK, host.Lib.FlowEnd(done.Flow, nil, nil))
	require.Equal(c, host.OK, host.Lib.FlowClose(done.Flow, nil))
	host.CloseClient(c.T, client)
	require.Equal(c, 2, agent.Recorded().SpanCount)
}

// agentWithTokens starts an agent whose flows hold something that their end gives back.
func (c *child) agentWithTokens() *fakeagent.Agent {
	agent := host.StartAgent(c.T)
	agent.Set(fakeagent.Behaviour{InFlight: 1})
	return agent
}

// queueSpan starts and ends a flow, so that its client has a span to send if the flow was decided.
func (c *child) queueSpan(client host.Handle, params *host.FlowParams) (flow host.Handle) {
	c.Helper()
	flow, _ = host.Start(c.T, client, params)
	require.Equal(c, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	return flow
}

// givenBack waits until the agent has got back what a flow held.
func (c *child) givenBack(agent *fakeagent.Agent) {
	c.Helper()
	host.Eventually(c.T, "what the flow holds is given back", func() bool { return agent.Recorded().FlowEndCount == 1 })
}

// internal asserts that a call failed because of a panic, and said so.
func (c *child) internal(code host.Code, failed *host.Failure) {
	c.Helper()
	require.Equal(c, host.ErrorInternal, code)
	require.Equal(c, host.ErrorInternal, failed.Code)
	require.Contains(c, failed.Text(), "a defect of the library: panic: a fault at ")
}

// descriptors returns how many descriptors the process has open.
func (c *child) descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(c, err)
	return len(entries)
}

// descriptorsAtRest is descriptors once the runtime has those that it keeps, which it gets with the first client.
func (c *child) descriptorsAtRest() int {
	host.CloseClient(c.T, host.OpenClient(c.T, host.OptionsFor("local:")))
	return c.descriptors()
}
