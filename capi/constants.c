/*
 * What the library answers without Go, so that asking for a version or the name of an error never starts a runtime.
 * Generated from abi/aperture.yaml; do not edit.
 */
#include <aperture.h>

const char *aperture_version(void) {
    return APERTURE_VERSION;
}

uint32_t aperture_abi_version(void) {
    return APERTURE_ABI_VERSION;
}

const char *aperture_error_name(aperture_code code) {
    switch (code) {
    case APERTURE_OK:
        return "APERTURE_OK";
    case APERTURE_PENDING:
        return "APERTURE_PENDING";
    case APERTURE_ERROR_INVALID_ARGUMENT:
        return "APERTURE_ERROR_INVALID_ARGUMENT";
    case APERTURE_ERROR_INVALID_HANDLE:
        return "APERTURE_ERROR_INVALID_HANDLE";
    case APERTURE_ERROR_CLOSED:
        return "APERTURE_ERROR_CLOSED";
    case APERTURE_ERROR_ALREADY_ENDED:
        return "APERTURE_ERROR_ALREADY_ENDED";
    case APERTURE_ERROR_UNREACHABLE:
        return "APERTURE_ERROR_UNREACHABLE";
    case APERTURE_ERROR_TIMEOUT:
        return "APERTURE_ERROR_TIMEOUT";
    case APERTURE_ERROR_CANCELLED:
        return "APERTURE_ERROR_CANCELLED";
    case APERTURE_ERROR_POLICY:
        return "APERTURE_ERROR_POLICY";
    case APERTURE_ERROR_BUFFER_TOO_SMALL:
        return "APERTURE_ERROR_BUFFER_TOO_SMALL";
    case APERTURE_ERROR_RESOURCE_EXHAUSTED:
        return "APERTURE_ERROR_RESOURCE_EXHAUSTED";
    case APERTURE_ERROR_INTERNAL:
        return "APERTURE_ERROR_INTERNAL";
    case APERTURE_ERROR_FORKED:
        return "APERTURE_ERROR_FORKED";
    case APERTURE_ERROR_AGENT:
        return "APERTURE_ERROR_AGENT";
    case APERTURE_ERROR_NO_ANSWER:
        return "APERTURE_ERROR_NO_ANSWER";
    default:
        return "APERTURE_ERROR_UNKNOWN";
    }
}

const char *aperture_error_description(aperture_code code) {
    switch (code) {
    case APERTURE_OK:
        return "The call did what it says.";
    case APERTURE_PENDING:
        return "The call goes on; its completion will be delivered.";
    case APERTURE_ERROR_INVALID_ARGUMENT:
        return "An argument is wrong; the message names it and says what would be right.";
    case APERTURE_ERROR_INVALID_HANDLE:
        return "The handle is NULL, of another kind, was closed, or never existed.";
    case APERTURE_ERROR_CLOSED:
        return "The client is being closed.";
    case APERTURE_ERROR_ALREADY_ENDED:
        return "The flow was ended before.";
    case APERTURE_ERROR_UNREACHABLE:
        return "The agent could not be reached or did not answer; this is never a rejection.";
    case APERTURE_ERROR_TIMEOUT:
        return "The time of the call ran out.";
    case APERTURE_ERROR_CANCELLED:
        return "The call was cancelled by aperture_call_cancel.";
    case APERTURE_ERROR_POLICY:
        return "A policy file of a local: address is missing or wrong; the message has file, line and column.";
    case APERTURE_ERROR_BUFFER_TOO_SMALL:
        return "The buffer is too small; the length that is needed was stored.";
    case APERTURE_ERROR_RESOURCE_EXHAUSTED:
        return "The process has no more of something, such as file descriptors; or a signal handler has interrupted a call of the library on this thread, and makes another (every function).";
    case APERTURE_ERROR_INTERNAL:
        return "A defect of the library; please report its message.";
    case APERTURE_ERROR_FORKED:
        return "The handle belongs to the process that this one was forked from. Make a new client here.";
    case APERTURE_ERROR_AGENT:
        return "The agent answered, with an error about this one cache entry; the message is the agent's.";
    case APERTURE_ERROR_NO_ANSWER:
        return "The agent's answer says nothing about this cache entry: it was not asked for, or the flow was rejected before the agent looked.";
    default:
        return "There is no such code.";
    }
}
