package abi

import (
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

// configure sets the options of the process until the end of the test.
func configure(t *testing.T, options *host.ProcessOptions) {
	t.Helper()
	failed := host.NewFailure()
	require.Equal(t, host.OK, host.Lib.Configure(options, failed), failed.Text())
	t.Cleanup(func() { require.Equal(t, host.OK, host.Lib.Configure(host.NewProcessOptions(), nil)) })
}

func TestBadProcessOptions(t *testing.T) {
	closed, err := os.Open(os.DevNull)
	require.NoError(t, err)
	closedFD := int32(closed.Fd())
	require.NoError(t, closed.Close())

	for name, test := range map[string]struct {
		change func(*host.ProcessOptions)
		want   string
	}{
		"no size":                {func(o *host.ProcessOptions) { o.StructSize = 0 }, "options: struct_size is 0"},
		"small":                  {func(o *host.ProcessOptions) { o.StructSize-- }, "options: struct_size is 23"},
		"huge":                   {func(o *host.ProcessOptions) { o.StructSize = 1 << 20 }, "options: struct_size is 1048576"},
		"negative descriptor":    {func(o *host.ProcessOptions) { o.LogFD = -1 }, "options.log_fd: -1 is not"},
		"closed descriptor":      {func(o *host.ProcessOptions) { o.LogFD = closedFD }, "is not an open file descriptor"},
		"level too low":          {func(o *host.ProcessOptions) { o.LogLevel = host.LogLevelDebug - 1 }, "options.log_level: is -3; must be"},
		"level too high":         {func(o *host.ProcessOptions) { o.LogLevel = host.LogLevelError + 1 }, "options.log_level: is 2; must be"},
		"negative max_procs":     {func(o *host.ProcessOptions) { o.MaxProcs = -1 }, "options.max_procs: is -1; must be"},
		"too large max_procs":    {func(o *host.ProcessOptions) { o.MaxProcs = 1025 }, "options.max_procs: is 1025; must be"},
		"neither true nor false": {func(o *host.ProcessOptions) { o.LeaveSignalHandlers = 2 }, "options.leave_signal_handlers: is 2; must be 0 or 1"},
	} {
		t.Run(name, func(t *testing.T) {
			options := host.NewProcessOptions()
			test.change(options)
			failed := host.NewFailure()
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.Configure(options, failed))
			require.Equal(t, host.ErrorInvalidArgument, failed.Code)
			require.Contains(t, failed.Text(), test.want)
			require.Equal(t, host.ErrorInvalidArgument, host.Lib.Configure(options, nil))
		})
	}
	failed := host.NewFailure()
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.Configure(nil, failed))
	require.Contains(t, failed.Text(), "options: must not be NULL")
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.Configure(host.NewProcessOptions(), &host.Failure{StructSize: 8}))
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.CloseClientsWithThread(&host.Failure{StructSize: 8}))
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.ProtectSignalHandlers(&host.Failure{StructSize: 8}))
}

func TestProcessOptionsOfALaterHeader(t *testing.T) {
	larger := struct {
		host.ProcessOptions
		added uint64
	}{ProcessOptions: host.ProcessOptions{StructSize: unsafe.Sizeof(host.ProcessOptions{}) + 8}}
	configure(t, &larger.ProcessOptions)
	larger.added = 1
	failed := host.NewFailure()
	require.Equal(t, host.ErrorInvalidArgument, host.Lib.Configure(&larger.ProcessOptions, failed))
	require.Contains(t, failed.Text(), "sets what this library")
}
