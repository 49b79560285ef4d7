package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

func TestAUnixSocketServesAndIsRemoved(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	t.Run("while it serves", func(t *testing.T) {
		s := startServer(t, "--listen", "unix://"+socket)
		assert.Equal(t, "unix://"+socket, s.address())
		_, err := checkv1.NewFlowControlServiceClient(dial(t, s, nil)).Check(patient(t), &checkv1.CheckRequest{})
		assert.NoError(t, err)
	})
	assert.NoFileExists(t, socket)
}

// staleSocket leaves a socket file on which nobody listens.
func staleSocket(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	return socket
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	s := startServer(t, "--listen", "unix://"+staleSocket(t))
	_, err := checkv1.NewFlowControlServiceClient(dial(t, s, nil)).Check(patient(t), &checkv1.CheckRequest{})
	assert.NoError(t, err)
}

func TestALiveSocketIsLeftAlone(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	owner := startServer(t, "--listen", "unix://"+socket)
	_, err := listen("unix://" + socket)
	assert.ErrorContains(t, err, "another process listens on this socket")
	_, err = checkv1.NewFlowControlServiceClient(dial(t, owner, nil)).Check(patient(t), &checkv1.CheckRequest{})
	assert.NoError(t, err)
}

func TestAFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "file")
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
	link := filepath.Join(directory, "link")
	require.NoError(t, os.Symlink(staleSocket(t), link))
	for _, path := range []string{file, link, directory} {
		_, err := listen("unix://" + path)
		assert.ErrorContains(t, err, "the file exists and is no socket", path)
	}
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(content))
}

func TestASocketInAMissingDirectoryIsRefused(t *testing.T) {
	_, err := listen("unix://" + filepath.Join(t.TempDir(), "missing", "s"))
	assert.ErrorContains(t, err, "no such file or directory")
}
