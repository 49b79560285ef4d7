/*
 * The signal handlers of the host. A thread in a Go call runs on a stack of a few kilobytes that Go grows by itself. A
 * handler without SA_ONSTACK that runs there overflows it, and writes over whatever lies below: the heap. Go adds the flag
 * to the handlers that it finds at its start (runtime, "signals in non-Go programs"); those that are installed later, as
 * Node's are, get it here. The flag says to use the alternate stack of a thread, and changes nothing on a thread that
 * has none.
 *
 * Nothing tells the library of a new handler, so it looks: on the way into Go, when it has not looked for 10 ms, and when
 * the host asks (aperture_protect_signal_handlers). A look costs 15 microseconds, a system call for each signal.
 *
 * Handlers are read and written as the kernel has them, to reach those of the C library too, which run in every thread
 * when a thread changes the user or is cancelled.
 */
#include "guest.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's struct sigaction, as x86-64 and arm64 have it. */
struct action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

#define LAST_SIGNAL 64

_Atomic uint64_t aperture_guest_signals_seen;

static struct action host_actions[LAST_SIGNAL + 1]; /* before the runtime was started */
static void (*go_handler)(int);                     /* the runtime's, the same for all signals; NULL before its start */

static bool exchange(int number, const struct action *replacement, struct action *current) {
    return syscall(SYS_rt_sigaction, number, replacement, current, sizeof current->mask) == 0;
}

static bool is_function(const struct action *action) {
    return action->handler != SIG_DFL && action->handler != SIG_IGN;
}

/* Adds the flag to a handler. Another thread may install one at the same time: the host's last word counts. */
static void protect(int number, struct action current) {
    for (int tries = 0; tries < 100; tries++) {
        struct action replacement = current, previous;
        if (is_function(&current)) {
            replacement.flags |= SA_ONSTACK;
        }
        if (!exchange(number, &replacement, &previous)) {
            return;
        }
        if (previous.handler == current.handler && (previous.flags | SA_ONSTACK) == (current.flags | SA_ONSTACK)) {
            return;
        }
        current = previous;
    }
}

void aperture_guest_protect_signal_handlers(void) {
    if (aperture_guest_leaves_signal_handlers()) {
        return;
    }
    for (int number = 1; number <= LAST_SIGNAL; number++) {
        struct action current;
        if (exchange(number, NULL, &current) && is_function(&current) && !(current.flags & SA_ONSTACK)) {
            protect(number, current);
        }
    }
}

aperture_code aperture_protect_signal_handlers(aperture_error *error) {
    if (!aperture_guest_usable(error)) {
        return APERTURE_ERROR_INVALID_ARGUMENT;
    }
    aperture_guest_protect_signal_handlers();
    return aperture_guest_succeed(error);
}

void aperture_guest_note_host_handlers(void) {
    for (int number = 1; number <= LAST_SIGNAL; number++) {
        if (!exchange(number, NULL, &host_actions[number])) {
            host_actions[number].handler = SIG_DFL;
        }
    }
}

void aperture_guest_note_go_handler(void) {
    struct action current;
    /* Go wakes its threads with SIGURG, which nobody else is known to handle. */
    if (exchange(SIGURG, NULL, &current) && is_function(&current) && current.handler != host_actions[SIGURG].handler) {
        go_handler = current.handler;
    }
}

void aperture_guest_leave_host_handlers(void) {
    for (int number = 1; number <= LAST_SIGNAL; number++) {
        const struct action *host = &host_actions[number];
        struct action current;
        if (is_function(host) && !(host->flags & SA_ONSTACK) && exchange(number, NULL, &current) &&
            current.handler == host->handler) {
            (void)exchange(number, host, NULL);
        }
    }
}

void aperture_guest_restore_host_handlers(void) {
    for (int number = 1; number <= LAST_SIGNAL && go_handler != NULL; number++) {
        struct action current;
        if (exchange(number, NULL, &current) && current.handler == go_handler) {
            (void)exchange(number, &host_actions[number], NULL);
        }
    }
}
