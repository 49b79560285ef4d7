/* Runs the conformance cases with the C ABI. See tests/conformance/README.md. */
#define _POSIX_C_SOURCE 200809L

#include <aperture.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 128 /* words of a step, clients, and flows */
#define PATIENCE INT64_C(60000000000)

/* The words of the step, in their order, and what the steps before have made. */
static struct word {
    const char *name;
    aperture_text value;
} words[MOST];
static size_t word_count;
static aperture_client clients[MOST];
static aperture_flow flows[MOST];
static aperture_call calls[MOST]; /* of flows that have begun */
static aperture_error error = APERTURE_ERROR_INIT;

/* ---- Words ---- */

static const char HEX[] = "0123456789ABCDEF";

/* Replaces %XX in place, ends the text with a NUL, and returns its length. */
static size_t unescape(char *text) {
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in == '%') {
            *out++ = (char)(16 * (strchr(HEX, in[1]) - HEX) + (strchr(HEX, in[2]) - HEX));
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}

static void put_escaped(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (isalnum(byte) || byte == '_' || byte == '.') {
            putchar(byte);
        } else {
            printf("%%%c%c", HEX[byte >> 4], HEX[byte & 15]);
        }
    }
}

static void put_bytes(const char *prefix, const char *name, const void *value, size_t length) {
    put_escaped(prefix, strlen(prefix));
    printf("%s=", name);
    put_escaped(value, length);
    putchar(' ');
}

static void put(const char *name, const char *value) { put_bytes("", name, value, strlen(value)); }

static void put_number(const char *name, int64_t value) { printf("%s=%" PRId64 " ", name, value); }

static aperture_text text(const char *name) {
    for (size_t i = 0; i < word_count; i++) {
        if (strcmp(words[i].name, name) == 0) {
            return words[i].value;
        }
    }
    return aperture_text_of(NULL);
}

static bool is(const char *name, const char *value) {
    return text(name).data != NULL && strcmp(text(name).data, value) == 0;
}

static int64_t number(const char *name) { return text(name).data != NULL ? strtoll(text(name).data, NULL, 10) : 0; }

/* Stores the words whose names begin with a prefix, without it. */
static size_t members(const char *prefix, aperture_label *found) {
    size_t count = 0;
    for (size_t i = 0; i < word_count; i++) {
        if (strncmp(words[i].name, prefix, strlen(prefix)) == 0) {
            found[count].key = aperture_text_of(words[i].name + strlen(prefix));
            found[count++].value = words[i].value;
        }
    }
    return count;
}

/* Stores the values of all words of a name. */
static size_t list(const char *name, aperture_text *found) {
    size_t count = 0;
    for (size_t i = 0; i < word_count; i++) {
        if (strcmp(words[i].name, name) == 0) {
            found[count++] = words[i].value;
        }
    }
    return count;
}

/* ---- Answers ---- */

static void put_failure(const char *prefix, aperture_code code, const char *message) {
    const char *name = aperture_error_name(code) + strlen("APERTURE_ERROR_");
    put_bytes(prefix, "error", name, strlen(name));
    put_bytes(prefix, "message", message, strlen(message));
}

static aperture_code put_decision(const aperture_decision *decision, aperture_flow flow) {
    static const char *const decisions[] = {"accepted", "rejected", "unreachable"};
    static const char *const reasons[] = {"NONE", "RATE_LIMITED", "NO_TOKENS", "NOT_SAMPLED", "NO_MATCHING_RAMP"};
    static const char *const unreachable[] = {"none",          "timeout",   "unavailable", "agent_error",
                                              "misconfigured", "cancelled", "closed",      "overloaded"};
    aperture_error failure = APERTURE_ERROR_INIT;
    put("decision", decisions[decision->decision]);
    put("should_run", decision->should_run ? "true" : "false");
    put_number("http_status", decision->http_status);
    put("reject_reason", reasons[decision->reject_reason]);
    put("unreachable_reason", unreachable[decision->unreachable_reason]);
    if (decision->retry_after_ns != APERTURE_NO_RETRY_AFTER) {
        put_number("retry_after_ns", decision->retry_after_ns);
    }
    aperture_code code = aperture_flow_error(flow, &failure, &error);
    if (failure.code != APERTURE_OK) {
        put("failure", failure.message);
    }
    return code;
}

