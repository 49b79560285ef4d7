/* See host.h. */
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <time.h>

aperture_client client_for(const char *address) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client = NULL;
    options.address = aperture_text_of(address);
    options.insecure = 1;
    CHECK_OK(aperture_new_client(&options, &client, &error), error);
    CHECK(client != NULL);
    return client;
}

void close_client(aperture_client client) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_code code = aperture_client_close(client, 0, &error);
    if (code != APERTURE_ERROR_TIMEOUT) {
        CHECK_OK(code, error);
    }
}

aperture_flow_params checkout(void) {
    aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
    params.control_point = aperture_text_of("checkout");
    params.check_timeout_ns = PATIENCE;
    return params;
}

aperture_flow start_flow(aperture_client client, aperture_decision *decision) {
    aperture_flow_params params = checkout();
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow = NULL;
    CHECK_OK(aperture_start_flow(client, &params, &flow, decision, &error), error);
    CHECK(flow != NULL);
    return flow;
}

void finish_flow(aperture_flow flow) {
    aperture_error error = APERTURE_ERROR_INIT;
    CHECK_OK(aperture_flow_end(flow, NULL, &error), error);
    CHECK_OK(aperture_flow_close(flow, &error), error);
}

void run_flow(aperture_client client, aperture_decision_type expected) {
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_flow flow = start_flow(client, &decision);
    CHECK(decision.decision == expected);
    CHECK(decision.should_run == (expected != APERTURE_REJECTED));
    finish_flow(flow);
}

int scaled(int size) {
    const char *divisor = getenv("TEST_DIVISOR");
    int by = divisor != NULL ? atoi(divisor) : 1;
    CHECK(by >= 1);
    return size / by > 0 ? size / by : 1;
}

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
void hand_over(void *what) { __tsan_release(what); }
void take_over(void *what) { __tsan_acquire(what); }
#else
void hand_over(void *what) { (void)what; }
void take_over(void *what) { (void)what; }
#endif

int64_t now_ns(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * SECOND + now.tv_nsec;
}

void sleep_ns(int64_t duration) {
    struct timespec left = {.tv_sec = (time_t)(duration / SECOND), .tv_nsec = (long)(duration % SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}
