package fakeagent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// ParseScript reads a script in JSON. It has a list of answers for each RPC that is not left to Agent.Set:
//
//	{"check": [ANSWER, ...], "flow_end": [...], "cache_lookup": [...], "cache_upsert": [...], "cache_delete": [...], "export": [...]}
//
// An answer has at most one of these, and answers as an agent does by itself when it has none:
//
//	"response": {...}            the response, in the JSON of protobuf with the protocol's names of fields; not of export
//	"in_flight": 2               of check, also beside a response: as Behaviour.InFlight
//	"rejected_spans": 2          of export: as Behaviour.RejectSpans
//	"error": "UNAVAILABLE"       the name of a gRPC code; "message" may stand beside it
//	"garbage": true              bytes that are no message
//	"hang": true                 nothing, until the caller gives up
//
// Each but hang may have a "delay", a duration such as "50ms". What is not known is refused.
func ParseScript(text []byte) (Script, error) {
	var lists struct {
		Check       []json.RawMessage `json:"check"`
		FlowEnd     []json.RawMessage `json:"flow_end"`
		CacheLookup []json.RawMessage `json:"cache_lookup"`
		CacheUpsert []json.RawMessage `json:"cache_upsert"`
		CacheDelete []json.RawMessage `json:"cache_delete"`
		Export      []json.RawMessage `json:"export"`
	}
	if err := parseStrictly(text, &lists); err != nil {
		return Script{}, fmt.Errorf("script: %w", err)
	}
	var script Script
	for _, list := range []struct {
		name       string
		answers    []json.RawMessage
		parse      func([]byte) (Behaviour, error)
		behaviours *[]Behaviour
	}{
		{"check", lists.Check, parseCheck, &script.Check},
		{"flow_end", lists.FlowEnd, parseFlowEnd, &script.FlowEnd},
		{"cache_lookup", lists.CacheLookup, parseCacheLookup, &script.CacheLookup},
		{"cache_upsert", lists.CacheUpsert, parseCacheUpsert, &script.CacheUpsert},
		{"cache_delete", lists.CacheDelete, parseCacheDelete, &script.CacheDelete},
		{"export", lists.Export, parseExport, &script.Export},
	} {
		for i, answer := range list.answers {
			behaviour, err := list.parse(answer)
			if err != nil {
				return Script{}, fmt.Errorf("script: %s[%d]: %w", list.name, i, err)
			}
			*list.behaviours = append(*list.behaviours, behaviour)
		}
	}
	return script, nil
}

func parseCheck(text []byte) (behaviour Behaviour, err error) {
	var answer struct {
		respondingAnswer
		InFlight int `json:"in_flight"`
	}
	if err := parseStrictly(text, &answer); err != nil {
		return Behaviour{}, err
	}
	if answer.InFlight < 0 {
		return Behaviour{}, errors.New("in_flight is negative")
	}
	behaviour.InFlight = answer.InFlight
	if behaviour.Check, err = answer.trouble(answer.Response != nil || answer.InFlight > 0); err != nil {
		return Behaviour{}, err
	}
	behaviour.Response, err = parseResponse[checkv1.CheckResponse](answer.Response)
	return behaviour, err
}

func parseFlowEnd(text []byte) (behaviour Behaviour, err error) {
	behaviour.FlowEndResponse, behaviour.FlowEnd, err = parseAnswer[checkv1.FlowEndResponse](text)
	return behaviour, err
}

func parseCacheLookup(text []byte) (behaviour Behaviour, err error) {
	behaviour.CacheLookupResponse, behaviour.CacheLookup, err = parseAnswer[checkv1.CacheLookupResponse](text)
	return behaviour, err
}

func parseCacheUpsert(text []byte) (behaviour Behaviour, err error) {
	behaviour.CacheUpsertResponse, behaviour.CacheUpsert, err = parseAnswer[checkv1.CacheUpsertResponse](text)
	return behaviour, err
}

