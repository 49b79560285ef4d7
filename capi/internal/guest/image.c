/*
 * The file of this image of the library, and fresh copies of it for forked children. A child whose parent has used the
 * library cannot use the runtime that it inherited, and the dynamic loader will not load the same file twice. So it loads
 * a copy in memory, with a runtime that nobody has started.
 *
 * The host stays bound to the functions of the image that it has loaded; they hand every call on to the copy's. A copy is
 * known by its number, the last part of its name, and handles have that number in them (capi/internal/handle): a handle
 * of the parent is recognised in the child, whose own handles could otherwise be the same numbers.
 *
 * What cannot be helped: each copy takes a piece of the dynamic loader's static thread-local memory, which is gone after
 * some 60 generations of forks.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_NAME "libaperture.so-"

static char path[PATH_MAX];
static int file = -1; /* opened when the image was loaded, because the path may name another file later */
static struct stat identity;
static int image;
static int last_copy; /* the number of the last copy that was loaded, by this process or one that it was forked from */

/* Returns the number in the name of a copy, 0 for any other file. */
static int number_of_copy(int descriptor) {
    static const char prefix[] = "/memfd:" COPY_NAME;
    char link[64], target[128];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0) {
        return 0;
    }
    target[length] = '\0';
    return strncmp(target, prefix, sizeof prefix - 1) == 0 ? atoi(target + sizeof prefix - 1) : 0;
}

void aperture_guest_find_image(void) {
    Dl_info info;
    if (dladdr(&aperture_guest_own_functions, &info) == 0 || info.dli_fname == NULL) {
        return;
    }
    file = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
    if (file >= 0 && fstat(file, &identity) == 0) {
        image = last_copy = number_of_copy(file);
    }
    if (realpath(info.dli_fname, path) == NULL) {
        path[0] = '\0'; /* a copy in memory has no path */
    }
}

int aperture_guest_image(void) {
    return image;
}

/* Returns a descriptor of the image's file, or -1. The host may have closed ours, and used its number for another. */
static int open_file(void) {
    struct stat now;
    if (file >= 0 && fstat(file, &now) == 0 && now.st_dev == identity.st_dev && now.st_ino == identity.st_ino) {
        return fcntl(file, F_DUPFD_CLOEXEC, 0);
    }
    return path[0] != '\0' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

/* Returns a descriptor of a copy in memory, or -1 with errno set. */
static int copy_file(int from) {
    char name[32];
    struct stat status;
    if (fstat(from, &status) != 0) {
        return -1;
    }
    snprintf(name, sizeof name, COPY_NAME "%d", last_copy);
    int copy = memfd_create(name, MFD_CLOEXEC);
    off_t done = 0;
    while (copy >= 0 && done < status.st_size) {
        ssize_t sent = sendfile(copy, from, &done, (size_t)(status.st_size - done));
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            close(copy);
            return -1;
        }
    }
    return copy;
}

/* Loads a copy. Its name must not be one that an ancestor has used, or the loader returns the ancestor's. */
static void *load(int copy) {
    char name[64 + 2 * (APERTURE_GUEST_LAST_IMAGE + 1)];
    int length = snprintf(name, sizeof name, "/proc/self/fd/");
    for (int i = 0; i < last_copy; i++) {
        length += snprintf(name + length, sizeof name - (size_t)length, "./");
    }
    snprintf(name + length, sizeof name - (size_t)length, "%d", copy);
    return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

typedef void (*any_function)(void);
typedef aperture_code (*configure_function)(const aperture_process_options *, aperture_error *);

static any_function look_up(void *library, const char *name) {
    any_function function = NULL;
    *(void **)&function = dlsym(library, name);
    return function;
}

/* Finds the functions of a copy. Returns false when it is not a copy of this image. */
static bool bind(void *library, struct aperture_functions *functions, configure_function *configure) {
    static const char *const names[] = APERTURE_FUNCTION_NAMES;
    enum { COUNT = sizeof names / sizeof names[0] };
    _Static_assert(sizeof *functions == COUNT * sizeof(any_function), "a name for each function");
    any_function table[COUNT];
    for (int i = 0; i < COUNT; i++) {
        table[i] = look_up(library, names[i]);
        if (table[i] == NULL) {
            return false;
        }
    }
    memcpy(functions, table, sizeof table);
    *configure = (configure_function)look_up(library, "aperture_configure");
    const char *(*version)(void) = (const char *(*)(void))look_up(library, "aperture_version");
    return *configure != NULL && functions->new_client != aperture_new_client && version != NULL &&
           strcmp(version(), APERTURE_VERSION) == 0;
}

aperture_code aperture_guest_load_copy(const struct aperture_functions **functions, aperture_error *error) {
    static struct aperture_functions loaded;
    configure_function configure;

    if (last_copy >= APERTURE_GUEST_LAST_IMAGE) {
        return aperture_guest_fail(error, APERTURE_ERROR_RESOURCE_EXHAUSTED,
            "no more than %d generations of forked processes can use the library", APERTURE_GUEST_LAST_IMAGE);
    }
    if (!aperture_guest_loader_answers()) {
        return aperture_guest_fail(error, APERTURE_ERROR_FORKED,
            "this process was forked while another thread of its parent was loading or unloading a library, and glibc left "
            "its loader locked: nothing can be loaded here; make the first client after the fork, or fork before there are "
            "such threads");
    }
    last_copy++;
    int from = open_file();
    int copy = from >= 0 ? copy_file(from) : -1;
    int failure = errno;
    if (from >= 0) {
        close(from);
    }
    if (copy < 0) {
        return aperture_guest_fail(error,
            failure == EMFILE || failure == ENFILE || failure == ENOMEM ? APERTURE_ERROR_RESOURCE_EXHAUSTED : APERTURE_ERROR_FORKED,
            "this process was forked from one that uses the library, and the library's file cannot be copied: %s",
            strerror(failure));
    }
    void *library = load(copy);
    close(copy);
    if (library == NULL) {
        const char *reason = dlerror();
        return aperture_guest_fail(error, APERTURE_ERROR_FORKED,
            "this process was forked from one that uses the library, and a fresh copy cannot be loaded: %s",
            reason != NULL ? reason : "for a reason that the loader does not tell");
    }
    if (!bind(library, &loaded, &configure)) {
        return aperture_guest_fail(error, APERTURE_ERROR_FORKED,
            "this process was forked from one that uses the library, and %s is not that library any more", path);
    }
    *functions = &loaded;
    return aperture_guest_configure_copy(configure, error);
}
