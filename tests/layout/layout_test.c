/*
 * Holds the layout that the generator computed, and that the bindings use, against the C compiler; and links every
 * symbol of the header. Generated from abi/aperture.yaml; do not edit.
 */
#include "aperture.h"

#include <stdio.h>

#define CHECK(condition) _Static_assert(condition, #condition)

CHECK(APERTURE_DEFAULT_CHECK_TIMEOUT_NS == 200000000);
CHECK(APERTURE_MAX_CHECK_TIMEOUT_NS == 86400000000000);
CHECK(APERTURE_DEFAULT_FLOW_END_TIMEOUT_NS == 1000000000);
CHECK(APERTURE_DEFAULT_CACHE_TIMEOUT_NS == 1000000000);
CHECK(APERTURE_MAX_CACHE_VALUE_BYTES == 4000000);
CHECK(APERTURE_MAX_CACHE_TTL_NS == 604800000000000);
CHECK(APERTURE_MIN_KEEPALIVE_TIME_NS == 300000000000);
CHECK(APERTURE_DEFAULT_CLOSE_TIMEOUT_NS == 5000000000);
CHECK(APERTURE_DEFAULT_MAX_PENDING_CALLS == 65536);
CHECK(APERTURE_NO_RETRY_AFTER == -1);

CHECK(APERTURE_OK == 0);
CHECK(APERTURE_PENDING == 1);
CHECK(APERTURE_ERROR_INVALID_ARGUMENT == -1);
CHECK(APERTURE_ERROR_INVALID_HANDLE == -2);
CHECK(APERTURE_ERROR_CLOSED == -3);
CHECK(APERTURE_ERROR_ALREADY_ENDED == -4);
CHECK(APERTURE_ERROR_UNREACHABLE == -5);
CHECK(APERTURE_ERROR_TIMEOUT == -6);
CHECK(APERTURE_ERROR_CANCELLED == -7);
CHECK(APERTURE_ERROR_POLICY == -8);
CHECK(APERTURE_ERROR_BUFFER_TOO_SMALL == -9);
CHECK(APERTURE_ERROR_RESOURCE_EXHAUSTED == -10);
CHECK(APERTURE_ERROR_INTERNAL == -11);
CHECK(APERTURE_ERROR_FORKED == -12);
CHECK(APERTURE_ERROR_AGENT == -13);
CHECK(APERTURE_ERROR_NO_ANSWER == -14);
CHECK(APERTURE_ACCEPTED == 0);
CHECK(APERTURE_REJECTED == 1);
CHECK(APERTURE_UNREACHABLE == 2);
CHECK(APERTURE_REJECT_REASON_NONE == 0);
CHECK(APERTURE_REJECT_REASON_RATE_LIMITED == 1);
CHECK(APERTURE_REJECT_REASON_NO_TOKENS == 2);
CHECK(APERTURE_REJECT_REASON_NOT_SAMPLED == 3);
CHECK(APERTURE_REJECT_REASON_NO_MATCHING_RAMP == 4);
CHECK(APERTURE_UNREACHABLE_REASON_NONE == 0);
CHECK(APERTURE_UNREACHABLE_REASON_TIMEOUT == 1);
CHECK(APERTURE_UNREACHABLE_REASON_UNAVAILABLE == 2);
CHECK(APERTURE_UNREACHABLE_REASON_AGENT_ERROR == 3);
CHECK(APERTURE_UNREACHABLE_REASON_MISCONFIGURED == 4);
CHECK(APERTURE_UNREACHABLE_REASON_CANCELLED == 5);
CHECK(APERTURE_UNREACHABLE_REASON_CLOSED == 6);
CHECK(APERTURE_UNREACHABLE_REASON_OVERLOADED == 7);
CHECK(APERTURE_FLOW_STATUS_OK == 0);
CHECK(APERTURE_FLOW_STATUS_ERROR == 1);
CHECK(APERTURE_LOG_LEVEL_DEBUG == -2);
CHECK(APERTURE_LOG_LEVEL_INFO == -1);
CHECK(APERTURE_LOG_LEVEL_WARNING == 0);
CHECK(APERTURE_LOG_LEVEL_ERROR == 1);
CHECK(APERTURE_COMPLETION_START_FLOW == 1);
CHECK(APERTURE_COMPLETION_FLOW_END == 2);
CHECK(APERTURE_COMPLETION_WAIT_READY == 3);
CHECK(APERTURE_COMPLETION_CLOSE == 4);
CHECK(APERTURE_COMPLETION_CACHE_LOOKUP == 5);
CHECK(APERTURE_COMPLETION_CACHE_SET == 6);
CHECK(APERTURE_COMPLETION_CACHE_DELETE == 7);
CHECK(APERTURE_CONNECTION_IDLE == 0);
CHECK(APERTURE_CONNECTION_CONNECTING == 1);
CHECK(APERTURE_CONNECTION_READY == 2);
CHECK(APERTURE_CONNECTION_FAILING == 3);
CHECK(APERTURE_CONNECTION_CLOSED == 4);
CHECK(APERTURE_COMPRESSION_NONE == 0);
CHECK(APERTURE_COMPRESSION_GZIP == 1);
CHECK(APERTURE_CACHE_RESULT == 0);
CHECK(APERTURE_CACHE_GLOBAL == 1);
CHECK(APERTURE_LOOKUP_MISS == 0);
CHECK(APERTURE_LOOKUP_HIT == 1);
CHECK(APERTURE_ATTRIBUTE_TEXT == 0);
CHECK(APERTURE_ATTRIBUTE_INTEGER == 1);
CHECK(APERTURE_ATTRIBUTE_NUMBER == 2);

