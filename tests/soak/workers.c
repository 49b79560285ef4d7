/*
 * The threads of a round, which all run flows on one client: some wait for each call, some start many and poll for
 * completions, and some start one at a time and wait for it with aperture_call_wait. Pollers and waiters may get each
 * other's completions.
 */
#define _POSIX_C_SOURCE 200809L

#include "soak.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORDS 512
#define FLOW_END_LIMIT (APERTURE_DEFAULT_FLOW_END_TIMEOUT_NS)
#define MAX_COMPLETIONS 32
#define PACE (5 * MILLISECOND) /* between two starts of a thread, on average: a soak is no benchmark */

static struct record records[RECORDS];
static struct record *free_records;
static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;

/* Returns NULL when as many flows are open as may be. */
static struct record *take_record(void) {
    pthread_mutex_lock(&free_lock);
    struct record *record = free_records;
    if (record != NULL) {
        free_records = record->next;
    }
    pthread_mutex_unlock(&free_lock);
    return record;
}

static void give_record(struct record *record) {
    pthread_mutex_lock(&free_lock);
    record->next = free_records;
    free_records = record;
    pthread_mutex_unlock(&free_lock);
}

static int64_t check_limit(const struct plan *plan) {
    return plan->timeout_ns != 0 ? plan->timeout_ns : APERTURE_DEFAULT_CHECK_TIMEOUT_NS;
}

static void set_status(aperture_flow flow, const struct plan *plan) {
    if (plan->fails) {
        const aperture_code code = aperture_flow_set_status(flow, APERTURE_FLOW_STATUS_ERROR, NULL);
        if (code != APERTURE_OK) {
            mistake("setting a status", code, "");
        }
    }
}

/* ---- One flow, waiting for each call ---- */

static void end_blocking(struct worker *worker, aperture_flow flow, const struct plan *plan) {
    aperture_end_result result = APERTURE_END_RESULT_INIT;
    set_status(flow, plan);
    watch_begin(&worker->watch, "aperture_flow_end", FLOW_END_LIMIT);
    const aperture_code code = aperture_flow_end(flow, &result, NULL);
    watch_end(&worker->watch);
    note_end(plan, code, &result);
    if (aperture_flow_end(flow, NULL, NULL) != APERTURE_ERROR_ALREADY_ENDED) {
        mistake("a flow could be ended twice", APERTURE_OK, "");
    }
    close_flow(flow);
}

bool run_blocking(struct round *round, struct worker *worker, struct plan *plan) {
    struct request request;
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    fill_request(&request, plan);
    watch_begin(&worker->watch, "aperture_start_flow", check_limit(plan));
    const aperture_code code = aperture_start_flow(round->client, &request.params, &flow, &decision, &error);
    watch_end(&worker->watch);
    counts.started++;
    note_start(plan, code, &error);
    if (code != APERTURE_OK) {
        return false;
    }
    note_decision(plan, &decision);
    if (decision.should_run && random_below(&worker->random, 8) == 0) {
        sleep_ns((int64_t)random_below(&worker->random, 20) * MILLISECOND); /* the work */
    }
    if (plan->ends) {
        end_blocking(worker, flow, plan);
    } else {
        abandon_flow(plan, flow);
    }
    return true;
}

/* ---- Flows that do not wait ---- */

static void cancel_call(aperture_call call) {
    const aperture_code code = aperture_call_cancel(call, NULL);
    if (code == APERTURE_OK) {
        counts.cancels++;
    } else if (code != APERTURE_ERROR_INVALID_HANDLE) { /* its completion was handed out: another thread was quicker */
        mistake("cancelling a call", code, "");
    }
}

/* Ends a flow. Once the call is pending the record belongs to whoever gets its completion. */
static void end_async(struct round *round, struct worker *worker, struct record *record) {
    aperture_end_result result = APERTURE_END_RESULT_INIT;
    const aperture_flow flow = record->flow;
    const struct plan plan = record->plan;
    aperture_call call;
    set_status(flow, &plan);
    round->outstanding++;
    watch_begin(&record->watch, "the completion of aperture_flow_end_async", FLOW_END_LIMIT);
    const aperture_code code = aperture_flow_end_async(flow, (uint64_t)(uintptr_t)record, &result, &call, NULL);
    if (code == APERTURE_PENDING) {
        counts.pending++;
        if (round->cancels && random_below(&worker->random, 20) == 0) {
            cancel_call(call);
        }
        return;
    }
    round->outstanding--;
    watch_end(&record->watch);
    note_end(&plan, code, &result);
    close_flow(flow);
    give_record(record);
}

