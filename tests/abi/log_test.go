package abi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

// warn makes a client that is worth a warning: an API key over an insecure connection, and a flow without a decision.
// The close of the client waits for the log.
func warn(t *testing.T) {
	t.Helper()
	options := host.OptionsFor(host.ClosedAddress(t))
	options.APIKey = host.TextOf("secret-key")
	client := host.OpenClient(t, options)
	flow, _ := host.Start(t, client, host.Patient(host.ParamsFor("checkout", "user_id", "secret-label")))
	require.Equal(t, host.OK, host.Lib.FlowEnd(flow, nil, nil))
	host.CloseClient(t, client)
}

func TestLogGoesToTheDescriptor(t *testing.T) {
	host.NoLeak(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	logged := func() string {
		text, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		return string(text)
	}
	options := host.NewProcessOptions()
	options.LogFD = int32(file.Fd())

	options.LogLevel = host.LogLevelError
	configure(t, options)
	warn(t)
	require.Empty(t, logged(), "a warning is no error")

	options.LogLevel = host.LogLevelWarning
	configure(t, options)
	warn(t)
	host.Eventually(t, "both lines", func() bool {
		text := logged()
		return len(text) > 0 && text[len(text)-1] == '\n' && strings.Contains(text, "API key travels in plaintext") &&
			strings.Contains(text, "control_point=checkout")
	})
	require.NotContains(t, logged(), "secret", "a key or the value of a label")

	before := len(logged())
	require.Equal(t, host.OK, host.Lib.Configure(host.NewProcessOptions(), nil))
	warn(t)
	require.Len(t, logged(), before, "there is no log any more")
}
