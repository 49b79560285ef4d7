package policy

// concurrencyLimiter reads a concurrency limiter.
func (c *circuit) concurrencyLimiter(o *object, id string, form form) {
	limiter := ConcurrencyLimiter{Component: Component{ID: id}}
	c.inFlight(o, form, "parameters", &limiter.InFlight)
	limiter.TokensLabelKey, limiter.DeniedStatus = o.requestParameters()
	limiter.Selectors = o.selectors("selectors")
	o.close()
	c.policy.ConcurrencyLimiters = append(c.policy.ConcurrencyLimiters, limiter)
}

// inFlight reads the amount of a component that counts flows, and its parameters under the given key.
func (c *circuit) inFlight(o *object, form form, key string, inFlight *InFlight) {
	c.amounts(o, form, &inFlight.PassThrough, amount{"max_concurrency", &inFlight.MaxConcurrency})
	parameters := o.requiredObject(key)
	if parameters == nil {
		return
	}
	inFlight.MaxInflightDuration = parameters.positiveDuration("max_inflight_duration")
	inFlight.LimitByLabelKey = parameters.string("limit_by_label_key", "")
	inFlight.MaxIdleTime = parameters.duration("max_idle_time", defaultMaxIdleTime)
	parameters.close()
}
