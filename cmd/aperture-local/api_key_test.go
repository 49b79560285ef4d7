package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func keyFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestCallsNeedTheAPIKey(t *testing.T) {
	connection := dial(t, startServer(t, "--require-api-key-file", keyFile(t, " the-key\n")), nil)
	for name, test := range map[string]struct {
		keys []string
		want codes.Code
	}{
		"right":   {[]string{"the-key"}, codes.OK},
		"wrong":   {[]string{"the-kez"}, codes.Unauthenticated},
		"prefix":  {[]string{"the-ke"}, codes.Unauthenticated},
		"empty":   {[]string{""}, codes.Unauthenticated},
		"none":    {nil, codes.Unauthenticated},
		"several": {[]string{"the-key", "the-key"}, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := patient(t)
			for _, key := range test.keys {
				ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", key)
			}
			for call, err := range map[string]error{
				"Check":   second(checkv1.NewFlowControlServiceClient(connection).Check(ctx, &checkv1.CheckRequest{})),
				"FlowEnd": second(checkv1.NewFlowControlServiceClient(connection).FlowEnd(ctx, &checkv1.FlowEndRequest{})),
				"Export":  connection.Invoke(ctx, exportMethod, &tracev1.TracesData{}, &emptypb.Empty{}),
			} {
				assert.Equal(t, test.want, status.Code(err), call)
				if err != nil {
					assert.NotContains(t, err.Error(), "the-ke", "no key is told")
				}
			}
		})
	}
	_, err := healthpb.NewHealthClient(connection).Check(patient(t), &healthpb.HealthCheckRequest{})
	assert.NoError(t, err, "health needs no key")
}

func second[T any](_ T, err error) error { return err }

func TestAPIKeyFilesThatHoldNoKeyAreRefused(t *testing.T) {
	for content, want := range map[string]string{
		"":          "is empty",
		" \n\t":     "is empty",
		"one\ntwo":  "one line of printable ASCII",
		"schlüssel": "one line of printable ASCII",
	} {
		_, err := readAPIKey(keyFile(t, content))
		assert.ErrorContains(t, err, want)
	}
	key, err := readAPIKey(keyFile(t, "\tthe key\r\n"))
	require.NoError(t, err)
	assert.Equal(t, "the key", key)
}
