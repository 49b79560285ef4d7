package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// probeTimeout bounds the question whether somebody listens on a socket.
const probeTimeout = time.Second

// listen opens "host:port" or "unix:///path". A socket file is removed when its listener is closed.
func listen(address string) (net.Listener, error) {
	socket, ok := strings.CutPrefix(address, unixScheme)
	if !ok {
		return net.Listen("tcp", address)
	}
	if err := removeStaleSocket(socket); err != nil {
		return nil, fmt.Errorf("listen %s: %w", address, err)
	}
	return net.Listen("unix", socket)
}

// removeStaleSocket makes room for a socket file: it removes one that a process left behind when it was killed, and
// nothing else. Two servers that are started for one path at the same moment are not kept apart.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the file exists and is no socket")
	}
	connection, err := net.DialTimeout("unix", path, probeTimeout)
	switch {
	case err == nil:
		_ = connection.Close()
		return errors.New("another process listens on this socket")
	case errors.Is(err, syscall.ECONNREFUSED): // the only answer that says that nobody listens
		return os.Remove(path)
	}
	return fmt.Errorf("the socket exists, and asking whether another process listens on it failed: %w", err)
}
