package main

import (
	"bytes"
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func TestTheEngineKeepsAsManyLabelsAsTheFlagSays(t *testing.T) {
	s := startServer(t, "--max-labels", "1")
	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	for i := range 3 {
		_, err := client.Check(patient(t), &checkv1.CheckRequest{ControlPoint: "checkout", Labels: map[string]string{"user_id": strconv.Itoa(i)}})
		require.NoError(t, err)
	}
	counted := s.engine.Snapshot().Components[0]
	assert.Equal(t, 1, counted.Labels)
	assert.EqualValues(t, 2, counted.Evicted)
}

func TestAsManyFlowsWaitAsTheFlagSays(t *testing.T) {
	s := startServerWith(t, `blueprint: concurrency-scheduling/base
policy:
  policy_name: slot
  concurrency_scheduler:
    max_concurrency: 1
    concurrency_limiter: {max_inflight_duration: 3600s}
    selectors: [{control_point: checkout}]
`, "--max-waiting", "1")
	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	request := &checkv1.CheckRequest{ControlPoint: "checkout"}
	_, err := client.Check(patient(t), request)
	require.NoError(t, err)

	ctx, giveUp := context.WithCancel(patient(t))
	gaveUp := make(chan struct{})
	go func() {
		defer close(gaveUp)
		_, _ = client.Check(ctx, request)
	}()
	require.Eventually(t, func() bool { return s.engine.Snapshot().Components[0].Queue.Waiting == 1 }, generous, time.Millisecond)
	response, err := client.Check(patient(t), request)
	giveUp()
	<-gaveUp
	require.NoError(t, err)
	assert.Equal(t, checkv1.CheckResponse_REJECT_REASON_NO_TOKENS, response.GetRejectReason())
	assert.EqualValues(t, 1, s.engine.Snapshot().Components[0].Queue.Full)
}

func TestTheCachesTakeAsMuchMemoryAsTheFlagSays(t *testing.T) {
	s := startServer(t, "--cache-bytes", "1MiB")
	client := checkv1.NewFlowControlServiceClient(dial(t, s, nil))
	for i := range 3 {
		_, err := client.CacheUpsert(patient(t), &checkv1.CacheUpsertRequest{
			ControlPoint:     "search",
			ResultCacheEntry: &checkv1.CacheEntry{Key: strconv.Itoa(i), Value: bytes.Repeat([]byte("v"), 400<<10)},
		})
		require.NoError(t, err)
	}
	counted := s.engine.Snapshot().Cache
	assert.Equal(t, 2, counted.Entries)
	assert.EqualValues(t, 1, counted.Evicted)
}
