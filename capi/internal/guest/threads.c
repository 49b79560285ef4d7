/*
 * The threads of the Go runtime are born with every signal blocked, so that none of them takes a signal that was meant
 * for the host: the kernel gives a signal of the process to any thread that does not block it, and a handler of the host
 * would run on a thread, and perhaps on a small stack, that the host knows nothing of. The runtime keeps the mask of its
 * first thread for all that follow, and unblocks in it what it needs itself (see signal_table.c). A write of theirs to a
 * connection that broke also fails with EPIPE then, even when the host has set SIGPIPE to its default, which ends the
 * process.
 *
 * The linker is told (-Wl,--wrap, see guest.go) to let every creation of a thread within the library pass through here.
 */
#include "guest.h"

#include <signal.h>

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = __real_pthread_create(thread, attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}