CHECK(sizeof(aperture_text) == 16);
CHECK(offsetof(aperture_text, data) == 0);
CHECK(sizeof(((aperture_text *)0)->data) == 8);
CHECK(offsetof(aperture_text, length) == 8);
CHECK(sizeof(((aperture_text *)0)->length) == 8);

CHECK(sizeof(aperture_label) == 32);
CHECK(offsetof(aperture_label, key) == 0);
CHECK(sizeof(((aperture_label *)0)->key) == 16);
CHECK(offsetof(aperture_label, value) == 16);
CHECK(sizeof(((aperture_label *)0)->value) == 16);

CHECK(sizeof(aperture_bytes) == 16);
CHECK(offsetof(aperture_bytes, data) == 0);
CHECK(sizeof(((aperture_bytes *)0)->data) == 8);
CHECK(offsetof(aperture_bytes, length) == 8);
CHECK(sizeof(((aperture_bytes *)0)->length) == 8);

CHECK(sizeof(aperture_error) == 1024);
CHECK(offsetof(aperture_error, struct_size) == 0);
CHECK(sizeof(((aperture_error *)0)->struct_size) == 8);
CHECK(offsetof(aperture_error, code) == 8);
CHECK(sizeof(((aperture_error *)0)->code) == 4);
CHECK(offsetof(aperture_error, message_length) == 12);
CHECK(sizeof(((aperture_error *)0)->message_length) == 4);
CHECK(offsetof(aperture_error, message) == 16);
CHECK(sizeof(((aperture_error *)0)->message) == 1008);

CHECK(sizeof(aperture_process_options) == 24);
CHECK(offsetof(aperture_process_options, struct_size) == 0);
CHECK(sizeof(((aperture_process_options *)0)->struct_size) == 8);
CHECK(offsetof(aperture_process_options, log_fd) == 8);
CHECK(sizeof(((aperture_process_options *)0)->log_fd) == 4);
CHECK(offsetof(aperture_process_options, log_level) == 12);
CHECK(sizeof(((aperture_process_options *)0)->log_level) == 4);
CHECK(offsetof(aperture_process_options, max_procs) == 16);
CHECK(sizeof(((aperture_process_options *)0)->max_procs) == 4);
CHECK(offsetof(aperture_process_options, leave_signal_handlers) == 20);
CHECK(sizeof(((aperture_process_options *)0)->leave_signal_handlers) == 4);

