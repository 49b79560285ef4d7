package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/libaperture/libaperture/core/wire/checkv1"
)

const (
	// recentDecisions is how many decisions the status page shows.
	recentDecisions = 100
	// historySeconds is how far its charts go back.
	historySeconds = 300
)

// activity is what the status page shows of the calls: the last decisions, and how many there were in each second. It
// tells no label values, which may be about persons.
type activity struct {
	accepted, rejected, failed atomic.Uint64

	mu      sync.Mutex
	recent  [recentDecisions]decisionSummary
	decided int // so many decisions were written to recent, one after the other
	history [historySeconds]tally
	seconds int
	last    tally // the totals at the last tick
}

// decisionSummary is one decision.
type decisionSummary struct {
	Time         time.Time `json:"time"`
	ControlPoint string    `json:"control_point"`
	Accepted     bool      `json:"accepted"`
	// Reason is that of a rejection, and By are the components that rejected the flow, as policy/component.
	Reason string   `json:"reason,omitempty"`
	By     []string `json:"by,omitempty"`
	// Milliseconds is how long the decision took.
	Milliseconds float64 `json:"milliseconds"`
	// Labels are the keys of the flow's labels.
	Labels []string `json:"labels,omitempty"`
}

// tally is how many calls ended in one second.
type tally struct {
	Accepted uint64 `json:"accepted"`
	Rejected uint64 `json:"rejected"`
	Failed   uint64 `json:"failed"`
}

// note notes a decision.
func (a *activity) note(response *checkv1.CheckResponse) {
	summary := decisionSummary{
		Time:         response.GetEnd().AsTime(),
		ControlPoint: shorten(response.GetControlPoint()),
		Accepted:     response.GetDecisionType() == checkv1.CheckResponse_DECISION_TYPE_ACCEPTED,
		Milliseconds: float64(response.GetEnd().AsTime().Sub(response.GetStart().AsTime())) / float64(time.Millisecond),
	}
	if summary.Accepted {
		a.accepted.Add(1)
	} else {
		a.rejected.Add(1)
		summary.Reason = response.GetRejectReason().String()
		for _, one := range response.GetLimiterDecisions() {
			if one.GetDropped() {
				summary.By = append(summary.By, one.GetPolicyName()+"/"+one.GetComponentId())
			}
		}
	}
	for _, key := range response.GetFlowLabelKeys() {
		if len(summary.Labels) == mostLabelKeys {
			break
		}
		summary.Labels = append(summary.Labels, shorten(key))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recent[a.decided%recentDecisions] = summary
	a.decided++
}

// What a client sends is kept short: it may be of any length.
const (
	mostLabelKeys = 10
	longestText   = 100
)

func shorten(text string) string {
	runes := 0
	for i := range text {
		if runes++; runes > longestText {
			return text[:i] + "…"
		}
	}
	return text
}

// tick ends a second of the history.
func (a *activity) tick() {
	totals := tally{a.accepted.Load(), a.rejected.Load(), a.failed.Load()}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.history[a.seconds%historySeconds] = tally{
		totals.Accepted - a.last.Accepted, totals.Rejected - a.last.Rejected, totals.Failed - a.last.Failed,
	}
	a.seconds++
	a.last = totals
}

// decisions returns the last decisions, the newest first.
func (a *activity) decisions() []decisionSummary {
	a.mu.Lock()
	defer a.mu.Unlock()
	recent := make([]decisionSummary, 0, min(a.decided, recentDecisions))
	for i := a.decided - 1; i >= 0 && i >= a.decided-recentDecisions; i-- {
		recent = append(recent, a.recent[i%recentDecisions])
	}
	return recent
}

// perSecond returns the history, the oldest second first.
func (a *activity) perSecond() []tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	history := make([]tally, 0, min(a.seconds, historySeconds))
	for i := max(a.seconds-historySeconds, 0); i < a.seconds; i++ {
		history = append(history, a.history[i%historySeconds])
	}
	return history
}
