/*
 * The entry points of the library. Each asks internal/guest for the functions of this process, which are the Go functions
 * of this image once its runtime has been started, and calls its own there. Generated from abi/aperture.yaml; do not edit.
 */
#include "_cgo_export.h"

#include "internal/guest/guest.h"

/* ---- Into the Go code of this image, with handles as the numbers that they are ---- */

static uint64_t go_live_handles(void) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return 0;
    }
    uint64_t result_of_go = aperture_go_live_handles();
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_close_clients_with_thread(aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_close_clients_with_thread(error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_new_client(const aperture_client_options *options, aperture_client *client, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t client_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (client != NULL) {
            *client = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_new_client((aperture_client_options *)options, client != NULL ? &client_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (client != NULL) {
        *client = (aperture_client)(uintptr_t)client_number;
    }
    return result_of_go;
}

static aperture_code go_client_wait_ready(aperture_client client, int64_t timeout_ns, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_wait_ready((uint64_t)(uintptr_t)client, timeout_ns, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_client_wait_ready_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t call_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_wait_ready_async((uint64_t)(uintptr_t)client, timeout_ns, tag, call != NULL ? &call_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return result_of_go;
}

static aperture_code go_client_state(aperture_client client, aperture_connection_state *state, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (state != NULL) {
            *state = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_state((uint64_t)(uintptr_t)client, state, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_client_stats(aperture_client client, aperture_stats *stats, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_stats((uint64_t)(uintptr_t)client, stats, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_client_reload(aperture_client client, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_reload((uint64_t)(uintptr_t)client, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_client_snapshot(aperture_client client, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_snapshot((uint64_t)(uintptr_t)client, buffer, capacity, length, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_client_close(aperture_client client, int64_t timeout_ns, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_close((uint64_t)(uintptr_t)client, timeout_ns, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_client_close_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t call_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_close_async((uint64_t)(uintptr_t)client, timeout_ns, tag, call != NULL ? &call_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return result_of_go;
}

static aperture_code go_start_flow(aperture_client client, const aperture_flow_params *params, aperture_flow *flow, aperture_decision *decision, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t flow_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (flow != NULL) {
            *flow = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_start_flow((uint64_t)(uintptr_t)client, (aperture_flow_params *)params, flow != NULL ? &flow_number : NULL, decision, error);
    aperture_guest_end_call(&call_of_thread);
    if (flow != NULL) {
        *flow = (aperture_flow)(uintptr_t)flow_number;
    }
    return result_of_go;
}

static aperture_code go_start_flow_async(aperture_client client, const aperture_flow_params *params, uint64_t tag, aperture_flow *flow, aperture_decision *decision, aperture_call *call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t flow_number = 0;
    uint64_t call_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (flow != NULL) {
            *flow = NULL;
        }
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_start_flow_async((uint64_t)(uintptr_t)client, (aperture_flow_params *)params, tag, flow != NULL ? &flow_number : NULL, decision, call != NULL ? &call_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (flow != NULL) {
        *flow = (aperture_flow)(uintptr_t)flow_number;
    }
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return result_of_go;
}

static aperture_code go_flow_should_run(aperture_flow flow, int32_t *should_run, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (should_run != NULL) {
            *should_run = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_should_run((uint64_t)(uintptr_t)flow, should_run, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_decision(aperture_flow flow, aperture_decision *decision, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_decision((uint64_t)(uintptr_t)flow, decision, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_error(aperture_flow flow, aperture_error *failure, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_error((uint64_t)(uintptr_t)flow, failure, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_check_response(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_check_response((uint64_t)(uintptr_t)flow, buffer, capacity, length, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_cache_value(aperture_flow flow, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (status != NULL) {
            *status = 0;
        }
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_cache_value((uint64_t)(uintptr_t)flow, scope, (aperture_text *)key, status, buffer, capacity, length, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_set_attribute(aperture_flow flow, const aperture_attribute *attribute, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_set_attribute((uint64_t)(uintptr_t)flow, (aperture_attribute *)attribute, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_set_status(aperture_flow flow, aperture_flow_status status, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_set_status((uint64_t)(uintptr_t)flow, status, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_end(aperture_flow flow, aperture_end_result *result, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_end((uint64_t)(uintptr_t)flow, result, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_end_async(aperture_flow flow, uint64_t tag, aperture_end_result *result, aperture_call *call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t call_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_end_async((uint64_t)(uintptr_t)flow, tag, result, call != NULL ? &call_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return result_of_go;
}

static aperture_code go_flow_end_result(aperture_flow flow, aperture_end_result *result, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_end_result((uint64_t)(uintptr_t)flow, result, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_end_response(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_end_response((uint64_t)(uintptr_t)flow, buffer, capacity, length, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_flow_close(aperture_flow flow, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_flow_close((uint64_t)(uintptr_t)flow, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_cache_lookup(aperture_client client, const aperture_cache_keys *keys, aperture_cache_answer *answer, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t answer_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (answer != NULL) {
            *answer = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_lookup((uint64_t)(uintptr_t)client, (aperture_cache_keys *)keys, answer != NULL ? &answer_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (answer != NULL) {
        *answer = (aperture_cache_answer)(uintptr_t)answer_number;
    }
    return result_of_go;
}

static aperture_code go_cache_lookup_async(aperture_client client, const aperture_cache_keys *keys, uint64_t tag, aperture_cache_answer *answer, aperture_call *call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t answer_number = 0;
    uint64_t call_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (answer != NULL) {
            *answer = NULL;
        }
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_lookup_async((uint64_t)(uintptr_t)client, (aperture_cache_keys *)keys, tag, answer != NULL ? &answer_number : NULL, call != NULL ? &call_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (answer != NULL) {
        *answer = (aperture_cache_answer)(uintptr_t)answer_number;
    }
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return result_of_go;
}

static aperture_code go_cache_answer_value(aperture_cache_answer answer, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (status != NULL) {
            *status = 0;
        }
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_answer_value((uint64_t)(uintptr_t)answer, scope, (aperture_text *)key, status, buffer, capacity, length, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_cache_answer_close(aperture_cache_answer answer, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_answer_close((uint64_t)(uintptr_t)answer, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_cache_set(aperture_client client, const aperture_cache_entry *entry, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_set((uint64_t)(uintptr_t)client, (aperture_cache_entry *)entry, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_cache_set_async(aperture_client client, const aperture_cache_entry *entry, uint64_t tag, aperture_call *call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t call_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_set_async((uint64_t)(uintptr_t)client, (aperture_cache_entry *)entry, tag, call != NULL ? &call_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return result_of_go;
}

static aperture_code go_cache_delete(aperture_client client, const aperture_cache_key *key, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_delete((uint64_t)(uintptr_t)client, (aperture_cache_key *)key, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_cache_delete_async(aperture_client client, const aperture_cache_key *key, uint64_t tag, aperture_call *call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    uint64_t call_number = 0;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_cache_delete_async((uint64_t)(uintptr_t)client, (aperture_cache_key *)key, tag, call != NULL ? &call_number : NULL, error);
    aperture_guest_end_call(&call_of_thread);
    if (call != NULL) {
        *call = (aperture_call)(uintptr_t)call_number;
    }
    return result_of_go;
}

static aperture_code go_client_completion_fd(aperture_client client, int32_t *fd, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (fd != NULL) {
            *fd = -1;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_completion_fd((uint64_t)(uintptr_t)client, fd, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_client_poll(aperture_client client, aperture_completion *completions, size_t capacity, size_t *count, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        if (count != NULL) {
            *count = 0;
        }
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_client_poll((uint64_t)(uintptr_t)client, completions, capacity, count, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_call_wait(aperture_call call, int64_t timeout_ns, aperture_completion *completion, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_call_wait((uint64_t)(uintptr_t)call, timeout_ns, completion, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

static aperture_code go_call_cancel(aperture_call call, aperture_error *error) {
    struct aperture_guest_call call_of_thread;
    if (!aperture_guest_begin_call(&call_of_thread)) {
        return aperture_guest_refuse_interruption(error);
    }
    aperture_code result_of_go = aperture_go_call_cancel((uint64_t)(uintptr_t)call, error);
    aperture_guest_end_call(&call_of_thread);
    return result_of_go;
}

const struct aperture_functions aperture_guest_own_functions = {
    .live_handles = go_live_handles,
    .close_clients_with_thread = go_close_clients_with_thread,
    .new_client = go_new_client,
    .client_wait_ready = go_client_wait_ready,
    .client_wait_ready_async = go_client_wait_ready_async,
    .client_state = go_client_state,
    .client_stats = go_client_stats,
    .client_reload = go_client_reload,
    .client_snapshot = go_client_snapshot,
    .client_close = go_client_close,
    .client_close_async = go_client_close_async,
    .start_flow = go_start_flow,
    .start_flow_async = go_start_flow_async,
    .flow_should_run = go_flow_should_run,
    .flow_decision = go_flow_decision,
    .flow_error = go_flow_error,
    .flow_check_response = go_flow_check_response,
    .flow_cache_value = go_flow_cache_value,
    .flow_set_attribute = go_flow_set_attribute,
    .flow_set_status = go_flow_set_status,
    .flow_end = go_flow_end,
    .flow_end_async = go_flow_end_async,
    .flow_end_result = go_flow_end_result,
    .flow_end_response = go_flow_end_response,
    .flow_close = go_flow_close,
    .cache_lookup = go_cache_lookup,
    .cache_lookup_async = go_cache_lookup_async,
    .cache_answer_value = go_cache_answer_value,
    .cache_answer_close = go_cache_answer_close,
    .cache_set = go_cache_set,
    .cache_set_async = go_cache_set_async,
    .cache_delete = go_cache_delete,
    .cache_delete_async = go_cache_delete_async,
    .client_completion_fd = go_client_completion_fd,
    .client_poll = go_client_poll,
    .call_wait = go_call_wait,
    .call_cancel = go_call_cancel,
};

/* ---- The public functions ---- */

uint64_t aperture_live_handles(void) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return 0;
    }
    return functions->live_handles();
}

aperture_code aperture_close_clients_with_thread(aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        aperture_code code = aperture_guest_enter(&functions, error);
        if (code != APERTURE_OK) {
            return code;
        }
    }
    return functions->close_clients_with_thread(error);
}

aperture_code aperture_new_client(const aperture_client_options *options, aperture_client *client, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        aperture_code code = aperture_guest_enter(&functions, error);
        if (code != APERTURE_OK) {
            if (client != NULL) {
                *client = NULL;
            }
            return code;
        }
    }
    return functions->new_client(options, client, error);
}

aperture_code aperture_client_wait_ready(aperture_client client, int64_t timeout_ns, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_wait_ready(client, timeout_ns, error);
}

aperture_code aperture_client_wait_ready_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_wait_ready_async(client, timeout_ns, tag, call, error);
}

aperture_code aperture_client_state(aperture_client client, aperture_connection_state *state, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (state != NULL) {
            *state = 0;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_state(client, state, error);
}

aperture_code aperture_client_stats(aperture_client client, aperture_stats *stats, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_stats(client, stats, error);
}

aperture_code aperture_client_reload(aperture_client client, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_reload(client, error);
}

aperture_code aperture_client_snapshot(aperture_client client, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_snapshot(client, buffer, capacity, length, error);
}

aperture_code aperture_client_close(aperture_client client, int64_t timeout_ns, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_close(client, timeout_ns, error);
}

aperture_code aperture_client_close_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_close_async(client, timeout_ns, tag, call, error);
}

aperture_code aperture_start_flow(aperture_client client, const aperture_flow_params *params, aperture_flow *flow, aperture_decision *decision, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (flow != NULL) {
            *flow = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->start_flow(client, params, flow, decision, error);
}

aperture_code aperture_start_flow_async(aperture_client client, const aperture_flow_params *params, uint64_t tag, aperture_flow *flow, aperture_decision *decision, aperture_call *call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (flow != NULL) {
            *flow = NULL;
        }
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->start_flow_async(client, params, tag, flow, decision, call, error);
}

aperture_code aperture_flow_should_run(aperture_flow flow, int32_t *should_run, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (should_run != NULL) {
            *should_run = 0;
        }
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_should_run(flow, should_run, error);
}

aperture_code aperture_flow_decision(aperture_flow flow, aperture_decision *decision, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_decision(flow, decision, error);
}

aperture_code aperture_flow_error(aperture_flow flow, aperture_error *failure, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_error(flow, failure, error);
}

aperture_code aperture_flow_check_response(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_check_response(flow, buffer, capacity, length, error);
}

aperture_code aperture_flow_cache_value(aperture_flow flow, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (status != NULL) {
            *status = 0;
        }
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_cache_value(flow, scope, key, status, buffer, capacity, length, error);
}

aperture_code aperture_flow_set_attribute(aperture_flow flow, const aperture_attribute *attribute, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_set_attribute(flow, attribute, error);
}

aperture_code aperture_flow_set_status(aperture_flow flow, aperture_flow_status status, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_set_status(flow, status, error);
}

aperture_code aperture_flow_end(aperture_flow flow, aperture_end_result *result, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_end(flow, result, error);
}

aperture_code aperture_flow_end_async(aperture_flow flow, uint64_t tag, aperture_end_result *result, aperture_call *call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_end_async(flow, tag, result, call, error);
}

aperture_code aperture_flow_end_result(aperture_flow flow, aperture_end_result *result, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_end_result(flow, result, error);
}

aperture_code aperture_flow_end_response(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_end_response(flow, buffer, capacity, length, error);
}

aperture_code aperture_flow_close(aperture_flow flow, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(flow, "flow", error);
    }
    return functions->flow_close(flow, error);
}

aperture_code aperture_cache_lookup(aperture_client client, const aperture_cache_keys *keys, aperture_cache_answer *answer, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (answer != NULL) {
            *answer = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->cache_lookup(client, keys, answer, error);
}

aperture_code aperture_cache_lookup_async(aperture_client client, const aperture_cache_keys *keys, uint64_t tag, aperture_cache_answer *answer, aperture_call *call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (answer != NULL) {
            *answer = NULL;
        }
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->cache_lookup_async(client, keys, tag, answer, call, error);
}

aperture_code aperture_cache_answer_value(aperture_cache_answer answer, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (status != NULL) {
            *status = 0;
        }
        if (length != NULL) {
            *length = 0;
        }
        return aperture_guest_refuse(answer, "answer", error);
    }
    return functions->cache_answer_value(answer, scope, key, status, buffer, capacity, length, error);
}

aperture_code aperture_cache_answer_close(aperture_cache_answer answer, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(answer, "answer", error);
    }
    return functions->cache_answer_close(answer, error);
}

aperture_code aperture_cache_set(aperture_client client, const aperture_cache_entry *entry, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->cache_set(client, entry, error);
}

aperture_code aperture_cache_set_async(aperture_client client, const aperture_cache_entry *entry, uint64_t tag, aperture_call *call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->cache_set_async(client, entry, tag, call, error);
}

aperture_code aperture_cache_delete(aperture_client client, const aperture_cache_key *key, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->cache_delete(client, key, error);
}

aperture_code aperture_cache_delete_async(aperture_client client, const aperture_cache_key *key, uint64_t tag, aperture_call *call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (call != NULL) {
            *call = NULL;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->cache_delete_async(client, key, tag, call, error);
}

aperture_code aperture_client_completion_fd(aperture_client client, int32_t *fd, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (fd != NULL) {
            *fd = -1;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_completion_fd(client, fd, error);
}

aperture_code aperture_client_poll(aperture_client client, aperture_completion *completions, size_t capacity, size_t *count, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        if (count != NULL) {
            *count = 0;
        }
        return aperture_guest_refuse(client, "client", error);
    }
    return functions->client_poll(client, completions, capacity, count, error);
}

aperture_code aperture_call_wait(aperture_call call, int64_t timeout_ns, aperture_completion *completion, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(call, "call", error);
    }
    return functions->call_wait(call, timeout_ns, completion, error);
}

aperture_code aperture_call_cancel(aperture_call call, aperture_error *error) {
    const struct aperture_functions *functions = aperture_guest_functions();
    if (functions == NULL) {
        return aperture_guest_refuse(call, "call", error);
    }
    return functions->call_cancel(call, error);
}
