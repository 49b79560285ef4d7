package abi

import (
	"fmt"
	"testing"

	"github.com/libaperture/libaperture/tests/host"
)

func TestMain(m *testing.M) { host.Main(m) }

func user(number int) string { return fmt.Sprintf("user-%d", number) }
