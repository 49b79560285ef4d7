package main

// #include "aperture.h"
import "C"

import (
	"context"
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/libaperture/libaperture/capi/internal/abi"
	"github.com/libaperture/libaperture/core"
	"github.com/libaperture/libaperture/internal/guard"
)

//export aperture_go_start_flow
func aperture_go_start_flow(client C.uint64_t, params *C.aperture_flow_params, flow *C.uint64_t, decision *C.aperture_decision, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_start_flow", failure, func() error {
		s, err := clients.find(client)
		if err != nil {
			return err
		}
		prepared, err := s.prepare(params, flow, decision)
		if err != nil {
			return err
		}
		return s.handOut(prepared.Start(context.Background()), flow, decision)
	})
}

// prepare reads what both forms of starting a flow are given, once it is sure that they can answer.
func (s *session) prepare(params *C.aperture_flow_params, flow *C.uint64_t, decision *C.aperture_decision) (core.PreparedFlow, error) {
	if err := given("flow", flow); err != nil {
		return core.PreparedFlow{}, err
	}
	if err := optionalDecision(decision); err != nil {
		return core.PreparedFlow{}, err
	}
	var request core.FlowParams
	memory := new(flowMemory)
	controlPoint, err := flowRequest(params, &request, memory)
	if err != nil {
		return core.PreparedFlow{}, err
	}
	return s.client.PrepareFlowIn(&memory.flow, controlPoint, &request)
}

// handOut gives a flow to the caller. A flow that the caller will not see is ended, also when that is because of a panic.
func (s *session) handOut(started *core.Flow, flow *C.uint64_t, decision *C.aperture_decision) error {
	var number uint64
	seen := false
	defer func() {
		if !seen {
			s.takeBack(number, started)
		}
	}()
	guard.Point("capi.hand_out")
	var err error
	if number, err = flows.Open(started); err != nil {
		return err
	}
	fillDecision(decision, started)
	*flow = C.uint64_t(number)
	seen = true
	return nil
}

//export aperture_go_flow_should_run
func aperture_go_flow_should_run(flow C.uint64_t, shouldRun *C.int32_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_should_run", failure, func() error {
		if err := given("should_run", shouldRun); err != nil {
			return err
		}
		*shouldRun = 0
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		*shouldRun = integer(f.ShouldRun())
		return nil
	})
}

//export aperture_go_flow_decision
func aperture_go_flow_decision(flow C.uint64_t, decision *C.aperture_decision, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_decision", failure, func() error {
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		if err := given("decision", decision); err != nil {
			return err
		}
		if err := optionalDecision(decision); err != nil {
			return err
		}
		fillDecision(decision, f)
		return nil
	})
}

//export aperture_go_flow_error
func aperture_go_flow_error(flow C.uint64_t, reason *C.aperture_error, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_error", failure, func() error {
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		if err := given("failure", reason); err != nil {
			return err
		}
		if err := sized("failure", unsafe.Pointer(reason), reason.struct_size, abi.SmallestError, C.sizeof_aperture_error); err != nil {
			return err
		}
		report(reason, f.Err())
		return nil
	})
}

//export aperture_go_flow_set_status
func aperture_go_flow_set_status(flow C.uint64_t, status C.aperture_flow_status, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_set_status", failure, func() error {
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		return f.SetStatus(core.Status(status))
	})
}

//export aperture_go_flow_end
func aperture_go_flow_end(flow C.uint64_t, result *C.aperture_end_result, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_end", failure, func() error {
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		if err := optionalEndResult(result); err != nil {
			return err
		}
		ended, err := f.End(context.Background())
		fillEndResult(result, ended)
		return err
	})
}

//export aperture_go_flow_end_result
func aperture_go_flow_end_result(flow C.uint64_t, result *C.aperture_end_result, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_end_result", failure, func() error {
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		if err := optionalEndResult(result); err != nil {
			return err
		}
		ended, err, done := f.EndResult()
		fillEndResult(result, ended)
		if !done {
			return errPending
		}
		return err
	})
}

//export aperture_go_flow_end_response
func aperture_go_flow_end_response(flow C.uint64_t, buffer *C.char, capacity C.size_t, length *C.size_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_end_response", failure, func() error {
		if err := checkBuffer(buffer, capacity, length); err != nil {
			return err
		}
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		ended, _, _ := f.EndResult()
		if ended.Response == nil {
			return nil
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(ended.Response)
		if err != nil {
			return fmt.Errorf("the agent's answer as JSON: %w", err)
		}
		return fill(buffer, capacity, length, text)
	})
}

//export aperture_go_flow_check_response
func aperture_go_flow_check_response(flow C.uint64_t, buffer *C.char, capacity C.size_t, length *C.size_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_check_response", failure, func() error {
		if err := checkBuffer(buffer, capacity, length); err != nil {
			return err
		}
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		response := f.CheckResponse()
		if response == nil {
			return nil
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true, UseEnumNumbers: true}.Marshal(response)
		if err != nil {
			return fmt.Errorf("the check response as JSON: %w", err)
		}
		return fill(buffer, capacity, length, text)
	})
}

//export aperture_go_flow_cache_value
func aperture_go_flow_cache_value(flow C.uint64_t, scope C.aperture_cache_scope, key *C.aperture_text, status *C.aperture_lookup_status, buffer *C.char, capacity C.size_t, length *C.size_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_cache_value", failure, func() error {
		return cacheValue(scope, key, status, buffer, capacity, length, func() (cached, error) {
			f, err := flows.find(flow)
			if err != nil {
				return nil, err
			}
			return flowCache{f}, nil
		})
	})
}

//export aperture_go_flow_set_attribute
func aperture_go_flow_set_attribute(flow C.uint64_t, in *C.aperture_attribute, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_set_attribute", failure, func() error {
		f, err := flows.find(flow)
		if err != nil {
			return err
		}
		attribute, err := attributeOf(in)
		if err != nil {
			return err
		}
		return f.SetAttribute(attribute)
	})
}

//export aperture_go_flow_close
func aperture_go_flow_close(flow C.uint64_t, failure *C.aperture_error) C.aperture_code {
	return enter("aperture_flow_close", failure, func() error {
		closed := flows.Close(uint64(flow))
		if closed == nil {
			return flows.refuse(flow)
		}
		sessionOf(closed).finishAlone(closed, closed.BeginAbandoned)
		return nil
	})
}
