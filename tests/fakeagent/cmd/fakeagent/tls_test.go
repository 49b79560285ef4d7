package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/testcert"
)

func TestProgramServesOnlyClientsWithACertificateOfTheirAuthority(t *testing.T) {
	ours, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	others, err := testcert.Make()
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, ours.Write(folder))
	file := func(name string) string { return filepath.Join(folder, name) }
	path := buildProgram(t)
	strict := startProgram(t, path, "-tls-cert", file("server.pem"), "-tls-key", file("server-key.pem"), "-tls-client-ca", file("ca.pem"))
	lenient := startProgram(t, path, "-tls-cert", file("server.pem"), "-tls-key", file("server-key.pem"))

	pair := func(certificate, key []byte) []tls.Certificate {
		pair, err := tls.X509KeyPair(certificate, key)
		require.NoError(t, err)
		return []tls.Certificate{pair}
	}
	for name, test := range map[string]struct {
		agent        *program
		certificates []tls.Certificate
		want         codes.Code
	}{
		"of the authority":            {strict, pair(ours.Client, ours.ClientKey), codes.OK},
		"of another authority":        {strict, pair(others.Client, others.ClientKey), codes.Unavailable},
		"none":                        {strict, nil, codes.Unavailable},
		"a server's":                  {strict, pair(ours.Server, ours.ServerKey), codes.Unavailable},
		"none, and none is asked for": {lenient, nil, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{RootCAs: x509.NewCertPool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if test.certificates == nil {
					return &tls.Certificate{}, nil
				}
				return &test.certificates[0], nil // also one that the server did not ask for
			}}
			require.True(t, config.RootCAs.AppendCertsFromPEM(ours.CA))
			connection, err := grpc.NewClient(test.agent.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
			require.NoError(t, err)
			defer connection.Close()
			_, err = checkv1.NewFlowControlServiceClient(connection).Check(t.Context(), &checkv1.CheckRequest{})
			assert.Equal(t, test.want, status.Code(err), "%v", err)
		})
	}
}

func TestProgramRefusesAFileWithoutAnAuthority(t *testing.T) {
	certificates, err := testcert.Make("127.0.0.1")
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, certificates.Write(folder))
	file := func(name string) string { return filepath.Join(folder, name) }
	require.NoError(t, os.WriteFile(file("empty.pem"), nil, 0o600))
	path := buildProgram(t)
	for name, want := range map[string]string{"empty.pem": "-tls-client-ca", "missing.pem": "missing.pem"} {
		output, err := exec.Command(path, "-tls-cert", file("server.pem"), "-tls-key", file("server-key.pem"), "-tls-client-ca", file(name)).CombinedOutput()
		assert.Error(t, err)
		assert.Contains(t, string(output), want)
	}
}
