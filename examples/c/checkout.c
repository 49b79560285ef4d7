/*
 * Guards a piece of work with libaperture. For each line of a trace ("tier user") it asks whether a checkout may run,
 * does it or refuses it, and at the end prints for each tier how many ran, how many were refused, and the longest time
 * that a refused caller was told to wait, in seconds.
 *
 *     checkout --address ADDRESS [--insecure] [--user-prefix PREFIX] TRACE
 *
 * Build it with: cc -std=c99 checkout.c -I include -L build -laperture
 */
#include <aperture.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define MAX_TIERS 16
#define WORD 63 /* the most letters of a tier or a user */

struct tier {
    char name[WORD + 1];
    long accepted;
    long rejected;
    int64_t longest_wait_ns;
};

/* Asks for one checkout and does it. Returns 0, or -1 when nothing could be decided. */
static int checkout(aperture_client client, struct tier *tier, const char *user) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
    aperture_label labels[2];
    aperture_flow flow;

    labels[0].key = aperture_text_of("tier");
    labels[0].value = aperture_text_of(tier->name);
    labels[1].key = aperture_text_of("user_id");
    labels[1].value = aperture_text_of(user);
    params.control_point = aperture_text_of("checkout");
    params.labels = labels;
    params.label_count = 2;

    if (aperture_start_flow(client, &params, &flow, &decision, &error) != APERTURE_OK) {
        fprintf(stderr, "checkout: %s\n", error.message); /* a mistake of ours: an argument is wrong */
        return -1;
    }
    if (decision.should_run) {
        tier->accepted++;
        /* The work goes here. If it fails: aperture_flow_set_status(flow, APERTURE_FLOW_STATUS_ERROR, NULL). */
    } else {
        tier->rejected++;
        if (decision.retry_after_ns > tier->longest_wait_ns) {
            tier->longest_wait_ns = decision.retry_after_ns;
        }
        /* A web service answers with decision.http_status here. */
    }
    if (decision.decision == APERTURE_UNREACHABLE) {
        aperture_flow_error(flow, &error, NULL); /* a real service goes on: the flow failed open */
        fprintf(stderr, "checkout: %s\n", error.message);
    }

    /* Whatever happened, a flow is ended and closed. */
    aperture_flow_end(flow, NULL, NULL);
    aperture_flow_close(flow, NULL);
    return decision.decision == APERTURE_UNREACHABLE ? -1 : 0;
}

static struct tier *tier_named(struct tier *tiers, size_t *count, const char *name) {
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(tiers[i].name, name) == 0) {
            return &tiers[i];
        }
    }
    if (*count == MAX_TIERS) {
        return NULL;
    }
    struct tier *tier = &tiers[(*count)++];
    memset(tier, 0, sizeof *tier);
    memcpy(tier->name, name, strlen(name) + 1);
    return tier;
}

static int run(aperture_client client, FILE *trace, const char *prefix, struct tier *tiers, size_t *count) {
    char line[256];
    while (fgets(line, sizeof line, trace) != NULL) {
        char tier_name[WORD + 1], user_name[WORD + 1], user[2 * WORD + 2];
        if (line[0] == '#' || sscanf(line, "%63s %63s", tier_name, user_name) != 2) {
            continue;
        }
        snprintf(user, sizeof user, "%.*s%s", WORD, prefix, user_name);
        struct tier *tier = tier_named(tiers, count, tier_name);
        if (tier == NULL) {
            fprintf(stderr, "checkout: more than %d tiers\n", MAX_TIERS);
            return -1;
        }
        if (checkout(client, tier, user) != 0) {
            return -1;
        }
    }
    return 0;
}

static int by_name(const void *left, const void *right) {
    return strcmp(((const struct tier *)left)->name, ((const struct tier *)right)->name);
}

int main(int argc, char **argv) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client;
    const char *prefix = "", *path = NULL;
    struct tier tiers[MAX_TIERS];
    size_t tier_count = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--insecure") == 0) {
            options.insecure = 1;
        } else if (strcmp(argv[i], "--address") == 0 && i + 1 < argc) {
            options.address = aperture_text_of(argv[++i]);
        } else if (strcmp(argv[i], "--user-prefix") == 0 && i + 1 < argc) {
            prefix = argv[++i];
        } else {
            path = argv[i];
        }
    }
    FILE *trace = path != NULL ? fopen(path, "r") : NULL;
    if (trace == NULL) {
        fprintf(stderr, "usage: %s --address ADDRESS [--insecure] [--user-prefix PREFIX] TRACE\n", argv[0]);
        return 2;
    }

    /* A client is made once, and shared by all threads. */
    if (aperture_new_client(&options, &client, &error) != APERTURE_OK) {
        fprintf(stderr, "checkout: %s\n", error.message);
        fclose(trace);
        return 1;
    }
    int failed = 0;
    if (aperture_client_wait_ready(client, 5 * SECOND, &error) != APERTURE_OK) {
        fprintf(stderr, "checkout: %s\n", error.message);
        failed = 1;
    } else {
        failed = run(client, trace, prefix, tiers, &tier_count) != 0;
    }
    fclose(trace);

    /* Sends what telemetry is left. */
    if (aperture_client_close(client, 0, &error) != APERTURE_OK) {
        fprintf(stderr, "checkout: %s\n", error.message);
        failed = 1;
    }
    qsort(tiers, tier_count, sizeof tiers[0], by_name);
    for (size_t i = 0; i < tier_count && !failed; i++) {
        printf("%s\t%ld\t%ld\t%ld\n", tiers[i].name, tiers[i].accepted, tiers[i].rejected,
               (long)((tiers[i].longest_wait_ns + SECOND - 1) / SECOND));
    }
    return failed;
}
