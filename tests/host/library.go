// Package host is a host of the library: it loads the built file at run time, as a foreign caller would, and nothing of it
// is linked in. It is for tests, and needs build/libaperture.so (`make build`), or the library that APERTURE_LIBRARY names.
//
//	library.go  loads the library and binds its functions
//	structs.go  the structs and constants of the header
//	helpers.go  clients, flows and completions for tests
package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ebitengine/purego"
)

// Handle is a client, a flow or a call: a number in the clothes of a pointer.
type Handle uintptr

// Library has the functions of include/aperture.h.
type Library struct {
	Version          func() string
	ABIVersion       func() uint32
	ErrorName        func(Code) string
	ErrorDescription func(Code) string
	LiveHandles      func() uint64

	Configure              func(*ProcessOptions, *Failure) Code
	ProtectSignalHandlers  func(*Failure) Code
	CloseClientsWithThread func(*Failure) Code

	ClientOptionsFromEnvironment func(*ClientOptions, *Failure) Code
	NewClient                    func(*ClientOptions, *Handle, *Failure) Code
	ClientWaitReady              func(Handle, int64, *Failure) Code
	ClientWaitReadyAsync         func(Handle, int64, uint64, *Handle, *Failure) Code
	ClientState                  func(Handle, *int32, *Failure) Code
	ClientStats                  func(Handle, *Stats, *Failure) Code
	ClientReload                 func(Handle, *Failure) Code
	ClientSnapshot               func(Handle, *byte, uintptr, *uintptr, *Failure) Code
	ClientClose                  func(Handle, int64, *Failure) Code
	ClientCloseAsync             func(Handle, int64, uint64, *Handle, *Failure) Code

	StartFlow         func(Handle, *FlowParams, *Handle, *Decision, *Failure) Code
	StartFlowAsync    func(Handle, *FlowParams, uint64, *Handle, *Decision, *Handle, *Failure) Code
	FlowShouldRun     func(Handle, *int32, *Failure) Code
	FlowDecision      func(Handle, *Decision, *Failure) Code
	FlowError         func(Handle, *Failure, *Failure) Code
	FlowCheckResponse func(Handle, *byte, uintptr, *uintptr, *Failure) Code
	FlowCacheValue    func(Handle, int32, *Text, *int32, *byte, uintptr, *uintptr, *Failure) Code
	FlowSetAttribute  func(Handle, *Attribute, *Failure) Code
	FlowSetStatus     func(Handle, int32, *Failure) Code
	FlowEnd           func(Handle, *EndResult, *Failure) Code
	FlowEndAsync      func(Handle, uint64, *EndResult, *Handle, *Failure) Code
	FlowEndResult     func(Handle, *EndResult, *Failure) Code
	FlowEndResponse   func(Handle, *byte, uintptr, *uintptr, *Failure) Code
	FlowClose         func(Handle, *Failure) Code

	CacheLookup      func(Handle, *CacheKeys, *Handle, *Failure) Code
	CacheLookupAsync func(Handle, *CacheKeys, uint64, *Handle, *Handle, *Failure) Code
	CacheAnswerValue func(Handle, int32, *Text, *int32, *byte, uintptr, *uintptr, *Failure) Code
	CacheAnswerClose func(Handle, *Failure) Code
	CacheSet         func(Handle, *CacheEntry, *Failure) Code
	CacheSetAsync    func(Handle, *CacheEntry, uint64, *Handle, *Failure) Code
	CacheDelete      func(Handle, *CacheKey, *Failure) Code
	CacheDeleteAsync func(Handle, *CacheKey, uint64, *Handle, *Failure) Code

	ClientCompletionFD func(Handle, *int32, *Failure) Code
	ClientPoll         func(Handle, *Completion, uintptr, *uintptr, *Failure) Code
	CallWait           func(Handle, int64, *Completion, *Failure) Code
	CallCancel         func(Handle, *Failure) Code
}

// Lib is loaded once by Main: a library of Go cannot be unloaded.
var Lib Library

