/* Two translation units of one program include the header, each twice: nothing is defined twice. */
#include <aperture.h>
#include <aperture.h> /* again */

#include <stdio.h>

size_t length_in_other_unit(const char *string);

int main(void) {
    if (length_in_other_unit("checkout") != aperture_text_of("checkout").length) {
        return 1;
    }
    puts("header: two translation units");
    return 0;
}