CHECK(sizeof(aperture_client_options) == 280);
CHECK(offsetof(aperture_client_options, struct_size) == 0);
CHECK(sizeof(((aperture_client_options *)0)->struct_size) == 8);
CHECK(offsetof(aperture_client_options, address) == 8);
CHECK(sizeof(((aperture_client_options *)0)->address) == 16);
CHECK(offsetof(aperture_client_options, api_key) == 24);
CHECK(sizeof(((aperture_client_options *)0)->api_key) == 16);
CHECK(offsetof(aperture_client_options, ca_file) == 40);
CHECK(sizeof(((aperture_client_options *)0)->ca_file) == 16);
CHECK(offsetof(aperture_client_options, server_name) == 56);
CHECK(sizeof(((aperture_client_options *)0)->server_name) == 16);
CHECK(offsetof(aperture_client_options, user_agent) == 72);
CHECK(sizeof(((aperture_client_options *)0)->user_agent) == 16);
CHECK(offsetof(aperture_client_options, flow_end_timeout_ns) == 88);
CHECK(sizeof(((aperture_client_options *)0)->flow_end_timeout_ns) == 8);
CHECK(offsetof(aperture_client_options, max_pending_calls) == 96);
CHECK(sizeof(((aperture_client_options *)0)->max_pending_calls) == 8);
CHECK(offsetof(aperture_client_options, insecure) == 104);
CHECK(sizeof(((aperture_client_options *)0)->insecure) == 4);
CHECK(offsetof(aperture_client_options, telemetry_off) == 108);
CHECK(sizeof(((aperture_client_options *)0)->telemetry_off) == 4);
CHECK(offsetof(aperture_client_options, ca_pem) == 112);
CHECK(sizeof(((aperture_client_options *)0)->ca_pem) == 16);
CHECK(offsetof(aperture_client_options, client_certificate_file) == 128);
CHECK(sizeof(((aperture_client_options *)0)->client_certificate_file) == 16);
CHECK(offsetof(aperture_client_options, client_key_file) == 144);
CHECK(sizeof(((aperture_client_options *)0)->client_key_file) == 16);
CHECK(offsetof(aperture_client_options, client_certificate_pem) == 160);
CHECK(sizeof(((aperture_client_options *)0)->client_certificate_pem) == 16);
CHECK(offsetof(aperture_client_options, client_key_pem) == 176);
CHECK(sizeof(((aperture_client_options *)0)->client_key_pem) == 16);
CHECK(offsetof(aperture_client_options, metadata) == 192);
CHECK(sizeof(((aperture_client_options *)0)->metadata) == 8);
CHECK(offsetof(aperture_client_options, metadata_count) == 200);
CHECK(sizeof(((aperture_client_options *)0)->metadata_count) == 8);
CHECK(offsetof(aperture_client_options, keepalive_time_ns) == 208);
CHECK(sizeof(((aperture_client_options *)0)->keepalive_time_ns) == 8);
CHECK(offsetof(aperture_client_options, keepalive_timeout_ns) == 216);
CHECK(sizeof(((aperture_client_options *)0)->keepalive_timeout_ns) == 8);
CHECK(offsetof(aperture_client_options, telemetry_queue) == 224);
CHECK(sizeof(((aperture_client_options *)0)->telemetry_queue) == 8);
CHECK(offsetof(aperture_client_options, telemetry_batch) == 232);
CHECK(sizeof(((aperture_client_options *)0)->telemetry_batch) == 8);
CHECK(offsetof(aperture_client_options, telemetry_interval_ns) == 240);
CHECK(sizeof(((aperture_client_options *)0)->telemetry_interval_ns) == 8);
CHECK(offsetof(aperture_client_options, compression) == 248);
CHECK(sizeof(((aperture_client_options *)0)->compression) == 4);
CHECK(offsetof(aperture_client_options, skip_verify) == 252);
CHECK(sizeof(((aperture_client_options *)0)->skip_verify) == 4);
CHECK(offsetof(aperture_client_options, max_labels) == 256);
CHECK(sizeof(((aperture_client_options *)0)->max_labels) == 8);
CHECK(offsetof(aperture_client_options, max_waiting) == 264);
CHECK(sizeof(((aperture_client_options *)0)->max_waiting) == 8);
CHECK(offsetof(aperture_client_options, cache_bytes) == 272);
CHECK(sizeof(((aperture_client_options *)0)->cache_bytes) == 8);

