/*
 * The life of a flow in C, from eight threads at once on one client, blocking and asynchronous.
 *
 *     flow_test POLICIES DOWN
 *
 * POLICIES is a local: address whose policies give a gold user eight checkouts; DOWN is the address of an agent that is
 * down. An agent that is down is what makes calls pending here: a local address decides at once.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "host.h"

#define THREADS 8
#define FLOWS 200   /* of each thread */
#define CAPACITY 8  /* of a gold user's bucket */
#define PENDING 32

struct worker {
    aperture_client client;
    char user[16];
    int accepted;
    int rejected;
};

/* Starts and ends flows of one user; every second one with the asynchronous form, which is done at once here. */
static void *run_flows(void *argument) {
    struct worker *worker = argument;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_label labels[2] = {{APERTURE_TEXT("tier"), APERTURE_TEXT("gold")}, {APERTURE_TEXT("user_id"), {NULL, 0}}};
    labels[1].value = aperture_text_of(worker->user);

    for (int i = 0; i < FLOWS; i++) {
        aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
        aperture_decision decision = APERTURE_DECISION_INIT;
        aperture_flow flow = NULL;
        aperture_call call = NULL;
        int32_t should_run = -1;
        params.control_point = aperture_text_of("checkout");
        params.labels = labels;
        params.label_count = 2;

        if (i % 2 == 0) {
            CHECK_OK(aperture_start_flow(worker->client, &params, &flow, &decision, &error), error);
        } else {
            CHECK_OK(aperture_start_flow_async(worker->client, &params, 1, &flow, &decision, &call, &error), error);
            CHECK(call == NULL);
        }
        CHECK(flow != NULL);
        CHECK_OK(aperture_flow_should_run(flow, &should_run, &error), error);
        CHECK(should_run == decision.should_run);
        if (decision.should_run) {
            CHECK(decision.decision == APERTURE_ACCEPTED && decision.http_status == 200);
            CHECK(decision.retry_after_ns == APERTURE_NO_RETRY_AFTER);
            worker->accepted++;
        } else {
            CHECK(decision.decision == APERTURE_REJECTED && decision.http_status == 429);
            CHECK(decision.reject_reason == APERTURE_REJECT_REASON_RATE_LIMITED);
            CHECK(decision.retry_after_ns > 0);
            CHECK_OK(aperture_flow_set_status(flow, APERTURE_FLOW_STATUS_ERROR, &error), error);
            worker->rejected++;
        }
        if (i % 2 == 0) {
            aperture_end_result result = APERTURE_END_RESULT_INIT;
            CHECK_OK(aperture_flow_end(flow, &result, &error), error);
            CHECK(result.flow_end_answered == 0 && result.reference_count == 0);
        } else {
            CHECK_OK(aperture_flow_end_async(flow, 2, NULL, &call, &error), error);
            CHECK(call == NULL);
        }
        CHECK(aperture_flow_end(flow, NULL, &error) == APERTURE_ERROR_ALREADY_ENDED);
        CHECK(error.code == APERTURE_ERROR_ALREADY_ENDED && error.message_length == strlen(error.message));
        CHECK_OK(aperture_flow_close(flow, &error), error);
        CHECK(aperture_flow_close(flow, NULL) == APERTURE_ERROR_INVALID_HANDLE);
    }
    return NULL;
}

