/*
 * The runtime unblocks some signals in its threads again that threads.c has blocked: those that its table marks so
 * (runtime.sigtable, _SigUnblock). Faults must be among them, but SIGCHLD and SIGPROF are signals of the host: libuv
 * installs a handler for SIGCHLD, without SA_ONSTACK, when Node starts its first child, and the kernel would run it on
 * whatever thread it likes. The marks of these two are taken away before the runtime starts.
 *
 * The table is not meant to be found. It is known by its texts, in the writable data of this image; when it is not there
 * nothing is changed, and tests/c says so.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <link.h>
#include <signal.h>
#include <string.h>

/* An entry of the table: flags, and a text of Go, which has no NUL at its end. */
struct entry {
    int32_t flags;
    const char *text;
    int64_t length;
};

#define ENTRIES 65
#define UNBLOCK (1 << 7)

struct image {
    uintptr_t start, end;
    struct entry *table;
};

static bool is_named(const struct image *image, const struct entry *entry, const char *name) {
    size_t length = strlen(name);
    uintptr_t text = (uintptr_t)entry->text;
    return entry->length >= (int64_t)length && text >= image->start && text < image->end - length &&
           memcmp(entry->text, name, length) == 0;
}

static bool is_table(const struct image *image, const struct entry *first) {
    return is_named(image, first, "SIGNONE: ") && is_named(image, first + SIGHUP, "SIGHUP: ") &&
           is_named(image, first + SIGCHLD, "SIGCHLD: ") && is_named(image, first + SIGPROF, "SIGPROF: ") &&
           is_named(image, first + ENTRIES - 1, "signal 64");
}

static bool contains(const struct dl_phdr_info *info, const void *address) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t offset = (uintptr_t)address - info->dlpi_addr - segment->p_vaddr;
        if (segment->p_type == PT_LOAD && offset < segment->p_memsz) {
            return true;
        }
    }
    return false;
}

static int find_table(struct dl_phdr_info *info, size_t size, void *data) {
    struct image *image = data;
    (void)size;
    if (!contains(info, &aperture_guest_own_functions)) {
        return 0;
    }
    image->start = UINTPTR_MAX;
    uintptr_t constants_end = 0; /* of what was writable for the loader only */
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD) {
            image->start = start < image->start ? start : image->start;
            image->end = start + segment->p_memsz > image->end ? start + segment->p_memsz : image->end;
        } else if (segment->p_type == PT_GNU_RELRO) {
            constants_end = start + segment->p_memsz;
        }
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W) || segment->p_filesz < ENTRIES * sizeof(struct entry)) {
            continue;
        }
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        uintptr_t last = start + segment->p_filesz - ENTRIES * sizeof(struct entry);
        start = start < constants_end && constants_end <= last ? constants_end : start;
        for (uintptr_t at = (start + 7) & ~(uintptr_t)7; at <= last && image->table == NULL; at += 8) {
            if (is_table(image, (const struct entry *)at)) {
                image->table = (struct entry *)at;
            }
        }
    }
    return 1;
}

void aperture_guest_keep_signals_blocked(void) {
    struct image image = {0};
    dl_iterate_phdr(find_table, &image);
    if (image.table != NULL) {
        image.table[SIGCHLD].flags &= ~UNBLOCK;
        image.table[SIGPROF].flags &= ~UNBLOCK;
    }
}
