package policy

import "strconv"

// defaultWorkloadLabel is the label of the flows that match no workload.
const defaultWorkloadLabel = "default"

// quotaScheduler reads a quota scheduler.
func (c *circuit) quotaScheduler(o *object, id string, form form) {
	scheduler := QuotaScheduler{Component: Component{ID: id}}
	c.tokenBucket(o, form, "rate_limiter", &scheduler.TokenBucket)
	o.scheduler(&scheduler.Component, &scheduler.Scheduler)
	o.close()
	c.policy.QuotaSchedulers = append(c.policy.QuotaSchedulers, scheduler)
}

// concurrencyScheduler reads a concurrency scheduler.
func (c *circuit) concurrencyScheduler(o *object, id string, form form) {
	scheduler := ConcurrencyScheduler{Component: Component{ID: id}}
	c.inFlight(o, form, "concurrency_limiter", &scheduler.InFlight)
	o.scheduler(&scheduler.Component, &scheduler.Scheduler)
	o.close()
	c.policy.ConcurrencySchedulers = append(c.policy.ConcurrencySchedulers, scheduler)
}

// scheduler reads what all schedulers have.
func (o *object) scheduler(component *Component, scheduler *Scheduler) {
	component.Selectors = o.selectors("selectors")
	settings := o.object("scheduler")
	component.DeniedStatus = settings.statusCode("denied_response_status_code")
	scheduler.Workloads = settings.workloads("workloads")
	scheduler.DefaultWorkload = settings.object("default_workload_parameters").workloadParameters()
	scheduler.DecisionDeadlineMargin = settings.duration("decision_deadline_margin", defaultDecisionDeadlineMargin)
	scheduler.TokensLabelKey = settings.string("tokens_label_key", "")
	scheduler.PriorityLabelKey = settings.string("priority_label_key", "")
	scheduler.WorkloadLabelKey = settings.string("workload_label_key", "")
	scheduler.FairnessLabelKey = settings.string("fairness_label_key", "")
	settings.close()
}

// workloads reads a list of workloads, whose labels must differ, since flows wait by them.
func (o *object) workloads(key string) []Workload {
	var workloads []Workload
	taken := map[string]string{defaultWorkloadLabel: "the default workload has it"}
	for i, element := range o.list(key) {
		o := element.object()
		if o == nil {
			continue
		}
		workload := Workload{Label: o.string("name", "")}
		at := o.value
		if workload.Label != "" {
			at, _ = o.get("name")
		} else {
			workload.Label = strconv.Itoa(i)
		}
		if owner, ok := taken[workload.Label]; ok {
			at.problem("duplicate workload name %s: %s", quote(workload.Label), owner)
		}
		taken[workload.Label] = "first in line " + strconv.Itoa(at.node.Line)

		if v, ok := o.required("label_matcher", "a mapping"); ok {
			workload.Matcher = v.object().labelMatcher()
		}
		workload.WorkloadParameters = o.object("parameters").workloadParameters()
		o.close()
		workloads = append(workloads, workload)
	}
	return workloads
}

// workloadParameters reads the parameters of a workload, or returns the defaults when there are none.
func (o *object) workloadParameters() WorkloadParameters {
	parameters := WorkloadParameters{
		Priority: o.number("priority", 1, positive),
		Tokens:   o.number("tokens", 1, notNegative),
	}
	if v, ok := o.get("queue_timeout"); ok {
		if timeout, ok := v.duration(); ok {
			parameters.QueueTimeout = &timeout
		}
	}
	o.close()
	return parameters
}
