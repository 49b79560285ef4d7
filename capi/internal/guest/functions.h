/*
 * The functions of the library that are answered in Go, as a table: of this image of the library, or of another one that
 * was loaded in a forked child. Generated from abi/aperture.yaml; do not edit.
 */
#ifndef APERTURE_FUNCTIONS_H
#define APERTURE_FUNCTIONS_H

#include <aperture.h>

struct aperture_functions {
    uint64_t (*live_handles)(void);
    aperture_code (*close_clients_with_thread)(aperture_error *error);
    aperture_code (*new_client)(const aperture_client_options *options, aperture_client *client, aperture_error *error);
    aperture_code (*client_wait_ready)(aperture_client client, int64_t timeout_ns, aperture_error *error);
    aperture_code (*client_wait_ready_async)(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error);
    aperture_code (*client_state)(aperture_client client, aperture_connection_state *state, aperture_error *error);
    aperture_code (*client_stats)(aperture_client client, aperture_stats *stats, aperture_error *error);
    aperture_code (*client_reload)(aperture_client client, aperture_error *error);
    aperture_code (*client_snapshot)(aperture_client client, char *buffer, size_t capacity, size_t *length, aperture_error *error);
    aperture_code (*client_close)(aperture_client client, int64_t timeout_ns, aperture_error *error);
    aperture_code (*client_close_async)(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error);
    aperture_code (*start_flow)(aperture_client client, const aperture_flow_params *params, aperture_flow *flow, aperture_decision *decision, aperture_error *error);
    aperture_code (*start_flow_async)(aperture_client client, const aperture_flow_params *params, uint64_t tag, aperture_flow *flow, aperture_decision *decision, aperture_call *call, aperture_error *error);
    aperture_code (*flow_should_run)(aperture_flow flow, int32_t *should_run, aperture_error *error);
    aperture_code (*flow_decision)(aperture_flow flow, aperture_decision *decision, aperture_error *error);
    aperture_code (*flow_error)(aperture_flow flow, aperture_error *failure, aperture_error *error);
    aperture_code (*flow_check_response)(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error);
    aperture_code (*flow_cache_value)(aperture_flow flow, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error);
    aperture_code (*flow_set_attribute)(aperture_flow flow, const aperture_attribute *attribute, aperture_error *error);
    aperture_code (*flow_set_status)(aperture_flow flow, aperture_flow_status status, aperture_error *error);
    aperture_code (*flow_end)(aperture_flow flow, aperture_end_result *result, aperture_error *error);
    aperture_code (*flow_end_async)(aperture_flow flow, uint64_t tag, aperture_end_result *result, aperture_call *call, aperture_error *error);
    aperture_code (*flow_end_result)(aperture_flow flow, aperture_end_result *result, aperture_error *error);
    aperture_code (*flow_end_response)(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error);
    aperture_code (*flow_close)(aperture_flow flow, aperture_error *error);
    aperture_code (*cache_lookup)(aperture_client client, const aperture_cache_keys *keys, aperture_cache_answer *answer, aperture_error *error);
    aperture_code (*cache_lookup_async)(aperture_client client, const aperture_cache_keys *keys, uint64_t tag, aperture_cache_answer *answer, aperture_call *call, aperture_error *error);
    aperture_code (*cache_answer_value)(aperture_cache_answer answer, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error);
    aperture_code (*cache_answer_close)(aperture_cache_answer answer, aperture_error *error);
    aperture_code (*cache_set)(aperture_client client, const aperture_cache_entry *entry, aperture_error *error);
    aperture_code (*cache_set_async)(aperture_client client, const aperture_cache_entry *entry, uint64_t tag, aperture_call *call, aperture_error *error);
    aperture_code (*cache_delete)(aperture_client client, const aperture_cache_key *key, aperture_error *error);
    aperture_code (*cache_delete_async)(aperture_client client, const aperture_cache_key *key, uint64_t tag, aperture_call *call, aperture_error *error);
    aperture_code (*client_completion_fd)(aperture_client client, int32_t *fd, aperture_error *error);
    aperture_code (*client_poll)(aperture_client client, aperture_completion *completions, size_t capacity, size_t *count, aperture_error *error);
    aperture_code (*call_wait)(aperture_call call, int64_t timeout_ns, aperture_completion *completion, aperture_error *error);
    aperture_code (*call_cancel)(aperture_call call, aperture_error *error);
};

/* The names of the functions, in the order of the table. */
#define APERTURE_FUNCTION_NAMES { \
    "aperture_live_handles", \
    "aperture_close_clients_with_thread", \
    "aperture_new_client", \
    "aperture_client_wait_ready", \
    "aperture_client_wait_ready_async", \
    "aperture_client_state", \
    "aperture_client_stats", \
    "aperture_client_reload", \
    "aperture_client_snapshot", \
    "aperture_client_close", \
    "aperture_client_close_async", \
    "aperture_start_flow", \
    "aperture_start_flow_async", \
    "aperture_flow_should_run", \
    "aperture_flow_decision", \
    "aperture_flow_error", \
    "aperture_flow_check_response", \
    "aperture_flow_cache_value", \
    "aperture_flow_set_attribute", \
    "aperture_flow_set_status", \
    "aperture_flow_end", \
    "aperture_flow_end_async", \
    "aperture_flow_end_result", \
    "aperture_flow_end_response", \
    "aperture_flow_close", \
    "aperture_cache_lookup", \
    "aperture_cache_lookup_async", \
    "aperture_cache_answer_value", \
    "aperture_cache_answer_close", \
    "aperture_cache_set", \
    "aperture_cache_set_async", \
    "aperture_cache_delete", \
    "aperture_cache_delete_async", \
    "aperture_client_completion_fd", \
    "aperture_client_poll", \
    "aperture_call_wait", \
    "aperture_call_cancel",}

#endif /* APERTURE_FUNCTIONS_H */
