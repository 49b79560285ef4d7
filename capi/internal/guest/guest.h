/*
 * What keeps the library a good guest in somebody else's process. guest.go lists the parts.
 *
 * Nothing here is exported from the library. Everything may be called from every thread, unless it says otherwise.
 */
#ifndef APERTURE_GUEST_H
#define APERTURE_GUEST_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "functions.h"

/* ---- process.c: which process this is ---- */

/* What is true of this process only. It lies in memory that the kernel wipes in a forked child. */
struct aperture_guest_process {
    _Atomic(const struct aperture_functions *) functions; /* NULL until the runtime has been started here */
    pthread_mutex_t lock;                                 /* zeroed memory is an unlocked mutex */
};

extern struct aperture_guest_process *aperture_guest_process;

/* Returns the functions of this process, or NULL when no runtime was started in it. */
static inline const struct aperture_functions *aperture_guest_functions(void) {
    return atomic_load_explicit(&aperture_guest_process->functions, memory_order_acquire);
}

/* Makes sure that this process has functions, and stores them. Any other code than APERTURE_OK is described in error. */
aperture_code aperture_guest_enter(const struct aperture_functions **functions, aperture_error *error);

/* Describes why a handle cannot be open in a process without functions, and returns the code. */
aperture_code aperture_guest_refuse(const void *handle, const char *name, aperture_error *error);

/* Lets go of what the runtime of the parent has left in a forked child. */
void aperture_guest_leave_parent(void);

/* ---- start.c: the Go runtime of this image ---- */

/* The functions of this image; they are in entry.c, and can be called once the runtime runs. */
extern const struct aperture_functions aperture_guest_own_functions;

/* Says whether the runtime of this image was started, in this process or in one that it was forked from. */
bool aperture_guest_was_started(void);

/* Says whether the runtime starts when it is asked to, and not already when the library is loaded. */
bool aperture_guest_starts_late(void);

/* Starts the runtime. The caller holds the lock of the process. */
aperture_code aperture_guest_start(aperture_error *error);

/* ---- image.c: the file of this image, and copies of it for forked children ---- */

/* Notes where the file of this image is. Called once, when it is loaded. */
void aperture_guest_find_image(void);

/* Returns how many processes lie between this image and the one that the host has loaded: 0 for the host's. */
int aperture_guest_image(void);

/* The most that aperture_guest_image can be; handles have room for no more. */
#define APERTURE_GUEST_LAST_IMAGE 63

/* Loads a fresh copy and stores its functions. The caller holds the lock of the process. */
aperture_code aperture_guest_load_copy(const struct aperture_functions **functions, aperture_error *error);

/* ---- loader.c: the dynamic loader of a forked child ---- */

/* Says whether the loader can be used. It waits for a few seconds before it says no. */
bool aperture_guest_loader_answers(void);

/* ---- settings.c: what the host has configured ---- */

/* Hands the settings to the Go code of this image. The caller holds the lock of the process. */
aperture_code aperture_guest_configure_go(aperture_error *error);

/* Hands the settings to a copy through its aperture_configure. The caller holds the lock of the process. */
aperture_code aperture_guest_configure_copy(
    aperture_code (*configure)(const aperture_process_options *, aperture_error *), aperture_error *error);

bool aperture_guest_leaves_signal_handlers(void);

/* ---- signals.c: the signal handlers of the host ---- */

/* The 10 ms in which the handlers were looked at last. */
extern _Atomic uint64_t aperture_guest_signals_seen;

/* Adds SA_ONSTACK to every handler that lacks it. */
void aperture_guest_protect_signal_handlers(void);

/* Notes the handlers of the host before the runtime replaces some, and then that of the runtime. */
void aperture_guest_note_host_handlers(void);
void aperture_guest_note_go_handler(void);

/* Takes back the flag that the runtime has added to the host's handlers at its start. */
void aperture_guest_leave_host_handlers(void);

/* Puts the host's handlers back where the runtime's are. For a forked child, whose runtime is dead. */
void aperture_guest_restore_host_handlers(void);

/* ---- signal_table.c: which signals the threads of the runtime unblock ---- */

/* Lets the runtime leave the host's signals blocked in its threads. Called before it starts. */
void aperture_guest_keep_signals_blocked(void);

/* ---- thread_key.c: the thread-specific value of the runtime ---- */

/* What the library itself calls: pthread_key_create is the runtime's here. */
int __real_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));

/* Forgets what the runtime has attached to this thread. For a forked child, whose runtime is dead. */
void aperture_guest_detach_thread(void);

