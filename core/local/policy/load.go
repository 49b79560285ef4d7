package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxFileSize is the most that a policy file may hold, in bytes: some thousand policies.
	MaxFileSize = 4 << 20
	// mostNodes and deepest bound a document, counting what aliases repeat.
	mostNodes = 1_000_000
	deepest   = 100
)

// placeholder stands for a required value in the files that aperturectl generates.
const placeholder = "__REQUIRED_FIELD__"

// LoadFile reads the policies of a YAML file. Its error is a *LoadError with all problems of the file; the warnings say
// what the engine ignores.
func LoadFile(path string) (policies []Policy, warnings []Problem, err error) {
	content, err := readFile(path)
	if err != nil {
		message := err.Error()
		if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
			message = pathError.Err.Error()
		}
		return nil, nil, &LoadError{Problems: []Problem{{File: path, Message: message}}, cause: err}
	}
	return Load(path, content)
}

// readFile reads a regular file. It does not open anything else, since opening a pipe can block for ever.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("is a directory, expected a policy file")
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file, expected a policy file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	if err == nil && len(content) > MaxFileSize {
		return nil, fmt.Errorf("file is too large: expected at most %d bytes", MaxFileSize)
	}
	return content, err
}

// Load reads the policies of a YAML file's content. The file's name is for messages, and names a policy that carries
// no name of its own.
func Load(file string, content []byte) (policies []Policy, warnings []Problem, err error) {
	r := &reader{file: file}
	policies = r.documents(content)
	if len(policies) == 0 && len(r.problems) == 0 {
		r.problems = append(r.problems, Problem{File: file, Message: "no policy: expected at least one YAML document with a policy"})
	}
	if len(r.problems) > 0 {
		return nil, nil, &LoadError{Problems: sortProblems(r.problems)}
	}
	return policies, sortProblems(r.warnings), nil
}

func (r *reader) documents(content []byte) []Policy {
	r.findPlaceholders(content)
	var policies []Policy
	names := map[string]*yaml.Node{}
	for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case err == io.EOF:
			return policies
		case err != nil:
			r.syntaxError(content, err)
			return policies
		}
		root := document.Content[0]
		if !r.checkSize(root) {
			continue
		}
		if root = resolve(root); root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
			continue
		}
		policy, at := r.document(value{reader: r, node: root})
		if first, ok := names[policy.Name]; ok && policy.Name != "" {
			r.problem(at, "duplicate policy name %s: first in line %d", quote(policy.Name), first.Line)
		} else {
			names[policy.Name] = at
		}
		policies = append(policies, policy)
	}
}

// findPlaceholders reports values that nobody filled in, in comments too, as aperturectl does.
func (r *reader) findPlaceholders(content []byte) {
	for number, line := range bytes.Split(content, []byte("\n")) {
		if column := bytes.Index(line, []byte(placeholder)); column >= 0 {
			r.problem(&yaml.Node{Line: number + 1, Column: column + 1}, "found %s, expected a value in its place", placeholder)
		}
	}
}

var syntaxErrorLine = regexp.MustCompile(`^line (\d+): `)

// syntaxError reports an error of the YAML parser. The parser says in its text in which line the value begins that it
// could not read; often the mistake is further down, so that the line in which it was noticed is reported too.
func (r *reader) syntaxError(content []byte, err error) {
	problem := Problem{File: r.file, Line: lineOfSyntaxError(content)}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	noticed := ""
	if match := syntaxErrorLine.FindStringSubmatch(message); match != nil {
		message = message[len(match[0]):]
		line, _ := strconv.Atoi(match[1]) // digits
		if strings.HasPrefix(message, "did not find expected") {
			line++ // these messages count lines from 0
		}
		if line < problem.Line {
			noticed = fmt.Sprintf(" (noticed in line %d)", problem.Line)
			problem.Line = line
		}
	}
	problem.Message = "not YAML: " + message + noticed
	r.problems = append(r.problems, problem)
}

// lineOfSyntaxError returns the last line that the parser has looked at when it fails.
func lineOfSyntaxError(content []byte) int {
	source := &meteredReader{unread: content}
	for decoder := yaml.NewDecoder(source); decoder.Decode(new(yaml.Node)) == nil; {
	}
	read := bytes.TrimRight(content[:len(content)-len(source.unread)], " \r\n")
	return 1 + bytes.Count(read, []byte("\n"))
}

// meteredReader gives away one byte at a time, so that what is unread tells how far its user has come.
type meteredReader struct{ unread []byte }

func (r *meteredReader) Read(p []byte) (int, error) {
	if len(r.unread) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.unread[:1])
	r.unread = r.unread[n:]
	return n, nil
}

// checkSize refuses a document whose aliases repeat so much, or whose values lie so deep, that walking it would take
// too long or never end.
func (r *reader) checkSize(root *yaml.Node) bool {
	sizes := sizes{known: map[*yaml.Node]size{}}
	switch total, ok := sizes.of(root, 1); {
	case !ok:
		r.problem(root, "the document is too deep, or an alias refers to itself: expected at most %d levels", deepest)
		return false
	case total.nodes > mostNodes:
		r.problem(root, "the document is too large: expected at most %d values, counting what aliases repeat", mostNodes)
		return false
	}
	return true
}

// size is how large a value is when its aliases are replaced by what they refer to.
type size struct {
	nodes, levels int
}

type sizes struct {
	known map[*yaml.Node]size // of anchored values
}

func (s sizes) of(node *yaml.Node, level int) (size, bool) {
	if known, ok := s.known[node]; ok {
		return known, level+known.levels <= deepest
	}
	if level > deepest {
		return size{}, false
	}
	children := node.Content
	if node.Kind == yaml.AliasNode {
		children = []*yaml.Node{node.Alias}
	}
	total := size{nodes: 1}
	for _, child := range children {
		part, ok := s.of(child, level+1)
		if !ok {
			return size{}, false
		}
		total.nodes = min(total.nodes+part.nodes, mostNodes+1)
		total.levels = max(total.levels, part.levels+1)
	}
	if node.Anchor != "" {
		s.known[node] = total
	}
	return total, true
}

// nameOf returns the name for a policy that carries none: the file's, without its extension.
func nameOf(file string) string {
	base := filepath.Base(file)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
