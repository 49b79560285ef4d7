package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/libaperture/libaperture/tests/fakeagent"
)

// seenCall is one call to the agent.
type seenCall struct {
	Request   json.RawMessage     `json:"request,omitempty"` // in the JSON of protobuf, with the names of the protocol
	TimeoutMS float64             `json:"timeout_ms"`        // until its deadline; 0 without one
	Metadata  map[string][]string `json:"metadata"`
	Encoding  string              `json:"encoding"` // how it was compressed, "" when it was not
	Spans     int                 `json:"spans,omitempty"`
}

// seenSpan is one span that the agent took.
type seenSpan struct {
	Name          string          `json:"name"`
	Root          bool            `json:"root"`
	Attributes    map[string]any  `json:"attributes"`
	CheckResponse json.RawMessage `json:"check_response"` // what the attribute aperture.check_response means
	// How long ago the flow began, how long its check took, and how long its work, by the timestamps in nanoseconds.
	AgeMS      float64 `json:"age_ms"`
	CheckMS    float64 `json:"check_ms"`
	WorkloadMS float64 `json:"workload_ms"`
	// Whether the timestamps in milliseconds are the same as those in nanoseconds.
	SameInMS bool `json:"same_in_ms"`
	// How many attributes are given twice or are of a kind that agents do not read.
	UselessAttributes int `json:"useless_attributes"`
}

// everything are the lists of what an agent can see. One that a case does not name must be empty.
var everything = []string{"checks", "flow_ends", "cache_lookups", "cache_upserts", "cache_deletes", "spans"}

// seenBy returns what an agent saw, as data to compare.
func seenBy(agent *fakeagent.Agent) (map[string]any, error) {
	recorded := agent.Recorded()
	var seen struct {
		Checks       []seenCall `json:"checks"`
		FlowEnds     []seenCall `json:"flow_ends"`
		CacheLookups []seenCall `json:"cache_lookups"`
		CacheUpserts []seenCall `json:"cache_upserts"`
		CacheDeletes []seenCall `json:"cache_deletes"`
		Exports      []seenCall `json:"exports"`
		Spans        []seenSpan `json:"spans"`
		Cancelled    int        `json:"cancelled"` // Checks whose callers gave up
	}
	seen.Checks = calls(recorded.Checks)
	seen.FlowEnds = calls(recorded.FlowEnds)
	seen.CacheLookups = calls(recorded.CacheLookups)
	seen.CacheUpserts = calls(recorded.CacheUpserts)
	seen.CacheDeletes = calls(recorded.CacheDeletes)
	seen.Exports = []seenCall{}
	for _, export := range recorded.Exports {
		call := newSeenCall(export.Metadata, export.Timeout, export.Encoding)
		call.Spans = export.Request
		seen.Exports = append(seen.Exports, call)
	}
	seen.Spans = []seenSpan{}
	for i := range recorded.Spans {
		seen.Spans = append(seen.Spans, newSeenSpan(&recorded.Spans[i]))
	}
	seen.Cancelled = recorded.CancelledCount

	text, err := json.Marshal(seen)
	if err != nil {
		return nil, err
	}
	data := map[string]any{}
	return data, decode(text, &data)
}

func calls[Request proto.Message](recorded []fakeagent.Call[Request]) []seenCall {
	seen := make([]seenCall, 0, len(recorded))
	for _, call := range recorded {
		one := newSeenCall(call.Metadata, call.Timeout, call.Encoding)
		one.Request = messageJSON(call.Request)
		seen = append(seen, one)
	}
	return seen
}

func newSeenCall(md metadata.MD, timeout time.Duration, encoding string) seenCall {
	return seenCall{Metadata: md, TimeoutMS: milliseconds(int64(timeout)), Encoding: encoding}
}

func newSeenSpan(span *fakeagent.Span) seenSpan {
	seen := seenSpan{
		Name:              span.Name,
		Root:              len(span.ParentSpanID) == 0,
		Attributes:        map[string]any{},
		UselessAttributes: span.DoubleAttributes + span.OtherAttributes,
		SameInMS:          true,
	}
	for key, value := range span.Attributes {
		if number, ok := value.(float64); ok {
			value = fakeagent.Double(number)
		}
		seen.Attributes[key] = value
	}
	if response, err := span.CheckResponse(); err == nil {
		seen.CheckResponse = messageJSON(response)
	}
	timestamp := func(name string) int64 {
		ns, _ := span.Attributes["aperture."+name+"_timestamp"].(int64)
		ms, ok := span.Attributes["aperture."+name+"_timestamp_ms"].(int64)
		seen.SameInMS = seen.SameInMS && ok && ns/int64(time.Millisecond) == ms
		return ns
	}
	start, workload, end := timestamp("flow_start"), timestamp("workload_start"), timestamp("flow_end")
	seen.AgeMS = milliseconds(time.Now().UnixNano() - start)
	seen.CheckMS = milliseconds(workload - start)
	seen.WorkloadMS = milliseconds(end - workload)
	return seen
}

func messageJSON(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil { // a text that is not UTF-8 cannot have come from the wire
		text, _ = json.Marshal(fmt.Sprint(err))
	}
	return text
}

func milliseconds(nanoseconds int64) float64 { return float64(nanoseconds) / float64(time.Millisecond) }

// matchSeen compares what the agent saw with what a case expects. A list may be expected as a number, of its elements.
func matchSeen(want, got map[string]any, whole bool) []string {
	want, got = copyOf(want), copyOf(got)
	for _, name := range everything {
		if _, ok := want[name]; !ok && whole {
			want[name] = json.Number("0")
		}
	}
	for name := range want {
		list, ok := got[name].([]any)
		if ok && !isAboutElements(want[name]) {
			if len(list) > 0 && fmt.Sprint(want[name]) == "0" {
				return wrong("seen."+name, "nothing", list)
			}
			got[name] = json.Number(fmt.Sprint(len(list)))
		}
	}
	return matcher{}.match("seen", want, got)
}

// isAboutElements says whether what is expected of a list is about its elements, and not about their number.
func isAboutElements(want any) bool {
	switch want := want.(type) {
	case []any:
		return true
	case map[string]any:
		return want["$each"] != nil
	}
	return false
}

func copyOf(members map[string]any) map[string]any {
	copied := make(map[string]any, len(members))
	for name, member := range members {
		copied[name] = member
	}
	return copied
}

// short cuts what a failure shows.
func short(problems []string) string {
	for i, problem := range problems {
		if len(problem) > 2000 {
			problems[i] = problem[:2000] + "..."
		}
	}
	return strings.Join(problems, "\n")
}
