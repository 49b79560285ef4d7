// Fakeagent is an Aperture agent that answers as its flags and scripts say, for tests and benchmarks in any language.
//
// It prints "fakeagent: listening on ADDRESS" when it is ready, and ends on SIGTERM, on SIGINT, or when its standard
// input is closed, so that it does not outlive a test that dies. Then it prints what it was asked, as one line of JSON:
// see fakeagent.Report.
//
// With -script FILE, the calls of each RPC are answered one after the other as the file says: see fakeagent.ParseScript.
// The flags say how the RPCs are answered that it does not name.
//
// With -control, it obeys commands, one object of JSON with one member on each line of its standard input:
//
//	{"script": {...}}    answer by this script from now on, from its beginning; {} for none
//	{"report": true}     tell what it was asked so far
//	{"reset": true}      forget what it was asked and what its caches hold, and count request ids from 1 again
//	{"stop": true}       stop listening and break all connections
//	{"start": true}      listen again, on the same address
//
// It answers each with a line {"ok":true}, or {"ok":true,"report":{...}}, or {"error":"..."} when it could not obey.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "google.golang.org/grpc/encoding/gzip" // the agent understands what a client has compressed

	"github.com/libaperture/libaperture/tests/fakeagent"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fakeagent:", err)
		os.Exit(1)
	}
}

func run() error {
	settings, err := parseFlags()
	if err != nil {
		return err
	}
	// Signals are taken until the process ends: one that comes on top of a closed standard input must not end the report.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	commands := make(chan []byte)
	go readCommands(os.Stdin, settings.control, commands)

	agent, err := fakeagent.Start(settings.options)
	if err != nil {
		return err
	}
	agent.Set(settings.behaviour)
	agent.SetScript(settings.script)
	fmt.Println("fakeagent: listening on", agent.Address())
	if err := obeyUntilTheEnd(agent, commands, signals); err != nil {
		return err
	}
	agent.Stop()
	recorded := agent.Recorded()
	return json.NewEncoder(os.Stdout).Encode(recorded.Report())
}
