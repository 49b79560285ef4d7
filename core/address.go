package core

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/libaperture/libaperture/core/agent"
	"github.com/libaperture/libaperture/core/check"
	"github.com/libaperture/libaperture/core/local"
)

const addressForms = `use "host:port", "dns:///host:port", "unix:///path", "local:" or "local:policies.yaml"`

// open starts what the address names: the local engine, or the connection to an agent.
func open(options *Options) (check.Decider, error) {
	if paths, ok := strings.CutPrefix(options.Address, "local:"); ok {
		return openLocal(paths, options)
	}
	target, err := agentTarget(options.Address)
	if err != nil {
		return nil, err
	}
	agentOptions, err := options.agentOptions()
	if err != nil {
		return nil, err
	}
	return agent.Open(target, agentOptions)
}

// openLocal starts the engine in this process with the policies of files or directories, separated by commas; without
// any there are no policies.
func openLocal(list string, options *Options) (check.Decider, error) {
	var paths []string
	if list != "" {
		paths = strings.Split(list, ",")
	}
	switch {
	case strings.ContainsRune(list, 0):
		return nil, &ArgumentError{"address", `has a NUL in the path after "local:"`}
	case slices.Contains(paths, ""):
		return nil, &ArgumentError{"address", `has an empty path after "local:"; write "local:limits.yaml,quota.yaml"`}
	}
	engine, err := local.Open(paths, local.Options{
		MaxLabels:  options.MaxLabels,
		MaxWaiting: options.MaxWaiting,
		CacheBytes: options.CacheBytes,
		Logger:     options.Logger,
	})
	if err != nil {
		return nil, err // a *local.LoadError says file, line and what was expected
	}
	logWarnings(engine, options.Logger)
	return engine, nil
}

// agentTarget returns the gRPC target of an agent's address. gRPC would take almost any text for a host name and fail
// open much later, so mistakes are found here.
func agentTarget(address string) (string, error) {
	wrong := func(problem string) (string, error) {
		return "", &ArgumentError{"address", problem + "; " + addressForms}
	}
	switch {
	case address == "":
		return wrong("is empty")
	case !utf8.ValidString(address):
		return wrong("is not UTF-8")
	case strings.ContainsFunc(address, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return wrong("has a space or a control character in it")
	case address == "local":
		return wrong(`is "local" without a colon`)
	}

	scheme, rest, hasScheme := strings.Cut(address, "://")
	switch {
	case strings.HasPrefix(address, "unix:"):
		return unixTarget(address)
	case hasScheme && scheme == "dns":
		// dns://authority/endpoint; an empty authority is the system's resolver.
		_, endpoint, ok := strings.Cut(rest, "/")
		if !ok {
			return wrong(`needs three slashes after "dns:"`)
		}
		return address, checkHostPort(endpoint)
	case hasScheme:
		return wrong(fmt.Sprintf("starts with %q, which is not a way to reach an agent", scheme+"://"))
	}
	return "dns:///" + address, checkHostPort(address)
}

// unixTarget checks the address of a unix socket: "unix:///absolute", "unix:/absolute" or "unix:relative".
func unixTarget(address string) (string, error) {
	path := strings.TrimPrefix(address, "unix:")
	if absolute, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(absolute, "/") {
			return "", &ArgumentError{"address", `has two slashes after "unix:"; write "unix:///path" for an absolute path or "unix:path" for a relative one`}
		}
		path = absolute
	}
	// sockaddr_un.sun_path has 108 bytes, of which the last is NUL.
	const longest = 107
	switch {
	case path == "":
		return "", &ArgumentError{"address", `names no socket; write "unix:///path"`}
	case len(path) > longest:
		return "", &ArgumentError{"address", fmt.Sprintf("has a path of %d bytes; a unix socket's path has at most %d", len(path), longest)}
	}
	return address, nil
}

// checkHostPort finds mistakes in "host:port".
func checkHostPort(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if strings.Count(address, ":") > 1 {
			return &ArgumentError{"address", "has several colons; write an IPv6 address as [::1]:8080"}
		}
		return &ArgumentError{"address", "has no port; " + addressForms}
	}
	if host == "" {
		return &ArgumentError{"address", "has no host before the port; write localhost for this machine"}
	}
	if strings.ContainsAny(host, "/?#@") {
		return &ArgumentError{"address", "has a character that no host name has; " + addressForms}
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return &ArgumentError{"address", "has no number from 1 to 65535 as its port"}
	}
	return nil
}