CHECK(sizeof(aperture_flow_params) == 104);
CHECK(offsetof(aperture_flow_params, struct_size) == 0);
CHECK(sizeof(((aperture_flow_params *)0)->struct_size) == 8);
CHECK(offsetof(aperture_flow_params, control_point) == 8);
CHECK(sizeof(((aperture_flow_params *)0)->control_point) == 16);
CHECK(offsetof(aperture_flow_params, labels) == 24);
CHECK(sizeof(((aperture_flow_params *)0)->labels) == 8);
CHECK(offsetof(aperture_flow_params, label_count) == 32);
CHECK(sizeof(((aperture_flow_params *)0)->label_count) == 8);
CHECK(offsetof(aperture_flow_params, check_timeout_ns) == 40);
CHECK(sizeof(((aperture_flow_params *)0)->check_timeout_ns) == 8);
CHECK(offsetof(aperture_flow_params, ramp_mode) == 48);
CHECK(sizeof(((aperture_flow_params *)0)->ramp_mode) == 4);
CHECK(offsetof(aperture_flow_params, reserved) == 52);
CHECK(sizeof(((aperture_flow_params *)0)->reserved) == 4);
CHECK(offsetof(aperture_flow_params, baggage) == 56);
CHECK(sizeof(((aperture_flow_params *)0)->baggage) == 16);
CHECK(offsetof(aperture_flow_params, result_cache_key) == 72);
CHECK(sizeof(((aperture_flow_params *)0)->result_cache_key) == 16);
CHECK(offsetof(aperture_flow_params, global_cache_keys) == 88);
CHECK(sizeof(((aperture_flow_params *)0)->global_cache_keys) == 8);
CHECK(offsetof(aperture_flow_params, global_cache_key_count) == 96);
CHECK(sizeof(((aperture_flow_params *)0)->global_cache_key_count) == 8);

CHECK(sizeof(aperture_decision) == 40);
CHECK(offsetof(aperture_decision, struct_size) == 0);
CHECK(sizeof(((aperture_decision *)0)->struct_size) == 8);
CHECK(offsetof(aperture_decision, decision) == 8);
CHECK(sizeof(((aperture_decision *)0)->decision) == 4);
CHECK(offsetof(aperture_decision, should_run) == 12);
CHECK(sizeof(((aperture_decision *)0)->should_run) == 4);
CHECK(offsetof(aperture_decision, reject_reason) == 16);
CHECK(sizeof(((aperture_decision *)0)->reject_reason) == 4);
CHECK(offsetof(aperture_decision, unreachable_reason) == 20);
CHECK(sizeof(((aperture_decision *)0)->unreachable_reason) == 4);
CHECK(offsetof(aperture_decision, http_status) == 24);
CHECK(sizeof(((aperture_decision *)0)->http_status) == 4);
CHECK(offsetof(aperture_decision, reserved) == 28);
CHECK(sizeof(((aperture_decision *)0)->reserved) == 4);
CHECK(offsetof(aperture_decision, retry_after_ns) == 32);
CHECK(sizeof(((aperture_decision *)0)->retry_after_ns) == 8);

CHECK(sizeof(aperture_end_result) == 24);
CHECK(offsetof(aperture_end_result, struct_size) == 0);
CHECK(sizeof(((aperture_end_result *)0)->struct_size) == 8);
CHECK(offsetof(aperture_end_result, flow_end_answered) == 8);
CHECK(sizeof(((aperture_end_result *)0)->flow_end_answered) == 4);
CHECK(offsetof(aperture_end_result, reference_count) == 12);
CHECK(sizeof(((aperture_end_result *)0)->reference_count) == 4);
CHECK(offsetof(aperture_end_result, returned_count) == 16);
CHECK(sizeof(((aperture_end_result *)0)->returned_count) == 4);
CHECK(offsetof(aperture_end_result, reserved) == 20);
CHECK(sizeof(((aperture_end_result *)0)->reserved) == 4);

