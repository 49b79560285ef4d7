// The header is C++17 too: its initializers and its inline function compile without a warning, and the functions link.
#include <aperture.h>

#include <cstdio>
#include <string>
#include <type_traits>

static_assert(std::is_standard_layout<aperture_flow_params>::value, "a struct of the ABI");
static_assert(!std::is_same<aperture_client, aperture_flow>::value, "handles of two kinds are two types");

int main() {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_end_result result = APERTURE_END_RESULT_INIT;
    aperture_stats stats = APERTURE_STATS_INIT;
    aperture_client client = nullptr;
    aperture_flow flow = nullptr;
    const std::string address = "local:";

    options.address = {address.data(), address.size()};
    params.control_point = APERTURE_TEXT("checkout");
    if (aperture_new_client(&options, &client, &error) != APERTURE_OK) {
        std::fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    if (aperture_start_flow(client, &params, &flow, &decision, &error) != APERTURE_OK || decision.should_run != 1) {
        return 2;
    }
    if (aperture_flow_end(flow, &result, &error) != APERTURE_OK || aperture_flow_close(flow, &error) != APERTURE_OK) {
        return 3;
    }
    if (aperture_client_stats(client, &stats, &error) != APERTURE_OK || stats.flows_ended != 1) {
        return 4;
    }
    if (aperture_client_close(client, 0, &error) != APERTURE_OK || aperture_live_handles() != 0) {
        return 5;
    }
    std::puts("header: C++17");
    return 0;
}
