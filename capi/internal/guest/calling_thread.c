/*
 * A thread of the host that calls the library, and the stack on which its signal handlers run.
 *
 * A signal that comes while a thread is in Go code must be handled on the thread's alternate stack (see signals.c). The
 * one that Go would set up has 32 KiB, on which a program that ends in its handler - as uWSGI does, with all that an
 * interpreter does at its end - overwrites memory. So every thread that has no alternate stack gets one that is as good
 * as a thread's own, with a page below it that nobody can write to. Only what is used of it takes memory.
 *
 * A handler that runs there may call the library in turn. While Go runs, the stack pointer is on a stack of Go's, and the
 * kernel would begin the next signal at the top of the alternate stack again, over what is suspended there. So a call
 * that is made on it blocks signals, except for those of its own faults, which cannot be. Go does without the signal
 * that asks it to yield.
 *
 * A handler that has interrupted a call of the library must not enter Go a second time. It gets an error.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)1 << 20)

struct mapping {
    void *start;
    size_t size;
    void *signal_stack;
    struct aperture_guest_calling_thread thread;
};

__thread struct aperture_guest_calling_thread *aperture_guest_calling_thread;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* its value in a thread: the mapping */
static bool has_key;

/* The destructors of other values may call the library after this one. The thread is met again then, and so is this. */
static void leave(void *value) {
    struct mapping *mapping = value;
    stack_t current;
    aperture_guest_calling_thread = NULL;
    if (sigaltstack(NULL, &current) != 0 || (current.ss_flags & SS_ONSTACK) != 0) {
        return; /* the thread ends in a handler: its stack stays */
    }
    if (current.ss_sp == mapping->signal_stack && (current.ss_flags & SS_DISABLE) == 0) {
        const stack_t none = {.ss_flags = SS_DISABLE};
        if (sigaltstack(&none, NULL) != 0) {
            return;
        }
    }
    munmap(mapping->start, mapping->size);
}

void aperture_guest_leave_thread(void) {
    void *mapping = has_key ? pthread_getspecific(key) : NULL;
    if (mapping != NULL && pthread_setspecific(key, NULL) == 0) {
        leave(mapping);
    }
}

static void make_key(void) {
    has_key = __real_pthread_key_create(&key, leave) == 0;
}

static void find_stack(struct aperture_guest_calling_thread *thread) {
    pthread_attr_t attributes;
    void *address;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return;
    }
    if (pthread_attr_getstack(&attributes, &address, &thread->stack_size) == 0) {
        thread->stack = (uintptr_t)address;
    } else {
        thread->stack_size = 0;
    }
    pthread_attr_destroy(&attributes);
}

struct aperture_guest_calling_thread *aperture_guest_meet_thread(void) {
    (void)pthread_once(&once, make_key);
    if (!has_key) {
        return NULL;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = page + STACK_SIZE;
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    size_t usable = (STACK_SIZE - sizeof(struct mapping)) & ~(size_t)63;
    struct mapping *mapping = (struct mapping *)(void *)(start + page + usable);
    *mapping = (struct mapping){.start = start, .size = size, .signal_stack = start + page};
    find_stack(&mapping->thread);
    if (mprotect(start, page, PROT_NONE) != 0 || pthread_setspecific(key, mapping) != 0) {
        munmap(start, size);
        return NULL;
    }
    stack_t current;
    if (sigaltstack(NULL, &current) == 0 && (current.ss_flags & SS_DISABLE) != 0) {
        const stack_t own = {.ss_sp = mapping->signal_stack, .ss_size = usable};
        (void)sigaltstack(&own, NULL);
    }
    aperture_guest_calling_thread = &mapping->thread;
    return aperture_guest_calling_thread;
}

void aperture_guest_block_on_signal_stack(struct aperture_guest_call *call) {
    static const int own_faults[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};
    stack_t current;
    if (sigaltstack(NULL, &current) != 0 || (current.ss_flags & SS_ONSTACK) == 0) {
        return; /* a stack of a coroutine */
    }
    sigset_t others;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof own_faults / sizeof own_faults[0]; i++) {
        sigdelset(&others, own_faults[i]);
    }
    call->blocks_signals = pthread_sigmask(SIG_BLOCK, &others, &call->before) == 0;
}

aperture_code aperture_guest_refuse_interruption(aperture_error *error) {
    if (!aperture_guest_usable(error)) {
        return APERTURE_ERROR_INVALID_ARGUMENT;
    }
    return aperture_guest_fail(error, APERTURE_ERROR_RESOURCE_EXHAUSTED,
        "called by a signal handler that has interrupted another call of the library on this thread");
}
