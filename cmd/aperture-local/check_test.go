package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	good := policyFile(t, limited)
	ignored := policyFile(t, strings.Replace(strings.Replace(limited, "policy_name: ", "policy_name: also-", 1), "limit_by_label_key", "lazy_sync: {enabled: true}\n      limit_by_label_key", 1))
	broken := policyFile(t, strings.Replace(strings.Replace(limited, "bucket_capacity", "bucket_capacit", 1), "interval: 3600s", "interval: 1h", 1))
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "a.yaml"), []byte(limited), 0o600))
	missing := filepath.Join(folder, "missing.yaml")
	for name, test := range map[string]struct {
		arguments      []string
		want           int
		stdout, stderr string
	}{
		"good":      {[]string{good}, 0, "1 policy with 1 component, 0 warnings\n", ""},
		"directory": {[]string{folder}, 0, "1 policy with 1 component, 0 warnings\n", ""},
		"warning": {[]string{good, ignored}, 0, ignored + ":9:18: warning: policy.rate_limiter.parameters.lazy_sync: ignored by the local engine, which has nothing to synchronise with\n" +
			"2 policies with 2 components, 1 warning\n", ""},
		"problems": {[]string{broken, missing}, 1, broken + `:5:5: policy.rate_limiter: missing "bucket_capacity": expected a number` + "\n" +
			broken + `:5:5: policy.rate_limiter: unknown key "bucket_capacit", did you mean bucket_capacity?` + "\n" +
			broken + `:8:17: policy.rate_limiter.parameters.interval: found "1h", expected decimal seconds with the suffix s, such as "0.5s"` + "\n" +
			missing + ": no such file or directory\n" +
			"4 problems, 0 warnings: the policies cannot be served\n", ""},
		"one problem and a warning": {[]string{ignored, missing}, 1, missing + ": no such file or directory\n" +
			ignored + ":9:18: warning: policy.rate_limiter.parameters.lazy_sync: ignored by the local engine, which has nothing to synchronise with\n" +
			"1 problem, 1 warning: the policies cannot be served\n", ""},
		"nothing":    {nil, 2, "", "aperture-local: no policy file given\n\n" + usage()},
		"empty path": {[]string{good, ""}, 2, "", "aperture-local: no policy file given\n\n" + usage()},
		"flag":       {[]string{"--listen", "127.0.0.1:0", good}, 2, "", "aperture-local: flag provided but not defined: -listen\n\n" + usage()},
		"late flag":  {[]string{good, "--help"}, 2, "", "aperture-local: unexpected argument \"--help\": expected policy files or directories, after all flags\n\n" + usage()},
		"help":       {[]string{"--help"}, 0, usage(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, test.want, run(context.Background(), nil, append([]string{"check"}, test.arguments...), &stdout, &stderr))
			assert.Equal(t, test.stdout, stdout.String())
			assert.Equal(t, test.stderr, stderr.String())
		})
	}
}

// Of many problems the first hundred are listed. What stands for the rest is no problem of its own.
func TestCheckSaysThatThereIsMoreThanItLists(t *testing.T) {
	for name, test := range map[string]struct {
		unknown, ignored int // keys that are unknown, and settings that are ignored
		want             int
		summary          string
		last             string
	}{
		"as many problems as are listed": {100, 0, 1, "100 problems, 0 warnings: the policies cannot be served", `unknown key "key99"`},
		"one more problem":               {101, 0, 1, "more than 100 problems, 0 warnings: the policies cannot be served", "policy.yaml: and more problems"},
		"far more problems":              {5000, 1, 1, "more than 100 problems, 1 warning: the policies cannot be served", "warning: policy.rate_limiter"},
		"as many warnings as are listed": {0, 100, 0, "100 policies with 100 components, 100 warnings", "lazy_sync: ignored"},
		"one more warning":               {0, 101, 0, "101 policies with 101 components, more than 100 warnings", "policy.yaml: warning: and more warnings"},
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			for i := range test.unknown {
				fmt.Fprintf(&text, "key%d: 1\n", i)
			}
			for i := range max(test.ignored, 1) {
				document := strings.Replace(limited, "per-user", fmt.Sprint("policy", i), 1)
				if test.ignored > 0 {
					document = strings.Replace(document, "limit_by_label_key", "lazy_sync: {enabled: true}\n      limit_by_label_key", 1)
				}
				text.WriteString(document + "---\n")
			}
			var stdout, stderr bytes.Buffer
			assert.Equal(t, test.want, checkPolicies([]string{policyFile(t, text.String())}, &stdout, &stderr))
			lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
			assert.Equal(t, test.summary, lines[len(lines)-1])
			assert.Contains(t, lines[len(lines)-2], test.last)
		})
	}
}

func TestTheProgramChecksPolicies(t *testing.T) {
	program := filepath.Join(t.TempDir(), "aperture-local")
	output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(output))

	for name, test := range map[string]struct {
		arguments []string
		code      int
		stdout    string
	}{
		"good":  {[]string{"check", policyFile(t, limited)}, 0, "1 policy with 1 component, 0 warnings\n"},
		"bad":   {[]string{"check", policyFile(t, limited+"more: 1\n")}, 1, "1 problem, 0 warnings: the policies cannot be served\n"},
		"usage": {[]string{"check"}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.CommandContext(patient(t), program, test.arguments...)
			stdout, err := command.Output()
			if exit := (*exec.ExitError)(nil); err != nil {
				require.ErrorAs(t, err, &exit)
			}
			assert.Equal(t, test.code, command.ProcessState.ExitCode())
			assert.Contains(t, string(stdout), test.stdout)
		})
	}
}
