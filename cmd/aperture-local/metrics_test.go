package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// scrape returns the server's metrics: the value of each series.
func scrape(t *testing.T, s *server) map[string]string {
	t.Helper()
	response := get(t, s.metricsURL())
	require.Equal(t, http.StatusOK, response.code)
	series := map[string]string{}
	for line := range strings.Lines(response.body) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			series[name] = value
		}
	}
	return series
}

type page struct {
	code int
	body string
}

func get(t *testing.T, url string) page {
	t.Helper()
	request, err := http.NewRequestWithContext(patient(t), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return page{response.StatusCode, string(body)}
}

func TestMetricsCountDecisions(t *testing.T) {
	s := startServer(t, "--metrics", "127.0.0.1:0")
	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	ask := func(request *checkv1.CheckRequest) {
		_, err := client.Check(patient(t), request)
		require.NoError(t, err)
	}
	for range 3 {
		ask(&checkv1.CheckRequest{ControlPoint: "checkout", Labels: map[string]string{"user_id": "alice"}})
	}
	ask(&checkv1.CheckRequest{ControlPoint: "checkout"})
	ask(&checkv1.CheckRequest{ControlPoint: "a-control-point-of-a-client"})
	ask(&checkv1.CheckRequest{ControlPoint: "checkout", RampMode: true})
	_, err := client.FlowEnd(patient(t), &checkv1.FlowEndRequest{})
	require.NoError(t, err)

	series := scrape(t, s)
	for name, want := range map[string]string{
		`aperture_local_checks_total{decision="accepted"}`:                                            "4",
		`aperture_local_checks_total{decision="rejected"}`:                                            "2",
		`aperture_local_checks_total{decision="error"}`:                                               "0",
		`aperture_local_no_matching_ramp_total`:                                                       "1",
		`aperture_local_flow_ends_total`:                                                              "1",
		`aperture_local_decisions_total{component="root.0",outcome="accepted",policy="per-user"}`:     "2",
		`aperture_local_decisions_total{component="root.0",outcome="rejected",policy="per-user"}`:     "1",
		`aperture_local_decisions_total{component="root.0",outcome="unlimited",policy="per-user"}`:    "1",
		`aperture_local_reverted_decisions_total{component="root.0",policy="per-user"}`:               "0",
		`aperture_local_invalid_tokens_total{component="root.0",policy="per-user"}`:                   "0",
		`aperture_local_labels{component="root.0",policy="per-user"}`:                                 "1",
		`aperture_local_forgotten_labels_total{cause="evicted",component="root.0",policy="per-user"}`: "0",
		`aperture_local_forgotten_labels_total{cause="expired",component="root.0",policy="per-user"}`: "0",
	} {
		assert.Equal(t, want, series[name], name)
	}
	assert.Contains(t, series, "go_goroutines")
	for name := range series {
		assert.NotContains(t, name, "a-control-point-of-a-client")
		assert.NotContains(t, name, "alice")
	}
}

func TestMetricsOfEveryKindOfComponent(t *testing.T) {
	s := startServerWith(t, everyKind, "--metrics", "127.0.0.1:0")
	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	response, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout"})
	require.NoError(t, err)
	require.Len(t, response.GetLimiterDecisions(), 4)
	series := scrape(t, s)
	for name, want := range map[string]string{
		`aperture_local_reloads_total{outcome="done"}`:                                             "0",
		`aperture_local_bucket_capacity_tokens{component="root.0",policy="quota"}`:                 "5",
		`aperture_local_bucket_available_tokens{component="root.0",policy="quota"}`:                "4",
		`aperture_local_looked_buckets{component="root.0",policy="quota"}`:                         "1",
		`aperture_local_in_flight_flows{component="root.0",policy="slots"}`:                        "1",
		`aperture_local_in_flight_tokens{component="root.0",policy="limit"}`:                       "1",
		`aperture_local_max_concurrency_tokens{component="root.0",policy="limit"}`:                 "7",
		`aperture_local_in_flight_ended_total{cause="returned",component="root.0",policy="slots"}`: "0",
		`aperture_local_waiting_flows{component="root.0",policy="slots"}`:                          "0",
		`aperture_local_unadmitted_flows_total{cause="full",component="root.0",policy="quota"}`:    "0",
		`aperture_local_wait_seconds_count{component="root.0",policy="quota"}`:                     "0",
		`aperture_local_wait_seconds_bucket{component="root.0",policy="quota",le="0.001"}`:         "0",
		`aperture_local_accept_percentage{component="root.10.1",policy="ramp"}`:                    "100",
	} {
		assert.Equal(t, want, series[name], name)
	}
}

func TestMetricsOfTheCaches(t *testing.T) {
	s := startServer(t, "--metrics", "127.0.0.1:0", "--cache-bytes", "1MiB")
	for name, want := range map[string]string{
		`aperture_local_cache_lookups_total{outcome="hit"}`:             "0",
		`aperture_local_cache_forgotten_entries_total{cause="evicted"}`: "0",
		`aperture_local_cache_entries`:                                  "0",
		`aperture_local_cache_bytes`:                                    "0",
	} {
		assert.Equal(t, want, scrape(t, s)[name], name)
	}

	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	value := bytes.Repeat([]byte("v"), 400<<10)
	store := func(key string, entry *checkv1.CacheEntry) {
		_, err := client.CacheUpsert(patient(t), &checkv1.CacheUpsertRequest{
			ControlPoint: "search", GlobalCacheEntries: map[string]*checkv1.CacheEntry{key: entry},
		})
		require.NoError(t, err)
	}
	store("gone", &checkv1.CacheEntry{Ttl: durationpb.New(time.Microsecond)}) // expired at once
	store("1", &checkv1.CacheEntry{Value: value})
	store("2", &checkv1.CacheEntry{Value: value})
	store("3", &checkv1.CacheEntry{Value: value}) // in the place of the first
	store(strings.Repeat("k", 300), &checkv1.CacheEntry{})
	_, err := client.CacheLookup(patient(t), &checkv1.CacheLookupRequest{
		ControlPoint: "search", ResultCacheKey: "a-key-of-a-client", GlobalCacheKeys: []string{"1", "2", "3", "gone"},
	})
	require.NoError(t, err)

	series := scrape(t, s)
	for name, want := range map[string]string{
		`aperture_local_cache_lookups_total{outcome="hit"}`:             "2",
		`aperture_local_cache_lookups_total{outcome="miss"}`:            "3",
		`aperture_local_cache_stored_entries_total`:                     "4",
		`aperture_local_cache_refused_keys_total`:                       "1",
		`aperture_local_cache_forgotten_entries_total{cause="evicted"}`: "1",
		`aperture_local_cache_forgotten_entries_total{cause="expired"}`: "1",
		`aperture_local_cache_entries`:                                  "2",
	} {
		assert.Equal(t, want, series[name], name)
	}
	held, err := strconv.ParseFloat(series["aperture_local_cache_bytes"], 64)
	require.NoError(t, err)
	assert.InDelta(t, 900<<10, held, 100<<10)
	for name := range series {
		assert.NotContains(t, name, "a-key-of-a-client")
	}
}

func TestMetricsCanBeOff(t *testing.T) {
	assert.Empty(t, startServer(t, "--metrics", "off").metricsURL())
}
