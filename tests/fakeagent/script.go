package fakeagent

import "sync/atomic"

// Script says how calls are answered one after the other: the n-th call of an RPC as the n-th behaviour of its list says,
// and the calls beyond its end as the last one says. What a behaviour says of other RPCs does not count. An RPC without a
// list is answered as Agent.Set says. The lists must not be changed while an agent uses them.
type Script struct {
	Check       []Behaviour
	FlowEnd     []Behaviour
	CacheLookup []Behaviour
	CacheUpsert []Behaviour
	CacheDelete []Behaviour
	Export      []Behaviour
}

// SetScript has the calls from now on answered by a script, from its beginning. An empty one leaves them all to Set.
func (a *Agent) SetScript(script Script) {
	a.script.Store(&scriptRun{lists: [...][]Behaviour{
		rpcCheck:       script.Check,
		rpcFlowEnd:     script.FlowEnd,
		rpcCacheLookup: script.CacheLookup,
		rpcCacheUpsert: script.CacheUpsert,
		rpcCacheDelete: script.CacheDelete,
		rpcExport:      script.Export,
	}})
}

// rpc is what an agent can be asked.
type rpc int

const (
	rpcCheck rpc = iota
	rpcFlowEnd
	rpcCacheLookup
	rpcCacheUpsert
	rpcCacheDelete
	rpcExport
	rpcs // how many there are
)

// scriptRun is a script and how far it has come.
type scriptRun struct {
	lists [rpcs][]Behaviour
	calls [rpcs]atomic.Int64
}

// behaviourFor returns how the next call of an RPC is answered.
func (a *Agent) behaviourFor(call rpc) *Behaviour {
	if run := a.script.Load(); run != nil {
		if list := run.lists[call]; len(list) > 0 {
			number := run.calls[call].Add(1)
			return &list[min(number, int64(len(list)))-1]
		}
	}
	return a.behaviour.Load()
}
