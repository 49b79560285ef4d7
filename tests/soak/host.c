/*
 * The host of the soak: a process that runs flows on one client from many threads, and counts on its own side what it
 * started, what was decided, and what it ended.
 *
 *     host ADDRESS SEED
 *
 * It takes one command a line from its standard input, and answers each with one line of JSON:
 *
 *     begin CANCELS         makes a client and begins to run flows; CANCELS 1 cancels some of their calls
 *     heal                  waits until flows are accepted again, and then runs some that all should be
 *     close CALM TIMEOUT_MS closes the client. CALM 1: when everything has ended. 0: with calls in the middle.
 *
 * In between it prints what the counters of the library say, once a second. It ends when its standard input does.
 */
#define _POSIX_C_SOURCE 200809L

#include "soak.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_PENDING_CALLS 48        /* so few that an agent that stalls makes flows overloaded */
#define RECOVERY_LIMIT (60 * SECOND) /* after troubles: more than any back-off of the connection, and a busy machine */
#define RECOVERED_AFTER 20          /* flows that are accepted one after the other */
#define HEALED_FLOWS 200
#define SETTLE_LIMIT (10 * SECOND)

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

void sleep_ns(int64_t duration) {
    const struct timespec time = {.tv_sec = (time_t)(duration / SECOND), .tv_nsec = (long)(duration % SECOND)};
    nanosleep(&time, NULL);
}

static struct round the_round = {.completion_fd = -1};
static struct worker main_worker; /* the main thread, when it runs flows */

static void must(aperture_code code, const char *what, const char *message) {
    if (code != APERTURE_OK) {
        fprintf(stderr, "host: %s: %s: %s\n", what, aperture_error_name(code), message);
        exit(1);
    }
}

static aperture_stats read_stats(void) {
    aperture_stats stats = APERTURE_STATS_INIT;
    must(aperture_client_stats(the_round.client, &stats, NULL), "aperture_client_stats", "");
    return stats;
}

static void print_progress(void) {
    if (the_round.client != NULL) {
        const aperture_stats stats = read_stats();
        printf("{\"event\":\"progress\",\"live_handles\":%" PRIu64 ",\"outstanding\":%" PRId64 ",",
               aperture_live_handles(), the_round.outstanding);
        print_counts();
        printf(",");
        print_stats("stats", &stats);
        printf("}\n");
    }
}

/* ---- begin ---- */

static void begin(const char *address, bool cancels) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    options.address = aperture_text_of(address);
    options.insecure = 1;
    options.max_pending_calls = MAX_PENDING_CALLS;
    reset_counts();
    must(aperture_new_client(&options, &the_round.client, &error), "aperture_new_client", error.message);
    must(aperture_client_completion_fd(the_round.client, &the_round.completion_fd, &error),
         "aperture_client_completion_fd", error.message);
    the_round.cancels = cancels;
    workers_start(&the_round);
    printf("{\"event\":\"begun\"}\n");
}

/* ---- heal ---- */

/* Runs one flow that an agent in good health accepts. */
static bool is_accepted(void) {
    struct plan plan = {.answer = ANSWER_ACCEPT, .in_flight = true, .ends = true, .timeout_ns = 10 * SECOND};
    return run_blocking(&the_round, &main_worker, &plan) && plan.decision == APERTURE_ACCEPTED;
}

static void heal(void) {
    const int64_t limit = now_ns() + RECOVERY_LIMIT;
    watch_begin(&main_worker.watch, "aperture_client_wait_ready", RECOVERY_LIMIT);
    const aperture_code ready = aperture_client_wait_ready(the_round.client, RECOVERY_LIMIT, NULL);
    watch_end(&main_worker.watch);
    int in_a_row = 0;
    while (in_a_row < RECOVERED_AFTER && now_ns() < limit) {
        in_a_row = is_accepted() ? in_a_row + 1 : 0;
    }
    int accepted = 0;
    for (int i = 0; i < HEALED_FLOWS && in_a_row == RECOVERED_AFTER; i++) {
        accepted += is_accepted();
    }
    printf("{\"event\":\"healed\",\"ready\":\"%s\",\"recovered\":%s,\"flows\":%d,\"accepted\":%d}\n",
           aperture_error_name(ready), in_a_row == RECOVERED_AFTER ? "true" : "false", HEALED_FLOWS, accepted);
}

/* ---- close ---- */

/* Waits until the completion descriptor is readable. */
static void wait_completions(const char *what, int64_t limit_ns) {
    struct pollfd readable = {.fd = the_round.completion_fd, .events = POLLIN};
    watch_begin(&main_worker.watch, what, limit_ns);
    while (poll(&readable, 1, -1) != 1) {
        if (errno != EINTR) {
            must(APERTURE_ERROR_INTERNAL, "poll", strerror(errno));
        }
    }
    watch_end(&main_worker.watch);
}

