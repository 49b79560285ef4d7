/* A watchdog: the host aborts when a call does not return, or a completion does not come, long after its time is up. */
#define _POSIX_C_SOURCE 200809L

#include "soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define GRACE (30 * SECOND) /* a busy machine is no hang */
#define MAX_WATCHES 1024

static struct watch *watches[MAX_WATCHES];
static _Atomic int watch_count;

void watch_register(struct watch *watch) {
    const int index = atomic_load(&watch_count); /* only the main thread registers */
    if (index == MAX_WATCHES) {
        fprintf(stderr, "host: too many watches\n");
        exit(1);
    }
    watches[index] = watch;
    atomic_store(&watch_count, index + 1);
}

void watch_begin(struct watch *watch, const char *what, int64_t limit_ns) {
    atomic_store(&watch->what, what);
    atomic_store(&watch->deadline, now_ns() + limit_ns + GRACE);
}

void watch_end(struct watch *watch) {
    atomic_store(&watch->deadline, 0);
}

static void *watch_all(void *unused) {
    (void)unused;
    for (;;) {
        const int64_t now = now_ns();
        const int count = atomic_load(&watch_count);
        for (int i = 0; i < count; i++) {
            const int64_t deadline = atomic_load(&watches[i]->deadline);
            if (deadline != 0 && now > deadline) {
                fprintf(stderr, "host: hang: %s is %" PRId64 " s over its time\n", atomic_load(&watches[i]->what),
                        (now - deadline + GRACE) / SECOND);
                abort();
            }
        }
        sleep_ns(SECOND / 2);
    }
    return NULL;
}

void watch_start_dog(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch_all, NULL) != 0) {
        fprintf(stderr, "host: no thread for the watchdog\n");
        exit(1);
    }
    pthread_detach(thread);
}
