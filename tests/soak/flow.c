/* What one flow asks for, and whether it gets that. */
#define _POSIX_C_SOURCE 200809L

#include "soak.h"

#include <stdio.h>

uint64_t random_below(struct random *random, uint64_t bound) {
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return (random->state >> 11) % bound;
}

static bool one_in(struct random *random, uint64_t n) {
    return random_below(random, n) == 0;
}

void make_plan(struct plan *plan, struct random *random) {
    const uint64_t dice = random_below(random, 100);
    *plan = (struct plan){
        .answer = dice < 80   ? ANSWER_ACCEPT
                  : dice < 94 ? ANSWER_REJECT
                  : dice < 97 ? ANSWER_ERROR
                  : dice < 98 ? ANSWER_GARBAGE
                              : ANSWER_HANG,
        .in_flight = one_in(random, 4),
        .slow = one_in(random, 50),
        .ramp_mode = one_in(random, 10),
        .damaged = one_in(random, 64),
        .ends = !one_in(random, 32),
        .fails = one_in(random, 5),
        .held = one_in(random, 16),
    };
    const uint64_t patience = random_below(random, 20);
    if (patience < 3) {
        plan->timeout_ns = (int64_t)(1 + random_below(random, 20)) * MILLISECOND;
    } else if (patience < 5 && plan->answer != ANSWER_HANG) {
        plan->timeout_ns = 2 * SECOND;
    }
}

void fill_request(struct request *request, const struct plan *plan) {
    static const char *const answers[] = {"accept", "reject", "error", "garbage", "hang"};
    size_t count = 0;
    request->params = (aperture_flow_params)APERTURE_FLOW_PARAMS_INIT;
    request->labels[count++] =
        (aperture_label){aperture_text_of("fakeagent.answer"), aperture_text_of(answers[plan->answer])};
    if (plan->in_flight) {
        request->labels[count++] = (aperture_label){aperture_text_of("fakeagent.in_flight"), aperture_text_of("1")};
    }
    if (plan->slow) {
        request->labels[count++] = (aperture_label){aperture_text_of("fakeagent.delay"), aperture_text_of("40ms")};
    }
    if (plan->damaged) {
        request->labels[count++] = (aperture_label){aperture_text_of("header"), aperture_text_of("caf\xe9")};
    }
    request->params.control_point = aperture_text_of("soak");
    request->params.labels = request->labels;
    request->params.label_count = count;
    request->params.check_timeout_ns = plan->timeout_ns;
    request->params.ramp_mode = plan->ramp_mode;
}

void note_start(const struct plan *plan, aperture_code code, const aperture_error *error) {
    if (code == APERTURE_OK || code == APERTURE_PENDING) {
        counts.sanitised += plan->damaged;
    } else if (code == APERTURE_ERROR_CLOSED) {
        counts.start_refused++;
    } else {
        mistake("starting a flow", code, error->message);
    }
}

static void note_unreachable(const struct plan *plan, const aperture_decision *decision) {
    switch (decision->unreachable_reason) {
    case APERTURE_UNREACHABLE_REASON_TIMEOUT:
        counts.unreachable_timeout++;
        break;
    case APERTURE_UNREACHABLE_REASON_UNAVAILABLE:
        counts.unreachable_unavailable++;
        break;
    case APERTURE_UNREACHABLE_REASON_AGENT_ERROR:
        counts.unreachable_agent_error++;
        break;
    case APERTURE_UNREACHABLE_REASON_MISCONFIGURED:
        counts.unreachable_misconfigured++;
        break;
    case APERTURE_UNREACHABLE_REASON_CANCELLED:
        counts.unreachable_cancelled++;
        break;
    case APERTURE_UNREACHABLE_REASON_CLOSED:
        counts.unreachable_closed++;
        break;
    case APERTURE_UNREACHABLE_REASON_OVERLOADED:
        counts.unreachable_overloaded++;
        break;
    default:
        mistake("an unreachable flow has no reason", decision->unreachable_reason, "");
    }
    if (decision->should_run) {
        counts.failed_open++;
    } else {
        counts.refused_in_ramp_mode++;
    }
    if (decision->should_run == plan->ramp_mode) {
        mistake("a flow without a decision ran in ramp mode, or did not run", APERTURE_OK, "");
    }
}

void note_decision(struct plan *plan, const aperture_decision *decision) {
    plan->decision = decision->decision;
    switch (decision->decision) {
    case APERTURE_ACCEPTED:
        counts.accepted++;
        if (plan->answer != ANSWER_ACCEPT || !decision->should_run) {
            mistake("a flow was accepted that the agent did not accept", APERTURE_OK, "");
        }
        break;
    case APERTURE_REJECTED:
        counts.rejected++;
        if (plan->answer != ANSWER_REJECT || decision->should_run ||
            decision->reject_reason != APERTURE_REJECT_REASON_RATE_LIMITED) {
            mistake("a flow was rejected that the agent did not reject", APERTURE_OK, "");
        }
        break;
    case APERTURE_UNREACHABLE:
        note_unreachable(plan, decision);
        break;
    default:
        mistake("a decision that there is not", decision->decision, "");
    }
}

void note_end(const struct plan *plan, aperture_code code, const aperture_end_result *result) {
    const bool decided = plan->decision != APERTURE_UNREACHABLE;
    const bool holds = decided && plan->in_flight;
    switch (code) {
    case APERTURE_OK:
        if (result->flow_end_answered != holds || result->reference_count != (uint32_t)holds ||
            result->returned_count != (uint32_t)holds) {
            mistake("an end gave back what the flow did not hold, or did not give back what it held", code, "");
        }
        counts.ends_answered += holds;
        break;
    case APERTURE_ERROR_UNREACHABLE:
        counts.ends_unreachable++;
        if (!holds) {
            mistake("the end of a flow that holds nothing failed", code, "");
        }
        break;
    case APERTURE_ERROR_CANCELLED:
        counts.ends_cancelled++;
        break;
    default:
        mistake("ending a flow", code, "");
        return;
    }
    counts.ended++;
    counts.ended_decided += decided;
}

void abandon_flow(const struct plan *plan, aperture_flow flow) {
    const bool decided = plan->decision != APERTURE_UNREACHABLE;
    counts.not_ended++;
    counts.not_ended_decided += decided;
    counts.not_ended_holding += decided && plan->in_flight;
    close_flow(flow);
}

void close_flow(aperture_flow flow) {
    const aperture_code code = aperture_flow_close(flow, NULL);
    if (code != APERTURE_OK) {
        mistake("closing a flow", code, "");
    }
}