CHECK(sizeof(aperture_completion) == 512);
CHECK(offsetof(aperture_completion, struct_size) == 0);
CHECK(sizeof(((aperture_completion *)0)->struct_size) == 8);
CHECK(offsetof(aperture_completion, kind) == 8);
CHECK(sizeof(((aperture_completion *)0)->kind) == 4);
CHECK(offsetof(aperture_completion, code) == 12);
CHECK(sizeof(((aperture_completion *)0)->code) == 4);
CHECK(offsetof(aperture_completion, tag) == 16);
CHECK(sizeof(((aperture_completion *)0)->tag) == 8);
CHECK(offsetof(aperture_completion, call) == 24);
CHECK(sizeof(((aperture_completion *)0)->call) == 8);
CHECK(offsetof(aperture_completion, flow) == 32);
CHECK(sizeof(((aperture_completion *)0)->flow) == 8);
CHECK(offsetof(aperture_completion, answer) == 40);
CHECK(sizeof(((aperture_completion *)0)->answer) == 8);
CHECK(offsetof(aperture_completion, message_length) == 48);
CHECK(sizeof(((aperture_completion *)0)->message_length) == 4);
CHECK(offsetof(aperture_completion, message) == 52);
CHECK(sizeof(((aperture_completion *)0)->message) == 460);

CHECK(sizeof(aperture_stats) == 168);
CHECK(offsetof(aperture_stats, struct_size) == 0);
CHECK(sizeof(((aperture_stats *)0)->struct_size) == 8);
CHECK(offsetof(aperture_stats, flows_accepted) == 8);
CHECK(sizeof(((aperture_stats *)0)->flows_accepted) == 8);
CHECK(offsetof(aperture_stats, flows_rejected) == 16);
CHECK(sizeof(((aperture_stats *)0)->flows_rejected) == 8);
CHECK(offsetof(aperture_stats, flows_unreachable) == 24);
CHECK(sizeof(((aperture_stats *)0)->flows_unreachable) == 8);
CHECK(offsetof(aperture_stats, unreachable_timeout) == 32);
CHECK(sizeof(((aperture_stats *)0)->unreachable_timeout) == 8);
CHECK(offsetof(aperture_stats, unreachable_unavailable) == 40);
CHECK(sizeof(((aperture_stats *)0)->unreachable_unavailable) == 8);
CHECK(offsetof(aperture_stats, unreachable_agent_error) == 48);
CHECK(sizeof(((aperture_stats *)0)->unreachable_agent_error) == 8);
CHECK(offsetof(aperture_stats, unreachable_misconfigured) == 56);
CHECK(sizeof(((aperture_stats *)0)->unreachable_misconfigured) == 8);
CHECK(offsetof(aperture_stats, unreachable_cancelled) == 64);
CHECK(sizeof(((aperture_stats *)0)->unreachable_cancelled) == 8);
CHECK(offsetof(aperture_stats, unreachable_closed) == 72);
CHECK(sizeof(((aperture_stats *)0)->unreachable_closed) == 8);
CHECK(offsetof(aperture_stats, unreachable_overloaded) == 80);
CHECK(sizeof(((aperture_stats *)0)->unreachable_overloaded) == 8);
CHECK(offsetof(aperture_stats, flows_ended) == 88);
CHECK(sizeof(((aperture_stats *)0)->flows_ended) == 8);
CHECK(offsetof(aperture_stats, flow_ends_failed) == 96);
CHECK(sizeof(((aperture_stats *)0)->flow_ends_failed) == 8);
CHECK(offsetof(aperture_stats, spans_exported) == 104);
CHECK(sizeof(((aperture_stats *)0)->spans_exported) == 8);
CHECK(offsetof(aperture_stats, spans_dropped) == 112);
CHECK(sizeof(((aperture_stats *)0)->spans_dropped) == 8);
CHECK(offsetof(aperture_stats, spans_queued) == 120);
CHECK(sizeof(((aperture_stats *)0)->spans_queued) == 8);
CHECK(offsetof(aperture_stats, flows_sanitised) == 128);
CHECK(sizeof(((aperture_stats *)0)->flows_sanitised) == 8);
CHECK(offsetof(aperture_stats, calls_pending) == 136);
CHECK(sizeof(((aperture_stats *)0)->calls_pending) == 8);
CHECK(offsetof(aperture_stats, flows_never_ended) == 144);
CHECK(sizeof(((aperture_stats *)0)->flows_never_ended) == 8);
CHECK(offsetof(aperture_stats, cache_calls) == 152);
CHECK(sizeof(((aperture_stats *)0)->cache_calls) == 8);
CHECK(offsetof(aperture_stats, cache_calls_failed) == 160);
CHECK(sizeof(((aperture_stats *)0)->cache_calls_failed) == 8);

