package core

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/libaperture/libaperture/core/baggage"
	"github.com/libaperture/libaperture/core/check"
)

// MaxRequestBytes limits the texts of a flow: its control point, and the keys and values of its labels with
// bytesPerLabel for each. It keeps the request below the 4 MiB that a gRPC server takes by default.
const MaxRequestBytes = 4_000_000

// bytesPerLabel is the most that one label of a request of this size needs on the wire beside its texts.
const bytesPerLabel = 16

// fillRequest writes the flow's request, or says which argument is wrong. It reports whether a label had to be
// repaired.
func fillRequest(flow *Flow, controlPoint string, params *FlowParams) (sanitised bool, err error) {
	if err := checkControlPoint(controlPoint); err != nil {
		return false, err
	}
	timeout, err := pick("check timeout", params.CheckTimeout, DefaultCheckTimeout, MaxCheckTimeout)
	if err != nil {
		return false, err
	}
	lookup, lookupSize, err := cacheLookup(params.ResultCacheKey, params.GlobalCacheKeys)
	if err != nil {
		return false, err
	}

	labels := allLabels(params)
	size := len(controlPoint) + lookupSize
	for i := range labels {
		label := &labels[i]
		size += len(label.Key) + len(label.Value) + bytesPerLabel
		sanitised = sanitised || !valid(label.Key) || !valid(label.Value)
	}
	if sanitised {
		labels, size = validLabels(labels), len(controlPoint)+lookupSize
		for i := range labels {
			size += len(labels[i].Key) + len(labels[i].Value) + bytesPerLabel
		}
	}
	if size > MaxRequestBytes {
		return false, &ArgumentError{"labels", fmt.Sprintf("are too large: with the control point and the cache keys, and %d bytes for each, "+
			"they have %d bytes; at most %d can be sent", bytesPerLabel, size, MaxRequestBytes)}
	}

	flow.request = check.Request{
		ControlPoint: controlPoint,
		Labels:       labels,
		RampMode:     params.RampMode,
		Timeout:      timeout,
		CacheLookup:  lookup,
	}
	if flow.client.telemetry != nil {
		flow.traced = &traced{size: size}
	}
	return sanitised, nil
}

// checkControlPoint finds mistakes in the name of a control point.
func checkControlPoint(controlPoint string) error {
	switch {
	case controlPoint == "":
		return &ArgumentError{"control point", "is empty; give the name of the place that the flow guards"}
	case !valid(controlPoint):
		return &ArgumentError{"control point", "is not UTF-8"}
	}
	return nil
}

// valid says whether a text is UTF-8. For a short one that is ASCII, as most are, it takes a third of the time of
// utf8.ValidString.
func valid(text string) bool {
	const short = 32
	if len(text) > short {
		return utf8.ValidString(text)
	}
	var bits byte
	for i := range len(text) {
		bits |= text[i]
	}
	return bits < utf8.RuneSelf || utf8.ValidString(text)
}

// allLabels returns the labels of a flow, those that count more behind the others.
func allLabels(params *FlowParams) check.Labels {
	if params.Baggage == "" && len(params.Labels) == 0 {
		return params.LabelList
	}
	inherited, _ := baggage.Parse(params.Baggage)
	labels := make(check.Labels, 0, len(inherited)+len(params.LabelList)+len(params.Labels))
	labels = append(append(labels, inherited...), params.LabelList...)
	for key, value := range params.Labels {
		labels = append(labels, check.Label{Key: key, Value: value})
	}
	return labels
}

// validLabels returns a copy of the labels in which everything is UTF-8. The wire format takes nothing else, and a
// client that fails open must not let a flow pass because somebody sent it a damaged header.
func validLabels(labels check.Labels) check.Labels {
	valid := make(check.Labels, len(labels))
	for i, label := range labels {
		valid[i] = check.Label{
			Key:   strings.ToValidUTF8(label.Key, "\uFFFD"),
			Value: strings.ToValidUTF8(label.Value, "\uFFFD"),
		}
	}
	return valid
}
