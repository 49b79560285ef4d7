/*
 * Measures what a flow costs from C: its start, its end, and the close of its handle.
 *
 *     flow blocking|async|empty ADDRESS IN_FLIGHT SECONDS|-
 *
 * "blocking" runs IN_FLIGHT threads with one flow each, "async" runs IN_FLIGHT flows from one thread, and "empty" calls
 * a function of the library that does next to nothing in Go: it says whether an open flow should run. It prints the kind,
 * a tab, and nanoseconds per flow (or call): the time that passed, divided by the flows of all threads.
 *
 * When SECONDS is "-", it runs once for each line of its standard input, a number of seconds, and prints nanoseconds per
 * flow: the CPU time of the threads that run flows, a tab, and the time that passed, divided by the flows of all threads.
 */
#define _POSIX_C_SOURCE 200809L

#include <aperture.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define MAX_IN_FLIGHT 1024
#define BATCH 16 /* flows between two looks at the clock */

struct bench {
    aperture_client client;
    aperture_flow_params params;
    int in_flight;
    int64_t duration_ns;
};

struct measured {
    uint64_t flows; /* or calls */
    int64_t elapsed_ns;
    int64_t cpu_ns; /* of the threads that ran the flows */
};

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t now_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

static int64_t thread_ns(void) {
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "flow: %s: %s\n", what, why);
    exit(1);
}

static void must(aperture_code code, const char *what) {
    if (code != APERTURE_OK) {
        fail(what, aperture_error_name(code));
    }
}

/* ---- One thread for each flow ---- */

struct worker {
    const struct bench *bench;
    pthread_barrier_t *start;
    pthread_t thread;
    struct measured measured;
};

static void *run_worker(void *argument) {
    struct worker *worker = argument;
    const struct bench *bench = worker->bench;
    pthread_barrier_wait(worker->start);
    const int64_t cpu_begin = thread_ns();
    const int64_t end = now_ns() + bench->duration_ns;
    do {
        for (int i = 0; i < BATCH; i++) {
            aperture_decision decision = APERTURE_DECISION_INIT;
            aperture_flow flow;
            must(aperture_start_flow(bench->client, &bench->params, &flow, &decision, NULL), "start_flow");
            must(aperture_flow_end(flow, NULL, NULL), "flow_end");
            must(aperture_flow_close(flow, NULL), "flow_close");
        }
        worker->measured.flows += BATCH;
    } while (now_ns() < end);
    worker->measured.cpu_ns = thread_ns() - cpu_begin;
    return NULL;
}

/* The time begins when all threads are there. */
static struct measured measure_blocking(const struct bench *bench) {
    static struct worker workers[MAX_IN_FLIGHT];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)bench->in_flight + 1);
    for (int i = 0; i < bench->in_flight; i++) {
        workers[i] = (struct worker){.bench = bench, .start = &start};
        if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) != 0) {
            fail("pthread_create", "no thread is left");
        }
    }
    pthread_barrier_wait(&start);
    const int64_t begin = now_ns();
    struct measured all = {0};
    for (int i = 0; i < bench->in_flight; i++) {
        pthread_join(workers[i].thread, NULL);
        all.flows += workers[i].measured.flows;
        all.cpu_ns += workers[i].measured.cpu_ns;
    }
    all.elapsed_ns = now_ns() - begin;
    pthread_barrier_destroy(&start);
    return all;
}

/* ---- One thread for all flows ---- */

/* Waits until completions are there, and takes their flows. */
static int take_completions(aperture_client client, int fd, aperture_flow *flows) {
    static aperture_completion completions[MAX_IN_FLIGHT];
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&readable, 1, 10 * 1000);
    } while (ready < 0 && errno == EINTR); /* a signal is no error */
    if (ready != 1) {
        fail("poll", ready == 0 ? "no completion came" : strerror(errno));
    }
    size_t count = 0;
    completions[0].struct_size = sizeof completions[0];
    must(aperture_client_poll(client, completions, MAX_IN_FLIGHT, &count, NULL), "client_poll");
    for (size_t i = 0; i < count; i++) {
        must(completions[i].code, "completion");
        flows[i] = completions[i].flow;
    }
    return (int)count;
}

