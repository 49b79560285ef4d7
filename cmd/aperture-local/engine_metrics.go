package main

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/libaperture/libaperture/core/local"
)

// engineCollector reads what the engine counts, at the moment when it is asked.
type engineCollector struct {
	engine *local.Engine

	noMatchingRamp, reloads                                      *prometheus.Desc
	cacheLookups, cacheStored, cacheRefused, cacheForgotten      *prometheus.Desc
	cacheEntries, cacheBytes                                     *prometheus.Desc
	decisions, reverted, invalidTokens, labels, forgotten        *prometheus.Desc
	capacity, looked, available                                  *prometheus.Desc
	maxConcurrency, inFlightFlows, inFlightTokens, inFlightEnded *prometheus.Desc
	waiting, unadmitted, waits                                   *prometheus.Desc
	acceptPercentage                                             *prometheus.Desc
}

func newEngineCollector(engine *local.Engine) *engineCollector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	ofComponent := func(name, help string, labels ...string) *prometheus.Desc {
		return describe(name, help, append([]string{"policy", "component"}, labels...)...)
	}
	return &engineCollector{
		engine: engine,
		noMatchingRamp: describe("no_matching_ramp_total",
			"Flows rejected because they asked for a load ramp and none matched."),
		reloads: describe("reloads_total",
			"Readings of the policy files after the first, by outcome: done, or failed when the policies stayed as they were.", "outcome"),
		cacheLookups: describe("cache_lookups_total",
			"Keys that were looked up in the result cache or the global cache by outcome: hit or miss.", "outcome"),
		cacheStored: describe("cache_stored_entries_total",
			"Entries that were stored in the caches, also in place of others."),
		cacheRefused: describe("cache_refused_keys_total",
			"Keys that the caches answered with an error: there was none, or it or its value was too large."),
		cacheForgotten: describe("cache_forgotten_entries_total",
			"Entries that the caches gave up by cause: evicted because the caches were full, or expired because their time was over.", "cause"),
		cacheEntries: describe("cache_entries",
			"Entries in the caches now."),
		cacheBytes: describe("cache_bytes",
			"Memory that the caches take now, of what --cache-bytes lets them."),
		decisions: ofComponent("decisions_total",
			"Decisions of a component by outcome: accepted, rejected, or unlimited when nothing was asked for.", "outcome"),
		reverted: ofComponent("reverted_decisions_total",
			"Accepted decisions that were taken back because another component rejected the flow."),
		invalidTokens: ofComponent("invalid_tokens_total",
			"Labels for tokens or a priority that are no such number, and did not count."),
		labels: ofComponent("labels",
			"Label values that have a state now."),
		forgotten: ofComponent("forgotten_labels_total",
			"States given up by cause: evicted because there were too many, or expired because they were idle.", "cause"),
		capacity: ofComponent("bucket_capacity_tokens",
			"Tokens that a bucket of the component holds at most."),
		looked: ofComponent("looked_buckets",
			"Buckets that were looked at for bucket_available_tokens: those that were used last, at most 1,024."),
		available: ofComponent("bucket_available_tokens",
			"Tokens in the buckets that were looked at, together. Tokens that waiting flows have been promised count as negative."),
		maxConcurrency: ofComponent("max_concurrency_tokens",
			"Tokens that may be in flight for each label value."),
		inFlightFlows: ofComponent("in_flight_flows",
			"Flows in flight now, of all label values together."),
		inFlightTokens: ofComponent("in_flight_tokens",
			"Tokens in flight now, of all label values together."),
		inFlightEnded: ofComponent("in_flight_ended_total",
			"Flows that are no longer in flight by cause: returned by their end, expired, or forgotten with a label value that was given up.", "cause"),
		waiting: ofComponent("waiting_flows",
			"Flows that wait in the component now."),
		unadmitted: ofComponent("unadmitted_flows_total",
			"Flows that a scheduler did not admit by cause: refused because the tokens could not come in time, timed_out, full because too many waited, or cancelled by their caller.", "cause"),
		waits: ofComponent("wait_seconds",
			"How long the flows waited that had to, whether they were admitted or not."),
		acceptPercentage: ofComponent("accept_percentage",
			"Share of the flows that a sampler admits, from 0 to 100."),
	}
}

