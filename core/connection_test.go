package core

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/tests/fakeagent"
	"github.com/libaperture/libaperture/tests/testcert"
)

// B8, B40: one flow with TLS and an API key, which every call carries.
func TestFlowOverTLSWithAnAPIKey(t *testing.T) {
	directory := t.TempDir()
	certificates, err := testcert.Make("127.0.0.1", "agent.example.org")
	require.NoError(t, err)
	require.NoError(t, certificates.Write(directory))
	other, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	otherCA := filepath.Join(directory, "other-ca.pem")
	require.NoError(t, os.WriteFile(otherCA, other.CA, 0o600))
	config, err := certificates.TLS()
	require.NoError(t, err)
	server := startServer(t, fakeagent.Options{TLS: config, RequireAPIKey: "key"})
	server.Set(fakeagent.Behaviour{InFlight: 1})
	right := Options{Address: server.Address(), APIKey: "key", CAFile: filepath.Join(directory, "ca.pem")}

	client := connect(t, right)
	require.NoError(t, client.WaitReady(t.Context()))
	flow := start(t, client, patient)
	require.NoError(t, flow.Err())
	result, err := flow.End(t.Context())
	require.NoError(t, err)
	assert.True(t, result.Response.GetTokenReturnStatuses()[0].GetReturned())
	require.NoError(t, client.Close(t.Context()))
	assert.Equal(t, 1, server.Recorded().SpanCount)

	for name, change := range map[string]func(*Options){
		"another authority":   func(o *Options) { o.CAFile = otherCA },
		"the system's roots":  func(o *Options) { o.CAFile = "" },
		"another server name": func(o *Options) { o.ServerName = "elsewhere.example.org" },
		"no API key":          func(o *Options) { o.APIKey = "" },
		"wrong API key":       func(o *Options) { o.APIKey = "guess" },
	} {
		t.Run(name, func(t *testing.T) {
			options := right
			change(&options)
			flow := start(t, connect(t, options), patient)
			assert.Equal(t, check.UnreachableMisconfigured, flow.UnreachableReason(), "%v", flow.Err())
			assert.True(t, flow.ShouldRun())
		})
	}
	right.ServerName = "agent.example.org"
	assert.NoError(t, start(t, connect(t, right), patient).Err())
}

func TestFlowsAcrossARestartOfTheAgent(t *testing.T) {
	first := startServer(t, fakeagent.Options{})
	first.Set(fakeagent.Behaviour{InFlight: 1})
	client := connect(t, Options{Address: first.Address(), Insecure: true})
	running := start(t, client, patient)
	require.NoError(t, running.Err())

	first.Stop()
	require.Eventually(t, func() bool {
		return start(t, client, patient).UnreachableReason() == check.UnreachableUnavailable
	}, generous, time.Millisecond)
	_, err := running.End(t.Context())
	assert.Error(t, err, "nobody takes back what the flow holds")

	second := startServer(t, fakeagent.Options{Address: first.Address()})
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	require.NoError(t, client.WaitReady(ctx))
	flow := start(t, client, patient)
	require.NoError(t, flow.Err())
	_, err = flow.End(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Close(ctx))
	assert.Equal(t, 2, second.Recorded().SpanCount, "also the span of the flow that was ended meanwhile")
	assert.EqualValues(t, 1, client.Stats().FlowEndsFailed)
}

func TestStateFollowsTheAgent(t *testing.T) {
	server := startServer(t, fakeagent.Options{})
	client := connect(t, Options{Address: server.Address(), Insecure: true})
	becomes := func(want check.State) {
		t.Helper()
		require.Eventually(t, func() bool { return client.State() == want }, generous, time.Millisecond, "never %s", want)
	}
	becomes(check.StateReady)
	server.Stop()
	becomes(check.StateFailing)
	startServer(t, fakeagent.Options{Address: server.Address()})
	becomes(check.StateReady)
	require.NoError(t, client.Close(t.Context()))
	assert.Equal(t, check.StateClosed, client.State())
}
