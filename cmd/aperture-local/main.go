// Aperture-local decides about the flows of all processes of a machine: it serves the local engine over gRPC, as an
// Aperture agent serves its own.
//
// When it is ready it prints one line per listener on standard output, the metrics first:
//
//	aperture-local: metrics on http://127.0.0.1:41235/metrics
//	aperture-local: listening on 127.0.0.1:41234
//
// Beside the metrics, at /, is a status page for a browser.
//
// It logs to standard error. SIGHUP lets it read the policies again: those that are the same keep their state, and files
// that are broken change nothing. It ends on SIGTERM and SIGINT. The exit code is 0 after such a signal, 1 when it could not
// start or go on, and 2 when its command line is wrong.
//
// "aperture-local check" says what is wrong with policies, and serves nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/libaperture/libaperture/core/local"
)

const (
	exitOK = iota
	exitFailure
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	os.Exit(run(ctx, reload, os.Args[1:], os.Stdout, os.Stderr))
}

// run serves until ctx ends, and returns the exit code.
func run(ctx context.Context, reload <-chan os.Signal, arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) > 0 && arguments[0] == checkCommand {
		return checkPolicies(arguments[1:], stdout, stderr)
	}
	config, err := parseFlags(arguments)
	if err != nil {
		return explain(err, stdout, stderr)
	}

	server, err := start(config, slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		if problems := (*local.LoadError)(nil); errors.As(err, &problems) {
			fmt.Fprintln(stderr, problems) // each with its place in the file, one per line
		} else {
			fmt.Fprintln(stderr, "aperture-local:", err)
		}
		return exitFailure
	}
	if url := server.metricsURL(); url != "" {
		fmt.Fprintln(stdout, "aperture-local: metrics on", url)
	}
	fmt.Fprintln(stdout, "aperture-local: listening on", server.address())

	if err := server.run(ctx, reload); err != nil {
		fmt.Fprintln(stderr, "aperture-local:", err)
		return exitFailure
	}
	return exitOK
}

// explain says how the command line is used, after a mistake in it or because that was asked for.
func explain(err error, stdout, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage())
		return exitOK
	}
	fmt.Fprintf(stderr, "aperture-local: %v\n\n%s", err, usage())
	return exitUsage
}
