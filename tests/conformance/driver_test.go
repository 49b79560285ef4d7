package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a driver may take for one step. Nothing is expected to take as long.
const patience = 60 * time.Second

// process is a running driver.
type process struct {
	command *exec.Cmd
	input   io.WriteCloser
	answers chan string // closed at the end of its output
	errors  *lockedBuffer
}

// lockedBuffer collects what a driver writes to its standard error.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

// take returns what was written since the last call.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.buffer.String()
	b.buffer.Reset()
	return text
}

// start starts a driver in the root of the project. It ends at the end of its input.
func start(command []string) (*process, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	name := os.Expand(command[0], func(variable string) string {
		if value := os.Getenv(variable); value != "" {
			return value
		}
		return strings.ToLower(variable)
	})
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		name = filepath.Join(root, name)
	}
	p := &process{command: exec.Command(name, command[1:]...), answers: make(chan string), errors: &lockedBuffer{}}
	p.command.Dir = root
	p.command.Env = append(os.Environ(), "APERTURE_LIBRARY="+filepath.Join(root, "build/libaperture.so"),
		"PYTHONPATH="+filepath.Join(root, "bindings/python/src"))
	p.command.Stderr = p.errors
	if p.input, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("%w; `make test-conformance` builds what the suite needs", err)
	}
	go func() {
		defer close(p.answers)
		lines := bufio.NewReader(output)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			p.answers <- strings.TrimSuffix(line, "\n")
		}
	}()
	return p, nil
}

// ask sends one step and returns the answer to it.
func (p *process) ask(line string) (map[string]any, error) {
	if _, err := io.WriteString(p.input, line+"\n"); err != nil {
		return nil, p.died(err)
	}
	select {
	case answer, ok := <-p.answers:
		if !ok {
			return nil, p.died(io.EOF)
		}
		return parseAnswer(answer)
	case <-time.After(patience):
		return nil, p.died(errors.New("it has hung"))
	}
}

func (p *process) died(err error) error {
	p.kill()
	_ = p.command.Wait() // until then more may come on its standard error
	return fmt.Errorf("the driver is gone: %w\n%s", err, p.printed())
}

// printed returns what the driver has written to its standard error since the last call: nothing, as a library prints
// nothing.
func (p *process) printed() string { return p.errors.take() }

func (p *process) kill() { _ = p.command.Process.Kill() }

// stop ends a driver, which must then exit with 0.
func (p *process) stop() error {
	_ = p.input.Close() // it is gone otherwise
	timer := time.AfterFunc(patience, p.kill)
	defer timer.Stop()
	for range p.answers {
	}
	err := p.command.Wait()
	printed := p.printed()
	if err != nil {
		return fmt.Errorf("the driver ended with %w\n%s", err, printed)
	}
	if printed != "" {
		return fmt.Errorf("the driver wrote to its standard error: %s", printed)
	}
	return nil
}

// A line is words with spaces between them: name=value, both with %XX in place of bytes that are not harmless. The first
// word of a step is its operation.

// writeStep returns the line of a step. What is between the name and the value of an argument says what it is: name=text,
// name:=number or flag; name.member= for each member of an object, name[]= for each element of a list.
func writeStep(operation string, arguments map[string]any) (string, error) {
	words := []string{operation}
	for _, name := range slices.Sorted(maps.Keys(arguments)) {
		for _, one := range flatten(escape(name), arguments[name]) {
			text, err := valueText(one.value)
			if err != nil {
				return "", fmt.Errorf("%s: %w", one.name, err)
			}
			words = append(words, one.name+"="+escape(text))
		}
	}
	return strings.Join(words, " "), nil
}

// word is one word of a step: what stands before its "=", and what the rest means.
type word struct {
	name  string
	value any
}

func flatten(name string, argument any) (words []word) {
	switch argument := argument.(type) {
	case map[string]any:
		if _, _, ok := special(argument); ok {
			return []word{wordOf(name, argument)}
		}
		for _, member := range slices.Sorted(maps.Keys(argument)) {
			words = append(words, wordOf(name+"."+escape(member), argument[member]))
		}
		return words
	case []any:
		for _, element := range argument {
			words = append(words, wordOf(name+"[]", element))
		}
		return words
	default:
		return []word{wordOf(name, argument)}
	}
}

// wordOf returns the word of one value. {"$number": "NaN"} is a number that JSON has not.
func wordOf(name string, value any) word {
	switch value := value.(type) {
	case map[string]any:
		if kind, number, _ := special(value); kind == "$number" {
			return word{name + ":", number}
		}
	case bool, int, json.Number:
		return word{name + ":", value}
	}
	return word{name, value}
}

// valueText returns the bytes of a value. It may be {"$bytes": "%FF"}, the bytes that a text stands for, or {"$repeat":
// ["x", 3]}.
func valueText(value any) (string, error) {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Sprint(value), nil
	}
	switch name, argument, _ := special(object); name {
	case "$bytes":
		return unescape(argument)
	case "$repeat":
		if list, ok := argument.([]any); ok && len(list) == 2 {
			count, err := strconv.Atoi(fmt.Sprint(list[1]))
			return strings.Repeat(fmt.Sprint(list[0]), count), err
		}
	}
	return "", fmt.Errorf("%v is no value", value)
}

// escape writes a text with %XX for every byte that is not harmless.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// parseAnswer reads the line of an answer.
func parseAnswer(line string) (map[string]any, error) {
	answer := map[string]any{}
	for word := range strings.FieldsSeq(line) {
		name, value, ok := strings.Cut(word, "=")
		name, nameErr := url.PathUnescape(name)
		value, valueErr := url.PathUnescape(value)
		if err := errors.Join(nameErr, valueErr); err != nil || !ok {
			return nil, fmt.Errorf("the driver answered %q, which is no answer", line)
		}
		if _, twice := answer[name]; twice {
			return nil, fmt.Errorf("the driver answered %q twice", name)
		}
		answer[name] = value
	}
	return answer, nil
}

func TestLines(t *testing.T) {
	line, err := writeStep("start_flow", map[string]any{
		"flow":   0,
		"labels": map[string]any{"user id": "ä b", "raw": map[string]any{"$bytes": "%FF%00="}},
		"keys":   []any{"one", "two"},
		"number": map[string]any{"$number": "NaN"},
		"ramp":   true,
		"text":   "true",
		"value":  map[string]any{"$bytes": "%FE"},
	})
	require.NoError(t, err)
	require.Equal(t, "start_flow flow:=0 keys[]=one keys[]=two labels.raw=%FF%00%3D labels.user%20id=%C3%A4%20b number:=NaN ramp:=true text=true value=%FE", line)

	for _, value := range []any{map[string]any{"b": "c"}, map[string]any{"$nonsense": "c"}} {
		_, err = writeStep("start_flow", map[string]any{"labels": map[string]any{"a": value}})
		require.ErrorContains(t, err, "labels.a")
	}

	answer, err := parseAnswer("decision=accepted value=%FF%20= empty=")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"decision": "accepted", "value": "\xff =", "empty": ""}, answer)

	for _, line := range []string{"decision", "a=1 a=2", "a=%G1"} {
		_, err := parseAnswer(line)
		require.Error(t, err, line)
	}
}
