#define _POSIX_C_SOURCE 200809L

#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE INT64_C(60000000000)

/* What the steps before have made. */
static aperture_client clients[MOST];
static aperture_flow flows[MOST];
static aperture_call calls[MOST]; /* of flows that have begun */
static aperture_error error = APERTURE_ERROR_INIT;
static char buffer[8 << 20]; /* for what the library returns */

static aperture_client *client(void) { return &clients[number("client")]; }
static aperture_flow *flow(void) { return &flows[number("flow")]; }
static aperture_call *call(void) { return &calls[number("flow")]; }

/* ---- Answers ---- */

static void put_failure(const char *prefix, aperture_code code) {
    put(prefix, "error", aperture_error_name(code) + strlen("APERTURE_ERROR_"));
    put(prefix, "message", error.message);
}

static aperture_code put_decision(const aperture_decision *decision) {
    static const char *const decisions[] = {"accepted", "rejected", "unreachable"};
    static const char *const reasons[] = {"NONE", "RATE_LIMITED", "NO_TOKENS", "NOT_SAMPLED", "NO_MATCHING_RAMP"};
    static const char *const unreachable[] = {"none",          "timeout",   "unavailable", "agent_error",
                                              "misconfigured", "cancelled", "closed",      "overloaded"};
    aperture_error failure = APERTURE_ERROR_INIT;
    aperture_code code = aperture_flow_error(*flow(), &failure, &error);
    put("", "decision", decisions[decision->decision]);
    put("", "should_run", decision->should_run ? "true" : "false");
    put_number("http_status", decision->http_status);
    put("", "reject_reason", reasons[decision->reject_reason]);
    put("", "unreachable_reason", unreachable[decision->unreachable_reason]);
    if (decision->retry_after_ns != APERTURE_NO_RETRY_AFTER) {
        put_number("retry_after_ns", decision->retry_after_ns);
    }
    if (failure.code != APERTURE_OK) {
        put("", "failure", failure.message);
    }
    return code;
}

/* Puts a message, unless there is none. */
static aperture_code put_json(aperture_code function(aperture_flow, char *, size_t, size_t *, aperture_error *)) {
    size_t length = 0;
    aperture_code code = function(*flow(), buffer, sizeof buffer, &length, &error);
    if (length > 0) {
        put_bytes("", "json", buffer, length);
    }
    return code;
}

/* Puts what a cache had: of an answer, or of the flow of the step when there is none. */
static void put_value(const char *prefix, aperture_cache_answer answer, aperture_cache_scope scope, aperture_text key) {
    aperture_lookup_status status = APERTURE_LOOKUP_MISS;
    size_t size = sizeof buffer, length = 0;
    aperture_code code =
        answer == NULL ? aperture_flow_cache_value(*flow(), scope, &key, &status, buffer, size, &length, &error)
                       : aperture_cache_answer_value(answer, scope, &key, &status, buffer, size, &length, &error);
    if (code != APERTURE_OK) {
        put_failure(prefix, code);
        return;
    }
    put(prefix, "status", status == APERTURE_LOOKUP_HIT ? "HIT" : "MISS");
    if (status == APERTURE_LOOKUP_HIT) {
        put_bytes(prefix, "value", buffer, length);
    }
}

/* ---- Operations: each returns what goes wrong ---- */

/* Initializers of fields that have the names of arguments. */
#define TEXT(name) .name = text(#name)
#define NUMBER(name) .name = number(#name)
#define FLAG(name) .name = is(#name, "true")

static aperture_code do_open(void) {
    aperture_label metadata[MOST];
    aperture_client_options options = {
        .struct_size = sizeof options, TEXT(address), TEXT(api_key), TEXT(ca_file), TEXT(ca_pem), TEXT(server_name),
        TEXT(client_certificate_file), TEXT(client_key_file), TEXT(client_certificate_pem), TEXT(client_key_pem),
        TEXT(user_agent), FLAG(insecure), FLAG(skip_verify), NUMBER(flow_end_timeout_ns), NUMBER(max_pending_calls),
        NUMBER(keepalive_time_ns), NUMBER(keepalive_timeout_ns), NUMBER(telemetry_queue), NUMBER(telemetry_batch),
        NUMBER(telemetry_interval_ns), .telemetry_off = is("telemetry", "false"), .compression = is("compression", "gzip"),
        .metadata = metadata, .metadata_count = members("metadata", metadata),
    };
    return aperture_new_client(&options, client(), &error);
}

