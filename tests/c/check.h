/* CHECK for the tests in C: says which condition failed, and where, and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);      \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* Marks a function that does wrong on purpose, which UndefinedBehaviorSanitizer then lets pass. */
#define DELIBERATE __attribute__((no_sanitize("undefined")))

/* CHECK_OK fails with the message of an aperture_error. */
#define CHECK_OK(call, error)                                                            \
    do {                                                                                 \
        if ((call) != APERTURE_OK) {                                                     \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, (error).message); \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

#endif
