// Driver runs the conformance cases with package core. See tests/conformance/README.md.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
)

func main() {
	d := driver{clients: map[int]*core.Client{}, flows: map[int]*core.Flow{}, begun: map[int]*begunFlow{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		fmt.Println(d.answer(lines.Text()))
	}
}

// driver has what the steps before have made.
type driver struct {
	clients map[int]*core.Client
	flows   map[int]*core.Flow
	begun   map[int]*begunFlow
}

// begunFlow is a flow that waits for its decision.
type begunFlow struct {
	cancel context.CancelFunc
	flow   chan *core.Flow
}

// words are the arguments of a step, in their order.
type words []struct{ name, value string }

// answer does one step.
func (d *driver) answer(line string) string {
	fields := strings.Fields(line)
	var step words
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(field, "=")
		name, _ = url.PathUnescape(name) // the runner has escaped it
		value, _ = url.PathUnescape(value)
		step = append(step, struct{ name, value string }{name, value})
	}
	operation, ok := operations[fields[0]]
	if !ok {
		return "error=UNSUPPORTED"
	}
	answer := words{}
	if err := operation(d, step, &answer); err != nil {
		answer = failure(err)
	}
	var texts []string
	for _, word := range answer {
		texts = append(texts, escape(word.name)+"="+escape(word.value))
	}
	return strings.Join(texts, " ")
}

func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func (w *words) add(name string, value any) {
	*w = append(*w, struct{ name, value string }{name, fmt.Sprint(value)})
}

func (w words) text(name string) string {
	for _, word := range w {
		if word.name == name {
			return word.value
		}
	}
	return ""
}

// list returns the values of all words of a name.
func (w words) list(name string) (values []string) {
	for _, word := range w {
		if word.name == name {
			values = append(values, word.value)
		}
	}
	return values
}

// members returns the words whose names begin with a prefix, without it.
func (w words) members(prefix string) (members words) {
	for _, word := range w {
		if name, ok := strings.CutPrefix(word.name, prefix); ok {
			members = append(members, struct{ name, value string }{name, word.value})
		}
	}
	return members
}

func (w words) number(name string) int {
	number, _ := strconv.Atoi(w.text(name)) // 0 when there is none
	return number
}

func (w words) duration(name string) time.Duration { return time.Duration(w.number(name)) }