CHECK(sizeof(aperture_attribute) == 64);
CHECK(offsetof(aperture_attribute, struct_size) == 0);
CHECK(sizeof(((aperture_attribute *)0)->struct_size) == 8);
CHECK(offsetof(aperture_attribute, key) == 8);
CHECK(sizeof(((aperture_attribute *)0)->key) == 16);
CHECK(offsetof(aperture_attribute, kind) == 24);
CHECK(sizeof(((aperture_attribute *)0)->kind) == 4);
CHECK(offsetof(aperture_attribute, reserved) == 28);
CHECK(sizeof(((aperture_attribute *)0)->reserved) == 4);
CHECK(offsetof(aperture_attribute, text) == 32);
CHECK(sizeof(((aperture_attribute *)0)->text) == 16);
CHECK(offsetof(aperture_attribute, integer) == 48);
CHECK(sizeof(((aperture_attribute *)0)->integer) == 8);
CHECK(offsetof(aperture_attribute, number) == 56);
CHECK(sizeof(((aperture_attribute *)0)->number) == 8);

CHECK(sizeof(aperture_cache_keys) == 64);
CHECK(offsetof(aperture_cache_keys, struct_size) == 0);
CHECK(sizeof(((aperture_cache_keys *)0)->struct_size) == 8);
CHECK(offsetof(aperture_cache_keys, control_point) == 8);
CHECK(sizeof(((aperture_cache_keys *)0)->control_point) == 16);
CHECK(offsetof(aperture_cache_keys, result_key) == 24);
CHECK(sizeof(((aperture_cache_keys *)0)->result_key) == 16);
CHECK(offsetof(aperture_cache_keys, global_keys) == 40);
CHECK(sizeof(((aperture_cache_keys *)0)->global_keys) == 8);
CHECK(offsetof(aperture_cache_keys, global_key_count) == 48);
CHECK(sizeof(((aperture_cache_keys *)0)->global_key_count) == 8);
CHECK(offsetof(aperture_cache_keys, timeout_ns) == 56);
CHECK(sizeof(((aperture_cache_keys *)0)->timeout_ns) == 8);

CHECK(sizeof(aperture_cache_entry) == 80);
CHECK(offsetof(aperture_cache_entry, struct_size) == 0);
CHECK(sizeof(((aperture_cache_entry *)0)->struct_size) == 8);
CHECK(offsetof(aperture_cache_entry, control_point) == 8);
CHECK(sizeof(((aperture_cache_entry *)0)->control_point) == 16);
CHECK(offsetof(aperture_cache_entry, key) == 24);
CHECK(sizeof(((aperture_cache_entry *)0)->key) == 16);
CHECK(offsetof(aperture_cache_entry, value) == 40);
CHECK(sizeof(((aperture_cache_entry *)0)->value) == 16);
CHECK(offsetof(aperture_cache_entry, ttl_ns) == 56);
CHECK(sizeof(((aperture_cache_entry *)0)->ttl_ns) == 8);
CHECK(offsetof(aperture_cache_entry, timeout_ns) == 64);
CHECK(sizeof(((aperture_cache_entry *)0)->timeout_ns) == 8);
CHECK(offsetof(aperture_cache_entry, scope) == 72);
CHECK(sizeof(((aperture_cache_entry *)0)->scope) == 4);
CHECK(offsetof(aperture_cache_entry, reserved) == 76);
CHECK(sizeof(((aperture_cache_entry *)0)->reserved) == 4);