/* ---- thread_end.c: what is done when a thread of the host ends ---- */

/* Has aperture_go_thread_ended called when the calling thread ends; false when that cannot be. */
bool aperture_guest_watch_thread(void);

/* Returns the number of the calling thread when it is watched, else 0. */
uint64_t aperture_guest_thread(void);

/* ---- calling_thread.c: a thread of the host that calls the library ---- */

/* What is known of a thread. It is made with the thread's first call, and goes with the thread. */
struct aperture_guest_calling_thread {
    uintptr_t stack; /* the lowest address of its own stack */
    size_t stack_size; /* 0 when it could not be found out */
    bool in_call;
};

/* NULL before the first call, and when there was no memory. One pointer, because memory for such variables is short. */
extern __thread struct aperture_guest_calling_thread *aperture_guest_calling_thread
    __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* A call on its way through Go. */
struct aperture_guest_call {
    struct aperture_guest_calling_thread *thread;
    bool blocks_signals;
    sigset_t before;
};

struct aperture_guest_calling_thread *aperture_guest_meet_thread(void);

/* Takes back what this thread was given. For a forked child, whose copy of the library gives it its own. */
void aperture_guest_leave_thread(void);

/* Blocks signals for a call that is made on the alternate stack. */
void aperture_guest_block_on_signal_stack(struct aperture_guest_call *call);

/* Describes why a call was not begun, and returns the code. */
aperture_code aperture_guest_refuse_interruption(aperture_error *error);

/* Looks at the handlers again when the last look was in another 10 ms. Called on every way into Go. */
static inline void aperture_guest_watch_signals(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* without a system call */
    uint64_t period = (uint64_t)now.tv_sec * 100 + (uint64_t)now.tv_nsec / 10000000;
    if (atomic_load_explicit(&aperture_guest_signals_seen, memory_order_relaxed) != period) {
        atomic_store_explicit(&aperture_guest_signals_seen, period, memory_order_relaxed);
        aperture_guest_protect_signal_handlers();
    }
}

/* Begins a call into Go, unless a signal handler makes it that has interrupted another call of this thread. */
static inline bool aperture_guest_begin_call(struct aperture_guest_call *call) {
    struct aperture_guest_calling_thread *thread = aperture_guest_calling_thread;
    if (thread == NULL) {
        thread = aperture_guest_meet_thread();
    }
    if (thread != NULL) {
        if (thread->in_call) {
            return false;
        }
        thread->in_call = true;
    }
    call->thread = thread;
    call->blocks_signals = false;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (thread == NULL || here - thread->stack >= thread->stack_size) {
        aperture_guest_block_on_signal_stack(call);
    }
    aperture_guest_watch_signals();
    return true;
}

static inline void aperture_guest_end_call(const struct aperture_guest_call *call) {
    if (call->thread != NULL) {
        call->thread->in_call = false;
    }
    if (call->blocks_signals) {
        pthread_sigmask(SIG_SETMASK, &call->before, NULL);
    }
}

/* ---- connections.c: what a forked child closes ---- */

/* Notes a connection, and returns its place: negative when there is none left. */
int aperture_guest_remember_connection(int descriptor);
void aperture_guest_forget_connection(int place);

/* Closes the connections that were noted. For a forked child. */
void aperture_guest_close_connections(void);

/* ---- limits.c: limits of the process ---- */

/* Notes the soft limit of file descriptors before the runtime raises it. */
void aperture_guest_note_file_limit(void);

/* Stores the soft limit that the host had, and returns false when it is not known. */
bool aperture_guest_host_file_limit(uint64_t *soft);

/* Makes sure that the runtime finds what it would end the process without: address space and file descriptors. */
aperture_code aperture_guest_reserve(aperture_error *error);

/* Gives back the reserved descriptors, for the poller of the runtime to take. */
void aperture_guest_release_descriptors(void);

/* ---- failure.c: errors ---- */

/* Says whether an error struct can be written to. NULL can: nothing is written then. */
bool aperture_guest_usable(const aperture_error *error);

/* Describes what went wrong, unless error is NULL, and returns the code. */
__attribute__((format(printf, 3, 4))) aperture_code aperture_guest_fail(
    aperture_error *error, aperture_code code, const char *format, ...);

/* Clears an error, unless it is NULL, and returns APERTURE_OK. */
aperture_code aperture_guest_succeed(aperture_error *error);

#endif /* APERTURE_GUEST_H */