// Describe implements prometheus.Collector.
func (c *engineCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{
		c.noMatchingRamp, c.reloads, c.cacheLookups, c.cacheStored, c.cacheRefused, c.cacheForgotten, c.cacheEntries,
		c.cacheBytes, c.decisions, c.reverted, c.invalidTokens, c.labels, c.forgotten, c.capacity, c.looked, c.available,
		c.maxConcurrency, c.inFlightFlows, c.inFlightTokens, c.inFlightEnded, c.waiting, c.unadmitted, c.waits,
		c.acceptPercentage,
	} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (c *engineCollector) Collect(series chan<- prometheus.Metric) {
	counter := func(description *prometheus.Desc, value uint64, labels ...string) {
		series <- prometheus.MustNewConstMetric(description, prometheus.CounterValue, float64(value), labels...)
	}
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		series <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	snapshot := c.engine.Snapshot()
	counter(c.noMatchingRamp, snapshot.NoMatchingRamp)
	counter(c.reloads, snapshot.Reloads, "done")
	counter(c.reloads, snapshot.ReloadsFailed, "failed")
	cache := &snapshot.Cache
	counter(c.cacheLookups, cache.Hits, "hit")
	counter(c.cacheLookups, cache.Misses, "miss")
	counter(c.cacheStored, cache.Stored)
	counter(c.cacheRefused, cache.Refused)
	counter(c.cacheForgotten, cache.Evicted, "evicted")
	counter(c.cacheForgotten, cache.Expired, "expired")
	gauge(c.cacheEntries, float64(cache.Entries))
	gauge(c.cacheBytes, float64(cache.Bytes))
	for _, one := range snapshot.Components {
		policy, component := one.Policy, one.Component
		counter(c.decisions, one.Accepted, policy, component, "accepted")
		counter(c.decisions, one.Rejected, policy, component, "rejected")
		counter(c.decisions, one.Unlimited, policy, component, "unlimited")
		counter(c.reverted, one.Reverted, policy, component)
		counter(c.invalidTokens, one.InvalidTokens, policy, component)
		counter(c.forgotten, one.Evicted, policy, component, "evicted")
		counter(c.forgotten, one.Expired, policy, component, "expired")
		gauge(c.labels, float64(one.Labels), policy, component)
		if bucket := one.Bucket; bucket != nil {
			gauge(c.capacity, bucket.Capacity, policy, component)
			gauge(c.looked, float64(bucket.Looked), policy, component)
			gauge(c.available, bucket.Available, policy, component)
		}
		if inFlight := one.InFlight; inFlight != nil {
			gauge(c.maxConcurrency, inFlight.MaxConcurrency, policy, component)
			gauge(c.inFlightFlows, float64(inFlight.Flows), policy, component)
			gauge(c.inFlightTokens, inFlight.Tokens, policy, component)
			counter(c.inFlightEnded, inFlight.Returned, policy, component, "returned")
			counter(c.inFlightEnded, inFlight.Expired, policy, component, "expired")
			counter(c.inFlightEnded, inFlight.Forgotten, policy, component, "forgotten")
		}
		if queue := one.Queue; queue != nil {
			gauge(c.waiting, float64(queue.Waiting), policy, component)
			counter(c.unadmitted, queue.Refused, policy, component, "refused")
			counter(c.unadmitted, queue.TimedOut, policy, component, "timed_out")
			counter(c.unadmitted, queue.Full, policy, component, "full")
			counter(c.unadmitted, queue.Cancelled, policy, component, "cancelled")
			series <- waitHistogram(c.waits, queue, policy, component)
		}
		if one.AcceptPercentage != nil {
			gauge(c.acceptPercentage, *one.AcceptPercentage, policy, component)
		}
	}
}

// waitHistogram returns the waits in Prometheus' form, in which each class counts all shorter waits too.
func waitHistogram(description *prometheus.Desc, queue *local.QueueSnapshot, labels ...string) prometheus.Metric {
	classes := make(map[float64]uint64, len(queue.Waits))
	flows := uint64(0)
	for _, class := range queue.Waits {
		flows += class.Flows
		if class.UpTo > 0 {
			classes[class.UpTo] = flows
		}
	}
	return prometheus.MustNewConstHistogram(description, flows, math.Max(queue.WaitedSeconds, 0), classes, labels...)
}