static aperture_code do_from_environment(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_label variables[MOST];
    size_t count = members("env", variables);
    for (size_t i = 0; i < count; i++) {
        setenv(variables[i].key.data, variables[i].value.data, 1);
    }
    aperture_code code = aperture_client_options_from_environment(&options, &error);
    if (code == APERTURE_OK) {
        code = aperture_new_client(&options, client(), &error);
    }
    for (size_t i = 0; i < count; i++) {
        unsetenv(variables[i].key.data);
    }
    return code;
}

static aperture_code do_wait_ready(void) { return aperture_client_wait_ready(*client(), number("timeout_ns"), &error); }
static aperture_code do_close(void) { return aperture_client_close(*client(), number("timeout_ns"), &error); }

static aperture_code do_state(void) {
    static const char *const states[] = {"idle", "connecting", "ready", "failing", "closed"};
    aperture_connection_state state = APERTURE_CONNECTION_IDLE;
    aperture_code code = aperture_client_state(*client(), &state, &error);
    put("", "state", states[state]);
    return code;
}

static aperture_code do_stats(void) {
    aperture_stats stats = APERTURE_STATS_INIT;
    aperture_code code = aperture_client_stats(*client(), &stats, &error);
#define COUNTER(name) {#name, stats.name}
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        COUNTER(flows_accepted), COUNTER(flows_rejected), COUNTER(flows_unreachable), COUNTER(unreachable_timeout),
        COUNTER(unreachable_unavailable), COUNTER(unreachable_agent_error), COUNTER(unreachable_misconfigured),
        COUNTER(unreachable_cancelled), COUNTER(unreachable_closed), COUNTER(unreachable_overloaded),
        COUNTER(flows_ended), COUNTER(flow_ends_failed), COUNTER(flows_never_ended), COUNTER(flows_sanitised),
        COUNTER(spans_exported), COUNTER(spans_dropped), COUNTER(spans_queued), COUNTER(calls_pending),
        COUNTER(cache_calls), COUNTER(cache_calls_failed),
    };
    for (size_t i = 0; i < COUNT(counters); i++) {
        put_number(counters[i].name, (int64_t)counters[i].value);
    }
    return code;
}

/* Starts the flow of the step, or begins to when there is a place for the call. */
static aperture_code start(aperture_decision *decision, aperture_call *call) {
    aperture_label labels[MOST];
    aperture_text keys[MOST];
    aperture_flow_params params = {
        .struct_size = sizeof params, TEXT(control_point), TEXT(baggage), TEXT(result_cache_key), FLAG(ramp_mode),
        NUMBER(check_timeout_ns), .labels = labels, .label_count = members("labels", labels),
        .global_cache_keys = keys, .global_cache_key_count = elements("global_cache_keys", keys),
    };
    aperture_flow_close(*flow(), NULL); /* one that another step has left here */
    return call == NULL ? aperture_start_flow(*client(), &params, flow(), decision, &error)
                        : aperture_start_flow_async(*client(), &params, 0, flow(), NULL, call, &error);
}

static aperture_code do_start_flow(void) {
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_code code = start(&decision, NULL);
    return code == APERTURE_OK ? put_decision(&decision) : code;
}

static aperture_code do_read(void) {
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_code code = aperture_flow_decision(*flow(), &decision, &error);
    return code == APERTURE_OK ? put_decision(&decision) : code;
}

static aperture_code do_begin_flow(void) {
    aperture_code code = start(NULL, call());
    return code == APERTURE_PENDING ? APERTURE_OK : code;
}

static aperture_code do_join_flow(void) {
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    if (*call() != NULL) { /* it was not decided at once */
        aperture_code code = aperture_call_wait(*call(), PATIENCE, &completion, &error);
        *call() = NULL;
        *flow() = completion.flow;
        if (code == APERTURE_OK && completion.code == APERTURE_ERROR_CANCELLED) {
            put("", "cancelled", "true");
            return APERTURE_OK;
        }
        if (code != APERTURE_OK || completion.code != APERTURE_OK) {
            return code != APERTURE_OK ? code : completion.code;
        }
    }
    return do_read();
}

static aperture_code do_cancel_flow(void) {
    aperture_code code = aperture_call_cancel(*call(), &error);
    return code == APERTURE_OK ? do_join_flow() : code;
}

static aperture_code do_check_response(void) { return put_json(aperture_flow_check_response); }
static aperture_code do_set_status(void) { return aperture_flow_set_status(*flow(), is("status", "Error"), &error); }

static aperture_code do_set_attribute(void) {
    const struct word *value = find("attribute");
    aperture_attribute attribute = {
        .struct_size = sizeof attribute, TEXT(key), .text = value->value, .integer = number("attribute"),
        .number = strtod(value->value.data, NULL),
    };
    if (value->is_literal) {
        bool is_whole = strpbrk(value->value.data, ".N") == NULL;
        attribute.kind = is_whole ? APERTURE_ATTRIBUTE_INTEGER : APERTURE_ATTRIBUTE_NUMBER;
    }
    return aperture_flow_set_attribute(*flow(), &attribute, &error);
}

