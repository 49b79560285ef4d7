/*
 * A process that ends while the library is in use. exit_test.py runs it in every combination:
 *
 *     exit_test WAY USE AGENT DESCRIPTOR
 *
 * WAY is how it ends, always with status 7. USE is what it does with the library at that moment:
 *
 *     none    nothing, and it never has (the handlers of "atexit" and "at_quick_exit" then use it first)
 *     open    clients are open, and nothing is under way
 *     busy    threads run flows, others wait for the agent, and asynchronous calls are pending
 *     closed  a hundred flows have run and the client was closed
 *
 * AGENT is the address of an agent: one that never answers, except for "closed". Just before it ends the process writes
 * the time to DESCRIPTOR.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "host.h"

#define STATUS 7
#define FLOWS 100
#define RUNNING 2   /* threads that run flows in this process */
#define WAITING 4   /* threads in each of the calls that wait */
#define PENDING 100 /* asynchronous calls */

static const char *agent;
static int descriptor;
static aperture_client local, remote;
static atomic_int started, local_flows;

static void say_when(void) {
    char line[32];
    int length = snprintf(line, sizeof line, "%lld\n", (long long)now_ns());
    CHECK(write(descriptor, line, (size_t)length) == length);
}

/* No CHECK in these threads: what they get while the process ends does not matter, only that it ends. */
static void *keep_running_flows(void *argument) {
    aperture_flow_params params = checkout();
    aperture_flow flow;
    for (;;) {
        if (aperture_start_flow(local, &params, &flow, NULL, NULL) == APERTURE_OK) {
            aperture_flow_end(flow, NULL, NULL);
            aperture_flow_close(flow, NULL);
        }
        atomic_fetch_add(&local_flows, 1);
    }
    return argument;
}

static void *keep_waiting_for_decision(void *argument) {
    aperture_flow_params params = checkout();
    aperture_flow flow;
    params.check_timeout_ns = HOUR;
    atomic_fetch_add(&started, 1);
    aperture_start_flow(remote, &params, &flow, NULL, NULL);
    return argument;
}

static void *keep_waiting_for_completion(void *argument) {
    aperture_flow_params params = checkout();
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    aperture_flow flow;
    aperture_call call;
    params.check_timeout_ns = HOUR;
    aperture_start_flow_async(remote, &params, 0, &flow, NULL, &call, NULL);
    atomic_fetch_add(&started, 1);
    aperture_call_wait(call, HOUR, &completion, NULL);
    return argument;
}

static void begin(void *(*body)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
    CHECK(pthread_detach(thread) == 0);
}

static void be_busy(void) {
    aperture_flow_params params = checkout();
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    aperture_call call;
    params.check_timeout_ns = HOUR;
    CHECK_OK(aperture_client_wait_ready(remote, PATIENCE, &error), error);
    for (int i = 0; i < WAITING; i++) {
        begin(keep_waiting_for_decision);
        begin(keep_waiting_for_completion);
    }
    for (int i = 0; i < RUNNING; i++) {
        begin(keep_running_flows);
    }
    for (int i = 0; i < PENDING; i++) {
        CHECK(aperture_start_flow_async(remote, &params, 0, &flow, NULL, &call, &error) == APERTURE_PENDING);
    }
    while (atomic_load(&started) < 2 * WAITING || atomic_load(&local_flows) < 100 * RUNNING) {
        sleep_ns(MILLISECOND / 10);
    }
}

static void run_and_close(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    CHECK_OK(aperture_client_wait_ready(remote, PATIENCE, &error), error);
    for (int i = 0; i < FLOWS; i++) {
        run_flow(remote, APERTURE_ACCEPTED);
    }
    CHECK_OK(aperture_client_close(remote, PATIENCE, &error), error);
    CHECK_OK(aperture_client_close(local, 0, &error), error);
    CHECK(aperture_live_handles() == 0);
}

/* A handler of atexit and at_quick_exit, which uses the library like any other code of the host. */
static void call_at_the_end(void) {
    aperture_client client = client_for("local:");
    run_flow(client, APERTURE_ACCEPTED);
    close_client(client);
    client = client_for(agent);
    aperture_flow_params params = checkout();
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    aperture_call call;
    CHECK(aperture_start_flow_async(client, &params, 0, &flow, NULL, &call, &error) == APERTURE_PENDING);
}

static pthread_t first_thread;

static void *exit_in_thread(void *argument) {
    say_when();
    exit(STATUS);
    return argument;
}

/* Ends the process when its first thread has gone. */
static void *exit_after_first(void *argument) {
    CHECK(pthread_join(first_thread, NULL) == 0);
    say_when();
    exit(STATUS);
    return argument;
}

static void end_by(const char *way) {
    if (strcmp(way, "exit") == 0) {
        say_when();
        exit(STATUS);
    } else if (strcmp(way, "_exit") == 0) {
        say_when();
        _exit(STATUS);
    } else if (strcmp(way, "quick_exit") == 0) {
        say_when();
        quick_exit(STATUS);
    } else if (strcmp(way, "atexit") == 0) {
        CHECK(atexit(call_at_the_end) == 0);
        say_when();
        exit(STATUS);
    } else if (strcmp(way, "at_quick_exit") == 0) {
        CHECK(at_quick_exit(call_at_the_end) == 0);
        say_when();
        quick_exit(STATUS);
    } else if (strcmp(way, "thread") == 0) {
        begin(exit_in_thread);
        sleep_ns(HOUR);
    } else if (strcmp(way, "pthread_exit") == 0) {
        first_thread = pthread_self();
        begin(exit_after_first);
        pthread_exit(NULL);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s WAY USE AGENT DESCRIPTOR\n", argv[0]);
        return 2;
    }
    const char *use = argv[2];
    agent = argv[3];
    descriptor = atoi(argv[4]);
    if (strcmp(use, "none") != 0) {
        local = client_for("local:");
        remote = client_for(agent);
        run_flow(local, APERTURE_ACCEPTED);
    }
    if (strcmp(use, "busy") == 0) {
        be_busy();
    } else if (strcmp(use, "closed") == 0) {
        run_and_close();
    }
    end_by(argv[1]);
    say_when(); /* the way is "return" */
    return STATUS;
}
