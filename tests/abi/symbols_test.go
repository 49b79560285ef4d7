package abi

import (
	"debug/elf"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

const symbolVersion = "APERTURE_0"

var apiFunction = regexp.MustCompile(`(?m)^APERTURE_API .*?\b(aperture_[a-z_]+)\(`)

func readHeader(t *testing.T) string {
	t.Helper()
	header, err := os.ReadFile(host.FromRoot("include", "aperture.h"))
	require.NoError(t, err)
	return string(header)
}

// headerFunctions returns the names of the functions that the header declares, sorted.
func headerFunctions(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, match := range apiFunction.FindAllStringSubmatch(readHeader(t), -1) {
		names = append(names, match[1])
	}
	slices.Sort(names)
	return names
}

func openLibrary(t *testing.T) *elf.File {
	t.Helper()
	file, err := elf.Open(host.LibraryPath())
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func TestSymbolsAreExactlyThoseOfTheHeader(t *testing.T) {
	symbols, err := openLibrary(t).DynamicSymbols()
	require.NoError(t, err)
	var exported []string
	for _, symbol := range symbols {
		if symbol.Section == elf.SHN_UNDEF {
			continue // imported
		}
		if symbol.Name == symbolVersion {
			continue // the linker's own entry for the version
		}
		exported = append(exported, symbol.Name)
		require.Equal(t, elf.STT_FUNC, elf.ST_TYPE(symbol.Info), symbol.Name)
		require.Equal(t, symbolVersion, symbol.Version, symbol.Name)
	}
	slices.Sort(exported)

	fromLayout := slices.Sorted(slices.Values(host.ReadLayout(t).Functions))
	require.Equal(t, headerFunctions(t), exported, "include/aperture.h against the library")
	require.Equal(t, fromLayout, exported, "layout.json against the library")
	require.Equal(t, slices.Sorted(maps.Keys(host.Lib.Bindings())), exported, "these tests against the library")
}

func TestDynamicSection(t *testing.T) {
	file := openLibrary(t)

	name, err := file.DynString(elf.DT_SONAME)
	require.NoError(t, err)
	require.Equal(t, []string{"libaperture.so.0"}, name)

	needed, err := file.ImportedLibraries()
	require.NoError(t, err)
	for _, library := range needed {
		// The dynamic loader is a part of libc; it is named for __tls_get_addr.
		if library != "libc.so.6" && !strings.HasPrefix(library, "ld-linux-") {
			t.Errorf("needs %s beside libc", library)
		}
	}

	flags, err := file.DynValue(elf.DT_FLAGS)
	require.NoError(t, err)
	require.Len(t, flags, 1)
	require.NotZero(t, elf.DynFlag(flags[0])&elf.DF_BIND_NOW, "lazy binding leaves writable function pointers")
	text, err := file.DynValue(elf.DT_TEXTREL)
	require.NoError(t, err)
	require.Empty(t, text, "text relocations")
}

func TestMemoryProtection(t *testing.T) {
	var relro, stack bool
	for _, segment := range openLibrary(t).Progs {
		switch segment.Type {
		case elf.PT_GNU_RELRO:
			relro = true
		case elf.PT_GNU_STACK:
			stack = true
			require.Zero(t, segment.Flags&elf.PF_X, "the library asks for an executable stack")
		case elf.PT_LOAD:
			require.NotEqual(t, elf.PF_W|elf.PF_X, segment.Flags&(elf.PF_W|elf.PF_X), "memory that is writable and executable")
		}
	}
	require.True(t, relro, "no GNU_RELRO")
	require.True(t, stack, "no GNU_STACK: the stack would be executable")
}

// Without the section the runtime starts when the library is loaded, and a host that forks afterwards forks a runtime.
func TestTheRuntimeStartsLate(t *testing.T) {
	file := openLibrary(t)
	section := file.Section(".aperture_go_start")
	require.NotNil(t, section, "start.ld was not used")
	require.EqualValues(t, 8, section.Size, "one entry: that of the Go runtime")
}