// failure returns an error as an answer.
func failure(err error) words {
	code := "INTERNAL"
	switch {
	case is[*core.ArgumentError](err):
		code = "INVALID_ARGUMENT"
	case is[*core.CacheError](err):
		code = "AGENT"
	case errors.Is(err, core.ErrNoCacheAnswer):
		code = "NO_ANSWER"
	case errors.Is(err, core.ErrClosed):
		code = "CLOSED"
	case errors.Is(err, core.ErrAlreadyEnded):
		code = "ALREADY_ENDED"
	case is[*check.UnreachableError](err):
		code = "UNREACHABLE"
	}
	answer := words{}
	answer.add("error", code)
	answer.add("message", err)
	return answer
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// operations are what a step can ask for.
var operations = map[string]func(d *driver, step words, answer *words) error{
	"open": func(d *driver, step words, _ *words) error {
		options := core.Options{
			Address:           step.text("address"),
			APIKey:            step.text("api_key"),
			Insecure:          step.text("insecure") == "true",
			CAFile:            step.text("ca_file"),
			CAPEM:             step.text("ca_pem"),
			ServerName:        step.text("server_name"),
			ClientCertFile:    step.text("client_certificate_file"),
			ClientKeyFile:     step.text("client_key_file"),
			ClientCertPEM:     step.text("client_certificate_pem"),
			ClientKeyPEM:      step.text("client_key_pem"),
			SkipVerify:        step.text("skip_verify") == "true",
			KeepaliveTime:     step.duration("keepalive_time_ns"),
			KeepaliveTimeout:  step.duration("keepalive_timeout_ns"),
			UserAgent:         step.text("user_agent"),
			FlowEndTimeout:    step.duration("flow_end_timeout_ns"),
			TelemetryQueue:    step.number("telemetry_queue"),
			TelemetryBatch:    step.number("telemetry_batch"),
			TelemetryInterval: step.duration("telemetry_interval_ns"),
			TelemetryOff:      step.text("telemetry") == "false",
		}
		if step.text("compression") == "gzip" {
			options.Compression = core.CompressionGzip
		}
		for _, entry := range step.members("metadata.") {
			options.Metadata = append(options.Metadata, core.MetadataEntry{Key: entry.name, Value: entry.value})
		}
		client, err := core.NewClient(options)
		if err == nil {
			d.clients[step.number("client")] = client
		}
		return err
	},
	"wait_ready": func(d *driver, step words, _ *words) error {
		ctx, cancel := context.WithTimeout(context.Background(), step.duration("timeout_ns"))
		defer cancel()
		return d.client(step).WaitReady(ctx)
	},
	"state": func(d *driver, step words, answer *words) error {
		answer.add("state", d.client(step).State())
		return nil
	},
	"stats": func(d *driver, step words, answer *words) error {
		stats := d.client(step).Stats()
		answer.add("flows_accepted", stats.FlowsAccepted)
		answer.add("flows_rejected", stats.FlowsRejected)
		answer.add("flows_unreachable", stats.FlowsUnreachable)
		for reason := check.UnreachableTimeout; int(reason) < core.UnreachableReasons; reason++ {
			answer.add("unreachable_"+reason.String(), stats.UnreachableByReason[reason])
		}
		answer.add("flows_ended", stats.FlowsEnded)
		answer.add("flow_ends_failed", stats.FlowEndsFailed)
		answer.add("flows_sanitised", stats.FlowsSanitised)
		answer.add("flows_never_ended", stats.FlowsNeverEnded)
		answer.add("cache_calls", stats.CacheCalls)
		answer.add("cache_calls_failed", stats.CacheCallsFailed)
		answer.add("spans_exported", stats.SpansExported)
		answer.add("spans_dropped", stats.SpansDropped)
		answer.add("spans_queued", stats.SpansQueued)
		return nil
	},
	"close": func(d *driver, step words, answer *words) error {
		ctx := context.Background()
		if timeout := step.duration("timeout_ns"); timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		err := d.client(step).Close(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			answer.add("error", "TIMEOUT")
			answer.add("message", err)
			return nil
		}
		return err
	},
	"start_flow": func(d *driver, step words, answer *words) error {
		flow, err := d.client(step).StartFlow(context.Background(), step.text("control_point"), params(step))
		if err != nil {
			return err
		}
		d.flows[step.number("flow")] = flow
		return read(flow, answer)
	},
	"begin_flow": func(d *driver, step words, _ *words) error {
		ctx, cancel := context.WithCancel(context.Background())
		asked := params(step)
		prepared, err := d.client(step).PrepareFlow(step.text("control_point"), &asked)
		if err != nil {
			cancel()
			return err
		}
		begun := &begunFlow{cancel, make(chan *core.Flow, 1)}
		go func() { begun.flow <- prepared.Start(ctx) }()
		d.begun[step.number("flow")] = begun
		return nil
	},
	"join_flow": func(d *driver, step words, answer *words) error { return read(d.join(step), answer) },
	"cancel_flow": func(d *driver, step words, answer *words) error {
		d.begun[step.number("flow")].cancel()
		flow := d.join(step)
		if flow.UnreachableReason() == check.UnreachableCancelled {
			answer.add("cancelled", true)
			return nil
		}
		return read(flow, answer)
	},
	"read": func(d *driver, step words, answer *words) error { return read(d.flow(step), answer) },
	"check_response": func(d *driver, step words, answer *words) error {
		return addJSON(answer, d.flow(step).CheckResponse())
	},
	"set_status": func(d *driver, step words, _ *words) error {
		status := core.StatusOK
		if step.text("status") == "ERROR" {
			status = core.StatusError
		}
		return d.flow(step).SetStatus(status)
	},
	"set_attribute": func(d *driver, step words, _ *words) error {
		var attribute core.Attribute
		for _, word := range step {
			switch word.name {
			case "text":
				attribute = core.TextAttribute(step.text("key"), word.value)
			case "integer":
				integer, _ := strconv.ParseInt(word.value, 10, 64)
				attribute = core.IntegerAttribute(step.text("key"), integer)
			case "number":
				number, _ := strconv.ParseFloat(word.value, 64)
				attribute = core.NumberAttribute(step.text("key"), number)
			}
		}
		return d.flow(step).SetAttribute(attribute)
	},
	"end": func(d *driver, step words, answer *words) error {
		result, err := d.flow(step).End(context.Background())
		if err != nil {
			return err
		}
		return addJSON(answer, result.Response)
	},
	"result_cache": func(d *driver, step words, answer *words) error {
		return addValue(answer, "", d.flow(step).ResultCache())
	},
	"global_cache": func(d *driver, step words, answer *words) error {
		return addValue(answer, "", d.flow(step).GlobalCache(step.text("key")))
	},
	"set_result_cache": func(d *driver, step words, _ *words) error {
		return d.flow(step).SetResultCache(context.Background(), []byte(step.text("value")), step.duration("ttl_ns"))
	},
	"delete_result_cache": func(d *driver, step words, _ *words) error {
		return d.flow(step).DeleteResultCache(context.Background())
	},
	"set_global_cache": func(d *driver, step words, _ *words) error {
		return d.flow(step).SetGlobalCache(context.Background(), step.text("key"), []byte(step.text("value")), step.duration("ttl_ns"))
	},
	"delete_global_cache": func(d *driver, step words, _ *words) error {
		return d.flow(step).DeleteGlobalCache(context.Background(), step.text("key"))
	},
	"cache_lookup": func(d *driver, step words, answer *words) error {
		found, err := d.client(step).CacheLookup(context.Background(), core.CacheKeys{
			ControlPoint: step.text("control_point"),
			ResultKey:    step.text("result_key"),
			GlobalKeys:   step.list("global_key"),
			Timeout:      step.duration("timeout_ns"),
		})
		if err != nil {
			return err
		}
		if err := addValue(answer, "result.", found.Result()); err != nil {
			return err
		}
		for _, key := range step.list("global_key") {
			if err := addValue(answer, key+".", found.Global(key)); err != nil {
				return err
			}
		}
		return nil
	},
	"cache_set": func(d *driver, step words, _ *words) error {
		entry := core.CacheEntry{CacheKey: cacheKey(step), Value: []byte(step.text("value")), TTL: step.duration("ttl_ns")}
		return d.client(step).CacheSet(context.Background(), entry)
	},
	"cache_delete": func(d *driver, step words, _ *words) error {
		return d.client(step).CacheDelete(context.Background(), cacheKey(step))
	},
	"reset": func(d *driver, _ words, answer *words) error {
		for _, begun := range d.begun {
			begun.cancel()
		}
		for _, client := range d.clients {
			_ = client.Close(context.Background()) // a case that cares closes by itself
		}
		clear(d.begun)
		clear(d.flows)
		clear(d.clients)
		answer.add("handles", 0) // it has none
		return nil
	},
}

func (d *driver) client(step words) *core.Client { return d.clients[step.number("client")] }
func (d *driver) flow(step words) *core.Flow     { return d.flows[step.number("flow")] }

// join waits for a flow that was begun.
func (d *driver) join(step words) *core.Flow {
	number := step.number("flow")
	d.flows[number] = <-d.begun[number].flow
	delete(d.begun, number)
	return d.flows[number]
}

func params(step words) core.FlowParams {
	params := core.FlowParams{
		Baggage:         step.text("baggage"),
		ResultCacheKey:  step.text("result_cache_key"),
		GlobalCacheKeys: step.list("global_cache_key"),
		RampMode:        step.text("ramp_mode") == "true",
		CheckTimeout:    step.duration("check_timeout_ns"),
	}
	for _, label := range step.members("labels.") {
		if params.Labels == nil {
			params.Labels = map[string]string{}
		}
		params.Labels[label.name] = label.value
	}
	return params
}

func cacheKey(step words) core.CacheKey {
	key := core.CacheKey{ControlPoint: step.text("control_point"), Key: step.text("key"), Timeout: step.duration("timeout_ns")}
	if step.text("scope") == "global" {
		key.Scope = core.GlobalCache
	}
	return key
}

// read adds what a flow says of its decision.
func read(flow *core.Flow, answer *words) error {
	answer.add("decision", flow.Decision())
	answer.add("should_run", flow.ShouldRun())
	answer.add("http_status", flow.HTTPStatus())
	answer.add("reject_reason", [...]string{"NONE", "RATE_LIMITED", "NO_TOKENS", "NOT_SAMPLED", "NO_MATCHING_RAMP"}[flow.RejectReason()])
	answer.add("unreachable_reason", flow.UnreachableReason())
	if wait, ok := flow.RetryAfter(); ok {
		answer.add("retry_after_ns", int64(wait))
	}
	if err := flow.Err(); err != nil {
		answer.add("failure", err)
	}
	return nil
}

// addJSON adds a message, when there is one.
func addJSON(answer *words, message proto.Message) error {
	if !message.ProtoReflect().IsValid() {
		return nil
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, UseEnumNumbers: true}.Marshal(message)
	answer.add("json", string(text))
	return err
}

// addValue adds what a cache had.
func addValue(answer *words, prefix string, value core.CacheValue) error {
	switch {
	case value.Err != nil && prefix == "":
		return value.Err
	case value.Err != nil:
		for _, word := range failure(value.Err) {
			answer.add(prefix+word.name, word.value)
		}
	case value.Hit:
		answer.add(prefix+"status", "HIT")
		answer.add(prefix+"value", string(value.Value))
	default:
		answer.add(prefix+"status", "MISS")
	}
	return nil
}