typedef aperture_code json_of(aperture_flow, char *, size_t, size_t *, aperture_error *);

static aperture_code put_json(json_of *function) {
    size_t length = 0;
    aperture_flow flow = flows[number("flow")];
    aperture_code code = function(flow, NULL, 0, &length, &error);
    if (code == APERTURE_ERROR_BUFFER_TOO_SMALL) {
        char *json = malloc(length);
        code = function(flow, json, length, &length, &error);
        put_bytes("", "json", json, length);
        free(json);
    }
    return code;
}

/* Puts what a cache had: of an answer, or of the flow of the step when there is none. */
static aperture_code put_value(const char *prefix, aperture_cache_answer answer, aperture_cache_scope scope,
                               const aperture_text *key) {
    aperture_lookup_status status = APERTURE_LOOKUP_MISS;
    aperture_flow flow = answer == NULL ? flows[number("flow")] : NULL;
    size_t capacity = 4096, length = 0;
    char *value = NULL;
    aperture_code code;
    do {
        capacity = length > capacity ? length : capacity;
        value = realloc(value, capacity);
        code = flow != NULL ? aperture_flow_cache_value(flow, scope, key, &status, value, capacity, &length, &error)
                            : aperture_cache_answer_value(answer, scope, key, &status, value, capacity, &length, &error);
    } while (code == APERTURE_ERROR_BUFFER_TOO_SMALL);
    if (code != APERTURE_OK) {
        put_failure(prefix, code, error.message);
    } else if (status == APERTURE_LOOKUP_HIT) {
        put_bytes(prefix, "status", "HIT", 3);
        put_bytes(prefix, "value", value, length);
    } else {
        put_bytes(prefix, "status", "MISS", 4);
    }
    free(value);
    return APERTURE_OK;
}

/* ---- Operations ---- */

static aperture_code open_with(aperture_client_options *options) {
    return aperture_new_client(options, &clients[number("client")], &error);
}

static aperture_code do_open(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_label metadata[MOST];
    options.address = text("address");
    options.api_key = text("api_key");
    options.ca_file = text("ca_file");
    options.server_name = text("server_name");
    options.user_agent = text("user_agent");
    options.flow_end_timeout_ns = number("flow_end_timeout_ns");
    options.max_pending_calls = (uint64_t)number("max_pending_calls");
    options.insecure = is("insecure", "true");
    options.telemetry_off = is("telemetry", "false");
    options.ca_pem = text("ca_pem");
    options.client_certificate_file = text("client_certificate_file");
    options.client_key_file = text("client_key_file");
    options.client_certificate_pem = text("client_certificate_pem");
    options.client_key_pem = text("client_key_pem");
    options.metadata = metadata;
    options.metadata_count = members("metadata.", metadata);
    options.keepalive_time_ns = number("keepalive_time_ns");
    options.keepalive_timeout_ns = number("keepalive_timeout_ns");
    options.telemetry_queue = (uint64_t)number("telemetry_queue");
    options.telemetry_batch = (uint64_t)number("telemetry_batch");
    options.telemetry_interval_ns = number("telemetry_interval_ns");
    options.compression = is("compression", "gzip") ? APERTURE_COMPRESSION_GZIP : APERTURE_COMPRESSION_NONE;
    options.skip_verify = is("skip_verify", "true");
    return open_with(&options);
}

static aperture_code do_from_environment(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_label variables[MOST];
    size_t count = members("env.", variables);
    for (size_t i = 0; i < count; i++) {
        setenv(variables[i].key.data, variables[i].value.data, 1);
    }
    aperture_code code = aperture_client_options_from_environment(&options, &error);
    if (code == APERTURE_OK) {
        code = open_with(&options);
    }
    for (size_t i = 0; i < count; i++) {
        unsetenv(variables[i].key.data);
    }
    return code;
}

static aperture_code do_wait_ready(void) {
    return aperture_client_wait_ready(clients[number("client")], number("timeout_ns"), &error);
}

static aperture_code do_state(void) {
    static const char *const states[] = {"idle", "connecting", "ready", "failing", "closed"};
    aperture_connection_state state = APERTURE_CONNECTION_IDLE;
    aperture_code code = aperture_client_state(clients[number("client")], &state, &error);
    put("state", states[state]);
    return code;
}

