package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/libaperture/libaperture/tests/fakeagent"
)

// readCommands sends the lines of the standard input, if they are commands, and closes the channel at its end.
func readCommands(input io.Reader, control bool, commands chan<- []byte) {
	defer close(commands)
	if !control {
		_, _ = io.Copy(io.Discard, input)
		return
	}
	lines := bufio.NewReader(input) // no Scanner: a line may have any length
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			commands <- line
		}
		if err != nil {
			return
		}
	}
}

// obeyUntilTheEnd obeys commands until there is a signal or the last command. It fails when nobody reads the answers.
func obeyUntilTheEnd(agent *fakeagent.Agent, commands <-chan []byte, signals <-chan os.Signal) error {
	answers := json.NewEncoder(os.Stdout)
	for {
		select {
		case <-signals:
			return nil
		case command, ok := <-commands:
			if !ok {
				return nil
			}
			if err := answers.Encode(obey(agent, command)); err != nil {
				return err
			}
		}
	}
}

// answer is the answer to a command.
type answer struct {
	OK     bool              `json:"ok,omitempty"`
	Report *fakeagent.Report `json:"report,omitempty"`
	Error  string            `json:"error,omitempty"`
}

// obey obeys one command.
func obey(agent *fakeagent.Agent, command []byte) answer {
	report, err := execute(agent, command)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{OK: true, Report: report}
}

// execute does what a command says. The report is nil unless the command asks for it.
func execute(agent *fakeagent.Agent, command []byte) (*fakeagent.Report, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(command, &members); err != nil {
		return nil, fmt.Errorf("the command is no object of JSON: %w", err)
	}
	if len(members) != 1 {
		return nil, errors.New("a command has one of script, report, reset, stop and start")
	}
	for name, value := range members {
		switch name {
		case "script":
			script, err := fakeagent.ParseScript(value)
			if err != nil {
				return nil, err
			}
			agent.SetScript(script)
			return nil, nil
		case "report", "reset", "stop", "start":
			if string(value) != "true" {
				return nil, fmt.Errorf("%s is not true", name)
			}
		default:
			return nil, fmt.Errorf("unknown command %q: it is script, report, reset, stop or start", name)
		}
		switch name {
		case "report":
			recorded := agent.Recorded()
			return recorded.Report(), nil
		case "reset":
			agent.Reset()
		case "stop":
			agent.Stop()
		case "start":
			return nil, agent.Restart()
		}
	}
	return nil, nil
}
