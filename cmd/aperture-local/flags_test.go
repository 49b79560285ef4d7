package main

import (
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
		"key alone":             {[]string{"--tls-key", "k.pem", "a.yaml"}, "--tls-cert and --tls-key belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseFlags(test.arguments)
			assert.ErrorContains(t, err, test.want)
		})
	}
}
