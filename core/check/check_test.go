package check

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStatesAsWords(t *testing.T) {
	for state, want := range map[State]string{
		StateIdle: "idle", StateConnecting: "connecting", StateReady: "ready", StateFailing: "failing", StateClosed: "closed",
		-1: "unknown", 5: "unknown",
	} {
		assert.Equal(t, want, state.String())
	}
}
