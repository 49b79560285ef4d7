/*
 * Errors of the functions that are answered in C. Those in Go are in capi/failure.go; both keep the same rules.
 */
#include "guest.h"

#include <stdarg.h>
#include <stdio.h>

bool aperture_guest_usable(const aperture_error *error) {
    return error == NULL || error->struct_size >= sizeof *error;
}

aperture_code aperture_guest_fail(aperture_error *error, aperture_code code, const char *format, ...) {
    if (error == NULL) {
        return code;
    }
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    error->code = code;
    if (length < 0) {
        length = 0;
        error->message[0] = '\0';
    }
    if ((size_t)length >= sizeof error->message) {
        length = (int)sizeof error->message - 1;
    }
    error->message_length = (uint32_t)length;
    return code;
}

aperture_code aperture_guest_succeed(aperture_error *error) {
    if (error != NULL) {
        error->code = APERTURE_OK;
        error->message_length = 0;
        error->message[0] = '\0';
    }
    return APERTURE_OK;
}
