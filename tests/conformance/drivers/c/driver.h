/* What the protocol of the driver gives to the operations: the words of a step, and those of the answer. */
#ifndef DRIVER_H
#define DRIVER_H

#include <aperture.h>

#include <stdbool.h>

#define MOST 128 /* words of a step, clients, and flows */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* An argument of a step. */
struct word {
    const char *name; /* with the member of an object, and without the [] of a list */
    bool is_literal;
    aperture_text value;
};

/* The argument of a name; one that has no name when there is none. */
const struct word *find(const char *name);
aperture_text text(const char *name);
bool is(const char *name, const char *value);
int64_t number(const char *name);

/* Store the members of an object or the elements of a list, and return their number. */
size_t members(const char *name, aperture_label found[MOST]);
size_t elements(const char *name, aperture_text found[MOST]);

/* Put a member of the answer; the prefix is that of an object in it, with a dot, or "". */
void put(const char *prefix, const char *name, const char *value);
void put_bytes(const char *prefix, const char *name, const char *value, size_t length);
void put_number(const char *name, int64_t value);

/* Does a step. */
void answer(const char *operation);

#endif
