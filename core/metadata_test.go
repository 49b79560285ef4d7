package core

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/libaperture/libaperture/tests/fakeagent"
)

func TestMetadataGoesWithEveryCall(t *testing.T) {
	server := startServer(t, fakeagent.Options{RequireAPIKey: "key"})
	server.Set(fakeagent.Behaviour{InFlight: 1})
	client := connect(t, Options{
		Address: server.Address(), Insecure: true, APIKey: "key",
		Metadata: []MetadataEntry{{"Authorization", "Bearer s3cr3t"}, {"x-tenant_1.a", "~ !"}, {"empty", ""}},
	})
	flow := start(t, client, patient)
	require.NoError(t, flow.Err())
	_, err := flow.End(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Close(t.Context()))

	recorded := server.Recorded()
	for _, md := range []metadata.MD{recorded.Checks[0].Metadata, recorded.FlowEnds[0].Metadata, recorded.Exports[0].Metadata} {
		assert.Equal(t, []string{"Bearer s3cr3t"}, md.Get("authorization"))
		assert.Equal(t, []string{"~ !"}, md.Get("x-tenant_1.a"))
		assert.Equal(t, []string{""}, md.Get("empty"))
		assert.Equal(t, []string{"key"}, md.Get("x-api-key"))
	}
}

func TestErrorsDoNotTellMetadata(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	server.Set(fakeagent.Behaviour{Check: fakeagent.Trouble{Error: codes.PermissionDenied, Message: `"Bearer s3cr3t" may not`}})
	client := connect(t, Options{
		Address: server.Address(), Insecure: true,
		Metadata: []MetadataEntry{{"authorization", "Bearer s3cr3t"}},
	})
	assert.ErrorContains(t, start(t, client, patient).Err(), `"[metadata]" may not`)
}

// entries returns so many entries of so many bytes each.
func entries(count, size int) []MetadataEntry {
	list := make([]MetadataEntry, count)
	for i := range list {
		list[i].Key = fmt.Sprintf("s3cr3t-%04d", i)
		list[i].Value = strings.Repeat("v", size-len(list[i].Key))
	}
	return list
}

func TestMetadataThatIsRefused(t *testing.T) {
	one := func(key, value string) []MetadataEntry { return []MetadataEntry{{"good", ""}, {key, value}} }
	for name, test := range map[string]struct {
		metadata []MetadataEntry
		hint     string
	}{
		"no key":                 {one("", "s3cr3t"), "entry 2 of 2 has no key"},
		"space in the key":       {one("s3cr3t key", ""), "cannot be sent"},
		"pseudo header":          {one(":authority", "s3cr3t"), "cannot be sent"},
		"key that is not ASCII":  {one("s3cr3té", ""), "cannot be sent"},
		"key that is not UTF-8":  {one("s3cr3t\xff", ""), "cannot be sent"},
		"key that folds to k":    {one("\u212Aey", ""), "cannot be sent"},
		"gRPC's key":             {one("GRPC-timeout", "s3cr3t"), "belongs to gRPC"},
		"binary":                 {one("trace-Bin", "s3cr3t"), "binary values"},
		"API key":                {one("X-API-Key", "s3cr3t"), "use the option"},
		"user agent":             {one("User-Agent", "s3cr3t"), "use the option"},
		"content type":           {one("Content-Type", "s3cr3t"), "belongs to HTTP"},
		"te":                     {one("te", "s3cr3t"), "belongs to HTTP"},
		"connection":             {one("Connection", "s3cr3t"), "belongs to HTTP"},
		"line break":             {one("a", "s3cr3t\r\nb: c"), "printable ASCII"},
		"value that is no ASCII": {one("a", "s3cr3té"), "printable ASCII"},
		"space at the end":       {one("a", "s3cr3t "), "begins or ends"},
		"space at the beginning": {one("a", " s3cr3t"), "begins or ends"},
		"twice":                  {one("GOOD", "s3cr3t"), "earlier entry"},
		"too many":               {entries(65, 20), "at most 64"},
		"too large":              {append(entries(63, 128), MetadataEntry{"s3cr3t", strings.Repeat("v", 123)}), "8193 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewClient(Options{Address: "127.0.0.1:1", Insecure: true, Metadata: test.metadata})
			argument(t, err, "metadata")
			assert.ErrorContains(t, err, test.hint)
			assert.NotContains(t, err.Error(), "s3cr3t")
		})
	}
	_, err := (&Options{Metadata: entries(64, 128)}).callMetadata()
	assert.NoError(t, err, "64 entries of 8 KiB")
}
