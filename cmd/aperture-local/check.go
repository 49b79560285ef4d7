package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/libaperture/libaperture/core/local/policy"
)

// checkCommand is the argument that asks to check policies only. A policy file of that name is ./check.
const checkCommand = "check"

// checkPolicies prints what is wrong with policies and what of them is ignored, and returns the exit code.
func checkPolicies(arguments []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(checkCommand, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // explain reports errors
	err := flags.Parse(arguments)
	var paths []string
	if err == nil {
		paths, err = policyPaths(flags.Args())
	}
	if err != nil {
		return explain(err, stdout, stderr)
	}

	policies, warnings, err := policy.LoadFiles(paths...)
	refused := (*policy.LoadError)(nil)
	if errors.As(err, &refused) {
		fmt.Fprintln(stdout, refused) // one problem per line
	}
	for _, warning := range warnings {
		warning.Message = "warning: " + warning.Message
		fmt.Fprintln(stdout, warning)
	}
	if refused != nil {
		fmt.Fprintf(stdout, "%s, %s: the policies cannot be served\n",
			countListed(refused.Problems, "problem", "problems"), countListed(warnings, "warning", "warnings"))
		return exitFailure
	}
	components := 0
	for i := range policies {
		components += policies[i].Components()
	}
	fmt.Fprintf(stdout, "%s with %s, %s\n", count(len(policies), "policy", "policies"),
		count(components, "component", "components"), countListed(warnings, "warning", "warnings"))
	return exitOK
}

// countListed counts problems or warnings. Nobody knows how many are not listed.
func countListed(problems []policy.Problem, one, many string) string {
	if last := len(problems) - 1; last >= 0 && problems[last].More {
		return fmt.Sprint("more than ", last, " ", many)
	}
	return count(len(problems), one, many)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}
