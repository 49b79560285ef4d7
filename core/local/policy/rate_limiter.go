package policy

// rateLimiter reads a rate limiter.
func (c *circuit) rateLimiter(o *object, id string, form form) {
	limiter := RateLimiter{Component: Component{ID: id}}
	c.tokenBucket(o, form, "parameters", &limiter.TokenBucket)
	limiter.TokensLabelKey, limiter.DeniedStatus = o.requestParameters()
	limiter.Selectors = o.selectors("selectors")
	o.close()
	c.policy.RateLimiters = append(c.policy.RateLimiters, limiter)
}

// tokenBucket reads the amounts of a component with a bucket, and its parameters under the given key.
func (c *circuit) tokenBucket(o *object, form form, key string, bucket *TokenBucket) {
	c.amounts(o, form, &bucket.PassThrough,
		amount{"bucket_capacity", &bucket.BucketCapacity}, amount{"fill_amount", &bucket.FillAmount})
	parameters := o.requiredObject(key)
	if parameters == nil {
		return
	}
	// Real agents take an interval of 0 too, and then divide by it.
	bucket.Interval = parameters.positiveDuration("interval")
	// label_key is the old name, and counts only when the new one is empty.
	bucket.LimitByLabelKey = parameters.string("limit_by_label_key", "")
	if old := parameters.string("label_key", ""); bucket.LimitByLabelKey == "" {
		bucket.LimitByLabelKey = old
	}
	bucket.ContinuousFill = parameters.bool("continuous_fill", true)
	bucket.DelayInitialFill = parameters.bool("delay_initial_fill", false)
	bucket.MaxIdleTime = parameters.duration("max_idle_time", defaultMaxIdleTime)
	parameters.object("lazy_sync").lazySync()
	parameters.close()
}

// lazySync reads the settings of the agents' synchronisation, for which one process has no use.
func (o *object) lazySync() {
	if o.bool("enabled", false) {
		o.warning("ignored by the local engine, which has nothing to synchronise with")
	}
	if v, ok := o.get("num_sync"); ok {
		if number, ok := v.number(); ok && number <= 0 {
			v.expected("more than 0")
		}
	}
	o.close()
}