func parseCacheDelete(text []byte) (behaviour Behaviour, err error) {
	behaviour.CacheDeleteResponse, behaviour.CacheDelete, err = parseAnswer[checkv1.CacheDeleteResponse](text)
	return behaviour, err
}

func parseExport(text []byte) (behaviour Behaviour, err error) {
	var answer struct {
		troubledAnswer
		RejectedSpans int64 `json:"rejected_spans"`
	}
	if err := parseStrictly(text, &answer); err != nil {
		return Behaviour{}, err
	}
	if answer.RejectedSpans < 0 {
		return Behaviour{}, errors.New("rejected_spans is negative")
	}
	behaviour.RejectSpans = answer.RejectedSpans
	behaviour.Export, err = answer.trouble(answer.RejectedSpans > 0)
	return behaviour, err
}

// troubledAnswer is what the answers of all RPCs may say.
type troubledAnswer struct {
	Error   string `json:"error"`
	Message string `json:"message"`
	Garbage bool   `json:"garbage"`
	Hang    bool   `json:"hang"`
	Delay   string `json:"delay"`
}

// trouble returns what goes wrong with the call. It is told whether the answer says anything that needs a response.
func (a *troubledAnswer) trouble(responds bool) (Trouble, error) {
	trouble := Trouble{Garbage: a.Garbage, Hang: a.Hang, Message: a.Message}
	var err error
	said := 0
	for _, one := range []bool{responds, a.Error != "", a.Garbage, a.Hang} {
		if one {
			said++
		}
	}
	switch {
	case said > 1:
		return Trouble{}, errors.New("a response, error, garbage and hang exclude each other")
	case a.Message != "" && a.Error == "":
		return Trouble{}, errors.New("message without error")
	case a.Delay != "" && a.Hang:
		return Trouble{}, errors.New("delay with hang, which never answers")
	}
	if a.Error != "" {
		if trouble.Error, err = ParseCode(a.Error); err != nil {
			return Trouble{}, fmt.Errorf("error: %w", err)
		}
	}
	if a.Delay != "" {
		if trouble.Delay, err = time.ParseDuration(a.Delay); err != nil || trouble.Delay < 0 {
			return Trouble{}, fmt.Errorf("delay: %q is no duration such as 50ms", a.Delay)
		}
	}
	return trouble, nil
}

// respondingAnswer is what the answers of RPCs with a response may say.
type respondingAnswer struct {
	troubledAnswer
	Response json.RawMessage `json:"response"`
}

// parseAnswer reads an answer of an RPC that has nothing of its own.
func parseAnswer[Message any, Response interface {
	*Message
	proto.Message
}](text []byte) (Response, Trouble, error) {
	var answer respondingAnswer
	if err := parseStrictly(text, &answer); err != nil {
		return nil, Trouble{}, err
	}
	trouble, err := answer.trouble(answer.Response != nil)
	if err != nil {
		return nil, Trouble{}, err
	}
	response, err := parseResponse[Message, Response](answer.Response)
	return response, trouble, err
}

// parseResponse reads a response; nil when there is none.
func parseResponse[Message any, Response interface {
	*Message
	proto.Message
}](text json.RawMessage) (Response, error) {
	if text == nil {
		return nil, nil
	}
	response := Response(new(Message))
	if err := protojson.Unmarshal(text, response); err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	return response, nil
}

// parseStrictly reads one value of JSON, and refuses members that it does not know.
func parseStrictly(text []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("more follows after the end")
	}
	return nil
}

// ParseCode returns the code of an error by its name, such as UNAVAILABLE. OK is refused.
func ParseCode(name string) (codes.Code, error) {
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(strconv.Quote(name))); err != nil {
		return code, fmt.Errorf("%q is no gRPC code", name)
	}
	if code == codes.OK {
		return code, errors.New("OK is no error")
	}
	return code, nil
}
