package fakeagent

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCallsAtTheSameTimeGetEachAnswerOfAScriptOnce(t *testing.T) {
	const callers, calls = 4, 5000
	script := Script{Check: make([]Behaviour, callers*calls)}
	agent := &Agent{}
	agent.SetScript(script)
	var taken [callers][]*Behaviour
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for range calls {
				taken[i] = append(taken[i], agent.behaviourFor(rpcCheck))
			}
		})
	}
	group.Wait()
	times := map[*Behaviour]int{}
	for _, behaviours := range taken {
		for _, behaviour := range behaviours {
			times[behaviour]++
		}
	}
	assert.Len(t, times, callers*calls)
}