// Bindings lists the functions by their names in C.
func (l *Library) Bindings() map[string]any {
	return map[string]any{
		"aperture_version":                         &l.Version,
		"aperture_abi_version":                     &l.ABIVersion,
		"aperture_error_name":                      &l.ErrorName,
		"aperture_error_description":               &l.ErrorDescription,
		"aperture_live_handles":                    &l.LiveHandles,
		"aperture_configure":                       &l.Configure,
		"aperture_protect_signal_handlers":         &l.ProtectSignalHandlers,
		"aperture_close_clients_with_thread":       &l.CloseClientsWithThread,
		"aperture_new_client":                      &l.NewClient,
		"aperture_client_wait_ready":               &l.ClientWaitReady,
		"aperture_client_wait_ready_async":         &l.ClientWaitReadyAsync,
		"aperture_client_stats":                    &l.ClientStats,
		"aperture_client_close":                    &l.ClientClose,
		"aperture_client_close_async":              &l.ClientCloseAsync,
		"aperture_start_flow":                      &l.StartFlow,
		"aperture_start_flow_async":                &l.StartFlowAsync,
		"aperture_flow_should_run":                 &l.FlowShouldRun,
		"aperture_flow_decision":                   &l.FlowDecision,
		"aperture_flow_error":                      &l.FlowError,
		"aperture_flow_set_status":                 &l.FlowSetStatus,
		"aperture_flow_end":                        &l.FlowEnd,
		"aperture_flow_end_async":                  &l.FlowEndAsync,
		"aperture_flow_end_result":                 &l.FlowEndResult,
		"aperture_flow_end_response":               &l.FlowEndResponse,
		"aperture_flow_close":                      &l.FlowClose,
		"aperture_client_options_from_environment": &l.ClientOptionsFromEnvironment,
		"aperture_client_state":                    &l.ClientState,
		"aperture_client_reload":                   &l.ClientReload,
		"aperture_client_snapshot":                 &l.ClientSnapshot,
		"aperture_flow_check_response":             &l.FlowCheckResponse,
		"aperture_flow_cache_value":                &l.FlowCacheValue,
		"aperture_flow_set_attribute":              &l.FlowSetAttribute,
		"aperture_cache_lookup":                    &l.CacheLookup,
		"aperture_cache_lookup_async":              &l.CacheLookupAsync,
		"aperture_cache_answer_value":              &l.CacheAnswerValue,
		"aperture_cache_answer_close":              &l.CacheAnswerClose,
		"aperture_cache_set":                       &l.CacheSet,
		"aperture_cache_set_async":                 &l.CacheSetAsync,
		"aperture_cache_delete":                    &l.CacheDelete,
		"aperture_cache_delete_async":              &l.CacheDeleteAsync,
		"aperture_client_completion_fd":            &l.ClientCompletionFD,
		"aperture_client_poll":                     &l.ClientPoll,
		"aperture_call_wait":                       &l.CallWait,
		"aperture_call_cancel":                     &l.CallCancel,
	}
}

func (l *Library) load(path string) error {
	loaded, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("the library is not built (make build): %w", err)
	}
	for name, function := range l.Bindings() {
		symbol, err := purego.Dlsym(loaded, name)
		if err != nil {
			return err
		}
		purego.RegisterFunc(function, symbol)
	}
	return nil
}

// FromRoot returns a path of the project.
func FromRoot(path ...string) string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(file), "..", ".."}, path...)...)
}

// LibraryPath returns the path of the library to load.
func LibraryPath() string {
	if path := os.Getenv("APERTURE_LIBRARY"); path != "" {
		return path
	}
	return FromRoot("build", "libaperture.so")
}

// Layout is tests/layout/layout.json.
type Layout struct {
	ABIVersion uint32                     `json:"abi_version"`
	Constants  map[string]int64           `json:"constants"`
	Enums      map[string]map[string]Code `json:"enums"`
	Structs    map[string]struct {
		Size   uintptr `json:"size"`
		Fields map[string]struct {
			Offset uintptr `json:"offset"`
			Size   uintptr `json:"size"`
		} `json:"fields"`
	} `json:"structs"`
	Functions []string `json:"functions"`
}

// ReadLayout reads tests/layout/layout.json.
func ReadLayout(t *testing.T) Layout {
	t.Helper()
	text, err := os.ReadFile(FromRoot("tests", "layout", "layout.json"))
	if err != nil {
		t.Fatal(err)
	}
	var read Layout
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// Main runs the tests of a package with the library loaded, and fails when they leave a handle open. It is called by
// TestMain.
func Main(m *testing.M) {
	if err := Lib.load(LibraryPath()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	exit := m.Run()
	if live := Lib.LiveHandles(); live != 0 && exit == 0 {
		fmt.Fprintf(os.Stderr, "the tests left %d handles open\n", live)
		exit = 1
	}
	os.Exit(exit)
}
