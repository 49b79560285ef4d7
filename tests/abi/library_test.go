package abi

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ebitengine/purego"
)

// handle is a client, a flow or a call: a number in the clothes of a pointer.
type handle uintptr

// library has the functions of include/aperture.h.
type library struct {
	version          func() string
	abiVersion       func() uint32
	errorName        func(code) string
	errorDescription func(code) string
	liveHandles      func() uint64

	configure              func(*processOptions, *failure) code
	protectSignalHandlers  func(*failure) code
	closeClientsWithThread func(*failure) code

	newClient            func(*clientOptions, *handle, *failure) code
	clientWaitReady      func(handle, int64, *failure) code
	clientWaitReadyAsync func(handle, int64, uint64, *handle, *failure) code
	clientStats          func(handle, *stats, *failure) code
	clientClose          func(handle, int64, *failure) code
	clientCloseAsync     func(handle, int64, uint64, *handle, *failure) code

	startFlow       func(handle, *flowParams, *handle, *decision, *failure) code
	startFlowAsync  func(handle, *flowParams, uint64, *handle, *decision, *handle, *failure) code
	flowShouldRun   func(handle, *int32, *failure) code
	flowDecision    func(handle, *decision, *failure) code
	flowError       func(handle, *failure, *failure) code
	flowSetStatus   func(handle, int32, *failure) code
	flowEnd         func(handle, *endResult, *failure) code
	flowEndAsync    func(handle, uint64, *endResult, *handle, *failure) code
	flowEndResult   func(handle, *endResult, *failure) code
	flowEndResponse func(handle, *byte, uintptr, *uintptr, *failure) code
	flowClose       func(handle, *failure) code

	clientCompletionFD func(handle, *int32, *failure) code
	clientPoll         func(handle, *completion, uintptr, *uintptr, *failure) code
	callWait           func(handle, int64, *completion, *failure) code
	callCancel         func(handle, *failure) code
}

// lib is loaded once by TestMain: a library of Go cannot be unloaded.
var lib library

// bindings lists the functions by their names in C.
func (l *library) bindings() map[string]any {
	return map[string]any{
		"aperture_version":                   &l.version,
		"aperture_abi_version":               &l.abiVersion,
		"aperture_error_name":                &l.errorName,
		"aperture_error_description":         &l.errorDescription,
		"aperture_live_handles":              &l.liveHandles,
		"aperture_configure":                 &l.configure,
		"aperture_protect_signal_handlers":   &l.protectSignalHandlers,
		"aperture_close_clients_with_thread": &l.closeClientsWithThread,
		"aperture_new_client":                &l.newClient,
		"aperture_client_wait_ready":         &l.clientWaitReady,
		"aperture_client_wait_ready_async":   &l.clientWaitReadyAsync,
		"aperture_client_stats":              &l.clientStats,
		"aperture_client_close":              &l.clientClose,
		"aperture_client_close_async":        &l.clientCloseAsync,
		"aperture_start_flow":                &l.startFlow,
		"aperture_start_flow_async":          &l.startFlowAsync,
		"aperture_flow_should_run":           &l.flowShouldRun,
		"aperture_flow_decision":             &l.flowDecision,
		"aperture_flow_error":                &l.flowError,
		"aperture_flow_set_status":           &l.flowSetStatus,
		"aperture_flow_end":                  &l.flowEnd,
		"aperture_flow_end_async":            &l.flowEndAsync,
		"aperture_flow_end_result":           &l.flowEndResult,
		"aperture_flow_end_response":         &l.flowEndResponse,
		"aperture_flow_close":                &l.flowClose,
		"aperture_client_completion_fd":      &l.clientCompletionFD,
		"aperture_client_poll":               &l.clientPoll,
		"aperture_call_wait":                 &l.callWait,
		"aperture_call_cancel":               &l.callCancel,
	}
}

func (l *library) load(path string) error {
	loaded, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("the library is not built (make build): %w", err)
	}
	for name, function := range l.bindings() {
		symbol, err := purego.Dlsym(loaded, name)
		if err != nil {
			return err
		}
		purego.RegisterFunc(function, symbol)
	}
	return nil
}

// fromRoot returns a path of the project.
func fromRoot(path ...string) string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(file), "..", ".."}, path...)...)
}

func libraryPath() string {
	if path := os.Getenv("APERTURE_LIBRARY"); path != "" {
		return path
	}
	return fromRoot("build", "libaperture.so")
}

// layout is tests/layout/layout.json.
type layout struct {
	ABIVersion uint32                     `json:"abi_version"`
	Constants  map[string]int64           `json:"constants"`
	Enums      map[string]map[string]code `json:"enums"`
	Structs    map[string]struct {
		Size   uintptr `json:"size"`
		Fields map[string]struct {
			Offset uintptr `json:"offset"`
			Size   uintptr `json:"size"`
		} `json:"fields"`
	} `json:"structs"`
	Functions []string `json:"functions"`
}

func readLayout(t *testing.T) layout {
	t.Helper()
	text, err := os.ReadFile(fromRoot("tests", "layout", "layout.json"))
	if err != nil {
		t.Fatal(err)
	}
	var read layout
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func TestMain(m *testing.M) {
	if err := lib.load(libraryPath()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	exit := m.Run()
	if live := lib.liveHandles(); live != 0 && exit == 0 {
		fmt.Fprintf(os.Stderr, "the tests left %d handles open\n", live)
		exit = 1
	}
	os.Exit(exit)
}
