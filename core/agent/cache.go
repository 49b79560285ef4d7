package agent

import (
	"context"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The cache calls are tried again as FlowEnd is. The second of two that both arrive changes nothing, unless somebody
// else wrote the same entry between them: then the later one of that moment is lost, which is what two writers of one
// entry must expect of any cache.

// CacheLookup reads cache entries.
func (a *Agent) CacheLookup(ctx context.Context, request *checkv1.CacheLookupRequest, timeout time.Duration) (*checkv1.CacheLookupResponse, error) {
	return callAgain(ctx, a, a.calls, timeout, checkv1.FlowControlServiceClient.CacheLookup, request, secretsOfLookup)
}

// CacheUpsert stores cache entries.
func (a *Agent) CacheUpsert(ctx context.Context, request *checkv1.CacheUpsertRequest, timeout time.Duration) (*checkv1.CacheUpsertResponse, error) {
	return callAgain(ctx, a, a.calls, timeout, checkv1.FlowControlServiceClient.CacheUpsert, request, secretsOfUpsert)
}

// CacheDelete removes cache entries.
func (a *Agent) CacheDelete(ctx context.Context, request *checkv1.CacheDeleteRequest, timeout time.Duration) (*checkv1.CacheDeleteResponse, error) {
	return callAgain(ctx, a, a.calls, timeout, checkv1.FlowControlServiceClient.CacheDelete, request, secretsOfDelete)
}
