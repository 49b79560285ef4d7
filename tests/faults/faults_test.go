package faults

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

// inChild is set in the processes that have the library loaded, each for one case.
const inChild = "APERTURE_FAULTS_CHILD"

// panicAt names the points that panic. It has a value from the start on, so that a change of it does not move the
// environment under the feet of a reader.
const panicAt = "APERTURE_PANIC_AT"

// childTimeout ends a process that hangs.
const childTimeout = time.Minute

func faultsLibrary() string { return host.FromRoot("build", "faults", "libaperture.so") }

func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		host.Main(m)
	}
	os.Exit(m.Run())
}

// fault is one case: what is done, and must come of it, while a point panics.
type fault struct {
	// armed is the value of APERTURE_PANIC_AT; the point itself, once, when it is empty.
	armed string
	// trace is a function that the stack in the log must name, in the way that the runtime spells it. It is empty for a
	// panic before the function of a goroutine or a callback has begun, which the name of the point tells apart.
	trace string
	run   func(*child)
}

// cases returns the case of each point, and others that are named after a point and what is special.
func cases() map[string]fault {
	all := functionCases()
	maps.Copy(all, goroutineCases())
	return all
}

func TestPanics(t *testing.T) {
	all := cases()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			if os.Getenv(inChild) != "" {
				runInChild(t, name, all[name])
				return
			}
			t.Parallel()
			runChild(t, name)
		})
	}
}

// runChild runs a case in a process of its own, which must end well and in silence.
func runChild(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), childTimeout)
	defer cancel()
	name = "TestPanics/" + strings.ReplaceAll(name, " ", "_") // as the testing package writes it
	command := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+strings.Replace(name, "/", "$/^", 1)+"$", "-test.count=1", "-test.v")
	command.Env = append(os.Environ(), inChild+"=1", panicAt+"=none", "APERTURE_LIBRARY="+faultsLibrary())
	var output, errors bytes.Buffer
	command.Stdout, command.Stderr = &output, &errors
	err := command.Run()
	if err != nil {
		err = fmt.Errorf("%w (%v)\n%s%s", err, ctx.Err(), output.String(), errors.String())
	}
	require.NoError(t, err)
	require.Contains(t, output.String(), "--- PASS: "+name, "the case did not run")
	require.Empty(t, errors.String(), "standard error belongs to the host")
}

// The build for tests is told from the one that ships by the name of the variable.
func TestTheLibraryThatShipsHasNoFaults(t *testing.T) {
	for path, want := range map[string]bool{host.FromRoot("build", "libaperture.so"): false, faultsLibrary(): true} {
		library, err := os.ReadFile(path)
		require.NoError(t, err, "the library is not built (make build)")
		require.Equal(t, want, bytes.Contains(library, []byte(panicAt)), path)
	}
}
