package core

import (
	"crypto/tls"
	"time"

	"github.com/libaperture/libaperture/core/agent"
)

// agentOptions returns the options of a connection to an agent, or the first mistake in them.
func (o *Options) agentOptions() (agent.Options, error) {
	options := agent.Options{
		APIKey:    o.APIKey,
		UserAgent: o.UserAgent,
		Gzip:      o.Compression == CompressionGzip,
		WrapConn:  o.WrapConn,
		Logger:    o.Logger,
	}
	if !printable(o.APIKey) {
		return options, &ArgumentError{"API key", "has characters that cannot be sent; it must be printable ASCII, without line breaks"}
	}
	if !printable(o.UserAgent) {
		return options, &ArgumentError{"user agent", "has characters that cannot be sent; it must be printable ASCII"}
	}
	if o.Compression != CompressionNone && o.Compression != CompressionGzip {
		return options, &ArgumentError{"compression", "is neither CompressionNone (0) nor CompressionGzip (1)"}
	}
	var err error
	if options.Metadata, err = o.callMetadata(); err != nil {
		return options, err
	}
	if options.KeepaliveTime, options.KeepaliveTimeout, err = o.keepalive(); err != nil {
		return options, err
	}
	options.TLS, err = o.tlsConfig()
	return options, err
}

// keepalive returns when pings are sent and how long their answers may take, zeros for no pings.
func (o *Options) keepalive() (interval, timeout time.Duration, err error) {
	interval, err = pick("keepalive time", o.KeepaliveTime, 0, MaxKeepaliveTime)
	if err != nil {
		return 0, 0, err
	}
	timeout, err = pick("keepalive timeout", o.KeepaliveTimeout, DefaultKeepaliveTimeout, MaxKeepaliveTimeout)
	switch {
	case err != nil:
		return 0, 0, err
	case interval == 0 && o.KeepaliveTimeout != 0:
		return 0, 0, &ArgumentError{"keepalive timeout", "makes no sense without a keepalive time; without one no pings are sent"}
	case interval == 0:
		return 0, 0, nil
	case interval < MinKeepaliveTime:
		return 0, 0, &ArgumentError{"keepalive time", "is below 5 minutes; an agent takes that for an attack (too_many_pings), and " +
			"closes the connection under the flows that wait; leave it out, since TCP's keepalive is always on, or use 5 minutes or more"}
	case timeout < MinKeepaliveTimeout:
		return 0, 0, &ArgumentError{"keepalive timeout", "is below 1 second; an agent that is busy for a moment would be given up"}
	}
	return interval, timeout, nil
}

// tlsConfig returns how to verify the agent and what to show it, nil for an insecure connection.
func (o *Options) tlsConfig() (*tls.Config, error) {
	if o.Insecure {
		return nil, o.checkInsecure()
	}
	if !printable(o.ServerName) {
		return nil, &ArgumentError{"server name", "has characters that no host name has"}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName, InsecureSkipVerify: o.SkipVerify}
	authorities := pemOption{"CA file", o.CAFile, "CA PEM", o.CAPEM}
	text, given, err := authorities.read()
	switch {
	case err != nil:
		return nil, err
	case given != "" && o.SkipVerify:
		return nil, &ArgumentError{given, "makes no sense when the agent's certificate is not verified; leave out one of the two"}
	case given != "":
		if config.RootCAs, err = certificatePool(given, text); err != nil {
			return nil, err
		}
	}
	config.Certificates, err = o.clientCertificates()
	return config, err
}

// checkInsecure finds the options that contradict an insecure connection.
func (o *Options) checkInsecure() error {
	for _, option := range []struct {
		name  string
		given bool
	}{
		{"CA file", o.CAFile != ""},
		{"CA PEM", o.CAPEM != ""},
		{"server name", o.ServerName != ""},
		{"client certificate file", o.ClientCertFile != ""},
		{"client key file", o.ClientKeyFile != ""},
		{"client certificate PEM", o.ClientCertPEM != ""},
		{"client key PEM", o.ClientKeyPEM != ""},
		{"skip verify", o.SkipVerify},
	} {
		if option.given {
			return &ArgumentError{option.name, "makes no sense on an insecure connection; leave out one of the two"}
		}
	}
	return nil
}

// clientCertificates returns what the client shows to the agent: one certificate with its key, or nothing.
func (o *Options) clientCertificates() ([]tls.Certificate, error) {
	certificate := pemOption{"client certificate file", o.ClientCertFile, "client certificate PEM", o.ClientCertPEM}
	key := pemOption{"client key file", o.ClientKeyFile, "client key PEM", o.ClientKeyPEM}
	// Told before a file is read: the pair of a text is a text.
	for _, one := range []struct{ given, missing, name, partner string }{
		{certificate.file, key.file, certificate.fileName, key.fileName},
		{key.file, certificate.file, key.fileName, certificate.fileName},
		{certificate.text, key.text, certificate.textName, key.textName},
		{key.text, certificate.text, key.textName, certificate.textName},
	} {
		if one.given != "" && one.missing == "" {
			return nil, &ArgumentError{one.name, "needs the " + one.partner + " as well; a certificate and its key are given in the same way"}
		}
	}
	certificateText, certificateGiven, err := certificate.read()
	if err != nil {
		return nil, err
	}
	keyText, keyGiven, err := key.read()
	if err != nil || certificateGiven == "" {
		return nil, err
	}
	pair, err := keyPair(certificateGiven, certificateText, keyGiven, keyText)
	if err != nil {
		return nil, err
	}
	return []tls.Certificate{pair}, nil
}

// printable says whether text can be the value of a metadata entry.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
