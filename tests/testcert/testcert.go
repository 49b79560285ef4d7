// Package testcert makes certificates for tests: an authority of its own, and the certificates of a server and of a client
// signed by it, all valid for a day.
package testcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificates are PEM texts.
type Certificates struct {
	CA        []byte // the authority's certificate, for clients and servers to trust
	Server    []byte // the server's certificate
	ServerKey []byte // the server's private key
	Client    []byte // a client's certificate
	ClientKey []byte // the client's private key
}

// Make returns certificates for a server of these hosts, names or IP addresses, and for a client of it.
func Make(hosts ...string) (*Certificates, error) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority for tests"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return nil, err
	}
	made := &Certificates{CA: encode("CERTIFICATE", authorityDER)}

	server := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "server for tests"},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	if made.Server, made.ServerKey, err = sign(server, authority, authorityKey); err != nil {
		return nil, err
	}
	client := &x509.Certificate{
		SerialNumber: big.NewInt(3),
		Subject:      pkix.Name{CommonName: "client for tests"},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if made.Client, made.ClientKey, err = sign(client, authority, authorityKey); err != nil {
		return nil, err
	}
	return made, nil
}

// sign makes a key for a certificate, and the certificate signed by an authority.
func sign(certificate, authority *x509.Certificate, authorityKey crypto.Signer) (certificatePEM, keyPEM []byte, err error) {
	certificate.NotBefore, certificate.NotAfter = authority.NotBefore, authority.NotAfter
	certificate.KeyUsage = x509.KeyUsageDigitalSignature
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, authority, key.Public(), authorityKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TLS returns the configuration of the server.
func (c *Certificates) TLS() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(c.Server, c.ServerKey)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
}

// Write puts ca.pem, server.pem, server-key.pem, client.pem and client-key.pem into a directory, which must exist.
func (c *Certificates) Write(directory string) error {
	for name, text := range map[string][]byte{
		"ca.pem":         c.CA,
		"server.pem":     c.Server,
		"server-key.pem": c.ServerKey,
		"client.pem":     c.Client,
		"client-key.pem": c.ClientKey,
	} {
		if err := os.WriteFile(filepath.Join(directory, name), text, 0o600); err != nil {
			return fmt.Errorf("writing certificates: %w", err)
		}
	}
	return nil
}
