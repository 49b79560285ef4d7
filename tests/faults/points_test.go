package faults

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

// namedPoint finds the names that are given to guard's functions and to what calls them.
var namedPoint = regexp.MustCompile(`(?:guard\.(?:Go|Keep|AfterFunc|AfterTime|Do|Point)\(|\.after\(|background\(|enter\(|changeCache\(|asyncCall\{\s*name: )(?:[a-zA-Z.]+, )*"([a-z_.]+)"`)

// points returns every point of the sources, and fails when a call has a name that it cannot find.
func points(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	guarded := regexp.MustCompile(`guard\.(Go|Keep|AfterFunc|AfterTime|Do|Point)\(`)
	// Of background, spawnCall, enter, and the timers of a queue.
	passedOn := regexp.MustCompile(`guard\.(Go|Point|AfterTime)\((delay, scheduler\.options\.)?([lL]ogger, )?(async\.)?name`)
	for _, tree := range []string{"core", "capi"} {
		require.NoError(t, filepath.WalkDir(host.FromRoot(tree), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			guards := 0
			for _, match := range namedPoint.FindAllStringSubmatch(string(text), -1) {
				found[match[1]] = true
				if strings.HasPrefix(match[0], "guard.") {
					guards++
				}
			}
			require.Len(t, guarded.FindAll(text, -1), guards+len(passedOn.FindAll(text, -1)), "%s: a point without a name", path)
			return nil
		}))
	}
	return found
}

func TestEveryPointHasACase(t *testing.T) {
	all, found := cases(), points(t)
	for point := range found {
		require.Contains(t, all, point, "a point without a case")
	}
	for name := range all {
		point, _, _ := strings.Cut(name, " ")
		require.True(t, found[point], "%s: there is no such point", name)
	}
}

// The functions that are answered in C have no Go code that could panic.
var answeredInC = map[string]bool{
	"aperture_version": true, "aperture_abi_version": true, "aperture_error_name": true,
	"aperture_error_description": true, "aperture_protect_signal_handlers": true,
	"aperture_client_options_from_environment": true,
}

func TestEveryFunctionIsAPoint(t *testing.T) {
	found := points(t)
	for _, function := range host.ReadLayout(t).Functions {
		require.NotEqual(t, answeredInC[function], found[function], function)
	}
}
