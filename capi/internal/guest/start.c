/*
 * Starts the Go runtime when the first client is made, not when the library is loaded. A process that loads the library,
 * forks, and only then makes clients - a preforking server that imports a package - thus forks no runtime, and every
 * child simply starts its own.
 *
 * The Go linker puts its start into .init_array, where the dynamic loader runs it at once. start.ld moves that entry into
 * a section of its own, from which it is run here. This is not a documented interface of Go: when the entry is not there
 * (an archive, a linker without the script) the runtime starts at load as usual, and everything else works the same.
 * tests/abi holds the built library to the late start.
 */
#include "guest.h"

#include <elf.h>
#include <sys/auxv.h>

typedef void (*initializer)(int argc, char **argv, char **envp);

/* The bounds of the section, from start.ld; NULL when the script was not used. */
extern const initializer aperture_guest_go_start[] __attribute__((weak));
extern const initializer aperture_guest_go_end[] __attribute__((weak));

/* Not wiped by a fork: a child must know that the runtime that it inherited is dead. */
static bool started;

bool aperture_guest_was_started(void) {
    return started;
}

bool aperture_guest_starts_late(void) {
    return &aperture_guest_go_start[0] != &aperture_guest_go_end[0];
}

/*
 * What the kernel puts onto the stack of a new program, as the runtime wants it: arguments, environment, auxiliary vector.
 * The environment is empty. Go would keep a copy of it as it was at this moment, and take settings from it (GOMAXPROCS,
 * GODEBUG, SSL_CERT_FILE, ...) that were meant for other programs; options of the library come from its caller.
 */
static struct {
    char *arguments[2];
    char *environment[1];
    unsigned long auxiliary[2 * 16 + 2];
} stack = {.arguments = {(char[]){"libaperture"}, NULL}};

static void fill_auxiliary_vector(void) {
    static const unsigned long types[] = {
        AT_PAGESZ, AT_RANDOM, AT_SYSINFO_EHDR, AT_HWCAP, AT_HWCAP2, AT_SECURE, AT_CLKTCK, AT_UID, AT_EUID, AT_GID, AT_EGID,
    };
    unsigned long *next = stack.auxiliary;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        *next++ = types[i];
        *next++ = getauxval(types[i]);
    }
    *next++ = AT_NULL;
    *next = 0;
}

aperture_code aperture_guest_start(aperture_error *error) {
    if (aperture_guest_starts_late()) {
        aperture_code code = aperture_guest_reserve(error);
        if (code != APERTURE_OK) {
            return code;
        }
        aperture_guest_note_file_limit();
        aperture_guest_note_host_handlers();
        aperture_guest_keep_signals_blocked();
        fill_auxiliary_vector();
        started = true;
        for (const initializer *run = aperture_guest_go_start; run < aperture_guest_go_end; run++) {
            (*run)(1, stack.arguments, stack.environment);
        }
    }
    started = true;
    aperture_code code = aperture_guest_configure_go(error); /* waits until the runtime runs */
    aperture_guest_note_go_handler();
    if (aperture_guest_leaves_signal_handlers()) {
        aperture_guest_leave_host_handlers();
    }
    return code;
}
