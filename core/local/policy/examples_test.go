package policy

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheExamplesAreOneSetOfPolicies(t *testing.T) {
	policies, warnings, err := LoadFiles("../../../examples/policies")
	require.NoError(t, err)
	assert.Empty(t, warnings)
	ids := map[string]string{}
	for i := range policies {
		policy := &policies[i]
		requireSound(t, policy)
		require.Equal(t, 1, policy.Components())
		switch {
		case policy.RateLimiters != nil:
			ids[policy.Name] = "rate limiter " + policy.RateLimiters[0].ID
		case policy.QuotaSchedulers != nil:
			ids[policy.Name] = "quota scheduler " + policy.QuotaSchedulers[0].ID
		case policy.ConcurrencyLimiters != nil:
			ids[policy.Name] = "concurrency limiter " + policy.ConcurrencyLimiters[0].ID
		case policy.ConcurrencySchedulers != nil:
			ids[policy.Name] = "concurrency scheduler " + policy.ConcurrencySchedulers[0].ID
		case policy.Samplers != nil:
			ids[policy.Name] = "sampler " + policy.Samplers[0].ID
		}
	}
	assert.Equal(t, map[string]string{
		"checkout-gold": "rate limiter root.0", "checkout-silver": "rate limiter root.0", "checkout-bronze": "rate limiter root.0",
		"paid-api": "quota scheduler root.0", "exports": "concurrency limiter root.0",
		"database": "concurrency scheduler root.0", "new-search": "sampler root.10.1",
	}, ids)
}
