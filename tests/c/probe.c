/*
 * A host with a defect, which tools.sh expects its tools to report although the host uses the library:
 *
 *     probe none|out-of-bounds|leak|undefined|race AGENT
 *
 * AGENT is the program of tests/fakeagent.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>

#include "host.h"
#include "process.h"

static volatile int sink;
static int shared;

static void read_out_of_bounds(void) {
    int *volatile numbers = calloc(4, sizeof *numbers);
    CHECK(numbers != NULL);
    sink = numbers[4];
    free(numbers);
}

static void leak(void) {
    volatile char *lost = malloc(1000);
    CHECK(lost != NULL);
    lost[0] = 1;
    lost = NULL;
}

static void overflow(void) {
    volatile int most = INT_MAX;
    most = most + 1;
    sink = most;
}

static void *count(void *argument) {
    for (int i = 0; i < 1000; i++) {
        shared++;
    }
    return argument;
}

static void race(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, count, NULL) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    sink = shared;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } defects[] = {{"out-of-bounds", read_out_of_bounds}, {"leak", leak}, {"undefined", overflow}, {"race", race}};
    const char *const nothing[] = {NULL};
    char report[4096];
    struct agent agent;
    if (argc != 3) {
        fprintf(stderr, "usage: %s DEFECT AGENT\n", argv[0]);
        return 2;
    }
    start_agent(&agent, argv[2], nothing);
    aperture_client local = client_for("local:"), remote = client_for(agent.address);
    run_flow(local, APERTURE_ACCEPTED);
    for (size_t i = 0; i < sizeof defects / sizeof defects[0]; i++) {
        if (strcmp(argv[1], defects[i].name) == 0) {
            defects[i].run();
        }
    }
    run_flow(remote, APERTURE_ACCEPTED);
    close_client(local);
    close_client(remote);
    stop_agent(&agent, report, sizeof report);
    CHECK(aperture_live_handles() == 0);
    return 0;
}
