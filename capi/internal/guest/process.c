/*
 * Which process this is. A Go runtime does not survive a fork: the child has one thread, and the locks, the scheduler and
 * the garbage collector wait for threads that it does not have (golang/go issues 15538, 53806). So nothing in a child may
 * ever enter the runtime of its parent.
 *
 * The functions that lead into Go are reached through one pointer in memory that the kernel wipes in a child
 * (MADV_WIPEONFORK, Linux 4.14), whichever way it was forked: fork, _Fork, a bare clone. It is not wiped by vfork and
 * posix_spawn, whose children share the memory of the parent and only execute another program. A child thus finds no
 * functions, and gets its own when it makes its first client: the runtime of this image if no ancestor has started it,
 * else a fresh copy of the library.
 */
#include "guest.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct aperture_guest_process without_memory;
struct aperture_guest_process *aperture_guest_process = &without_memory;

/* A fork waits for a start that is under way: a child of half a runtime could not be told from one of none. */
static void before_fork(void) {
    pthread_mutex_lock(&aperture_guest_process->lock);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&aperture_guest_process->lock);
}

static void after_fork_in_child(void) {
    /* The kernel has done this already, unless it is one that cannot. */
    memset(aperture_guest_process, 0, sizeof *aperture_guest_process);
    aperture_guest_leave_parent();
}

/* 101 is before every other constructor, the one of the Go runtime included. */
__attribute__((constructor(101))) static void loaded(void) {
    long page = sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) {
        (void)madvise(memory, (size_t)page, MADV_WIPEONFORK); /* fork is noticed by after_fork_in_child in any case */
        aperture_guest_process = memory;
    }
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    aperture_guest_find_image();
    if (!aperture_guest_starts_late()) {
        aperture_guest_note_file_limit();
        aperture_guest_note_host_handlers();
    }
}

void aperture_guest_leave_parent(void) {
    if (aperture_guest_was_started()) {
        aperture_guest_detach_thread();
        aperture_guest_leave_thread();
        aperture_guest_close_connections();
        aperture_guest_restore_host_handlers();
    }
}

aperture_code aperture_guest_enter(const struct aperture_functions **functions, aperture_error *error) {
    if (!aperture_guest_usable(error)) {
        return APERTURE_ERROR_INVALID_ARGUMENT;
    }
    int cancel_state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* or the lock could stay locked */
    pthread_mutex_lock(&aperture_guest_process->lock);
    aperture_code code = APERTURE_OK;
    *functions = aperture_guest_functions();
    if (*functions == NULL) {
        if (!aperture_guest_was_started()) {
            code = aperture_guest_start(error);
            *functions = &aperture_guest_own_functions;
        } else {
            aperture_guest_leave_parent(); /* again, for a fork that runs no handlers */
            code = aperture_guest_load_copy(functions, error);
        }
        if (code == APERTURE_OK) {
            atomic_store_explicit(&aperture_guest_process->functions, *functions, memory_order_release);
        }
    }
    pthread_mutex_unlock(&aperture_guest_process->lock);
    pthread_setcancelstate(cancel_state, &cancel_state);
    return code;
}

aperture_code aperture_guest_refuse(const void *handle, const char *name, aperture_error *error) {
    if (!aperture_guest_usable(error)) {
        return APERTURE_ERROR_INVALID_ARGUMENT;
    }
    /* A copy of the library has given out no handle before its runtime starts, so whoever has one is a child. */
    if (handle != NULL && (aperture_guest_was_started() || aperture_guest_image() > 0)) {
        return aperture_guest_fail(error, APERTURE_ERROR_FORKED,
            "%s: belongs to the process that this one was forked from; make a new client in this process", name);
    }
    return aperture_guest_fail(error, APERTURE_ERROR_INVALID_HANDLE,
        "%s: not an open handle (no client was made in this process)", name);
}
