/*
 * Tells the Go code when a thread of the host ends, for aperture_close_clients_with_thread. A host may end a thread in a
 * way that lets none of the thread's own code run any more; the destructors of thread-specific values run all the same.
 *
 * Their order does not matter: the Go runtime has one of its own, which lets go of the thread, but a thread may enter Go
 * again after that, and then has it run once more.
 */
#include "guest.h"

/* In capi/thread_end.go. */
void aperture_go_thread_ended(uint64_t thread);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* its value in a thread: the number of the thread */
static bool has_key;
static _Atomic uintptr_t last_number;

static void ended(void *number) {
    /* In a forked child the clients are those of the parent, and the runtime is dead. */
    struct aperture_guest_call call;
    if (aperture_guest_functions() == &aperture_guest_own_functions && aperture_guest_begin_call(&call)) {
        aperture_go_thread_ended((uint64_t)(uintptr_t)number);
        aperture_guest_end_call(&call);
    }
}

static void make_key(void) {
    has_key = __real_pthread_key_create(&key, ended) == 0;
}

uint64_t aperture_guest_thread(void) {
    (void)pthread_once(&once, make_key);
    return has_key ? (uint64_t)(uintptr_t)pthread_getspecific(key) : 0;
}

bool aperture_guest_watch_thread(void) {
    if (aperture_guest_thread() != 0) {
        return true;
    }
    void *number = (void *)(atomic_fetch_add(&last_number, 1) + 1);
    return has_key && pthread_setspecific(key, number) == 0;
}
