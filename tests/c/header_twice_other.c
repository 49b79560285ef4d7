/* The other unit of header_twice.c. */
#include <aperture.h>
#include <aperture.h> /* again */

size_t length_in_other_unit(const char *string);

size_t length_in_other_unit(const char *string) {
    return aperture_text_of(string).length;
}