/* Goes on with a flow that was started. Held flows wait their turn in the worker's ring. */
static void started(struct round *round, struct worker *worker, struct record *record) {
    watch_end(&record->watch);
    if (!record->plan.ends) {
        abandon_flow(&record->plan, record->flow);
        give_record(record);
        return;
    }
    if (record->plan.held && !round->leaving && !round->stopping) {
        struct record **place = &worker->held[worker->next_held++ % HELD];
        struct record *oldest = *place;
        *place = record;
        record = oldest;
    }
    if (record != NULL) {
        end_async(round, worker, record);
    }
}

void end_held(struct round *round, struct worker *worker) {
    for (int i = 0; i < HELD; i++) {
        struct record *record = worker->held[i];
        worker->held[i] = NULL;
        if (record != NULL) {
            end_async(round, worker, record);
        }
    }
}

/* Starts a flow. Returns its call, or NULL when none is pending. Closed is set when the client takes no flows now. */
static aperture_call start_async(struct round *round, struct worker *worker, bool *closed) {
    struct record *record = take_record();
    struct request request;
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    aperture_call call;
    if (record == NULL) {
        return NULL;
    }
    make_plan(&record->plan, &worker->random);
    fill_request(&request, &record->plan);
    const struct plan plan = record->plan; /* the record may be another thread's before the call returns */
    round->outstanding++;
    watch_begin(&record->watch, "the completion of aperture_start_flow_async", check_limit(&plan));
    const aperture_code code = aperture_start_flow_async(round->client, &request.params, (uint64_t)(uintptr_t)record,
                                                         &flow, &decision, &call, &error);
    counts.started++;
    note_start(&plan, code, &error);
    if (code == APERTURE_PENDING) {
        counts.pending++;
        return call;
    }
    round->outstanding--;
    if (code == APERTURE_OK) { /* too many calls are pending */
        record->flow = flow;
        note_decision(&record->plan, &decision);
        started(round, worker, record);
        return NULL;
    }
    *closed = code == APERTURE_ERROR_CLOSED;
    watch_end(&record->watch);
    give_record(record);
    return NULL;
}

static void take_started(struct round *round, struct worker *worker, const aperture_completion *completion) {
    struct record *record = (struct record *)(uintptr_t)completion->tag;
    if (completion->code == APERTURE_OK) {
        aperture_decision decision = APERTURE_DECISION_INIT;
        record->flow = completion->flow;
        const aperture_code code = aperture_flow_decision(record->flow, &decision, NULL);
        if (code != APERTURE_OK) {
            mistake("reading a decision", code, "");
        }
        note_decision(&record->plan, &decision);
        started(round, worker, record);
        return;
    }
    if (completion->code == APERTURE_ERROR_CANCELLED && completion->flow == NULL) {
        counts.start_cancelled++;
    } else {
        mistake("the completion of a start", completion->code, "");
    }
    watch_end(&record->watch);
    give_record(record);
}

static void take_ended(const aperture_completion *completion) {
    struct record *record = (struct record *)(uintptr_t)completion->tag;
    aperture_end_result result = APERTURE_END_RESULT_INIT;
    watch_end(&record->watch);
    if (completion->flow != record->flow) {
        mistake("the completion of an end names another flow", completion->code, "");
    }
    const aperture_code code = aperture_flow_end_result(record->flow, &result, NULL);
    /* The end of a cancelled call goes on by itself. */
    if (code != completion->code && completion->code != APERTURE_ERROR_CANCELLED) {
        mistake("the result of an end is not what its completion said", code, "");
    }
    note_end(&record->plan, completion->code, &result);
    close_flow(record->flow);
    give_record(record);
}

static void take_completion(struct round *round, struct worker *worker, const aperture_completion *completion) {
    counts.completions++;
    switch (completion->kind) {
    case APERTURE_COMPLETION_START_FLOW:
        take_started(round, worker, completion);
        break;
    case APERTURE_COMPLETION_FLOW_END:
        take_ended(completion);
        break;
    default:
        mistake("a completion that nobody waits for", completion->code, "");
    }
    round->outstanding--; /* last: a flow that is ended above is outstanding before it */
}

size_t take_completions(struct round *round, struct worker *worker, size_t capacity) {
    aperture_completion completions[MAX_COMPLETIONS];
    size_t count = 0;
    completions[0].struct_size = sizeof completions[0];
    const aperture_code code = aperture_client_poll(
        round->client, completions, capacity < MAX_COMPLETIONS ? capacity : MAX_COMPLETIONS, &count, NULL);
    if (code != APERTURE_OK) {
        mistake("polling", code, "");
    }
    for (size_t i = 0; i < count; i++) {
        take_completion(round, worker, &completions[i]);
    }
    return count;
}

/* ---- The threads ---- */