static void test_threads(const char *address) {
    aperture_client client = client_for(address);
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_stats stats = APERTURE_STATS_INIT;
    pthread_t threads[THREADS];
    struct worker workers[THREADS];

    for (int i = 0; i < THREADS; i++) {
        memset(&workers[i], 0, sizeof workers[i]);
        workers[i].client = client;
        snprintf(workers[i].user, sizeof workers[i].user, "user-%d", i % 1000);
        CHECK(pthread_create(&threads[i], NULL, run_flows, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(workers[i].accepted == CAPACITY && workers[i].rejected == FLOWS - CAPACITY);
    }
    CHECK_OK(aperture_client_stats(client, &stats, &error), error);
    CHECK(stats.flows_accepted == THREADS * CAPACITY);
    CHECK(stats.flows_rejected == THREADS * (FLOWS - CAPACITY));
    CHECK(stats.flows_ended == THREADS * FLOWS);
    CHECK_OK(aperture_client_close(client, 0, &error), error);
}

/* Waits with poll(2), as an event loop does, and takes what has come. Returns how many. */
static size_t completions_of(aperture_client client, int fd, aperture_completion *completions, size_t capacity) {
    aperture_error error = APERTURE_ERROR_INIT;
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    size_t count = 0;
    CHECK(poll(&watched, 1, 30 * 1000) == 1);
    CHECK(watched.revents & POLLIN);
    completions[0].struct_size = sizeof completions[0];
    CHECK_OK(aperture_client_poll(client, completions, capacity, &count, &error), error);
    return count;
}

static void test_event_loop(const char *down) {
    aperture_client client = client_for(down);
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_completion completions[5];
    int seen[PENDING] = {0};
    int32_t fd = -1;
    aperture_call call;

    memset(completions, 0, sizeof completions);
    CHECK_OK(aperture_client_completion_fd(client, &fd, &error), error);
    CHECK(fd >= 0);
    for (int i = 0; i < PENDING; i++) {
        aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
        aperture_flow flow = NULL;
        params.control_point = aperture_text_of("checkout");
        params.check_timeout_ns = 10 * SECOND;
        params.ramp_mode = i % 2;
        CHECK(aperture_start_flow_async(client, &params, (uint64_t)i, &flow, NULL, &call, &error) == APERTURE_PENDING);
        CHECK(flow == NULL && call != NULL);
    }
    for (int taken = 0; taken < PENDING;) {
        size_t count = completions_of(client, fd, completions, 5);
        for (size_t i = 0; i < count; i++, taken++) {
            aperture_decision decision = APERTURE_DECISION_INIT;
            aperture_error reason = APERTURE_ERROR_INIT;
            CHECK(completions[i].kind == APERTURE_COMPLETION_START_FLOW && completions[i].code == APERTURE_OK);
            CHECK(completions[i].tag < PENDING && seen[completions[i].tag]++ == 0);
            CHECK_OK(aperture_flow_decision(completions[i].flow, &decision, &error), error);
            CHECK(decision.decision == APERTURE_UNREACHABLE);
            CHECK(decision.should_run == (completions[i].tag % 2 == 0)); /* the odd ones are in ramp mode */
            CHECK_OK(aperture_flow_error(completions[i].flow, &reason, &error), error);
            CHECK(reason.code == APERTURE_ERROR_UNREACHABLE && reason.message_length > 0);
            CHECK_OK(aperture_flow_end_async(completions[i].flow, 0, NULL, &call, &error), error);
            CHECK_OK(aperture_flow_close(completions[i].flow, &error), error);
        }
    }

    /* A wait that never ends by itself is cancelled, and the client closed, both through the loop. */
    CHECK(aperture_client_wait_ready_async(client, 3600 * SECOND, 7, &call, &error) == APERTURE_PENDING);
    CHECK_OK(aperture_call_cancel(call, &error), error);
    CHECK(completions_of(client, fd, completions, 5) == 1);
    CHECK(completions[0].kind == APERTURE_COMPLETION_WAIT_READY && completions[0].tag == 7 && completions[0].call == call);
    CHECK(completions[0].code == APERTURE_ERROR_CANCELLED);

    CHECK(aperture_client_close_async(client, 0, 8, &call, &error) == APERTURE_PENDING);
    CHECK(completions_of(client, fd, completions, 5) == 1);
    CHECK(completions[0].kind == APERTURE_COMPLETION_CLOSE && completions[0].code == APERTURE_OK && completions[0].tag == 8);
    CHECK(aperture_client_close(client, 0, NULL) == APERTURE_ERROR_INVALID_HANDLE);
    CHECK(close(fd) == 0);
}

/* One thread starts, another waits for each call. */
static void test_wait(const char *down) {
    aperture_client client = client_for(down);
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    aperture_flow flow;
    aperture_call call;

    params.control_point = aperture_text_of("checkout");
    params.check_timeout_ns = 10 * SECOND;
    CHECK(aperture_start_flow_async(client, &params, 3, &flow, NULL, &call, &error) == APERTURE_PENDING);
    CHECK_OK(aperture_call_wait(call, 30 * SECOND, &completion, &error), error);
    CHECK(completion.tag == 3 && completion.code == APERTURE_OK && completion.call == call);
    CHECK(aperture_call_wait(call, 0, &completion, &error) == APERTURE_ERROR_INVALID_HANDLE);
    CHECK_OK(aperture_flow_end(completion.flow, NULL, &error), error);
    CHECK_OK(aperture_flow_close(completion.flow, &error), error);
    CHECK_OK(aperture_client_close(client, 0, &error), error);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s POLICIES DOWN\n", argv[0]);
        return 2;
    }
    test_threads(argv[1]);
    test_event_loop(argv[2]);
    test_wait(argv[2]);
    CHECK(aperture_live_handles() == 0);
    puts("flow: done");
    return 0;
}
