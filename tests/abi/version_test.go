package abi

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionIsThatOfTheHeader(t *testing.T) {
	require.Contains(t, readHeader(t), "#define APERTURE_VERSION \""+lib.version()+"\"\n")
	require.Regexp(t, `^\d+\.\d+\.\d+$`, lib.version())
	require.Equal(t, readLayout(t).ABIVersion, lib.abiVersion())
}

func TestEveryCodeHasANameAndADescription(t *testing.T) {
	descriptions := map[string]string{}
	for name, code := range readLayout(t).Enums["code"] {
		require.Equal(t, "APERTURE_"+name, lib.errorName(code))
		description := lib.errorDescription(code)
		require.NotEmpty(t, description)
		require.Empty(t, descriptions[description], "%s has the description of another code", name)
		descriptions[description] = name
	}
}

func TestUnknownCodes(t *testing.T) {
	for _, unknown := range []code{2, 100, errorForked - 1, -1000, math.MaxInt32, math.MinInt32} {
		require.Equal(t, "APERTURE_ERROR_UNKNOWN", lib.errorName(unknown))
		require.Equal(t, "There is no such code.", lib.errorDescription(unknown))
	}
}

// A binding enumerates the codes downwards instead of copying them.
func TestCodesHaveNoGaps(t *testing.T) {
	count := 0
	for number := ok; lib.errorName(number) != "APERTURE_ERROR_UNKNOWN"; number-- {
		count++
	}
	require.Equal(t, len(readLayout(t).Enums["code"])-1, count, "all but APERTURE_PENDING")
}