CHECK(sizeof(aperture_cache_key) == 56);
CHECK(offsetof(aperture_cache_key, struct_size) == 0);
CHECK(sizeof(((aperture_cache_key *)0)->struct_size) == 8);
CHECK(offsetof(aperture_cache_key, control_point) == 8);
CHECK(sizeof(((aperture_cache_key *)0)->control_point) == 16);
CHECK(offsetof(aperture_cache_key, key) == 24);
CHECK(sizeof(((aperture_cache_key *)0)->key) == 16);
CHECK(offsetof(aperture_cache_key, timeout_ns) == 40);
CHECK(sizeof(((aperture_cache_key *)0)->timeout_ns) == 8);
CHECK(offsetof(aperture_cache_key, scope) == 48);
CHECK(sizeof(((aperture_cache_key *)0)->scope) == 4);
CHECK(offsetof(aperture_cache_key, reserved) == 52);
CHECK(sizeof(((aperture_cache_key *)0)->reserved) == 4);

typedef void (*any_function)(void);

int main(void) {
    static const any_function functions[] = {
        (any_function)aperture_version,
        (any_function)aperture_abi_version,
        (any_function)aperture_error_name,
        (any_function)aperture_error_description,
        (any_function)aperture_live_handles,
        (any_function)aperture_configure,
        (any_function)aperture_protect_signal_handlers,
        (any_function)aperture_close_clients_with_thread,
        (any_function)aperture_client_options_from_environment,
        (any_function)aperture_new_client,
        (any_function)aperture_client_wait_ready,
        (any_function)aperture_client_wait_ready_async,
        (any_function)aperture_client_state,
        (any_function)aperture_client_stats,
        (any_function)aperture_client_reload,
        (any_function)aperture_client_snapshot,
        (any_function)aperture_client_close,
        (any_function)aperture_client_close_async,
        (any_function)aperture_start_flow,
        (any_function)aperture_start_flow_async,
        (any_function)aperture_flow_should_run,
        (any_function)aperture_flow_decision,
        (any_function)aperture_flow_error,
        (any_function)aperture_flow_check_response,
        (any_function)aperture_flow_cache_value,
        (any_function)aperture_flow_set_attribute,
        (any_function)aperture_flow_set_status,
        (any_function)aperture_flow_end,
        (any_function)aperture_flow_end_async,
        (any_function)aperture_flow_end_result,
        (any_function)aperture_flow_end_response,
        (any_function)aperture_flow_close,
        (any_function)aperture_cache_lookup,
        (any_function)aperture_cache_lookup_async,
        (any_function)aperture_cache_answer_value,
        (any_function)aperture_cache_answer_close,
        (any_function)aperture_cache_set,
        (any_function)aperture_cache_set_async,
        (any_function)aperture_cache_delete,
        (any_function)aperture_cache_delete_async,
        (any_function)aperture_client_completion_fd,
        (any_function)aperture_client_poll,
        (any_function)aperture_call_wait,
        (any_function)aperture_call_cancel,
    };
    size_t count = sizeof functions / sizeof functions[0];
    for (size_t i = 0; i < count; i++) {
        if (functions[i] == NULL) {
            return 1;
        }
    }
    {
        const aperture_error initial = APERTURE_ERROR_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_process_options initial = APERTURE_PROCESS_OPTIONS_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_client_options initial = APERTURE_CLIENT_OPTIONS_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_flow_params initial = APERTURE_FLOW_PARAMS_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_decision initial = APERTURE_DECISION_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_end_result initial = APERTURE_END_RESULT_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_completion initial = APERTURE_COMPLETION_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_stats initial = APERTURE_STATS_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_attribute initial = APERTURE_ATTRIBUTE_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_cache_keys initial = APERTURE_CACHE_KEYS_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_cache_entry initial = APERTURE_CACHE_ENTRY_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    {
        const aperture_cache_key initial = APERTURE_CACHE_KEY_INIT;
        if (initial.struct_size != sizeof initial) {
            return 2;
        }
    }
    if (aperture_abi_version() != APERTURE_ABI_VERSION || strcmp(aperture_version(), APERTURE_VERSION) != 0) {
        return 3;
    }
    printf("layout: %zu functions linked\n", count);
    return 0;
}
