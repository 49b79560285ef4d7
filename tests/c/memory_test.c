/*
 * A million flows, and as many calls that fail, leave the process no larger than it was once it had warmed up, and no
 * handle open.
 *
 *     memory_test POLICIES DOWN
 *
 * POLICIES is a local: address whose policies reject some checkouts; DOWN is the address of an agent that is down.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "host.h"
#include "process.h"

static aperture_client accepting, rejecting, unreachable;

static void accepted(void) { run_flow(accepting, APERTURE_ACCEPTED); }

/* A user of their own each, so that the library meets ever new label values, and the same one, who is rejected. */
static void rejected_or_not(void) {
    static int number;
    char user[32];
    aperture_label labels[2] = {{APERTURE_TEXT("tier"), APERTURE_TEXT("gold")}, {APERTURE_TEXT("user_id"), {NULL, 0}}};
    aperture_flow_params params = checkout();
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    snprintf(user, sizeof user, "user-%d", number++ % 2 == 0 ? 0 : number % 1000);
    labels[1].value = aperture_text_of(user);
    params.labels = labels;
    params.label_count = 2;
    CHECK_OK(aperture_start_flow(rejecting, &params, &flow, NULL, &error), error);
    finish_flow(flow);
}

static void fails_open(void) { run_flow(unreachable, APERTURE_UNREACHABLE); }

/* Of three calls one is taken by a wait, one by a poll, and one is cancelled first. */
static void asynchronous(void) {
    static int number;
    aperture_flow_params params = checkout();
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    aperture_call call;
    size_t count = 0;

    CHECK(aperture_start_flow_async(unreachable, &params, 0, &flow, NULL, &call, &error) == APERTURE_PENDING);
    switch (number++ % 3) {
    case 2:
        CHECK_OK(aperture_call_cancel(call, &error), error);
        /* fall through */
    case 1:
        CHECK_OK(aperture_call_wait(call, PATIENCE, &completion, &error), error);
        break;
    default:
        for (int64_t deadline = now_ns() + PATIENCE; count == 0; sleep_ns(MILLISECOND / 100)) {
            CHECK(now_ns() < deadline);
            CHECK_OK(aperture_client_poll(unreachable, &completion, 1, &count, &error), error);
        }
    }
    if (completion.flow != NULL) {
        finish_flow(completion.flow);
    } else {
        CHECK(completion.code == APERTURE_ERROR_CANCELLED);
    }
}

/* Wrong arguments, and handles that are stale, of another kind, or invented. */
static void refused(void) {
    aperture_flow_params params = checkout();
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    aperture_client client;
    aperture_flow flow, none;
    aperture_call call;

    options.address = aperture_text_of("local:/no/such/policies.yaml");
    CHECK(aperture_new_client(&options, &client, &error) == APERTURE_ERROR_POLICY);
    options.address = aperture_text_of("no address");
    CHECK(aperture_new_client(&options, &client, &error) == APERTURE_ERROR_INVALID_ARGUMENT);

    params.control_point = aperture_text_of("");
    CHECK(aperture_start_flow(accepting, &params, &none, NULL, &error) == APERTURE_ERROR_INVALID_ARGUMENT);
    CHECK(aperture_start_flow_async(accepting, &params, 0, &none, NULL, &call, &error) ==
          APERTURE_ERROR_INVALID_ARGUMENT);
    params = checkout();
    CHECK(aperture_start_flow(NULL, &params, &none, NULL, &error) == APERTURE_ERROR_INVALID_HANDLE);
    decision.struct_size = 1;
    CHECK(aperture_start_flow(accepting, &params, &none, &decision, &error) == APERTURE_ERROR_INVALID_ARGUMENT);

    CHECK_OK(aperture_start_flow(accepting, &params, &flow, NULL, &error), error);
    CHECK(aperture_start_flow((aperture_client)(void *)flow, &params, &none, NULL, &error) ==
          APERTURE_ERROR_INVALID_HANDLE);
    CHECK(aperture_flow_set_status(flow, 7, &error) == APERTURE_ERROR_INVALID_ARGUMENT);
    finish_flow(flow);
    CHECK(aperture_flow_end(flow, NULL, &error) == APERTURE_ERROR_INVALID_HANDLE);
    CHECK(aperture_flow_close(flow, &error) == APERTURE_ERROR_INVALID_HANDLE);
    CHECK(aperture_call_wait((aperture_call)(void *)0x1234, 0, &completion, &error) == APERTURE_ERROR_INVALID_HANDLE);
}

static void in_process_client(void) {
    aperture_client client = client_for("local:");
    run_flow(client, APERTURE_ACCEPTED);
    close_client(client);
}

/* With a descriptor, and a call that is pending when it is closed. */
static void client_of_an_agent(const char *down) {
    aperture_client client = client_for(down);
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_call call;
    int32_t fd = -1;
    CHECK_OK(aperture_client_completion_fd(client, &fd, &error), error);
    CHECK(aperture_client_wait_ready_async(client, HOUR, 0, &call, &error) == APERTURE_PENDING);
    close_client(client);
    CHECK(close(fd) == 0);
}

static const char *down_address;
static void agent_client(void) { client_of_an_agent(down_address); }

/* Runs something many times, the first quarter of them to warm up. */
static void flat(const char *name, void (*once)(void), int times) {
    times = scaled(times);
    for (int i = 0; i < times / 4; i++) {
        once();
    }
    uint64_t handles = aperture_live_handles();
    int threads = thread_count(), descriptors = descriptor_count();
    long before = resident_kib();
    for (int i = 0; i < times; i++) {
        once();
    }
    long after = resident_kib();
    printf("measured: %-16s %8d times: %6ld KiB before, %6ld KiB after\n", name, times, before, after);
    CHECK(aperture_live_handles() == handles);
    CHECK(after - before < allowed_growth_kib());
    CHECK(thread_count() <= threads + 16);
    CHECK(descriptor_count() <= descriptors + 4); /* a connection that is being tried has one */
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s POLICIES DOWN\n", argv[0]);
        return 2;
    }
    accepting = client_for("local:");
    rejecting = client_for(argv[1]);
    unreachable = client_for(argv[2]);
    down_address = argv[2];

    flat("accepted", accepted, 1000000);
    flat("rejected", rejected_or_not, 400000);
    flat("unreachable", fails_open, 100000);
    flat("asynchronous", asynchronous, 60000);
    flat("refused", refused, 60000);
    flat("clients", in_process_client, 10000);
    flat("clients of agents", agent_client, 3000);

    close_client(accepting);
    close_client(rejecting);
    close_client(unreachable);
    CHECK(aperture_live_handles() == 0);
    puts("memory: done");
    return 0;
}