static struct measured measure_async(const struct bench *bench) {
    aperture_flow started[MAX_IN_FLIGHT];
    uint64_t flows = 0;
    int pending = 0;
    bool stopping = false;
    int32_t fd;
    must(aperture_client_completion_fd(bench->client, &fd, NULL), "completion_fd");
    const int64_t begin = now_ns(), cpu_begin = thread_ns();
    for (uint64_t turn = 1; !stopping || pending > 0; turn++) {
        int count = 0;
        while (!stopping && pending + count < bench->in_flight) {
            aperture_decision decision = APERTURE_DECISION_INIT;
            aperture_call call;
            aperture_code code = aperture_start_flow_async(bench->client, &bench->params, 0, &started[count],
                                                           &decision, &call, NULL);
            if (code == APERTURE_PENDING) {
                pending++;
            } else {
                must(code, "start_flow_async");
                count++;
            }
        }
        if (count == 0) {
            count = take_completions(bench->client, fd, started);
            pending -= count;
        }
        for (int i = 0; i < count; i++) {
            aperture_call call;
            must(aperture_flow_end_async(started[i], 0, NULL, &call, NULL), "flow_end_async");
            must(aperture_flow_close(started[i], NULL), "flow_close");
        }
        flows += (uint64_t)count;
        if (turn % BATCH == 0) {
            stopping = now_ns() - begin >= bench->duration_ns;
        }
    }
    const struct measured measured = {flows, now_ns() - begin, thread_ns() - cpu_begin};
    close(fd);
    return measured;
}

/* ---- The empty call ---- */

static struct measured measure_empty(const struct bench *bench) {
    aperture_flow flow;
    must(aperture_start_flow(bench->client, &bench->params, &flow, NULL, NULL), "start_flow");
    const int64_t begin = now_ns(), cpu_begin = thread_ns();
    uint64_t calls = 0;
    do {
        for (int i = 0; i < BATCH; i++) {
            int32_t should_run;
            must(aperture_flow_should_run(flow, &should_run, NULL), "flow_should_run");
        }
        calls += BATCH;
    } while (now_ns() - begin < bench->duration_ns);
    const struct measured measured = {calls, now_ns() - begin, thread_ns() - cpu_begin};
    must(aperture_flow_end(flow, NULL, NULL), "flow_end");
    must(aperture_flow_close(flow, NULL), "flow_close");
    return measured;
}

/* A number is worthless when the flows behind it were not decided. */
static void check_decisions(aperture_client client) {
    aperture_stats stats = APERTURE_STATS_INIT;
    must(aperture_client_stats(client, &stats, NULL), "client_stats");
    const uint64_t others = stats.flows_rejected + stats.flows_unreachable;
    if (others * 100 > stats.flows_accepted) {
        fprintf(stderr, "flow: %" PRIu64 " flows were accepted, but %" PRIu64 " were not\n", stats.flows_accepted,
                others);
        exit(1);
    }
}

static void set_duration(struct bench *bench, const char *seconds) {
    const double number = atof(seconds);
    if (!(number > 0)) {
        fail("arguments", "a time is out of range");
    }
    bench->duration_ns = (int64_t)(number * (double)SECOND);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s blocking|async|empty ADDRESS IN_FLIGHT SECONDS|-\n", argv[0]);
        return 2;
    }
    const char *kind = argv[1];
    struct measured (*measure)(const struct bench *) = strcmp(kind, "blocking") == 0 ? measure_blocking
                                                       : strcmp(kind, "async") == 0  ? measure_async
                                                       : strcmp(kind, "empty") == 0  ? measure_empty
                                                                                     : NULL;
    struct bench bench = {.params = APERTURE_FLOW_PARAMS_INIT, .in_flight = atoi(argv[3])};
    if (measure == NULL || bench.in_flight < 1 || bench.in_flight > MAX_IN_FLIGHT) {
        fail("arguments", "the kind is unknown, or a number is out of range");
    }

    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    const aperture_label labels[] = {
        {APERTURE_TEXT("tier"), APERTURE_TEXT("gold")},
        {APERTURE_TEXT("user_id"), APERTURE_TEXT("alice")},
    };
    options.address = aperture_text_of(argv[2]);
    options.insecure = 1;
    bench.params.control_point = aperture_text_of("checkout");
    bench.params.labels = labels;
    bench.params.label_count = sizeof labels / sizeof labels[0];
    if (aperture_new_client(&options, &bench.client, &error) != APERTURE_OK ||
        aperture_client_wait_ready(bench.client, 10 * SECOND, &error) != APERTURE_OK) {
        fail("client", error.message);
    }

    if (strcmp(argv[4], "-") == 0) {
        char line[64];
        while (fgets(line, sizeof line, stdin) != NULL) {
            set_duration(&bench, line);
            const struct measured slice = measure(&bench);
            printf("%.1f\t%.1f\n", (double)slice.cpu_ns / (double)slice.flows,
                   (double)slice.elapsed_ns / (double)slice.flows);
            fflush(stdout);
        }
        check_decisions(bench.client);
    } else {
        set_duration(&bench, argv[4]);
        const int64_t duration_ns = bench.duration_ns;
        bench.duration_ns = duration_ns / 5;
        measure(&bench); /* warm up */
        bench.duration_ns = duration_ns;
        const struct measured measured = measure(&bench);
        check_decisions(bench.client);
        printf("%s\t%.1f\n", kind, (double)measured.elapsed_ns / (double)measured.flows);
    }
    aperture_client_close(bench.client, 0, NULL);
    return 0;
}
