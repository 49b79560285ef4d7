package policy

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// Defaults of the policy language.
const (
	defaultMaxIdleTime = 7200 * time.Second
	defaultAgentGroup  = "aperture-cloud"
)

// blueprintRateLimiter reads the rate_limiter section of blueprint values, which is component 0 of its circuit.
func (o *object) blueprintRateLimiter() RateLimiter {
	limiter := RateLimiter{Component: Component{ID: "root.0"}}
	limiter.BucketCapacity = o.amount("bucket_capacity")
	limiter.FillAmount = o.amount("fill_amount")
	o.rateLimiter(&limiter)
	o.object("alerter").alerter()
	o.close()
	return limiter
}

// renderedRateLimiter reads a rate_limiter component of a circuit.
func (o *object) renderedRateLimiter(componentID string) RateLimiter {
	limiter := RateLimiter{Component: Component{ID: componentID}}
	if ports := o.requiredObject("in_ports"); ports != nil {
		limiter.BucketCapacity = ports.constant("bucket_capacity", true)
		limiter.FillAmount = ports.constant("fill_amount", true)
		limiter.PassThrough = ports.constant("pass_through", false) != 0
		ports.close()
	}
	o.ignore("out_ports")
	o.rateLimiter(&limiter)
	o.close()
	return limiter
}

// rateLimiter reads what both forms write in the same way.
func (o *object) rateLimiter(limiter *RateLimiter) {
	if parameters := o.requiredObject("parameters"); parameters != nil {
		limiter.Interval = parameters.interval()
		// label_key is the old name, and counts only when the new one is empty.
		limiter.LimitByLabelKey = parameters.string("limit_by_label_key", "")
		if old := parameters.string("label_key", ""); limiter.LimitByLabelKey == "" {
			limiter.LimitByLabelKey = old
		}
		limiter.ContinuousFill = parameters.bool("continuous_fill", true)
		limiter.DelayInitialFill = parameters.bool("delay_initial_fill", false)
		limiter.MaxIdleTime = parameters.duration("max_idle_time", defaultMaxIdleTime)
		parameters.object("lazy_sync").lazySync()
		parameters.close()
	}
	request := o.object("request_parameters")
	limiter.TokensLabelKey = request.string("tokens_label_key", "")
	limiter.DeniedStatus = request.statusCode("denied_response_status_code")
	request.close()
	limiter.Selectors = o.selectors("selectors")
}

// amount returns a number of tokens.
func (o *object) amount(key string) float64 {
	v, ok := o.required(key, "a number")
	if !ok {
		return 0
	}
	return v.amount()
}

func (v value) amount() float64 {
	number, ok := v.number()
	if ok && number < 0 {
		v.expected("a number that is not negative")
	}
	return number
}

// constant returns the value of an input port.
func (o *object) constant(key string, required bool) float64 {
	v, ok := o.get(key)
	if !ok {
		if required {
			o.problem("missing %s: expected constant_signal", quote(key))
		}
		return 0
	}
	port := v.object()
	if port == nil {
		return 0
	}
	defer port.close()
	if signal, ok := port.get("signal_name"); ok {
		signal.problem("%s, expected constant_signal: the local engine has no signals", needsCluster)
		return 0
	}
	signal := port.requiredObject("constant_signal")
	if signal == nil {
		return 0
	}
	defer signal.close()
	if special, ok := signal.get("special_value"); ok {
		special.expected("a finite number under the key value")
		return 0
	}
	return signal.amount("value")
}

// interval returns the fill interval, which real agents take to be 0 too, and then divide by it.
func (o *object) interval() time.Duration {
	v, ok := o.required("interval", `decimal seconds with the suffix s, such as "1s"`)
	if !ok {
		return 0
	}
	interval, ok := v.duration()
	if ok && interval == 0 {
		v.expected("more than 0s")
	}
	return interval
}

// lazySync reads the settings of the agents' synchronisation, for which one process has no use.
func (o *object) lazySync() {
	if o.bool("enabled", false) {
		o.reader.warning(o.node, "%s: ignored by the local engine, which has nothing to synchronise with", o.path)
	}
	if v, ok := o.get("num_sync"); ok {
		if number, ok := v.number(); ok && number <= 0 {
			v.expected("more than 0")
		}
	}
	o.close()
}

// alerter checks the settings of alerts, which nothing here sends.
func (o *object) alerter() {
	o.string("alert_name", "")
	o.string("severity", "")
	o.duration("resolve_timeout", 0)
	o.strings("alert_channels")
	o.labels("labels")
	o.close()
}

// statusCode returns an HTTP status, which policies write as a name.
func (o *object) statusCode(key string) checkv1.StatusCode {
	v, ok := o.get(key)
	if !ok {
		return checkv1.StatusCode_Empty
	}
	if number, err := strconv.ParseInt(v.node.Value, 10, 32); err == nil {
		if name, ok := checkv1.StatusCode_name[int32(number)]; ok {
			v.expected("the status by its name: " + name)
			return checkv1.StatusCode_Empty
		}
	}
	name, ok := v.string()
	if !ok {
		return checkv1.StatusCode_Empty
	}
	code, ok := checkv1.StatusCode_value[name]
	if !ok {
		v.problem("unknown status %s, expected a name such as TooManyRequests%s", quote(name),
			suggest(name, slices.Collect(maps.Keys(checkv1.StatusCode_value))))
	}
	return checkv1.StatusCode(code)
}
