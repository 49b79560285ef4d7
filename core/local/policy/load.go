package policy

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// mostNodes and deepest bound a document, counting what aliases repeat.
	mostNodes = 1_000_000
	deepest   = 100
)

// placeholder stands for a required value in the files that aperturectl generates.
const placeholder = "__REQUIRED_FIELD__"

// Load reads the policies of a YAML file's content, as LoadFiles does. The file's name is for messages, and names a
// policy that carries no name of its own.
func Load(file string, content []byte) (policies []Policy, warnings []Problem, err error) {
	var l loader
	l.add(file, content)
	return l.load()
}

// loader makes one set of policies out of the documents of all files.
type loader struct {
	files     []*reader
	documents []*object
	// dynamic has the dynamic configurations by the names of their policies.
	dynamic map[string]*dynamicConfig
	// names has the place of each policy's name.
	names  map[string]value
	causes []error
}

// load reads the documents. Those that configure a policy dynamically come first, since they say how to read it.
func (l *loader) load() ([]Policy, []Problem, error) {
	l.dynamic, l.names = map[string]*dynamicConfig{}, map[string]value{}
	for _, document := range l.documents {
		if document.kind() == dynamicKind {
			l.addDynamicConfig(document)
		}
	}
	var policies []Policy
	for _, document := range l.documents {
		if kind := document.kind(); kind != dynamicKind {
			policies = append(policies, l.policy(document, kind))
		}
	}
	l.findUnusedDynamicConfigs()

	var problems, warnings []Problem
	for _, file := range l.files {
		problems = append(problems, sortProblems(file.problems)...)
		warnings = append(warnings, sortProblems(file.warnings)...)
	}
	problems, warnings = cutProblems(problems, "problems"), cutProblems(warnings, "warnings")
	if len(problems) > 0 {
		return nil, warnings, &LoadError{Problems: problems, causes: l.causes}
	}
	return policies, warnings, nil
}

// checkName refuses the name of an earlier policy.
func (l *loader) checkName(name string, at value) {
	if name == "" {
		return
	}
	first, ok := l.names[name]
	switch {
	case !ok:
		l.names[name] = at
	case first.reader == at.reader:
		at.reader.problem(at.node, "duplicate policy name %s: first in line %d", quote(name), first.node.Line)
	default:
		at.reader.problem(at.node, "duplicate policy name %s: first in %s:%d", quote(name), first.reader.file, first.node.Line)
	}
}

// add takes the documents of a file.
func (l *loader) add(file string, content []byte) {
	r := &reader{file: file}
	l.files = append(l.files, r)
	documents := r.documents(content)
	if len(documents) == 0 && len(r.problems) == 0 {
		r.problems = append(r.problems, Problem{File: file, Message: "no policy: expected at least one YAML document with a policy"})
	}
	l.documents = append(l.documents, documents...)
}

// documents returns the documents that are mappings.
func (r *reader) documents(content []byte) []*object {
	r.findPlaceholders(content)
	var documents []*object
	for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case err == io.EOF:
			return documents
		case err != nil:
			r.syntaxError(content, err)
			return documents
		}
		root := document.Content[0]
		if !r.checkSize(root) {
			continue
		}
		if root = resolve(root); root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
			continue
		}
		if o := (value{reader: r, node: root}).object(); o != nil {
			documents = append(documents, o)
		}
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