/* Stops the workers, and waits for all that they have begun. */
static void finish_everything(void) {
    the_round.stopping = true;
    join_others(&the_round);
    watch_begin(&main_worker.watch, "the last completion", APERTURE_DEFAULT_FLOW_END_TIMEOUT_NS);
    for (int i = 0; i < POLLERS; i++) {
        while (!the_round.workers[i].idle) {
            sleep_ns(MILLISECOND);
        }
    }
    while (the_round.outstanding > 0) {
        sleep_ns(MILLISECOND);
    }
    watch_end(&main_worker.watch);
    the_round.leaving = true;
    join_pollers(&the_round);
}

/* Takes what the pollers left behind, but not the completion of the close, which comes last. */
static void finish_leftovers(int64_t limit_ns) {
    sleep_ns(SECOND / 10); /* the others go on meanwhile, and are told that the client is closed */
    the_round.stopping = true;
    join_others(&the_round); /* their calls end with the client */
    while (the_round.outstanding > 0) {
        wait_completions("a completion after the close", limit_ns);
        take_completions(&the_round, &main_worker, (size_t)the_round.outstanding);
    }
    for (int i = 0; i < POLLERS; i++) {
        end_held(&the_round, &the_round.workers[i]);
    }
}

/* Whether the library has counted the end, and the span, of every flow. */
static bool is_settled(const aperture_stats *stats) {
    /* Flows of cancelled starts, which the host never saw, may have been decided. */
    const uint64_t unseen = stats->flows_accepted + stats->flows_rejected - counts.accepted - counts.rejected;
    const uint64_t decided = counts.ended_decided + counts.not_ended_decided + unseen;
    return stats->flows_ended >= counts.ended + counts.not_ended + counts.start_cancelled &&
           stats->spans_exported + stats->spans_dropped + stats->spans_queued >= decided;
}

/*
 * The library ends the flows of cancelled starts in the background, and nobody can wait for that: the counters are
 * final when they add up. When they never do, the driver says so.
 */
static aperture_stats settled_stats(void) {
    const int64_t limit = now_ns() + SETTLE_LIMIT;
    for (;;) {
        const aperture_stats stats = read_stats();
        if (is_settled(&stats) || now_ns() > limit) {
            return stats;
        }
        sleep_ns(10 * MILLISECOND);
    }
}

static void close_client(bool calm, int64_t timeout_ns) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_completion closed = APERTURE_COMPLETION_INIT;
    aperture_call call;
    size_t count = 0;
    if (calm) {
        finish_everything();
    } else {
        the_round.leaving = true;
        join_pollers(&the_round);
    }
    const aperture_stats before = calm ? settled_stats() : read_stats();
    must(aperture_client_close_async(the_round.client, timeout_ns, 0, &call, &error) == APERTURE_PENDING
             ? APERTURE_OK
             : APERTURE_ERROR_INTERNAL,
         "aperture_client_close_async", error.message);
    if (!calm) {
        finish_leftovers(timeout_ns);
    }
    /* The client is released when its last completion is handed out. Until then its counters can be read. */
    wait_completions("the completion of aperture_client_close_async", timeout_ns);
    const aperture_stats after = settled_stats();
    must(aperture_client_poll(the_round.client, &closed, 1, &count, &error), "aperture_client_poll", error.message);
    if (count != 1 || closed.kind != APERTURE_COMPLETION_CLOSE) {
        mistake("the completion of the close was not the last one", closed.code, "");
    }
    aperture_stats none = APERTURE_STATS_INIT;
    if (aperture_client_stats(the_round.client, &none, NULL) != APERTURE_ERROR_INVALID_HANDLE) {
        mistake("a client that was closed has still a handle", APERTURE_OK, "");
    }
    close(the_round.completion_fd);
    the_round.client = NULL;

    printf("{\"event\":\"closed\",\"code\":\"%s\",\"live_handles\":%" PRIu64 ",", aperture_error_name(closed.code),
           aperture_live_handles());
    print_counts();
    printf(",");
    print_stats("before", &before);
    printf(",");
    print_stats("stats", &after);
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s ADDRESS SEED\n", argv[0]);
        return 2;
    }
    const uint64_t seed = strtoull(argv[2], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    main_worker.random.state = seed + 1;
    watch_register(&main_worker.watch);
    workers_init(&the_round, seed);
    watch_start_dog();

    char line[64];
    size_t length = 0;
    for (;;) {
        struct pollfd readable = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&readable, 1, 1000) == 0) {
            print_progress();
            continue;
        }
        /* One byte at a time, so that nothing is left in a buffer that poll does not see. */
        const ssize_t got = read(STDIN_FILENO, line + length, 1);
        if (got <= 0) {
            return 0; /* with everything in the middle, which must not keep the process */
        }
        if (line[length] != '\n' && length + 2 < sizeof line) {
            length++;
            continue;
        }
        line[length] = '\0';
        length = 0;
        int number = 0;
        int timeout_ms = 0;
        const bool running = the_round.client != NULL;
        if (!running && sscanf(line, "begin %d", &number) == 1) {
            begin(argv[1], number == 1);
        } else if (running && strcmp(line, "heal") == 0) {
            heal();
        } else if (running && sscanf(line, "close %d %d", &number, &timeout_ms) == 2) {
            close_client(number == 1, timeout_ms * MILLISECOND);
        } else {
            fprintf(stderr, "host: %s: not now, or never\n", line);
            return 2;
        }
    }
}
