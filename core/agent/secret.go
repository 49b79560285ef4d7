package agent

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// secret is a text that was sent to the agent and that no error or log may tell, with what is told in its place.
type secret struct{ text, kind string }

// The kinds of secrets.
const (
	secretAPIKey     = "[API key]"
	secretMetadata   = "[metadata]"
	secretLabelValue = "[label value]"
	secretCacheKey   = "[cache key]"
	secretCacheValue = "[cached value]"
)

// secretsOfCheck returns what a Check carries.
func secretsOfCheck(request *check.Request) []secret {
	secrets := secretsOfLookup(request.CacheLookup)
	for _, label := range request.Labels {
		secrets = append(secrets, secret{label.Value, secretLabelValue})
	}
	return secrets
}

// secretsOfFlowEnd returns the values of the labels by which limiters know a flow.
func secretsOfFlowEnd(request *checkv1.FlowEndRequest) []secret {
	var secrets []secret
	for _, reference := range request.GetInflightRequests() {
		secrets = append(secrets, secret{reference.GetLabel(), secretLabelValue})
	}
	return secrets
}

func secretsOfLookup(request *checkv1.CacheLookupRequest) []secret {
	return cacheKeys(request.GetResultCacheKey(), request.GetGlobalCacheKeys())
}

func secretsOfDelete(request *checkv1.CacheDeleteRequest) []secret {
	return cacheKeys(request.GetResultCacheKey(), request.GetGlobalCacheKeys())
}

func secretsOfUpsert(request *checkv1.CacheUpsertRequest) []secret {
	result := request.GetResultCacheEntry()
	secrets := []secret{{string(result.GetValue()), secretCacheValue}, {result.GetKey(), secretCacheKey}}
	for key, entry := range request.GetGlobalCacheEntries() {
		secrets = append(secrets, secret{string(entry.GetValue()), secretCacheValue}, secret{key, secretCacheKey})
	}
	return secrets
}

func cacheKeys(result string, global []string) []secret {
	secrets := []secret{{result, secretCacheKey}}
	for _, key := range global {
		secrets = append(secrets, secret{key, secretCacheKey})
	}
	return secrets
}

// maxMessage limits what is kept of a message, in bytes.
const maxMessage = 512

// shortestSecret is the length in bytes below which a text is a word of any sentence. It is none of an API key's.
const shortestSecret = 4

// redact makes the message of an agent fit for an error or a log. An agent may quote what it was sent.
func (a *Agent) redact(message string, secrets []secret) string {
	secrets = slices.Concat(a.secrets, secrets)
	// The longest first: one may be a part of another.
	slices.SortFunc(secrets, func(x, y secret) int { return cmp.Compare(len(y.text), len(x.text)) })
	for _, secret := range secrets {
		if len(secret.text) >= shortestSecret || secret.kind == secretAPIKey {
			message = strings.ReplaceAll(message, secret.text, secret.kind)
		}
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, message)
}
