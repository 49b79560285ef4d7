/*
 * The options that the environment of the process names. It is read here and not in Go: Go has a copy of the environment
 * from the moment at which its runtime started, and a host changes its own afterwards.
 */
#include "guest.h"

#include <stdlib.h>
#include <string.h>

/* The options of the first version of the struct. */
#define SMALLEST offsetof(aperture_client_options, ca_pem)

/* Reads a text, unless the variable is unset or empty. */
static void read_text(const char *variable, aperture_text *text) {
    const char *value = getenv(variable);
    if (value != NULL && value[0] != '\0') {
        *text = aperture_text_of(value);
    }
}

/* Reads a flag, unless the variable is unset or empty. Returns false when it is neither true nor false. */
static bool read_flag(const char *variable, int32_t *flag) {
    const char *value = getenv(variable);
    if (value == NULL || value[0] == '\0') {
        return true;
    }
    if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0) {
        *flag = 1;
        return true;
    }
    if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0) {
        *flag = 0;
        return true;
    }
    return false;
}

static aperture_code refuse(const char *variable, aperture_error *error) {
    return aperture_guest_fail(error, APERTURE_ERROR_INVALID_ARGUMENT, "%s: must be true, false, 1 or 0", variable);
}

aperture_code aperture_client_options_from_environment(aperture_client_options *options, aperture_error *error) {
    if (!aperture_guest_usable(error)) {
        return APERTURE_ERROR_INVALID_ARGUMENT;
    }
    if (options == NULL) {
        return aperture_guest_fail(error, APERTURE_ERROR_INVALID_ARGUMENT, "options: must not be NULL");
    }
    if (options->struct_size < SMALLEST) {
        return aperture_guest_fail(error, APERTURE_ERROR_INVALID_ARGUMENT,
            "options: struct_size is %zu; the struct has %zu bytes (use its _INIT macro)", options->struct_size,
            sizeof *options);
    }
    int32_t insecure = options->insecure;
    if (!read_flag("APERTURE_AGENT_INSECURE", &insecure)) {
        return refuse("APERTURE_AGENT_INSECURE", error);
    }
    bool has_skip_verify = options->struct_size >= offsetof(aperture_client_options, skip_verify) + sizeof options->skip_verify;
    int32_t skip_verify = has_skip_verify ? options->skip_verify : 0;
    if (!read_flag("APERTURE_AGENT_SKIP_VERIFY", &skip_verify)) {
        return refuse("APERTURE_AGENT_SKIP_VERIFY", error);
    }
    if (!has_skip_verify && skip_verify != 0) {
        return aperture_guest_fail(error, APERTURE_ERROR_INVALID_ARGUMENT,
            "APERTURE_AGENT_SKIP_VERIFY: the program was compiled for an older version, which does not know it");
    }
    read_text("APERTURE_AGENT_ADDRESS", &options->address);
    read_text("APERTURE_API_KEY", &options->api_key);
    options->insecure = insecure;
    if (has_skip_verify) {
        options->skip_verify = skip_verify;
    }
    return aperture_guest_succeed(error);
}