struct assignment {
    struct round *round;
    struct worker *worker;
};

static struct assignment assignments[WORKERS];

static void *run_blocker(void *argument) {
    const struct assignment *assignment = argument;
    struct round *round = assignment->round;
    struct worker *worker = assignment->worker;
    bool open = true;
    while (open && !round->stopping) {
        struct plan plan;
        make_plan(&plan, &worker->random);
        open = run_blocking(round, worker, &plan);
        if (random_below(&worker->random, 500) == 0) {
            watch_begin(&worker->watch, "aperture_client_wait_ready", 50 * MILLISECOND);
            const aperture_code code = aperture_client_wait_ready(round->client, 50 * MILLISECOND, NULL);
            watch_end(&worker->watch);
            if (code != APERTURE_OK && code != APERTURE_ERROR_TIMEOUT && code != APERTURE_ERROR_CLOSED) {
                mistake("waiting until the agent is ready", code, "");
            }
        }
        sleep_ns((int64_t)random_below(&worker->random, 2 * PACE));
    }
    return NULL;
}

static void *run_poller(void *argument) {
    const struct assignment *assignment = argument;
    struct round *round = assignment->round;
    struct worker *worker = assignment->worker;
    int64_t next_start = now_ns();
    while (!round->leaving) {
        struct pollfd readable = {.fd = round->completion_fd, .events = POLLIN};
        (void)poll(&readable, 1, 5); /* whatever it says: there is no harm in looking */
        while (!round->leaving && take_completions(round, worker, MAX_COMPLETIONS) == MAX_COMPLETIONS) {
        }
        if (round->stopping) {
            end_held(round, worker);
            worker->idle = true;
            continue;
        }
        if (now_ns() < next_start) { /* the pace is the same when every flow fails at once */
            continue;
        }
        next_start = now_ns() + PACE;
        for (uint64_t i = random_below(&worker->random, 4); i > 0; i--) {
            bool closed = false;
            const aperture_call call = start_async(round, worker, &closed);
            if (call != NULL && round->cancels && random_below(&worker->random, 20) == 0) {
                sleep_ns((int64_t)random_below(&worker->random, 3) * MILLISECOND);
                cancel_call(call);
            }
        }
    }
    return NULL;
}

static void *run_waiter(void *argument) {
    const struct assignment *assignment = argument;
    struct round *round = assignment->round;
    struct worker *worker = assignment->worker;
    bool closed = false;
    while (!closed && !round->stopping) {
        const aperture_call call = start_async(round, worker, &closed);
        aperture_code code = call != NULL ? APERTURE_ERROR_TIMEOUT : APERTURE_OK;
        while (code == APERTURE_ERROR_TIMEOUT) {
            aperture_completion completion = APERTURE_COMPLETION_INIT;
            watch_begin(&worker->watch, "aperture_call_wait", 20 * MILLISECOND);
            code = aperture_call_wait(call, 20 * MILLISECOND, &completion, NULL);
            watch_end(&worker->watch);
            if (code == APERTURE_OK) {
                take_completion(round, worker, &completion);
            } else if (code == APERTURE_ERROR_TIMEOUT) {
                if (round->cancels && random_below(&worker->random, 10) == 0) {
                    cancel_call(call);
                }
            } else if (code != APERTURE_ERROR_INVALID_HANDLE) { /* a poller was quicker */
                mistake("waiting for a call", code, "");
            }
        }
        sleep_ns((int64_t)random_below(&worker->random, 2 * PACE));
    }
    end_held(round, worker);
    return NULL;
}

void workers_init(struct round *round, uint64_t seed) {
    for (int i = 0; i < RECORDS; i++) {
        watch_register(&records[i].watch);
        give_record(&records[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        round->workers[i].random.state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)i + 1;
        watch_register(&round->workers[i].watch);
        assignments[i] = (struct assignment){round, &round->workers[i]};
    }
}

void workers_start(struct round *round) {
    round->stopping = false;
    round->leaving = false;
    for (int i = 0; i < WORKERS; i++) {
        round->workers[i].idle = false;
        void *(*run)(void *) = i < POLLERS ? run_poller : i < POLLERS + WAITERS ? run_waiter : run_blocker;
        if (pthread_create(&round->workers[i].thread, NULL, run, &assignments[i]) != 0) {
            fprintf(stderr, "host: no thread is left\n");
            exit(1);
        }
    }
}

void join_pollers(struct round *round) {
    for (int i = 0; i < POLLERS; i++) {
        pthread_join(round->workers[i].thread, NULL);
    }
}

void join_others(struct round *round) {
    for (int i = POLLERS; i < WORKERS; i++) {
        pthread_join(round->workers[i].thread, NULL);
    }
}
