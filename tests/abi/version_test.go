package abi

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libaperture/libaperture/tests/host"
)

func TestVersionIsThatOfTheHeader(t *testing.T) {
	require.Contains(t, readHeader(t), "#define APERTURE_VERSION \""+host.Lib.Version()+"\"\n")
	require.Regexp(t, `^\d+\.\d+\.\d+$`, host.Lib.Version())
	require.Equal(t, host.ReadLayout(t).ABIVersion, host.Lib.ABIVersion())
}

func TestEveryCodeHasANameAndADescription(t *testing.T) {
	descriptions := map[string]string{}
	for name, code := range host.ReadLayout(t).Enums["code"] {
		require.Equal(t, "APERTURE_"+name, host.Lib.ErrorName(code))
		description := host.Lib.ErrorDescription(code)
		require.NotEmpty(t, description)
		require.Empty(t, descriptions[description], "%s has the description of another code", name)
		descriptions[description] = name
	}
}

func TestUnknownCodes(t *testing.T) {
	for _, unknown := range []host.Code{2, 100, host.ErrorNoAnswer - 1, -1000, math.MaxInt32, math.MinInt32} {
		require.Equal(t, "APERTURE_ERROR_UNKNOWN", host.Lib.ErrorName(unknown))
		require.Equal(t, "There is no such code.", host.Lib.ErrorDescription(unknown))
	}
}

// A binding enumerates the codes downwards instead of copying them.
func TestCodesHaveNoGaps(t *testing.T) {
	count := 0
	for number := host.OK; host.Lib.ErrorName(number) != "APERTURE_ERROR_UNKNOWN"; number-- {
		count++
	}
	require.Equal(t, len(host.ReadLayout(t).Enums["code"])-1, count, "all but APERTURE_PENDING")
}
