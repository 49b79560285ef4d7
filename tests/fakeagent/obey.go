package fakeagent

import (
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

// The labels with which a flow chooses its answer from an agent with Options.ObeyLabels. Each may be missing.
const (
	LabelAnswer   = "fakeagent.answer"    // accept, reject, error, garbage or hang
	LabelInFlight = "fakeagent.in_flight" // as Behaviour.InFlight
	LabelDelay    = "fakeagent.delay"     // a duration, as Trouble.Delay
)

// obey returns the behaviour with what the labels of a flow change. What they say wrong is an error for the flow.
func (b Behaviour) obey(labels map[string]string) (Behaviour, error) {
	var err error
	if text, ok := labels[LabelInFlight]; ok {
		if b.InFlight, err = strconv.Atoi(text); err != nil {
			return b, refuse(LabelInFlight, text)
		}
	}
	if text, ok := labels[LabelDelay]; ok {
		if b.Check.Delay, err = time.ParseDuration(text); err != nil {
			return b, refuse(LabelDelay, text)
		}
	}
	switch text, ok := labels[LabelAnswer]; {
	case !ok:
	case text == "accept":
		b.Response = nil
	case text == "reject":
		b.Response = Rejection(checkv1.CheckResponse_REJECT_REASON_RATE_LIMITED, 0, -1)
	case text == "error":
		b.Check.Error, b.Check.Message = codes.Internal, "as the flow asked"
	case text == "garbage":
		b.Check.Garbage = true
	case text == "hang":
		b.Check.Hang = true
	default:
		return b, refuse(LabelAnswer, text)
	}
	return b, nil
}

func refuse(label, text string) error {
	return status.Error(codes.InvalidArgument, fmt.Sprintf("label %s: %q makes no sense", label, text))
}
