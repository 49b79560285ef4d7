package abi

import (
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// configure sets the options of the process until the end of the test.
func configure(t *testing.T, options *processOptions) {
	t.Helper()
	failed := newFailure()
	require.Equal(t, ok, lib.configure(options, failed), failed.text())
	t.Cleanup(func() { require.Equal(t, ok, lib.configure(newProcessOptions(), nil)) })
}

func TestBadProcessOptions(t *testing.T) {
	closed, err := os.Open(os.DevNull)
	require.NoError(t, err)
	closedFD := int32(closed.Fd())
	require.NoError(t, closed.Close())

	for name, test := range map[string]struct {
		change func(*processOptions)
		want   string
	}{
		"no size":                {func(o *processOptions) { o.structSize = 0 }, "options: struct_size is 0"},
		"small":                  {func(o *processOptions) { o.structSize-- }, "options: struct_size is 23"},
		"huge":                   {func(o *processOptions) { o.structSize = 1 << 20 }, "options: struct_size is 1048576"},
		"negative descriptor":    {func(o *processOptions) { o.logFD = -1 }, "options.log_fd: -1 is not"},
		"closed descriptor":      {func(o *processOptions) { o.logFD = closedFD }, "is not an open file descriptor"},
		"level too low":          {func(o *processOptions) { o.logLevel = logLevelDebug - 1 }, "options.log_level: is -3; must be"},
		"level too high":         {func(o *processOptions) { o.logLevel = logLevelError + 1 }, "options.log_level: is 2; must be"},
		"negative max_procs":     {func(o *processOptions) { o.maxProcs = -1 }, "options.max_procs: is -1; must be"},
		"too large max_procs":    {func(o *processOptions) { o.maxProcs = 1025 }, "options.max_procs: is 1025; must be"},
		"neither true nor false": {func(o *processOptions) { o.leaveSignalHandlers = 2 }, "options.leave_signal_handlers: is 2; must be 0 or 1"},
	} {
		t.Run(name, func(t *testing.T) {
			options := newProcessOptions()
			test.change(options)
			failed := newFailure()
			require.Equal(t, errorInvalidArgument, lib.configure(options, failed))
			require.Equal(t, errorInvalidArgument, failed.code)
			require.Contains(t, failed.text(), test.want)
			require.Equal(t, errorInvalidArgument, lib.configure(options, nil))
		})
	}
	failed := newFailure()
	require.Equal(t, errorInvalidArgument, lib.configure(nil, failed))
	require.Contains(t, failed.text(), "options: must not be NULL")
	require.Equal(t, errorInvalidArgument, lib.configure(newProcessOptions(), &failure{structSize: 8}))
	require.Equal(t, errorInvalidArgument, lib.protectSignalHandlers(&failure{structSize: 8}))
	require.Equal(t, errorInvalidArgument, lib.closeClientsWithThread(&failure{structSize: 8}))
}

func TestProcessOptionsOfALaterHeader(t *testing.T) {
	larger := struct {
		processOptions
		added uint64
	}{processOptions: processOptions{structSize: unsafe.Sizeof(processOptions{}) + 8}}
	configure(t, &larger.processOptions)
	larger.added = 1
	failed := newFailure()
	require.Equal(t, errorInvalidArgument, lib.configure(&larger.processOptions, failed))
	require.Contains(t, failed.text(), "sets what this library")
}
