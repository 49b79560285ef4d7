package local

// Snapshot is what an engine has counted since it was opened.
type Snapshot struct {
	// NoMatchingRamp counts the flows that were rejected because they asked for a load ramp, and none matched.
	NoMatchingRamp uint64
	// Components are the limiters of all policies, in the order of their policies.
	Components []ComponentSnapshot
}

// ComponentSnapshot is what one limiter has counted. A flow that several limiters looked at counts at each of them.
type ComponentSnapshot struct {
	Policy, Component string
	// Accepted and Rejected count the decisions that asked a bucket.
	Accepted, Rejected uint64
	// Unlimited counts the flows that were accepted without asking a bucket: they do not carry the label that the
	// limiter counts by, or the policy lets everything pass.
	Unlimited uint64
	// Reverted counts the accepted decisions whose tokens were given back because another limiter rejected the flow.
	Reverted uint64
	// InvalidTokens counts the tokens labels that are no number of tokens, and counted as 1.
	InvalidTokens uint64
	// Labels is how many label values have a bucket now.
	Labels int
	// Evicted counts the buckets that were given up for others because there were too many.
	Evicted uint64
	// Expired counts the buckets that were given up because they were idle.
	Expired uint64
}

// Snapshot returns what the engine has counted. The figures of one component belong together only nearly: flows go on
// meanwhile.
func (engine *Engine) Snapshot() Snapshot {
	snapshot := Snapshot{
		NoMatchingRamp: engine.noMatchingRamp.Load(),
		Components:     make([]ComponentSnapshot, 0, len(engine.limiters)),
	}
	for _, limiter := range engine.limiters {
		counts := limiter.buckets.Counts()
		snapshot.Components = append(snapshot.Components, ComponentSnapshot{
			Policy:        limiter.policyName,
			Component:     limiter.componentID,
			Accepted:      counts.Accepted,
			Rejected:      counts.Rejected,
			Unlimited:     limiter.unlimited.Load(),
			Reverted:      counts.Reverted,
			InvalidTokens: limiter.invalidTokens.Load(),
			Labels:        counts.Labels,
			Evicted:       counts.Evicted,
			Expired:       counts.Expired,
		})
	}
	return snapshot
}
