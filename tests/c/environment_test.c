/*
 * Options from the environment: as it is at the moment of the call, without a runtime that would have a copy of it.
 */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include "host.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    "APERTURE_AGENT_ADDRESS", "APERTURE_API_KEY", "APERTURE_AGENT_INSECURE", "APERTURE_AGENT_SKIP_VERIFY"};

static void clear(void) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(unsetenv(names[i]) == 0);
    }
}

static int is(aperture_text text, const char *expected) {
    return text.length == strlen(expected) && memcmp(text.data, expected, text.length) == 0;
}

static aperture_client_options some_options(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    options.address = aperture_text_of("agent:1");
    options.api_key = aperture_text_of("code");
    options.insecure = 1;
    return options;
}

static void test_nothing_is_set(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client_options options = some_options();
    clear();
    CHECK_OK(aperture_client_options_from_environment(&options, &error), error);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(setenv(names[i], "", 1) == 0);
    }
    CHECK_OK(aperture_client_options_from_environment(&options, &error), error);
    CHECK(is(options.address, "agent:1") && is(options.api_key, "code"));
    CHECK(options.insecure == 1 && options.skip_verify == 0);
}

static void test_everything_is_set(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client_options options = some_options();
    CHECK(setenv("APERTURE_AGENT_ADDRESS", "local:", 1) == 0);
    CHECK(setenv("APERTURE_API_KEY", "environment", 1) == 0);
    CHECK(setenv("APERTURE_AGENT_INSECURE", "false", 1) == 0);
    CHECK(setenv("APERTURE_AGENT_SKIP_VERIFY", "1", 1) == 0);
    CHECK_OK(aperture_client_options_from_environment(&options, &error), error);
    CHECK(is(options.address, "local:") && is(options.api_key, "environment"));
    CHECK(options.insecure == 0 && options.skip_verify == 1);
    CHECK(setenv("APERTURE_AGENT_INSECURE", "true", 1) == 0);
    CHECK(setenv("APERTURE_AGENT_SKIP_VERIFY", "0", 1) == 0);
    CHECK_OK(aperture_client_options_from_environment(&options, &error), error);
    CHECK(options.insecure == 1 && options.skip_verify == 0);
}

/* A wrong value changes nothing, and the message says which variable and what would be right. */
static void test_wrong_values(void) {
    static const char *const flags[] = {"APERTURE_AGENT_INSECURE", "APERTURE_AGENT_SKIP_VERIFY"};
    for (int i = 0; i < 2; i++) {
        aperture_error error = APERTURE_ERROR_INIT;
        aperture_client_options options = some_options();
        clear();
        CHECK(setenv("APERTURE_AGENT_ADDRESS", "local:", 1) == 0);
        CHECK(setenv(flags[i], "yes", 1) == 0);
        CHECK(aperture_client_options_from_environment(&options, &error) == APERTURE_ERROR_INVALID_ARGUMENT);
        CHECK(strstr(error.message, flags[i]) != NULL && strstr(error.message, "true") != NULL);
        CHECK(is(options.address, "agent:1"));
    }
}

/* The struct of the first header has no skip_verify. */
static void test_older_struct(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client_options options = some_options();
    clear();
    options.struct_size = offsetof(aperture_client_options, ca_pem);
    options.skip_verify = 77;
    CHECK(setenv("APERTURE_AGENT_ADDRESS", "local:", 1) == 0);
    CHECK_OK(aperture_client_options_from_environment(&options, &error), error);
    CHECK(is(options.address, "local:") && options.skip_verify == 77);
    CHECK(setenv("APERTURE_AGENT_SKIP_VERIFY", "1", 1) == 0);
    CHECK(aperture_client_options_from_environment(&options, &error) == APERTURE_ERROR_INVALID_ARGUMENT);
    CHECK(options.skip_verify == 77);
    options.struct_size = 8;
    CHECK(aperture_client_options_from_environment(&options, &error) == APERTURE_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(error.message, "struct_size") != NULL);
}

int main(void) {
    test_nothing_is_set();
    test_everything_is_set();
    test_wrong_values();
    test_older_struct();
    CHECK(aperture_live_handles() == 0);
    return 0;
}
