package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	// mostProblems bounds how many problems are reported.
	mostProblems = 100
	// mostCollected bounds how many of a file are looked at, since an alias can repeat one many times.
	mostCollected = 10 * mostProblems
)

// Problem is something in a policy file that is wrong, or that the engine ignores.
type Problem struct {
	File string
	// Line and Column count from 1; 0 when the problem is not at one place of the file.
	Line, Column int
	// Message says what was found and what was expected.
	Message string
	// More is true at the end of a list that was cut: in place of the problems that are not listed, at least one.
	More bool
}

// String returns file:line:column: message.
func (problem Problem) String() string {
	switch {
	case problem.Line == 0:
		return problem.File + ": " + problem.Message
	case problem.Column == 0:
		return fmt.Sprintf("%s:%d: %s", problem.File, problem.Line, problem.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", problem.File, problem.Line, problem.Column, problem.Message)
}

// LoadError says why policies were not loaded.
type LoadError struct {
	// Problems are what was found, in the order of the files. There is at least one. Of more than 100 the last stands for
	// those that are not listed.
	Problems []Problem
	causes   []error
}

// Error lists the problems, one per line.
func (e *LoadError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors of the file system for files that could not be read, such as fs.ErrNotExist.
func (e *LoadError) Unwrap() []error { return e.causes }

// sortProblems puts problems of a file into its order, once each.
func sortProblems(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(problems)
}

// cutProblems ends a list of problems or warnings that is too long.
func cutProblems(problems []Problem, what string) []Problem {
	if len(problems) <= mostProblems {
		return problems
	}
	return append(problems[:mostProblems:mostProblems], Problem{
		File: problems[mostProblems].File, Message: "and more " + what, More: true,
	})
}
