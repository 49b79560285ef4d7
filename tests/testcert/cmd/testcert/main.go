// Testcert writes certificates for tests into a directory: ca.pem, server.pem and server-key.pem for the hosts on its
// command line, client.pem and client-key.pem for a client of theirs, and other-ca.pem, an authority that did not sign any
// of them.
//
//	testcert DIRECTORY [HOST]...
//
// Without hosts the server is localhost, 127.0.0.1 and ::1.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/libaperture/libaperture/tests/testcert"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: testcert DIRECTORY [HOST]...")
		os.Exit(2)
	}
	hosts := os.Args[2:]
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	if err := write(os.Args[1], hosts); err != nil {
		fmt.Fprintln(os.Stderr, "testcert:", err)
		os.Exit(1)
	}
}

func write(directory string, hosts []string) error {
	certificates, err := testcert.Make(hosts...)
	if err != nil {
		return err
	}
	other, err := testcert.Make()
	if err != nil {
		return err
	}
	if err := certificates.Write(directory); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "other-ca.pem"), other.CA, 0o600)
}
