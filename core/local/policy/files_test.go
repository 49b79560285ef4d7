package policy

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// minimal returns values for a policy of a name.
func minimal(name string) string {
	return "blueprint: rate-limiting/base\npolicy: {policy_name: " + name +
		", rate_limiter: {bucket_capacity: 1, fill_amount: 1, parameters: {interval: 1s}, selectors: [{control_point: x}]}}\n"
}

// writeFiles writes files below a new directory, and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return folder
}

func names(policies []Policy) []string {
	var names []string
	for _, policy := range policies {
		names = append(names, policy.Name)
	}
	return names
}

func TestLoadFilesRefuses(t *testing.T) {
	folder := writeFiles(t, map[string]string{
		"good.yaml": blueprint, "empty.yaml": "", "comments.yaml": "# a\n---\n---\n# b\n",
		"large.yaml": strings.Repeat("#", MaxFileSize+1), "binary.yaml": "\x00\x01\x02", "latin1.yaml": "a: \xff\n",
		"none/read.me": "", "none/.hidden.yaml": minimal("a"), "none/sub.yaml/a.yaml": minimal("a"),
	})
	path := func(name string) string { return filepath.Join(folder, name) }
	policies, _, err := LoadFiles(path("good.yaml"))
	require.NoError(t, err)
	assert.Len(t, policies, 1)

	for name, test := range map[string]struct {
		path, problem string
		cause         error
	}{
		"missing":         {path("absent.yaml"), ": no such file or directory", fs.ErrNotExist},
		"no folder":       {path("good.yaml/p.yaml"), ": not a directory", nil},
		"no file":         {os.DevNull, ": is not a regular file, expected a policy file or a directory", nil},
		"no path":         {"", ": the path is empty, expected a policy file or a directory", nil},
		"empty":           {path("empty.yaml"), ": no policy: expected at least one YAML document with a policy", nil},
		"comments":        {path("comments.yaml"), ": no policy: expected at least one YAML document with a policy", nil},
		"too large":       {path("large.yaml"), ": file is too large: expected at most 4194304 bytes", nil},
		"no text":         {path("binary.yaml"), ":1: not YAML: control characters are not allowed", nil},
		"no unicode":      {path("latin1.yaml"), ":1: not YAML: invalid leading UTF-8 octet", nil},
		"empty directory": {path("none"), ": no policy file in the directory: expected *.yaml or *.yml", nil},
	} {
		t.Run(name, func(t *testing.T) {
			policies, _, err := LoadFiles(test.path)
			assert.Nil(t, policies)
			var loadError *LoadError
			require.ErrorAs(t, err, &loadError)
			assert.Equal(t, test.path+test.problem, err.Error())
			if test.cause != nil {
				assert.ErrorIs(t, err, test.cause)
			}
		})
	}
}

func TestLoadFilesOfADirectoryInTheOrderOfTheirNames(t *testing.T) {
	folder := writeFiles(t, map[string]string{
		"b.yml": minimal("b"), "a.yaml": minimal("a"), "C.yaml": minimal("c"),
		".hidden.yaml": "{", "d.yaml.bak": "{", "e.json": "{", "sub/f.yaml": "{", "sub.yaml/g.yaml": "{",
	})
	policies, _, err := LoadFiles(folder)
	require.NoError(t, err)
	assert.Equal(t, []string{"c", "a", "b"}, names(policies))

	policies, _, err = LoadFiles(filepath.Join(folder, "b.yml"), filepath.Join(folder, "a.yaml"))
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "a"}, names(policies), "in the order in which they are given")

	policies, _, err = LoadFiles()
	require.NoError(t, err)
	assert.Empty(t, policies)
}

