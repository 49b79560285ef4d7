package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// tell gives the program a command and returns its answer.
func (p *program) tell(t *testing.T, command string) map[string]any {
	t.Helper()
	_, err := fmt.Fprintln(p.stdin, command)
	require.NoError(t, err)
	line, err := p.lines.ReadBytes('\n')
	require.NoError(t, err)
	var answer map[string]any
	require.NoError(t, json.Unmarshal(line, &answer), "%s", line)
	return answer
}

// obeys gives the program a command that it must obey.
func (p *program) obeys(t *testing.T, command string) {
	t.Helper()
	require.Equal(t, map[string]any{"ok": true}, p.tell(t, command))
}

// report asks the program what it was asked so far.
func (p *program) report(t *testing.T) map[string]any {
	t.Helper()
	answer := p.tell(t, `{"report": true}`)
	require.Equal(t, true, answer["ok"])
	require.Len(t, answer, 2)
	return answer["report"].(map[string]any)
}

// client returns a client of the program's decisions whose calls wait for a connection.
func (p *program) client(t *testing.T) checkv1.FlowControlServiceClient {
	t.Helper()
	connection, err := grpc.NewClient(p.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return checkv1.NewFlowControlServiceClient(connection)
}

func TestProgramAnswersAsItsScriptSays(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.json")
	require.NoError(t, os.WriteFile(script, []byte(`{"check": [{"error": "ABORTED"}, {}]}`), 0o600))
	agent := startProgram(t, buildProgram(t), "-script", script, "-flow-end-error", "INTERNAL")
	client := agent.client(t)
	_, err := client.Check(t.Context(), &checkv1.CheckRequest{})
	assert.Equal(t, codes.Aborted, status.Code(err))
	_, err = client.Check(t.Context(), &checkv1.CheckRequest{})
	assert.NoError(t, err)
	_, err = client.FlowEnd(t.Context(), &checkv1.FlowEndRequest{})
	assert.Equal(t, codes.Internal, status.Code(err), "what the script does not name is as the flags say")
	require.NoError(t, agent.stdin.Close())
	assert.EqualValues(t, 2, agent.summary(t)["check_count"])
}

// One program serves all the cases of a suite, one after the other.
func TestProgramIsControlledWhileItRuns(t *testing.T) {
	for name, network := range map[string][]string{
		"TCP":         nil,
		"unix socket": {"-unix", filepath.Join(t.TempDir(), "socket")},
	} {
		t.Run(name, func(t *testing.T) {
			agent := startProgram(t, buildProgram(t), append(network, "-control")...)
			client := agent.client(t)
			check := func() (*checkv1.CheckResponse, error) {
				return client.Check(t.Context(), &checkv1.CheckRequest{
					ControlPoint:       "checkout",
					CacheLookupRequest: &checkv1.CacheLookupRequest{GlobalCacheKeys: []string{"key"}},
				})
			}
			agent.obeys(t, `{"script": {"check": [{"in_flight": 1}, {"error": "ABORTED"}]}}`)
			first, err := check()
			require.NoError(t, err)
			assert.Equal(t, "request-1", first.GetLimiterDecisions()[0].GetConcurrencyLimiterInfo().GetRequestId())
			_, err = check()
			assert.Equal(t, codes.Aborted, status.Code(err))
			_, err = client.CacheUpsert(t.Context(), &checkv1.CacheUpsertRequest{GlobalCacheEntries: map[string]*checkv1.CacheEntry{"key": {}}},
				grpc.UseCompressor(gzip.Name))
			require.NoError(t, err)

			agent.obeys(t, `{"script": {"check": [{"in_flight": 1}]}}`)
			again, err := check()
			require.NoError(t, err)
			assert.Equal(t, "request-2", again.GetLimiterDecisions()[0].GetConcurrencyLimiterInfo().GetRequestId())
			assert.Equal(t, checkv1.CacheLookupStatus_HIT, again.GetCacheLookupResponse().GetGlobalCacheResponses()["key"].GetLookupStatus())
			report := agent.report(t)
			assert.EqualValues(t, 3, report["check_count"])
			assert.Equal(t, "gzip", report["cache_upserts"].([]any)[0].(map[string]any)["encoding"])
			assert.Len(t, report["cache_upserts"], 1)
			assert.Equal(t, report, agent.report(t), "a report forgets nothing")

			agent.obeys(t, `{"reset": true}`)
			assert.Empty(t, agent.report(t)["checks"])
			fresh, err := check()
			require.NoError(t, err)
			assert.Equal(t, "request-1", fresh.GetLimiterDecisions()[0].GetConcurrencyLimiterInfo().GetRequestId())
			assert.Equal(t, checkv1.CacheLookupStatus_MISS, fresh.GetCacheLookupResponse().GetGlobalCacheResponses()["key"].GetLookupStatus())

			agent.obeys(t, `{"stop": true}`)
			agent.obeys(t, `{"stop": true}`)
			_, err = client.Check(t.Context(), &checkv1.CheckRequest{}, grpc.WaitForReady(false))
			assert.Equal(t, codes.Unavailable, status.Code(err))
			agent.obeys(t, `{"start": true}`)
			assert.Contains(t, agent.tell(t, `{"start": true}`)["error"], "listening already")
			_, err = check()
			assert.NoError(t, err)

			require.NoError(t, agent.stdin.Close())
			assert.EqualValues(t, 2, agent.summary(t)["check_count"])
		})
	}
}

func TestProgramThatIsStoppedReportsAtItsEnd(t *testing.T) {
	agent := startProgram(t, buildProgram(t), "-control")
	agent.obeys(t, `{"stop": true}`)
	require.NoError(t, agent.command.Process.Signal(syscall.SIGTERM))
	assert.EqualValues(t, 0, agent.summary(t)["check_count"])
}

func TestProgramRefusesCommandsThatMakeNoSenseAndGoesOn(t *testing.T) {
	agent := startProgram(t, buildProgram(t), "-control")
	for command, want := range map[string]string{
		`report`:                            "JSON",
		``:                                  "JSON",
		`[]`:                                "JSON",
		`{}`:                                "one of",
		`{"reset": true, "report": true}`:   "one of",
		`{"rest": true}`:                    `"rest"`,
		`{"reset": false}`:                  "reset",
		`{"script": {"check": [{"a": 1}]}}`: `"a"`,
		`{"script": {"cheque": []}}`:        `"cheque"`,
		`{"script": {}} {"script": {}}`:     "JSON",
		`{"stop": "` + strings.Repeat("x", 1<<20) + `"}`: "stop",
	} {
		answer := agent.tell(t, command)
		assert.Len(t, answer, 1)
		assert.Contains(t, answer["error"], want)
	}
	_, err := agent.client(t).Check(t.Context(), &checkv1.CheckRequest{})
	assert.NoError(t, err)
}

// As before there was a control: what a test writes to the standard input does nothing.
func TestProgramWithoutControlObeysNoCommand(t *testing.T) {
	agent := startProgram(t, buildProgram(t))
	_, err := fmt.Fprintln(agent.stdin, `{"stop": true}`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // in vain, when the program has stopped
	defer cancel()
	_, err = agent.client(t).Check(ctx, &checkv1.CheckRequest{})
	require.NoError(t, err)
	require.NoError(t, agent.stdin.Close())
	assert.EqualValues(t, 1, agent.summary(t)["check_count"])
}
