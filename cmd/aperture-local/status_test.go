package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// everyKind has a policy of each kind for the control point checkout.
const everyKind = `blueprint: quota-scheduling/base
policy:
  policy_name: quota
  quota_scheduler:
    bucket_capacity: 5
    fill_amount: 0
    rate_limiter: {interval: 3600s}
    selectors: [{control_point: checkout}]
---
blueprint: concurrency-limiting/base
policy:
  policy_name: limit
  concurrency_limiter:
    max_concurrency: 7
    parameters: {max_inflight_duration: 60s}
    selectors: [{control_point: checkout}]
---
blueprint: concurrency-scheduling/base
policy:
  policy_name: slots
  concurrency_scheduler:
    max_concurrency: 7
    concurrency_limiter: {max_inflight_duration: 60s}
    selectors: [{control_point: checkout}]
---
blueprint: load-ramping/base
policy:
  policy_name: ramp
  load_ramp:
    sampler: {selectors: [{control_point: checkout}]}
    steps: [{target_accept_percentage: 100, duration: 1s}]
`

func statusURL(s *server, path string) string {
	return strings.TrimSuffix(s.metricsURL(), "/metrics") + path
}

func readStatus(t *testing.T, s *server) (report statusReport, text string) {
	t.Helper()
	answer := get(t, statusURL(s, "/status.json"))
	require.Equal(t, http.StatusOK, answer.code)
	require.NoError(t, json.Unmarshal([]byte(answer.body), &report))
	return report, answer.body
}

func TestStatusTellsWhatWasDecided(t *testing.T) {
	s := startServer(t, "--metrics", "127.0.0.1:0")
	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	for range 3 {
		_, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout", Labels: map[string]string{"user_id": "alice"}})
		require.NoError(t, err)
	}
	_, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: strings.Repeat("ä", 200)})
	require.NoError(t, err)
	s.activity.tick()

	report, text := readStatus(t, s)
	assert.Equal(t, tally{Accepted: 3, Rejected: 1}, report.Totals)
	require.NotEmpty(t, report.PerSecond)
	total := tally{}
	for _, one := range report.PerSecond {
		total.Accepted += one.Accepted
		total.Rejected += one.Rejected
	}
	assert.Equal(t, report.Totals, total)
	require.Len(t, report.Recent, 4)
	assert.Equal(t, strings.Repeat("ä", 100)+"…", report.Recent[0].ControlPoint)
	newest := report.Recent[1]
	assert.False(t, newest.Accepted)
	assert.Equal(t, "REJECT_REASON_RATE_LIMITED", newest.Reason)
	assert.Equal(t, []string{"per-user/root.0"}, newest.By)
	assert.Equal(t, []string{"user_id"}, newest.Labels)
	assert.NotContains(t, text, "alice")
	require.Len(t, report.Engine.Components, 1)
	assert.EqualValues(t, 2, report.Engine.Components[0].Accepted)
	assert.Equal(t, s.config.policies, report.Files)
}

func TestStatusPageIsOnePage(t *testing.T) {
	s := startServer(t, "--metrics", "127.0.0.1:0")
	page := get(t, statusURL(s, "/"))
	assert.Equal(t, http.StatusOK, page.code)
	assert.Contains(t, page.body, "<title>aperture-local</title>")
	for _, elsewhere := range []string{"http://", "https://", "src=", "innerHTML", "@import"} {
		assert.NotContains(t, page.body, elsewhere)
	}
	assert.Equal(t, http.StatusNotFound, get(t, statusURL(s, "/other")).code)
}

func TestStatusIsForThisMachine(t *testing.T) {
	s := startServer(t, "--metrics", "127.0.0.1:0")
	for host, want := range map[string]int{"localhost": 200, "127.0.0.1:1": 200, "[::1]:80": 200, "attacker.example:80": 403, "10.0.0.1": 403} {
		for _, path := range []string{"/", "/status.json"} {
			request, err := http.NewRequestWithContext(patient(t), http.MethodGet, statusURL(s, path), nil)
			require.NoError(t, err)
			request.Host, request.Close = host, true
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, want, response.StatusCode, host)
		}
	}
}

func TestActivityForgetsTheOldest(t *testing.T) {
	a := &activity{}
	for range recentDecisions + 5 {
		a.note(&checkv1.CheckResponse{})
	}
	assert.Len(t, a.decisions(), recentDecisions)
	for i := range historySeconds + 5 {
		a.accepted.Add(uint64(i))
		a.tick()
	}
	history := a.perSecond()
	require.Len(t, history, historySeconds)
	assert.EqualValues(t, 5, history[0].Accepted)
	assert.EqualValues(t, historySeconds+4, history[historySeconds-1].Accepted)
}

func TestReloadOfTheServer(t *testing.T) {
	s := startServer(t, "--metrics", "127.0.0.1:0")
	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	ask := func() *checkv1.CheckResponse {
		response, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout", Labels: map[string]string{"user_id": "alice"}})
		require.NoError(t, err)
		return response
	}
	ask()
	require.NoError(t, os.WriteFile(s.config.policies[0], []byte("nonsense"), 0o600))
	s.reload()
	assert.InDelta(t, 0, ask().GetLimiterDecisions()[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining(), 0.1)
	require.NoError(t, os.WriteFile(s.config.policies[0], []byte(strings.Replace(limited, "bucket_capacity: 2", "bucket_capacity: 3", 1)), 0o600))
	s.reload()
	assert.Equal(t, 2.0, ask().GetLimiterDecisions()[0].GetRateLimiterInfo().GetTokensInfo().GetRemaining())
	report, _ := readStatus(t, s)
	assert.EqualValues(t, 1, report.Engine.Reloads)
	assert.EqualValues(t, 1, report.Engine.ReloadsFailed)
}
