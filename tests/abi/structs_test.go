package abi

import (
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

func TestStructsHaveTheLayoutOfTheHeader(t *testing.T) {
	mirrors := map[string]any{
		"text": host.Text{}, "label": host.Label{}, "error": host.Failure{}, "client_options": host.ClientOptions{}, "flow_params": host.FlowParams{},
		"decision": host.Decision{}, "end_result": host.EndResult{}, "completion": host.Completion{}, "stats": host.Stats{},
		"process_options": host.ProcessOptions{}, "attribute": host.Attribute{}, "bytes": host.Text{},
		"cache_keys": host.CacheKeys{}, "cache_entry": host.CacheEntry{}, "cache_key": host.CacheKey{},
	}
	read := host.ReadLayout(t)
	require.Len(t, mirrors, len(read.Structs))
	for name, want := range read.Structs {
		t.Run(name, func(t *testing.T) {
			mirror := reflect.TypeOf(mirrors[name])
			require.NotNil(t, mirror, "no mirror")
			require.Equal(t, want.Size, mirror.Size())
			require.Equal(t, len(want.Fields), mirror.NumField())
			for field := range mirror.Fields() {
				in, known := want.Fields[snakeCase(field.Name)]
				require.True(t, known, "%s is not a field of the header", field.Name)
				require.Equal(t, in.Offset, field.Offset, field.Name)
				require.Equal(t, in.Size, field.Type.Size(), field.Name)
			}
		})
	}
}

// snakeCase turns CheckTimeoutNS into check_timeout_ns and APIKey into api_key.
func snakeCase(name string) string {
	var snake strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		begins := i > 0 && unicode.IsUpper(r) &&
			(unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if begins {
			snake.WriteByte('_')
		}
		snake.WriteRune(unicode.ToLower(r))
	}
	return snake.String()
}
