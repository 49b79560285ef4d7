/* What the files of the soak's host share. docs/soak.md says what the soak is for. */
#ifndef SOAK_H
#define SOAK_H

#include <aperture.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)

int64_t now_ns(void);
void sleep_ns(int64_t duration);

/* ---- counts.c: what the host counts on its own side, for one round, from zero ---- */

#define COUNTS(X)                                                                                                      \
    X(started)                   /* calls that start a flow, in both forms */                                          \
    X(start_refused)             /* of those: returned APERTURE_ERROR_CLOSED */                                        \
    X(start_cancelled)           /* their completion says APERTURE_ERROR_CANCELLED */                                  \
    X(accepted)                  /* the decisions that came back */                                                    \
    X(rejected)                                                                                                        \
    X(unreachable_timeout)                                                                                             \
    X(unreachable_unavailable)                                                                                         \
    X(unreachable_agent_error)                                                                                         \
    X(unreachable_misconfigured)                                                                                       \
    X(unreachable_cancelled)                                                                                           \
    X(unreachable_closed)                                                                                              \
    X(unreachable_overloaded)                                                                                          \
    X(failed_open)               /* unreachable, and the work runs */                                                  \
    X(refused_in_ramp_mode)      /* unreachable, and the work does not run */                                          \
    X(ended)                     /* flows that were ended, whatever that returned */                                   \
    X(ended_decided)             /* of those: accepted or rejected, so that there is a span */                         \
    X(ends_answered)             /* tokens were given back and the agent answered */                                   \
    X(ends_unreachable)          /* APERTURE_ERROR_UNREACHABLE */                                                      \
    X(ends_cancelled)            /* their completion says APERTURE_ERROR_CANCELLED */                                  \
    X(not_ended)                 /* flows that were closed without an end, which the library makes up for */           \
    X(not_ended_decided)         /* of those: accepted or rejected, so that there is a span */                         \
    X(not_ended_holding)         /* of those: holding tokens that the library gives back, or not */                    \
    X(sanitised)                 /* flows with a label that is not UTF-8 */                                            \
    X(cancels)                   /* calls that were cancelled before their completion was handed out */                \
    X(pending)                   /* calls that returned APERTURE_PENDING */                                            \
    X(completions)               /* completions of those */                                                            \
    X(mistakes)                  /* anything that the header does not allow; standard error says what */

struct counts {
#define FIELD(name) _Atomic uint64_t name;
    COUNTS(FIELD)
#undef FIELD
};

extern struct counts counts;

void reset_counts(void);
void print_counts(void);
void print_stats(const char *name, const aperture_stats *stats);

/* Counts a mistake and describes it. */
void mistake(const char *what, aperture_code code, const char *message);

/* ---- watch.c: calls that never return, and completions that never come ---- */

struct watch {
    _Atomic int64_t deadline; /* 0: nothing is watched */
    const char *_Atomic what;
};

/* Makes a watch known to the watchdog, for good. */
void watch_register(struct watch *watch);
void watch_start_dog(void);

/* What is watched must end within a time, and a generous one more; else the process aborts with a message. */
void watch_begin(struct watch *watch, const char *what, int64_t limit_ns);
void watch_end(struct watch *watch);

/* ---- flow.c: what one flow asks for, and whether it gets that ---- */

struct random {
    uint64_t state;
};

uint64_t random_below(struct random *random, uint64_t bound);

enum answer { ANSWER_ACCEPT, ANSWER_REJECT, ANSWER_ERROR, ANSWER_GARBAGE, ANSWER_HANG };

/* What a flow asks of an agent that obeys it, and what the host will do with it. */
struct plan {
    enum answer answer;
    bool in_flight; /* the answer has an in-flight token */
    bool slow;      /* the answer takes a while */
    bool ramp_mode;
    bool damaged; /* a label is not UTF-8 */
    bool ends;    /* false: closed without an end */
    bool fails;   /* the status becomes an error */
    bool held;    /* ended much later */
    int64_t timeout_ns;
    aperture_decision_type decision; /* what came back */
};

struct request {
    aperture_flow_params params;
    aperture_label labels[4];
};

void make_plan(struct plan *plan, struct random *random);
void fill_request(struct request *request, const struct plan *plan);

/* Counts the outcome of a call that started a flow: code is what the call returned, not APERTURE_PENDING. */
void note_start(const struct plan *plan, aperture_code code, const aperture_error *error);
void note_decision(struct plan *plan, const aperture_decision *decision);
/* Counts the outcome of a call that ended a flow. */
void note_end(const struct plan *plan, aperture_code code, const aperture_end_result *result);
void close_flow(aperture_flow flow);
/* Closes a flow that nobody has ended. */
void abandon_flow(const struct plan *plan, aperture_flow flow);

/* ---- workers.c: the threads of a round ---- */

#define POLLERS 2
#define WAITERS 1
#define BLOCKERS 4
#define WORKERS (POLLERS + WAITERS + BLOCKERS)
#define HELD 16

/* One asynchronous flow. Its address is the tag of its calls, and whoever gets a completion goes on with it. */
struct record {
    struct plan plan;
    aperture_flow flow;
    struct watch watch;
    struct record *next; /* in the list of those that are free */
};

struct worker {
    pthread_t thread;
    struct random random;
    struct watch watch;
    struct record *held[HELD]; /* a ring of flows that a poller ends later */
    unsigned next_held;
    _Atomic bool idle; /* a poller that is stopping has ended what it held */
};

struct round {
    aperture_client client;
    int32_t completion_fd;
    bool cancels; /* some calls are cancelled */
    _Atomic bool stopping; /* no new flows */
    _Atomic bool leaving;  /* pollers return at once, whatever is pending */
    _Atomic int64_t outstanding; /* calls whose completion was not taken yet */
    struct worker workers[WORKERS];
};

void workers_init(struct round *round, uint64_t seed);
void workers_start(struct round *round);
void join_pollers(struct round *round);
void join_others(struct round *round);

/* Runs one flow from start to close in this thread. */
bool run_blocking(struct round *round, struct worker *worker, struct plan *plan);

/* Takes completions, at most capacity of them; returns how many. */
size_t take_completions(struct round *round, struct worker *worker, size_t capacity);
void end_held(struct round *round, struct worker *worker);

#endif
