package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/libaperture/libaperture/core/wire/checkv1"
	"github.com/libaperture/libaperture/tests/fakeagent"
)

// settings are what the command line asks for.
type settings struct {
	options   fakeagent.Options
	behaviour fakeagent.Behaviour
	script    fakeagent.Script
	control   bool
}

// parseFlags returns what the command line asks for.
func parseFlags() (s settings, err error) {
	options, behaviour := &s.options, &s.behaviour
	flag.StringVar(&options.Address, "address", "127.0.0.1:0", "host:port to listen on")
	unix := flag.String("unix", "", "path of a unix socket to listen on instead")
	certificate := flag.String("tls-cert", "", "PEM file of the server's certificate; without one it serves plaintext")
	key := flag.String("tls-key", "", "PEM file of the certificate's key")
	clientCA := flag.String("tls-client-ca", "", "PEM file of the authorities whose clients are served; without one, clients need no certificate")
	flag.StringVar(&options.RequireAPIKey, "require-api-key", "", "refuse calls without this x-api-key")
	flag.IntVar(&options.Keep, "keep", 1000, "how many calls and spans of each kind to remember; negative for none")
	flag.BoolVar(&options.ObeyLabels, "obey-labels", false, "let the labels fakeagent.answer, .in_flight and .delay of a flow choose its answer")
	journal := flag.String("journal", "", "file to write a record of every answer to, before it is sent")

	decision := flag.String("decision", "accept", "accept, reject, empty (a message without fields) or garbage (no message)")
	reason := flag.String("reason", "RATE_LIMITED", "why a flow is rejected: NONE, RATE_LIMITED, NO_TOKENS, NOT_SAMPLED or NO_MATCHING_RAMP")
	denied := flag.Int("status", 0, "HTTP status of a rejection, 0 for none")
	wait := flag.Duration("wait-time", -1, "wait time of a rejection, negative for none")
	flag.IntVar(&behaviour.InFlight, "in-flight", 0, "number of concurrency limiter decisions with a request id")
	script := flag.String("script", "", "JSON file that says how the calls of each RPC are answered, one after the other, instead of the flags")
	flag.BoolVar(&s.control, "control", false, "obey the commands on the standard input")
	parseTrouble := []func() error{
		troubleFlags("", "Check", &behaviour.Check),
		troubleFlags("flow-end-", "FlowEnd", &behaviour.FlowEnd),
		troubleFlags("export-", "Export", &behaviour.Export),
	}
	flag.Parse()
	if flag.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}

	if *unix != "" {
		options.Address = "unix://" + *unix
	}
	if options.TLS, err = serverTLS(*certificate, *key, *clientCA); err != nil {
		return s, err
	}
	if *journal != "" {
		// Not closed before the process ends: answers are written down until then. Not buffered: a kill must lose none.
		if options.Journal, err = os.Create(*journal); err != nil {
			return s, err
		}
	}
	if *script != "" {
		text, err := os.ReadFile(*script)
		if err != nil {
			return s, err
		}
		if s.script, err = fakeagent.ParseScript(text); err != nil {
			return s, fmt.Errorf("%s: %w", *script, err)
		}
	}
	for _, parse := range parseTrouble {
		if err := parse(); err != nil {
			return s, err
		}
	}
	switch *decision {
	case "accept":
	case "reject":
		number, ok := checkv1.CheckResponse_RejectReason_value["REJECT_REASON_"+*reason]
		if !ok {
			return s, fmt.Errorf("-reason %q is unknown", *reason)
		}
		behaviour.Response = fakeagent.Rejection(checkv1.CheckResponse_RejectReason(number), int32(*denied), *wait)
	case "empty":
		behaviour.Response = &checkv1.CheckResponse{}
	case "garbage":
		behaviour.Check.Garbage = true
	default:
		return s, fmt.Errorf("-decision %q is unknown", *decision)
	}
	return s, nil
}

// serverTLS returns how the agent speaks TLS, by the paths of PEM files; nil when it serves plaintext.
func serverTLS(certificate, key, clientCA string) (*tls.Config, error) {
	switch {
	case (certificate == "") != (key == ""):
		return nil, errors.New("-tls-cert and -tls-key belong together")
	case certificate == "" && clientCA != "":
		return nil, errors.New("-tls-client-ca needs -tls-cert")
	case certificate == "":
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clientCA != "" {
		text, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("-tls-client-ca: %s has no certificate", clientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// troubleFlags defines the flags of what goes wrong with one kind of call, and returns what to do once they are parsed.
func troubleFlags(prefix, call string, trouble *fakeagent.Trouble) func() error {
	flag.DurationVar(&trouble.Delay, prefix+"delay", 0, "time before "+call+" is answered")
	flag.BoolVar(&trouble.Hang, prefix+"hang", false, "answer "+call+" only when the caller has given up")
	flag.StringVar(&trouble.Message, prefix+"error-message", "as the test asked", "message of "+prefix+"error")
	name := flag.String(prefix+"error", "", "gRPC code that "+call+" fails with, as UNAVAILABLE")
	return func() error {
		if *name == "" {
			return nil
		}
		var err error
		if trouble.Error, err = fakeagent.ParseCode(*name); err != nil {
			return fmt.Errorf("-%serror: %w", prefix, err)
		}
		return nil
	}
}
