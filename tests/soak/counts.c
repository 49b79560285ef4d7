/* What the host counts on its own side, and how it tells the driver: as parts of lines of JSON. */
#define _POSIX_C_SOURCE 200809L

#include "soak.h"

#include <inttypes.h>
#include <stdio.h>

struct counts counts;

void reset_counts(void) {
#define FIELD(name) atomic_store(&counts.name, 0);
    COUNTS(FIELD)
#undef FIELD
}

void print_counts(void) {
    const char *separator = "";
    printf("\"counts\":{");
#define FIELD(name)                                                                                                    \
    printf("%s\"" #name "\":%" PRIu64, separator, atomic_load(&counts.name));                                          \
    separator = ",";
    COUNTS(FIELD)
#undef FIELD
    printf("}");
}

void print_stats(const char *name, const aperture_stats *stats) {
    printf("\"%s\":{", name);
#define FIELD(field) printf("\"" #field "\":%" PRIu64 ",", stats->field);
    FIELD(flows_accepted)
    FIELD(flows_rejected)
    FIELD(flows_unreachable)
    FIELD(unreachable_timeout)
    FIELD(unreachable_unavailable)
    FIELD(unreachable_agent_error)
    FIELD(unreachable_misconfigured)
    FIELD(unreachable_cancelled)
    FIELD(unreachable_closed)
    FIELD(unreachable_overloaded)
    FIELD(flows_ended)
    FIELD(flow_ends_failed)
    FIELD(spans_exported)
    FIELD(spans_dropped)
    FIELD(spans_queued)
    FIELD(flows_sanitised)
    FIELD(flows_never_ended)
#undef FIELD
    printf("\"calls_pending\":%" PRIu64 "}", stats->calls_pending);
}

void mistake(const char *what, aperture_code code, const char *message) {
    const uint64_t before = atomic_fetch_add(&counts.mistakes, 1);
    if (before < 20) {
        fprintf(stderr, "host: %s: %s%s%s\n", what, aperture_error_name(code), message[0] != '\0' ? ": " : "", message);
    }
}
