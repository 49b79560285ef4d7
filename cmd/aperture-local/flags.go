package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/libaperture/libaperture/core/local"
)

const (
	defaultListen  = "127.0.0.1:8089"
	defaultMetrics = "127.0.0.1:0"
	metricsOff     = "off"

	unixScheme = "unix://"
	// longestSocketPath is the most that sockaddr_un.sun_path holds beside its final NUL.
	longestSocketPath = 107
)

// config is what the command line asks for.
type config struct {
	policies []string // files or directories, one at least
	listen   string   // "host:port" or "unix:///path"
	metrics  string   // "host:port" or metricsOff

	tlsCert, tlsKey string // PEM files, both or neither
	apiKeyFile      string // empty when calls need no key
	agentGroup      string
	allowRemote     bool

	maxLabels, maxWaiting int   // 0 for the engine's defaults
	cacheBytes            int64 // 0 for the engine's default
}

// flagSet returns the flags, which write into the config.
func flagSet(c *config) *flag.FlagSet {
	flags := flag.NewFlagSet("aperture-local", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller reports errors
	flags.Usage = func() {}
	flags.StringVar(&c.listen, "listen", defaultListen, "`address` to serve gRPC on: host:port, with port 0 for a free one, or unix:///path")
	flags.StringVar(&c.metrics, "metrics", defaultMetrics, "`address` to serve Prometheus metrics on, or off")
	flags.StringVar(&c.tlsCert, "tls-cert", "", "PEM `file` of the server's certificate and those between it and its authority; without one the server speaks plaintext")
	flags.StringVar(&c.tlsKey, "tls-key", "", "PEM `file` of the certificate's key")
	flags.StringVar(&c.agentGroup, "agent-group", "", "`name` of the group whose selectors count; by default those of every group do")
	flags.StringVar(&c.apiKeyFile, "require-api-key-file", "", "`file` with the API key that clients must send")
	flags.BoolVar(&c.allowRemote, "allow-remote", false, "let --listen and --metrics be addresses that other machines reach")
	flags.Func("max-labels", fmt.Sprintf("`number` of label values that each component keeps state for, from 1 to %d; one more takes the place of the one that was not used for longest (default %d)",
		local.MostLabels, local.DefaultMaxLabels), setNumber(&c.maxLabels, local.MostLabels))
	flags.Func("max-waiting", fmt.Sprintf("`number` of flows that may wait in each scheduler, from 1 to %d; one more is rejected (default %d)",
		local.MostWaiting, local.DefaultMaxWaiting), setNumber(&c.maxWaiting, local.MostWaiting))
	flags.Func("cache-bytes", fmt.Sprintf("`size` of the memory that the caches take together, in bytes or with KiB, MiB or GiB, from %s to %s; when they are full, the entry that was not used for longest goes (default %s)",
		formatSize(local.LeastCacheBytes), formatSize(local.MostCacheBytes), formatSize(local.DefaultCacheBytes)), setSize(&c.cacheBytes))
	return flags
}

// setNumber returns what sets a number from 1 to most.
func setNumber(to *int, most int) func(string) error {
	return func(text string) error {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 || number > most {
			return fmt.Errorf("expected a number from 1 to %d", most)
		}
		*to = number
		return nil
	}
}

// sizeUnits are what the number of a size may be followed by, the greatest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// setSize returns what sets the size of the caches.
func setSize(to *int64) func(string) error {
	return func(text string) error {
		unit := int64(1)
		for _, known := range sizeUnits {
			if number, ok := strings.CutSuffix(text, known.name); ok {
				text, unit = number, known.bytes
				break
			}
		}
		parsed, err := strconv.ParseUint(text, 10, 63)
		number := int64(parsed)
		if err != nil || number > local.MostCacheBytes/unit || number*unit < local.LeastCacheBytes {
			return fmt.Errorf("expected a number of bytes, KiB, MiB or GiB from %s to %s, such as 256MiB",
				formatSize(local.LeastCacheBytes), formatSize(local.MostCacheBytes))
		}
		*to = number * unit
		return nil
	}
}

// formatSize returns a size in the greatest unit of which it is a multiple.
func formatSize(bytes int64) string {
	for _, unit := range sizeUnits {
		if bytes%unit.bytes == 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// usage explains the command line.
func usage() string {
	var text strings.Builder
	text.WriteString(`Usage: aperture-local [flags] POLICIES...
       aperture-local check POLICIES...

Serves the decisions of the policies over gRPC, or checks the policies only. POLICIES are YAML files, or directories, of
which the files *.yaml and *.yml are read.

The check prints every problem and every warning with its place. It exits with 0 when the policies can be served, also
with warnings, with 1 when they cannot, and with 2 when the command line is wrong.

`)
	flags := flagSet(&config{})
	flags.SetOutput(&text)
	flags.PrintDefaults()
	return text.String()
}

// parseFlags returns what the command line asks for, or the first mistake in it.
func parseFlags(arguments []string) (*config, error) {
	c := &config{}
	flags := flagSet(c)
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	var err error
	if c.policies, err = policyPaths(flags.Args()); err != nil {
		return nil, err
	}
	return c, c.validate()
}

// policyPaths returns the arguments that name policy files or directories.
func policyPaths(arguments []string) ([]string, error) {
	if len(arguments) == 0 || slices.Contains(arguments, "") {
		return nil, errors.New("no policy file given")
	}
	for _, argument := range arguments {
		if strings.HasPrefix(argument, "-") {
			return nil, fmt.Errorf("unexpected argument %q: expected policy files or directories, after all flags", argument)
		}
	}
	return arguments, nil
}

func (c *config) validate() error {
	if socket, ok := strings.CutPrefix(c.listen, unixScheme); ok {
		if err := checkSocketPath(socket); err != nil {
			return fmt.Errorf("--listen %q: %w", c.listen, err)
		}
	} else if err := c.checkTCP(c.listen); err != nil {
		return fmt.Errorf("--listen %q: %w", c.listen, err)
	}
	if c.metrics != metricsOff {
		if err := c.checkTCP(c.metrics); err != nil {
			return fmt.Errorf("--metrics %q: %w", c.metrics, err)
		}
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return errors.New("--tls-cert and --tls-key belong together: give both or neither")
	}
	return nil
}

func checkSocketPath(socket string) error {
	switch {
	case !path.IsAbs(socket):
		return errors.New("expected unix:///path with an absolute path")
	case len(socket) > longestSocketPath:
		return fmt.Errorf("the path has %d bytes, a socket's path has at most %d", len(socket), longestSocketPath)
	}
	return nil
}

// checkTCP finds mistakes in an address, and refuses one that other machines could reach unless that is allowed.
func (c *config) checkTCP(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("expected host:port, as 127.0.0.1:8089 or [::1]:8089")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("expected a number from 0 to 65535 as the port")
	}
	if !c.allowRemote && !isLoopback(host) {
		return errors.New("other machines could reach this address; give --allow-remote if they should, or use 127.0.0.1")
	}
	return nil
}

// isLoopback says whether a host is this machine only. A name other than localhost is not, whatever it resolves to; no
// host at all means every interface.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
