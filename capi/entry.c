/*
 * The entry points of the library: each hands its arguments to the Go function of the same name, with handles as the
 * numbers that they are. Generated from abi/aperture.yaml; do not edit.
 */
#include "_cgo_export.h"

const char *aperture_version(void) {
    return aperture_go_version();
}

uint32_t aperture_abi_version(void) {
    return aperture_go_abi_version();
}

const char *aperture_error_name(aperture_code code) {
    return aperture_go_error_name(code);
}

const char *aperture_error_description(aperture_code code) {
    return aperture_go_error_description(code);
}

uint64_t aperture_live_handles(void) {
    return aperture_go_live_handles();
}

aperture_code aperture_new_client(const aperture_client_options *options, aperture_client *client, aperture_error *error) {
    uint64_t client_number = 0;
    aperture_code code = aperture_go_new_client((aperture_client_options *)options, client != NULL ? &client_number : NULL, error);
    if (client != NULL) {
        *client = (aperture_client)(uintptr_t)client_number;
    }
    return code;
}

aperture_code aperture_client_wait_ready(aperture_client client, int64_t timeout_ns, aperture_error *error) {
    return aperture_go_client_wait_ready((uint64_t)(uintptr_t)client, timeout_ns, error);
}

aperture_code aperture_client_wait_ready_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error) {
    uint64_t call_number = 0;
    aperture_code code = aperture_go_client_wait_ready_async((uint64_t)(uintptr_t)client, timeout_ns, tag, call != NULL ? &call_number : NULL, error);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return code;
}

aperture_code aperture_client_stats(aperture_client client, aperture_stats *stats, aperture_error *error) {
    return aperture_go_client_stats((uint64_t)(uintptr_t)client, stats, error);
}

aperture_code aperture_client_close(aperture_client client, int64_t timeout_ns, aperture_error *error) {
    return aperture_go_client_close((uint64_t)(uintptr_t)client, timeout_ns, error);
}

aperture_code aperture_client_close_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error) {
    uint64_t call_number = 0;
    aperture_code code = aperture_go_client_close_async((uint64_t)(uintptr_t)client, timeout_ns, tag, call != NULL ? &call_number : NULL, error);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return code;
}

aperture_code aperture_start_flow(aperture_client client, const aperture_flow_params *params, aperture_flow *flow, aperture_decision *decision, aperture_error *error) {
    uint64_t flow_number = 0;
    aperture_code code = aperture_go_start_flow((uint64_t)(uintptr_t)client, (aperture_flow_params *)params, flow != NULL ? &flow_number : NULL, decision, error);
    if (flow != NULL) {
        *flow = (aperture_flow)(uintptr_t)flow_number;
    }
    return code;
}

aperture_code aperture_start_flow_async(aperture_client client, const aperture_flow_params *params, uint64_t tag, aperture_flow *flow, aperture_decision *decision, aperture_call *call, aperture_error *error) {
    uint64_t flow_number = 0;
    uint64_t call_number = 0;
    aperture_code code = aperture_go_start_flow_async((uint64_t)(uintptr_t)client, (aperture_flow_params *)params, tag, flow != NULL ? &flow_number : NULL, decision, call != NULL ? &call_number : NULL, error);
    if (flow != NULL) {
        *flow = (aperture_flow)(uintptr_t)flow_number;
    }
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return code;
}

aperture_code aperture_flow_should_run(aperture_flow flow, int32_t *should_run, aperture_error *error) {
    return aperture_go_flow_should_run((uint64_t)(uintptr_t)flow, should_run, error);
}

aperture_code aperture_flow_decision(aperture_flow flow, aperture_decision *decision, aperture_error *error) {
    return aperture_go_flow_decision((uint64_t)(uintptr_t)flow, decision, error);
}

aperture_code aperture_flow_error(aperture_flow flow, aperture_error *failure, aperture_error *error) {
    return aperture_go_flow_error((uint64_t)(uintptr_t)flow, failure, error);
}

aperture_code aperture_flow_set_status(aperture_flow flow, aperture_flow_status status, aperture_error *error) {
    return aperture_go_flow_set_status((uint64_t)(uintptr_t)flow, status, error);
}

aperture_code aperture_flow_end(aperture_flow flow, aperture_end_result *result, aperture_error *error) {
    return aperture_go_flow_end((uint64_t)(uintptr_t)flow, result, error);
}

aperture_code aperture_flow_end_async(aperture_flow flow, uint64_t tag, aperture_end_result *result, aperture_call *call, aperture_error *error) {
    uint64_t call_number = 0;
    aperture_code code = aperture_go_flow_end_async((uint64_t)(uintptr_t)flow, tag, result, call != NULL ? &call_number : NULL, error);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return code;
}

aperture_code aperture_flow_end_result(aperture_flow flow, aperture_end_result *result, aperture_error *error) {
    return aperture_go_flow_end_result((uint64_t)(uintptr_t)flow, result, error);
}

aperture_code aperture_flow_end_response(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    return aperture_go_flow_end_response((uint64_t)(uintptr_t)flow, buffer, capacity, length, error);
}

aperture_code aperture_flow_close(aperture_flow flow, aperture_error *error) {
    return aperture_go_flow_close((uint64_t)(uintptr_t)flow, error);
}

aperture_code aperture_client_completion_fd(aperture_client client, int32_t *fd, aperture_error *error) {
    return aperture_go_client_completion_fd((uint64_t)(uintptr_t)client, fd, error);
}

aperture_code aperture_client_poll(aperture_client client, aperture_completion *completions, size_t capacity, size_t *count, aperture_error *error) {
    return aperture_go_client_poll((uint64_t)(uintptr_t)client, completions, capacity, count, error);
}

aperture_code aperture_call_wait(aperture_call call, int64_t timeout_ns, aperture_completion *completion, aperture_error *error) {
    return aperture_go_call_wait((uint64_t)(uintptr_t)call, timeout_ns, completion, error);
}

aperture_code aperture_call_cancel(aperture_call call, aperture_error *error) {
    return aperture_go_call_cancel((uint64_t)(uintptr_t)call, error);
}

