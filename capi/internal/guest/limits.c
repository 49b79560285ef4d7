/*
 * Limits of the process. Go raises the soft limit of open files to the hard one when it starts (golang/go issue 46279):
 * a host that uses select(2), or that bounds its children, has not asked for that, and gets its limit back.
 *
 * And Go ends the process when it cannot have memory at its start, or descriptors for its poller at the first use of a
 * timer or a socket. Both are looked for before it is started, while there is still somebody to tell.
 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static struct rlimit host_limit;
static bool host_limit_known;

void aperture_guest_note_file_limit(void) {
    host_limit_known = getrlimit(RLIMIT_NOFILE, &host_limit) == 0;
}

bool aperture_guest_host_file_limit(uint64_t *soft) {
    *soft = host_limit.rlim_cur;
    return host_limit_known;
}

/* The poller takes an epoll and an eventfd, and is made to start by a pipe; the runtime keeps a file of the CPU limit. */
#define DESCRIPTORS 5

static int reserved[DESCRIPTORS] = {-1, -1, -1, -1, -1};

/* What the runtime takes at its start with the stacks of its threads, most of it address space without memory. */
#define ADDRESS_SPACE ((size_t)1024 << 20)

aperture_code aperture_guest_reserve(aperture_error *error) {
    void *space = mmap(NULL, ADDRESS_SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        return aperture_guest_fail(error, APERTURE_ERROR_RESOURCE_EXHAUSTED,
            "the Go runtime cannot be started: it needs %zu MiB of address space (RLIMIT_AS)", ADDRESS_SPACE >> 20);
    }
    munmap(space, ADDRESS_SPACE);
    for (int i = 0; i < DESCRIPTORS; i++) {
        reserved[i] = eventfd(0, EFD_CLOEXEC);
        if (reserved[i] < 0) {
            const char *reason = strerror(errno);
            aperture_guest_release_descriptors();
            return aperture_guest_fail(error, APERTURE_ERROR_RESOURCE_EXHAUSTED,
                "the Go runtime cannot be started: it needs %d file descriptors: %s", DESCRIPTORS, reason);
        }
    }
    return APERTURE_OK;
}

void aperture_guest_release_descriptors(void) {
    for (int i = 0; i < DESCRIPTORS; i++) {
        if (reserved[i] >= 0) {
            close(reserved[i]);
            reserved[i] = -1;
        }
    }
}
