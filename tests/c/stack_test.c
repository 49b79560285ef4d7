/*
 * Calls from a stack that is not the thread's own, as a coroutine, a greenlet or koffi makes them. The Go runtime then
 * asks for the bounds of the thread's stack on every call, and glibc answers for a main thread by reading
 * /proc/self/maps; the library remembers the answer. The kernel's count of this process's reads shows it, without a
 * clock: 300,000 calls make at least as many reads when each reads that file, and next to none when none does.
 */
#define _GNU_SOURCE /* ucontext */
#include <aperture.h>

#include <ucontext.h>

#include "check.h"

#define FLOWS 100000 /* of three calls each */
#define STACK (256 * 1024)

static ucontext_t host, coroutine;
static aperture_client client;
static int finished;

/* Returns how often this process has called read, from /proc/self/io, or -1 where the kernel does not count it. */
static long reads_so_far(void) {
    char line[128];
    long reads = -1;
    FILE *io = fopen("/proc/self/io", "r");
    while (io != NULL && fgets(line, sizeof line, io) != NULL) {
        if (sscanf(line, "syscr: %ld", &reads) == 1) {
            break;
        }
    }
    if (io != NULL) {
        fclose(io);
    }
    return reads;
}

static void start_and_end(void) {
    aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    params.control_point = aperture_text_of("checkout");
    CHECK_OK(aperture_start_flow(client, &params, &flow, &decision, &error), error);
    CHECK(decision.should_run == 1);
    CHECK_OK(aperture_flow_end(flow, NULL, &error), error);
    CHECK_OK(aperture_flow_close(flow, &error), error);
}

/* Yields to the thread's own stack between its calls. */
static void on_own_stack(void) {
    for (int i = 0; i < FLOWS; i++) {
        start_and_end();
        if (i % 100 == 0) {
            CHECK(swapcontext(&coroutine, &host) == 0);
        }
    }
    finished = 1;
}

int main(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    options.address = aperture_text_of("local:");
    CHECK_OK(aperture_new_client(&options, &client, &error), error);

    char *stack = malloc(STACK);
    CHECK(stack != NULL);
    CHECK(getcontext(&coroutine) == 0);
    coroutine.uc_stack.ss_sp = stack;
    coroutine.uc_stack.ss_size = STACK;
    coroutine.uc_link = &host;
    makecontext(&coroutine, on_own_stack, 0);

    long before = reads_so_far();
    int counted = before >= 0 && reads_so_far() > before; /* asking is a read itself */
    before = reads_so_far();
    while (!finished) {
        CHECK(swapcontext(&host, &coroutine) == 0);
        start_and_end(); /* and back on the thread's own */
    }
    long reads = reads_so_far() - before;
    if (!counted) {
        puts("stack: this kernel does not count reads; only that the calls work was tested");
    } else if (reads > FLOWS / 10) {
        fprintf(stderr, "stack_test: %ld reads in %d calls: the bounds of the stack are asked for each time\n", reads, 3 * FLOWS);
        return 1;
    }
    free(stack);
    CHECK_OK(aperture_client_close(client, 0, &error), error);
    CHECK(aperture_live_handles() == 0);
    puts("stack: done");
    return 0;
}
