package abi

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryFunctionIsDocumented(t *testing.T) {
	header := readHeader(t)
	functions := headerFunctions(t)
	require.NotEmpty(t, functions)
	required := map[string]*regexp.Regexp{
		"what it does":      regexp.MustCompile(`^ \* [A-Z]`),
		"Ownership":         regexp.MustCompile(`(?m)^ \* Ownership: \S`),
		"Threads":           regexp.MustCompile(`(?m)^ \* Threads: \S`),
		"NULL":              regexp.MustCompile(`(?m)^ \* NULL: \S`),
		"Returns or Errors": regexp.MustCompile(`(?m)^ \* (Returns|Errors): \S`),
		"Since":             regexp.MustCompile(`(?m)^ \* Since: \d`),
	}
	for _, name := range functions {
		t.Run(name, func(t *testing.T) {
			declaration := regexp.MustCompile(`(?m)^APERTURE_API .*\b` + name + `\((.*)\);$`)
			at := declaration.FindStringSubmatchIndex(header)
			require.NotNil(t, at)
			before, found := strings.CutSuffix(header[:at[0]], " */\n")
			require.True(t, found, "no comment above the declaration")
			comment := before[strings.LastIndex(before, "/*\n")+len("/*\n"):]
			for what, pattern := range required {
				require.Regexp(t, pattern, comment, "%s is missing", what)
			}
			for parameter := range strings.SplitSeq(header[at[2]:at[3]], ", ") {
				if parameter != "void" {
					name := parameter[strings.LastIndexAny(parameter, " *")+1:]
					require.Contains(t, comment, " * @param "+name+" ")
				}
			}
		})
	}
}
