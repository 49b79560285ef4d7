/* The header is C99, needs no other header before it, and all of it can be named. */
#include <aperture.h>

#include <stdio.h>

int main(void) {
    const aperture_text literal = APERTURE_TEXT("checkout");
    const aperture_text made = aperture_text_of("checkout");
    const aperture_text none = aperture_text_of(NULL);
    const aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
    const aperture_completion completion = APERTURE_COMPLETION_INIT;

    if (literal.length != 8 || made.length != 8 || strcmp(literal.data, made.data) != 0) {
        return 1;
    }
    if (none.data != NULL || none.length != 0) {
        return 2;
    }
    if (params.struct_size != sizeof params || completion.struct_size != sizeof completion) {
        return 3;
    }
    if (aperture_abi_version() != APERTURE_ABI_VERSION || strcmp(aperture_version(), APERTURE_VERSION) != 0) {
        return 4;
    }
    puts("header: C99");
    return 0;
}