static aperture_code do_end(void) {
    aperture_code code = aperture_flow_end(*flow(), NULL, &error);
    return code == APERTURE_OK ? put_json(aperture_flow_end_response) : code;
}

static aperture_code do_drop(void) {
    aperture_code code = aperture_flow_close(*flow(), &error);
    *flow() = NULL;
    return code;
}

static aperture_code do_result_cache(void) {
    put_value("", NULL, APERTURE_CACHE_RESULT, aperture_text_of(NULL));
    return APERTURE_OK;
}

static aperture_code do_global_cache(void) {
    put_value("", NULL, APERTURE_CACHE_GLOBAL, text("key"));
    return APERTURE_OK;
}

static aperture_code do_cache_lookup(void) {
    aperture_text global[MOST];
    aperture_cache_answer answer = NULL;
    aperture_cache_keys keys = {
        .struct_size = sizeof keys, TEXT(control_point), NUMBER(timeout_ns), .result_key = text("result_cache_key"),
        .global_keys = global, .global_key_count = elements("global_cache_keys", global),
    };
    aperture_code code = aperture_cache_lookup(*client(), &keys, &answer, &error);
    if (code != APERTURE_OK) {
        return code;
    }
    put_value("result.", answer, APERTURE_CACHE_RESULT, aperture_text_of(NULL));
    for (size_t i = 0; i < keys.global_key_count; i++) {
        char prefix[256];
        snprintf(prefix, sizeof prefix, "%s.", global[i].data);
        put_value(prefix, answer, APERTURE_CACHE_GLOBAL, global[i]);
    }
    return aperture_cache_answer_close(answer, &error);
}

static bool is_global(void) { return find("global_cache_key")->name != NULL; }

/* The initializers of the fields that name one entry. */
#define ENTRY                                                                                                    \
    TEXT(control_point), NUMBER(timeout_ns), .scope = is_global() ? APERTURE_CACHE_GLOBAL : APERTURE_CACHE_RESULT, \
        .key = text(is_global() ? "global_cache_key" : "result_cache_key")

static aperture_code do_cache_set(void) {
    aperture_text value = text("value");
    aperture_cache_entry entry = {.struct_size = sizeof entry, ENTRY, NUMBER(ttl_ns), .value = {value.data, value.length}};
    return aperture_cache_set(*client(), &entry, &error);
}

static aperture_code do_cache_delete(void) {
    aperture_cache_key key = {.struct_size = sizeof key, ENTRY};
    return aperture_cache_delete(*client(), &key, &error);
}

static aperture_code do_reset(void) {
    for (size_t i = 0; i < MOST; i++) {
        aperture_completion completion = APERTURE_COMPLETION_INIT;
        if (calls[i] != NULL && aperture_call_cancel(calls[i], NULL) == APERTURE_OK) {
            aperture_call_wait(calls[i], PATIENCE, &completion, NULL);
            flows[i] = completion.flow;
        }
        aperture_flow_close(flows[i], NULL);
    }
    for (size_t i = 0; i < MOST; i++) {
        aperture_client_close(clients[i], 0, NULL); /* a case that cares closes by itself */
    }
    memset(calls, 0, sizeof calls);
    memset(flows, 0, sizeof flows);
    memset(clients, 0, sizeof clients);
    put_number("handles", (int64_t)aperture_live_handles());
    return APERTURE_OK;
}

static const struct operation {
    const char *name;
    aperture_code (*run)(void);
} operations[] = {
#define OPERATION(name) {#name, do_##name}
    OPERATION(open), OPERATION(from_environment), OPERATION(wait_ready), OPERATION(state), OPERATION(stats),
    OPERATION(close), OPERATION(start_flow), OPERATION(begin_flow), OPERATION(join_flow), OPERATION(cancel_flow),
    OPERATION(read), OPERATION(check_response), OPERATION(set_status), OPERATION(set_attribute), OPERATION(end),
    OPERATION(drop), OPERATION(result_cache), OPERATION(global_cache), OPERATION(cache_lookup), OPERATION(cache_set),
    OPERATION(cache_delete), OPERATION(reset),
};

void answer(const char *operation) {
    for (size_t i = 0; i < COUNT(operations); i++) {
        if (strcmp(operation, operations[i].name) == 0) {
            aperture_code code = operations[i].run();
            if (code != APERTURE_OK) {
                put_failure("", code);
            }
            return;
        }
    }
    put("", "error", "UNSUPPORTED");
}
