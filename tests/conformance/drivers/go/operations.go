package main

import (
	"context"
	"errors"
	"reflect"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/core/check"
)

// driver has what the steps before have made.
type driver struct {
	clients map[int]*core.Client
	flows   map[int]*core.Flow
	begun   map[int]begunFlow
}

// begunFlow is a flow that waits for its decision.
type begunFlow struct {
	cancel context.CancelFunc
	flow   chan *core.Flow
}

func newDriver() *driver {
	return &driver{clients: map[int]*core.Client{}, flows: map[int]*core.Flow{}, begun: map[int]begunFlow{}}
}

// do does what a step asks for.
func (d *driver) do(operation string, s *step) (answer, error) {
	ctx := context.Background()
	client, flow, begun := d.clients[s.Client], d.flows[s.Flow], d.begun[s.Flow]
	key := core.CacheKey{ControlPoint: s.ControlPoint, Key: s.ResultCacheKey, Timeout: s.Timeout}
	if s.GlobalCacheKey != "" {
		key.Scope, key.Key = core.GlobalCache, s.GlobalCacheKey
	}
	switch operation {
	case "open":
		s.TelemetryOff = s.Telemetry == "false"
		client, err := core.NewClient(s.Options)
		if err == nil {
			d.clients[s.Client] = client
		}
		return nil, err
	case "wait_ready":
		ctx, cancel := context.WithTimeout(ctx, s.Timeout)
		defer cancel()
		return nil, client.WaitReady(ctx)
	case "state":
		return answer{"state": client.State()}, nil
	case "stats":
		return counters(client.Stats()), nil
	case "close":
		if s.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.Timeout)
			defer cancel()
		}
		err := client.Close(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return answer{"error": "TIMEOUT", "message": err}, nil
		}
		return nil, err
	case "start_flow":
		flow, err := client.StartFlow(ctx, s.ControlPoint, s.FlowParams)
		if err != nil {
			return nil, err
		}
		d.flows[s.Flow] = flow
		return decisionOf(flow), nil
	case "begin_flow":
		prepared, err := client.PrepareFlow(s.ControlPoint, &s.FlowParams)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		begun = begunFlow{cancel, make(chan *core.Flow, 1)}
		go func() { begun.flow <- prepared.Start(ctx) }()
		d.begun[s.Flow] = begun
		return nil, nil
	case "join_flow", "cancel_flow":
		if operation == "cancel_flow" {
			begun.cancel()
		}
		flow = <-begun.flow
		d.flows[s.Flow] = flow
		delete(d.begun, s.Flow)
		if flow.UnreachableReason() == check.UnreachableCancelled {
			return answer{"cancelled": true}, nil
		}
		return decisionOf(flow), nil
	case "read":
		return decisionOf(flow), nil
	case "check_response":
		return jsonOf(flow.CheckResponse())
	case "set_status":
		return nil, flow.SetStatus(map[string]core.Status{"OK": core.StatusOK, "Error": core.StatusError}[s.Status])
	case "set_attribute":
		return nil, flow.SetAttribute(attribute(s.Key, s.Attribute))
	case "end":
		result, err := flow.End(ctx)
		if err != nil {
			return nil, err
		}
		return jsonOf(result.Response)
	case "result_cache":
		return valueOf(flow.ResultCache()), nil
	case "global_cache":
		return valueOf(flow.GlobalCache(s.Key)), nil
	case "set_result_cache":
		return nil, flow.SetResultCache(ctx, s.Value, s.TTL)
	case "delete_result_cache":
		return nil, flow.DeleteResultCache(ctx)
	case "set_global_cache":
		return nil, flow.SetGlobalCache(ctx, s.Key, s.Value, s.TTL)
	case "delete_global_cache":
		return nil, flow.DeleteGlobalCache(ctx, s.Key)
	case "cache_lookup":
		found, err := client.CacheLookup(ctx, core.CacheKeys{
			ControlPoint: s.ControlPoint, ResultKey: s.ResultCacheKey, GlobalKeys: s.GlobalCacheKeys, Timeout: s.Timeout})
		if err != nil {
			return nil, err
		}
		values := answer{"result": valueOf(found.Result())}
		for _, key := range s.GlobalCacheKeys {
			values[key] = valueOf(found.Global(key))
		}
		return values, nil
	case "cache_set":
		return nil, client.CacheSet(ctx, core.CacheEntry{CacheKey: key, Value: s.Value, TTL: s.TTL})
	case "cache_delete":
		return nil, client.CacheDelete(ctx, key)
	case "reset":
		for _, begun := range d.begun {
			begun.cancel()
		}
		for _, client := range d.clients {
			_ = client.Close(ctx) // a case that cares closes by itself
		}
		*d = *newDriver()
		return answer{"handles": 0}, nil // it has none
	}
	return answer{"error": "UNSUPPORTED"}, nil
}

func attribute(key string, value any) core.Attribute {
	switch value := value.(type) {
	case int64:
		return core.IntegerAttribute(key, value)
	case float64:
		return core.NumberAttribute(key, value)
	default:
		return core.TextAttribute(key, value.(string))
	}
}

func counters(stats core.Stats) answer {
	counted := answer{}
	for field, value := range reflect.ValueOf(stats).Fields() {
		name := regexp.MustCompile("[A-Z]").ReplaceAllString(field.Name, "_$0")
		counted[strings.ToLower(name[1:])] = value
	}
	for reason, count := range stats.UnreachableByReason {
		counted["unreachable_"+check.UnreachableReason(reason).String()] = count
	}
	return counted
}

func decisionOf(flow *core.Flow) answer {
	said := answer{
		"decision":           flow.Decision(),
		"should_run":         flow.ShouldRun(),
		"http_status":        flow.HTTPStatus(),
		"reject_reason":      [...]string{"NONE", "RATE_LIMITED", "NO_TOKENS", "NOT_SAMPLED", "NO_MATCHING_RAMP"}[flow.RejectReason()],
		"unreachable_reason": flow.UnreachableReason(),
	}
	if wait, ok := flow.RetryAfter(); ok {
		said["retry_after_ns"] = wait.Nanoseconds()
	}
	if err := flow.Err(); err != nil {
		said["failure"] = err
	}
	return said
}

func jsonOf(message proto.Message) (answer, error) {
	if !message.ProtoReflect().IsValid() {
		return nil, nil
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, UseEnumNumbers: true}.Marshal(message)
	return answer{"json": string(text)}, err
}

func valueOf(found core.CacheValue) answer {
	switch {
	case found.Err != nil:
		return failure(found.Err)
	case found.Hit:
		return answer{"status": "HIT", "value": string(found.Value)}
	}
	return answer{"status": "MISS"}
}

func failure(err error) answer {
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
	return answer{"error": code, "message": err}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
