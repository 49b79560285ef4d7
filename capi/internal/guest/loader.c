/*
 * The dynamic loader of a forked child. When another thread of the parent was in dlopen or dlclose at the moment of the
 * fork, glibc leaves the lock of its list of libraries locked in the child: dlopen would wait for ever. So a thread of its own
 * asks the loader something first, which takes that lock and no other. If it never comes back nothing depends on it, and
 * the process still ends as it should.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <semaphore.h>
#include <time.h>

#define PATIENCE_SECONDS 5
#define STACK ((size_t)64 << 10)

static sem_t answered; /* static: a thread that never comes back may keep it */

static int stop_at_first(struct dl_phdr_info *info, size_t size, void *data) {
    (void)info, (void)size, (void)data;
    return 1;
}

static void *ask(void *argument) {
    (void)argument;
    dl_iterate_phdr(stop_at_first, NULL);
    sem_post(&answered);
    return NULL;
}

bool aperture_guest_loader_answers(void) {
    static bool asked; /* and never answered: it is not asked again */
    pthread_attr_t attributes;
    pthread_t thread;
    struct timespec deadline;

    if (asked) {
        return false;
    }
    if (pthread_attr_init(&attributes) != 0) {
        return true;
    }
    pthread_attr_setstacksize(&attributes, STACK > (size_t)PTHREAD_STACK_MIN ? STACK : (size_t)PTHREAD_STACK_MIN);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sem_init(&answered, 0, 0);
    bool started = pthread_create(&thread, &attributes, ask, NULL) == 0;
    pthread_attr_destroy(&attributes);
    if (!started) {
        return true; /* dlopen needs no thread: it may still do */
    }
    asked = true;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += PATIENCE_SECONDS;
    int failure;
    do {
        failure = sem_clockwait(&answered, CLOCK_MONOTONIC, &deadline);
    } while (failure != 0 && errno == EINTR);
    asked = failure != 0;
    return failure == 0;
}
