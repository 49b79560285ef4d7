package core

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

// pemOption is PEM text that is given as the name of a file or as it is.
type pemOption struct{ fileName, file, textName, text string }

// read returns the text and the name of the option that gave it. Both are empty when neither did.
func (o pemOption) read() (text []byte, given string, err error) {
	switch {
	case o.file != "" && o.text != "":
		return nil, "", &ArgumentError{o.textName, "and the " + o.fileName + " are both given; leave out one of the two"}
	case o.text != "":
		return []byte(o.text), o.textName, nil
	case o.file == "":
		return nil, "", nil
	case strings.Contains(o.file, "-----BEGIN") || strings.Contains(o.file, "\n"):
		// It may be a private key, and the error of opening it would quote it.
		return nil, "", &ArgumentError{o.fileName, "is PEM text and not the path of a file; give it as the " + o.textName}
	}
	text, err = os.ReadFile(o.file)
	if err != nil {
		return nil, "", &ArgumentError{o.fileName, fmt.Sprintf("cannot be read: %v", err)}
	}
	return text, o.fileName, nil
}

// certificates reads the certificates of PEM text, of which there must be one at least. Unlike the standard library it
// refuses text of which it would have to leave a certificate out.
func certificates(argument string, rest []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &ArgumentError{argument, fmt.Sprintf("cannot be used: certificate %d in it is damaged: %v", len(found)+1, err)}
		}
		found = append(found, certificate)
	}
	if found == nil {
		return nil, &ArgumentError{argument, "has no certificate; it must be PEM with at least one CERTIFICATE block"}
	}
	return found, nil
}

// certificatePool returns the authorities of PEM text.
func certificatePool(argument string, text []byte) (*x509.CertPool, error) {
	authorities, err := certificates(argument, text)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, authority := range authorities {
		pool.AddCert(authority)
	}
	return pool, nil
}

// keyPair returns a certificate with its key. What is wrong with a key is told in words of this package alone, so that
// nothing of it can be among them.
func keyPair(certificateArgument string, certificate []byte, keyArgument string, key []byte) (tls.Certificate, error) {
	if _, err := certificates(certificateArgument, certificate); err != nil {
		return tls.Certificate{}, err
	}
	block := privateKey(key)
	switch {
	case block == nil:
		return tls.Certificate{}, &ArgumentError{keyArgument, "has no private key; it must be PEM with a PRIVATE KEY block"}
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return tls.Certificate{}, &ArgumentError{keyArgument, "is encrypted; the key must be given without a passphrase"}
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, &ArgumentError{keyArgument, "is damaged, or is not the key of the first certificate of the " + certificateArgument}
	}
	return pair, nil
}

// privateKey returns the first private key of PEM text, the one that the standard library takes, nil when there is none.
func privateKey(rest []byte) *pem.Block {
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY") {
			return block
		}
	}
}
