package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFlagDefaults(t *testing.T) {
	config, err := parseFlags([]string{"policy.yaml"})
	require.NoError(t, err)
	assert.Equal(t, []string{"policy.yaml"}, config.policies)
	assert.Equal(t, "127.0.0.1:8089", config.listen)
	assert.Equal(t, "127.0.0.1:0", config.metrics)
	assert.False(t, config.allowRemote)
	assert.Zero(t, config.maxLabels, "the engine's default")
	assert.Zero(t, config.maxWaiting, "the engine's default")
	assert.Zero(t, config.cacheBytes, "the engine's default")
}

func TestBoundsAreTaken(t *testing.T) {
	config, err := parseFlags([]string{"--max-labels", "1", "--max-waiting", "1073741824", "--cache-bytes", "1GiB", "policy.yaml"})
	require.NoError(t, err)
	assert.Equal(t, 1, config.maxLabels)
	assert.Equal(t, 1<<30, config.maxWaiting)
	assert.EqualValues(t, 1<<30, config.cacheBytes)
}

func TestSizesAreBytesOrHaveAUnit(t *testing.T) {
	for text, want := range map[string]int64{
		"1048576": 1 << 20, "1048577": 1<<20 + 1, "1024KiB": 1 << 20, "64MiB": 64 << 20, "1GiB": 1 << 30, "1024GiB": 1 << 40,
	} {
		config, err := parseFlags([]string{"--cache-bytes", text, "policy.yaml"})
		require.NoError(t, err, text)
		assert.Equal(t, want, config.cacheBytes, text)
	}
	for _, text := range []string{
		"", "0", "64", "1023KiB", "1025GiB", "1099511627777", "-64MiB", "+64MiB", "64MB", "64M", "64mib", "64 MiB", "64B", "6.4MiB",
		"MiB", "64MiBMiB", "99999999999999999999", "17179869185GiB", "-17179869183GiB", "plenty",
	} {
		_, err := parseFlags([]string{"--cache-bytes", text, "policy.yaml"})
		assert.EqualError(t, err, fmt.Sprintf("invalid value %q for flag -cache-bytes: "+
			"expected a number of bytes, KiB, MiB or GiB from 1MiB to 1024GiB, such as 256MiB", text))
	}
}

func TestTheUsageTellsTheBoundsAndTheirDefaults(t *testing.T) {
	for _, want := range []string{
		"-max-labels number", "from 1 to 1073741824", "(default 1000000)", "-max-waiting number", "(default 100000)",
		"-cache-bytes size", "from 1MiB to 1024GiB", "(default 64MiB)",
	} {
		assert.Contains(t, usage(), want)
	}
}

func TestSeveralPolicyFilesAreTaken(t *testing.T) {
	config, err := parseFlags([]string{"--metrics", "off", "a.yaml", "folder"})
	require.NoError(t, err)
	assert.Equal(t, []string{"a.yaml", "folder"}, config.policies)
}

func TestAddressesOfThisMachineAreTaken(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1:0", "127.8.8.8:80", "localhost:80", "LocalHost:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "unix:///run/s",
	} {
		_, err := parseFlags([]string{"--listen", address, "--metrics", "off", "policy.yaml"})
		assert.NoError(t, err, address)
	}
}

func TestOtherAddressesNeedAllowRemote(t *testing.T) {
	for _, address := range []string{":80", "0.0.0.0:80", "[::]:80", "192.0.2.1:80", "example.com:80", "localhost.example.com:80"} {
		for _, name := range []string{"--listen", "--metrics"} {
			_, err := parseFlags([]string{name, address, "policy.yaml"})
			assert.ErrorContains(t, err, "--allow-remote", "%s %s", name, address)
			assert.ErrorContains(t, err, name)
			_, err = parseFlags([]string{"--allow-remote", name, address, "policy.yaml"})
			assert.NoError(t, err, "%s %s", name, address)
		}
	}
}

func TestFlagErrors(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		want      string
	}{
		"no policy":             {nil, "no policy file given"},
		"empty policy":          {[]string{""}, "no policy file given"},
		"one policy empty":      {[]string{"a.yaml", ""}, "no policy file given"},
		"flag after the policy": {[]string{"a.yaml", "--listen"}, `unexpected argument "--listen": expected policy files or directories, after all flags`},
		"unknown flag":          {[]string{"--lisen", "127.0.0.1:0", "a.yaml"}, "-lisen"},
		"flag without value":    {[]string{"--listen"}, "needs an argument"},
		"listen without port":   {[]string{"--listen", "127.0.0.1", "a.yaml"}, `--listen "127.0.0.1": expected host:port`},
		"listen empty":          {[]string{"--listen", "", "a.yaml"}, "expected host:port"},
		"listen off":            {[]string{"--listen", "off", "a.yaml"}, "expected host:port"},
		"bare IPv6":             {[]string{"--listen", "::1:80", "a.yaml"}, "expected host:port"},
		"port too great":        {[]string{"--listen", "127.0.0.1:65536", "a.yaml"}, "from 0 to 65535"},
		"port by name":          {[]string{"--listen", "127.0.0.1:http", "a.yaml"}, "from 0 to 65535"},
		"relative socket":       {[]string{"--listen", "unix://run/s", "a.yaml"}, "expected unix:///path"},
		"no socket":             {[]string{"--listen", "unix://", "a.yaml"}, "expected unix:///path"},
		"long socket":           {[]string{"--listen", "unix:///" + strings.Repeat("s", 107), "a.yaml"}, "has 108 bytes"},
		"metrics without port":  {[]string{"--metrics", "127.0.0.1", "a.yaml"}, `--metrics "127.0.0.1": expected host:port`},
		"metrics on a socket":   {[]string{"--metrics", "unix:///run/s", "a.yaml"}, "--metrics"},
		"certificate alone":     {[]string{"--tls-cert", "c.pem", "a.yaml"}, "--tls-cert and --tls-key belong together"},
		"no labels":             {[]string{"--max-labels", "0", "a.yaml"}, `invalid value "0" for flag -max-labels: expected a number from 1 to 1073741824`},
		"labels less than none": {[]string{"--max-labels", "-1", "a.yaml"}, `invalid value "-1" for flag -max-labels: expected a number from 1 to 1073741824`},
		"too many labels":       {[]string{"--max-labels", "1073741825", "a.yaml"}, `for flag -max-labels: expected a number from 1 to 1073741824`},
		"labels no number":      {[]string{"--max-labels", "1e6", "a.yaml"}, `for flag -max-labels: expected a number from 1 to 1073741824`},
		"labels overflow":       {[]string{"--max-labels", "18446744073709551617", "a.yaml"}, `for flag -max-labels: expected a number from 1 to 1073741824`},
		"nobody may wait":       {[]string{"--max-waiting", "0", "a.yaml"}, `invalid value "0" for flag -max-waiting: expected a number from 1 to 1073741824`},
		"too many may wait":     {[]string{"--max-waiting", "1073741825", "a.yaml"}, `for flag -max-waiting: expected a number from 1 to 1073741824`},
		"key alone":             {[]string{"--tls-key", "k.pem", "a.yaml"}, "--tls-cert and --tls-key belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseFlags(test.arguments)
			assert.ErrorContains(t, err, test.want)
		})
	}
}