static aperture_code do_stats(void) {
    aperture_stats stats = APERTURE_STATS_INIT;
    aperture_code code = aperture_client_stats(clients[number("client")], &stats, &error);
#define PUT(counter) put_number(#counter, (int64_t)stats.counter)
    PUT(flows_accepted);
    PUT(flows_rejected);
    PUT(flows_unreachable);
    PUT(unreachable_timeout);
    PUT(unreachable_unavailable);
    PUT(unreachable_agent_error);
    PUT(unreachable_misconfigured);
    PUT(unreachable_cancelled);
    PUT(unreachable_closed);
    PUT(unreachable_overloaded);
    PUT(flows_ended);
    PUT(flow_ends_failed);
    PUT(spans_exported);
    PUT(spans_dropped);
    PUT(spans_queued);
    PUT(flows_sanitised);
    PUT(calls_pending);
    PUT(flows_never_ended);
    PUT(cache_calls);
    PUT(cache_calls_failed);
    return code;
}

static aperture_code do_close(void) {
    return aperture_client_close(clients[number("client")], number("timeout_ns"), &error);
}

/* Where the params of the step are, with the lists that they point to. */
static struct {
    aperture_flow_params params;
    aperture_label labels[MOST];
    aperture_text keys[MOST];
} start;

static const aperture_flow_params *params(void) {
    start.params = (aperture_flow_params)APERTURE_FLOW_PARAMS_INIT;
    start.params.control_point = text("control_point");
    start.params.labels = start.labels;
    start.params.label_count = members("labels.", start.labels);
    start.params.check_timeout_ns = number("check_timeout_ns");
    start.params.ramp_mode = is("ramp_mode", "true");
    start.params.baggage = text("baggage");
    start.params.result_cache_key = text("result_cache_key");
    start.params.global_cache_keys = start.keys;
    start.params.global_cache_key_count = list("global_cache_key", start.keys);
    return &start.params;
}

static aperture_code do_start_flow(void) {
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_flow *flow = &flows[number("flow")];
    aperture_flow_close(*flow, NULL); /* one that another step has left here */
    aperture_code code = aperture_start_flow(clients[number("client")], params(), flow, &decision, &error);
    return code == APERTURE_OK ? put_decision(&decision, *flow) : code;
}

static aperture_code do_begin_flow(void) {
    int64_t at = number("flow");
    aperture_code code = aperture_start_flow_async(clients[number("client")], params(), 0, &flows[at], NULL, &calls[at], &error);
    return code == APERTURE_PENDING ? APERTURE_OK : code;
}

static aperture_code do_read(void) {
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_code code = aperture_flow_decision(flows[number("flow")], &decision, &error);
    return code == APERTURE_OK ? put_decision(&decision, flows[number("flow")]) : code;
}

static aperture_code do_join_flow(void) {
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    if (calls[number("flow")] == NULL) { /* it was decided at once */
        return do_read();
    }
    aperture_code code = aperture_call_wait(calls[number("flow")], PATIENCE, &completion, &error);
    calls[number("flow")] = NULL;
    if (code != APERTURE_OK) {
        return code;
    }
    if (completion.code == APERTURE_ERROR_CANCELLED) {
        put("cancelled", "true");
        return APERTURE_OK;
    }
    flows[number("flow")] = completion.flow;
    return completion.code == APERTURE_OK ? do_read() : completion.code;
}

static aperture_code do_cancel_flow(void) {
    aperture_code code = aperture_call_cancel(calls[number("flow")], &error);
    return code == APERTURE_OK ? do_join_flow() : code;
}

static aperture_code do_check_response(void) { return put_json(aperture_flow_check_response); }

static aperture_code do_set_status(void) {
    aperture_flow_status status = is("status", "ERROR") ? APERTURE_FLOW_STATUS_ERROR : APERTURE_FLOW_STATUS_OK;
    return aperture_flow_set_status(flows[number("flow")], status, &error);
}

static aperture_code do_set_attribute(void) {
    aperture_attribute attribute = APERTURE_ATTRIBUTE_INIT;
    attribute.key = text("key");
    if (text("integer").data != NULL) {
        attribute.kind = APERTURE_ATTRIBUTE_INTEGER;
        attribute.integer = number("integer");
    } else if (text("number").data != NULL) {
        attribute.kind = APERTURE_ATTRIBUTE_NUMBER;
        attribute.number = strtod(text("number").data, NULL);
    } else {
        attribute.text = text("text");
    }
    return aperture_flow_set_attribute(flows[number("flow")], &attribute, &error);
}