// Kubernetes mounts a ConfigMap as links to ..data, itself a link to a directory that it replaces as a whole.
func TestLoadFilesOfAKubernetesMount(t *testing.T) {
	folder := writeFiles(t, map[string]string{"..2026_11_24/limits.yaml": minimal("a"), "..2026_11_24/quota.yaml": minimal("b")})
	require.NoError(t, os.Symlink("..2026_11_24", filepath.Join(folder, "..data")))
	for _, name := range []string{"limits.yaml", "quota.yaml"} {
		require.NoError(t, os.Symlink("..data/"+name, filepath.Join(folder, name)))
	}
	policies, _, err := LoadFiles(folder)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, names(policies))

	require.NoError(t, os.Remove(filepath.Join(folder, "..2026_11_24", "quota.yaml")))
	_, _, err = LoadFiles(folder)
	assert.EqualError(t, err, filepath.Join(folder, "quota.yaml")+": no such file or directory")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestProblemsOfAllFilesAreReportedInTheirOrder(t *testing.T) {
	folder := writeFiles(t, map[string]string{
		"b.yaml": "{", "a.yaml": minimal("x") + "---\n" + minimal("y"), "c.yaml": "# comment\n" + minimal("y"),
		"d.yaml": "policy_name: z\ndynamic_config: {}\n---\npolicy_name: x\ndynamic_config: {}\n",
		"e.yaml": "policy_name: x\ndynamic_config: {}\n", "f.yaml": strings.Replace(minimal("f"), "interval: 1s", "interval: 1m", 1),
	})
	_, _, err := LoadFiles(folder, filepath.Join(folder, "absent.yaml"))
	path := func(name string) string { return filepath.Join(folder, name) }
	assert.EqualError(t, err, strings.Join([]string{
		path("b.yaml") + ":1: not YAML: did not find expected node content",
		path("c.yaml") + `:3:23: duplicate policy name "y": first in ` + path("a.yaml") + ":5",
		path("d.yaml") + `:1:14: policy_name: no policy is named "z", did you mean f or x or y?`,
		path("e.yaml") + `:1:14: policy_name: second dynamic configuration of policy "x": first in ` + path("d.yaml") + ":4",
		path("f.yaml") + `:2:100: policy.rate_limiter.parameters.interval: found "1m", expected decimal seconds with the suffix s, such as "0.5s"`,
		path("absent.yaml") + ": no such file or directory",
	}, "\n"))
}

func TestWarningsAreThereBesideAnError(t *testing.T) {
	folder := writeFiles(t, map[string]string{
		"a.yaml": strings.Replace(blueprint, "enabled: false", "enabled: true", 1), "b.yaml": "{",
	})
	_, warnings, err := LoadFiles(folder)
	require.Error(t, err)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0].String(), "a.yaml:15:18: policy.rate_limiter.parameters.lazy_sync: ignored")
}

func TestLoadFilesBoundsTheirNumberAndSize(t *testing.T) {
	files := map[string]string{}
	for i := range MaxFiles {
		name := fmt.Sprintf("p%03d", i)
		files[name+".yaml"] = minimal(name)
	}
	folder := writeFiles(t, files)
	policies, _, err := LoadFiles(folder)
	require.NoError(t, err)
	assert.Len(t, policies, MaxFiles)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "z.yaml"), []byte(minimal("more")), 0o600))
	_, _, err = LoadFiles(folder)
	assert.EqualError(t, err, filepath.Join(folder, "z.yaml")+": too many files: expected at most 1000")

	// The parser gives up at the first byte of each.
	broken := "\x00" + strings.Repeat("#", MaxFileSize-1)
	folder = writeFiles(t, map[string]string{
		"a.yaml": broken, "b.yaml": broken, "c.yaml": broken, "d.yaml": broken, "e.yaml": minimal("e"),
	})
	tooLarge := filepath.Join(folder, "e.yaml") + ": the files are too large together: expected at most 16777216 bytes"
	_, _, err = LoadFiles(folder)
	assert.ErrorContains(t, err, tooLarge)
	require.NoError(t, os.Remove(filepath.Join(folder, "e.yaml")))
	_, _, err = LoadFiles(folder)
	assert.ErrorContains(t, err, "d.yaml:1: not YAML")
	assert.NotContains(t, err.Error(), "too large")
}
