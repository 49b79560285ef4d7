package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const apiKeyHeader = "x-api-key"

// readAPIKey returns a file's content without the white space around it.
func readAPIKey(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the API key: %w", err)
	}
	key := strings.TrimSpace(string(content))
	if key == "" {
		return "", fmt.Errorf("reading the API key: %s is empty", file)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("reading the API key: %s: expected one line of printable ASCII, as a client can send no other key", file)
	}
	return key, nil
}

// requireAPIKey refuses calls that do not carry the key, all but those of the health service. The health service aside,
// every call of this server is unary.
func requireAPIKey(key string) grpc.UnaryServerInterceptor {
	want := sha256.Sum256([]byte(key))
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if strings.HasPrefix(info.FullMethod, "/"+healthpb.Health_ServiceDesc.ServiceName+"/") {
			return handler(ctx, request)
		}
		keys := metadata.ValueFromIncomingContext(ctx, apiKeyHeader)
		if len(keys) != 1 {
			return nil, status.Error(codes.Unauthenticated, "expected one API key, as "+apiKeyHeader+" metadata")
		}
		// Comparing digests tells neither where the keys differ nor how long the right one is.
		got := sha256.Sum256([]byte(keys[0]))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return nil, status.Error(codes.Unauthenticated, "the API key is wrong")
		}
		return handler(ctx, request)
	}
}