static aperture_code do_end(void) {
    aperture_code code = aperture_flow_end(flows[number("flow")], NULL, &error);
    return code == APERTURE_OK ? put_json(aperture_flow_end_response) : code;
}

static aperture_code do_drop(void) {
    aperture_code code = aperture_flow_close(flows[number("flow")], &error);
    flows[number("flow")] = NULL;
    return code;
}

static aperture_code do_result_cache(void) { return put_value("", NULL, APERTURE_CACHE_RESULT, NULL); }

static aperture_code do_global_cache(void) {
    aperture_text key = text("key");
    return put_value("", NULL, APERTURE_CACHE_GLOBAL, &key);
}

static aperture_code do_cache_lookup(void) {
    aperture_cache_keys keys = APERTURE_CACHE_KEYS_INIT;
    aperture_text global[MOST];
    aperture_cache_answer answer = NULL;
    keys.control_point = text("control_point");
    keys.result_key = text("result_key");
    keys.global_keys = global;
    keys.global_key_count = list("global_key", global);
    keys.timeout_ns = number("timeout_ns");
    aperture_code code = aperture_cache_lookup(clients[number("client")], &keys, &answer, &error);
    if (code != APERTURE_OK) {
        return code;
    }
    code = put_value("result.", answer, APERTURE_CACHE_RESULT, NULL);
    for (size_t i = 0; i < keys.global_key_count && code == APERTURE_OK; i++) {
        char prefix[256];
        snprintf(prefix, sizeof prefix, "%s.", global[i].data);
        code = put_value(prefix, answer, APERTURE_CACHE_GLOBAL, &global[i]);
    }
    aperture_cache_answer_close(answer, NULL);
    return code;
}

static aperture_cache_scope scope(void) { return is("scope", "global") ? APERTURE_CACHE_GLOBAL : APERTURE_CACHE_RESULT; }

static aperture_code do_cache_set(void) {
    aperture_cache_entry entry = APERTURE_CACHE_ENTRY_INIT;
    entry.control_point = text("control_point");
    entry.scope = scope();
    entry.key = text("key");
    entry.value.data = text("value").data;
    entry.value.length = text("value").length;
    entry.ttl_ns = number("ttl_ns");
    entry.timeout_ns = number("timeout_ns");
    return aperture_cache_set(clients[number("client")], &entry, &error);
}

static aperture_code do_cache_delete(void) {
    aperture_cache_key key = APERTURE_CACHE_KEY_INIT;
    key.control_point = text("control_point");
    key.scope = scope();
    key.key = text("key");
    key.timeout_ns = number("timeout_ns");
    return aperture_cache_delete(clients[number("client")], &key, &error);
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
    {"open", do_open},
    {"from_environment", do_from_environment},
    {"wait_ready", do_wait_ready},
    {"state", do_state},
    {"stats", do_stats},
    {"close", do_close},
    {"start_flow", do_start_flow},
    {"begin_flow", do_begin_flow},
    {"join_flow", do_join_flow},
    {"cancel_flow", do_cancel_flow},
    {"read", do_read},
    {"check_response", do_check_response},
    {"set_status", do_set_status},
    {"set_attribute", do_set_attribute},
    {"end", do_end},
    {"drop", do_drop},
    {"result_cache", do_result_cache},
    {"global_cache", do_global_cache},
    {"cache_lookup", do_cache_lookup},
    {"cache_set", do_cache_set},
    {"cache_delete", do_cache_delete},
    {"reset", do_reset},
};

static void answer(const char *operation) {
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operation, operations[i].name) == 0) {
            aperture_code code = operations[i].run();
            if (code != APERTURE_OK) {
                put_failure("", code, error.message);
            }
            return;
        }
    }
    put("error", "UNSUPPORTED");
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        const char *operation = strtok(line, " \n");
        char *word;
        for (word_count = 0; word_count < MOST && (word = strtok(NULL, " \n")) != NULL; word_count++) {
            char *value = strchr(word, '=');
            *value++ = '\0';
            unescape(word);
            words[word_count].name = word;
            words[word_count].value.data = value;
            words[word_count].value.length = unescape(value);
        }
        answer(operation);
        putchar('\n');
        fflush(stdout);
    }
    free(line);
    return 0;
}
