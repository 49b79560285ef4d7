/*
 * What the host has configured for the whole process. It is kept here and not in Go, so that it can be said before the
 * runtime is started, and so that a forked child has it too.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* In capi/log.go. */
aperture_code aperture_go_configure(int32_t max_procs, int32_t log_fd, int32_t log_level);

#define MAX_PROCS 1024

/* A larger struct than this is none of ours, however new. */
#define MAX_SURPLUS ((size_t)1 << 16)

/* log_fd is a duplicate of the library's own here. */
static aperture_process_options settings = APERTURE_PROCESS_OPTIONS_INIT;

/* In a forked child with a copy of the library: the copy's aperture_configure. */
static aperture_code (*configure_copy)(const aperture_process_options *, aperture_error *);

static aperture_code check(const aperture_process_options *options, aperture_error *error) {
    const aperture_code wrong = APERTURE_ERROR_INVALID_ARGUMENT;
    if (options == NULL) {
        return aperture_guest_fail(error, wrong, "options: must not be NULL");
    }
    size_t size = options->struct_size;
    if (size < sizeof *options) {
        return aperture_guest_fail(error, wrong, "options: struct_size is %zu; the struct has %zu bytes (use its _INIT macro)",
            size, sizeof *options);
    }
    if (size > sizeof *options + MAX_SURPLUS) {
        return aperture_guest_fail(error, wrong,
            "options: struct_size is %zu, which no version of the struct has (use its _INIT macro)", size);
    }
    for (size_t i = sizeof *options; i < size; i++) {
        if (((const unsigned char *)options)[i] != 0) {
            return aperture_guest_fail(error, wrong,
                "options: struct_size is %zu and sets what this library (version %s) does not know; it knows %zu bytes",
                size, APERTURE_VERSION, sizeof *options);
        }
    }
    if (options->log_fd < 0 || (options->log_fd > 0 && fcntl(options->log_fd, F_GETFD) < 0)) {
        return aperture_guest_fail(error, wrong,
            "options.log_fd: %d is not an open file descriptor; 0 stands for no log", (int)options->log_fd);
    }
    if (options->log_level < APERTURE_LOG_LEVEL_DEBUG || options->log_level > APERTURE_LOG_LEVEL_ERROR) {
        return aperture_guest_fail(error, wrong, "options.log_level: is %d; must be from %d (debug) to %d (error)",
            (int)options->log_level, APERTURE_LOG_LEVEL_DEBUG, APERTURE_LOG_LEVEL_ERROR);
    }
    if (options->max_procs < 0 || options->max_procs > MAX_PROCS) {
        return aperture_guest_fail(error, wrong, "options.max_procs: is %d; must be from 0 (the default) to %d",
            (int)options->max_procs, MAX_PROCS);
    }
    if (options->leave_signal_handlers != 0 && options->leave_signal_handlers != 1) {
        return aperture_guest_fail(error, wrong, "options.leave_signal_handlers: is %d; must be 0 or 1",
            (int)options->leave_signal_handlers);
    }
    return APERTURE_OK;
}

/* Hands the settings to the Go code that runs in this process, if there is any. */
static aperture_code apply(aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return APERTURE_OK;
    }
    if (functions == &aperture_guest_own_functions) {
        return aperture_guest_configure_go(error);
    }
    return aperture_guest_configure_copy(configure_copy, error);
}

aperture_code aperture_guest_configure_go(aperture_error *error) {
    struct aperture_guest_call call;
    if (!aperture_guest_begin_call(&call)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code code = aperture_go_configure(settings.max_procs, settings.log_fd, settings.log_level);
    aperture_guest_end_call(&call);
    if (code != APERTURE_OK) {
        return aperture_guest_fail(error, code, "the settings of the process cannot be applied");
    }
    return APERTURE_OK;
}

aperture_code aperture_guest_configure_copy(
    aperture_code (*configure)(const aperture_process_options *, aperture_error *), aperture_error *error) {
    configure_copy = configure;
    return configure(&settings, error);
}

bool aperture_guest_leaves_signal_handlers(void) {
    return __atomic_load_n(&settings.leave_signal_handlers, __ATOMIC_RELAXED) != 0;
}

/* Takes settings that were checked. Their log_fd is the library's from here on. */
static aperture_code take(const aperture_process_options *options, int log_fd, aperture_error *error) {
    int old_log_fd = settings.log_fd;
    settings.log_fd = log_fd;
    settings.log_level = options->log_level;
    settings.max_procs = options->max_procs;
    __atomic_store_n(&settings.leave_signal_handlers, options->leave_signal_handlers, __ATOMIC_RELAXED);
    aperture_code code = apply(error);
    if (old_log_fd != 0) {
        close(old_log_fd);
    }
    return code;
}

aperture_code aperture_configure(const aperture_process_options *options, aperture_error *error) {
    if (!aperture_guest_usable(error)) {
        return APERTURE_ERROR_INVALID_ARGUMENT;
    }
    aperture_code code = check(options, error);
    if (code != APERTURE_OK) {
        return code;
    }
    int log_fd = 0;
    if (options->log_fd > 0) {
        log_fd = fcntl(options->log_fd, F_DUPFD_CLOEXEC, 3); /* above those that a host may close and open again */
        if (log_fd < 0) {
            return aperture_guest_fail(error, APERTURE_ERROR_RESOURCE_EXHAUSTED,
                "options.log_fd: cannot be duplicated: %s", strerror(errno));
        }
    }
    int cancel_state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* or the lock could stay locked */
    pthread_mutex_lock(&aperture_guest_process->lock);
    code = take(options, log_fd, error);
    pthread_mutex_unlock(&aperture_guest_process->lock);
    pthread_setcancelstate(cancel_state, &cancel_state);
    return code == APERTURE_OK ? aperture_guest_succeed(error) : code;
}
