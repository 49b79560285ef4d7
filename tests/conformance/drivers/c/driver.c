/* Runs the conformance cases with the C ABI. This is the protocol; operations.c has what a step can ask for. See
 * tests/conformance/README.md. */
#define _POSIX_C_SOURCE 200809L

#include "driver.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct word words[MOST];
static size_t word_count;

/* Replaces %XX in place, ends the text with a NUL, and returns its length. */
static size_t unescape(char *text) {
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        unsigned byte = (unsigned char)*in;
        if (byte == '%') {
            sscanf(in + 1, "%2x", &byte);
            in += 2;
        }
        *out++ = (char)byte;
    }
    *out = '\0';
    return (size_t)(out - text);
}

static struct word read_word(char *text) {
    char *value = strchr(text, '=') + 1;
    bool is_literal = value[-2] == ':';
    text[strcspn(text, "[:=")] = '\0';
    unescape(text);
    return (struct word){text, is_literal, {value, unescape(value)}};
}

const struct word *find(const char *name) {
    static const struct word none;
    for (size_t i = 0; i < word_count; i++) {
        if (strcmp(words[i].name, name) == 0) {
            return &words[i];
        }
    }
    return &none;
}

aperture_text text(const char *name) { return find(name)->value; }

bool is(const char *name, const char *value) { return find(name)->name != NULL && strcmp(text(name).data, value) == 0; }

int64_t number(const char *name) { return find(name)->name != NULL ? strtoll(text(name).data, NULL, 10) : 0; }

size_t members(const char *name, aperture_label found[MOST]) {
    size_t count = 0, length = strlen(name);
    for (size_t i = 0; i < word_count; i++) {
        if (strncmp(words[i].name, name, length) == 0 && words[i].name[length] == '.') {
            found[count++] = (aperture_label){aperture_text_of(words[i].name + length + 1), words[i].value};
        }
    }
    return count;
}

size_t elements(const char *name, aperture_text found[MOST]) {
    size_t count = 0;
    for (size_t i = 0; i < word_count; i++) {
        if (strcmp(words[i].name, name) == 0) {
            found[count++] = words[i].value;
        }
    }
    return count;
}

static void put_escaped(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        printf(isalnum(byte) || byte == '_' || byte == '.' ? "%c" : "%%%02X", byte);
    }
}

void put_bytes(const char *prefix, const char *name, const char *value, size_t length) {
    put_escaped(prefix, strlen(prefix));
    printf("%s=", name);
    put_escaped(value, length);
    putchar(' ');
}

void put(const char *prefix, const char *name, const char *value) { put_bytes(prefix, name, value, strlen(value)); }

void put_number(const char *name, int64_t value) { printf("%s=%" PRId64 " ", name, value); }

int main(void) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        const char *operation = strtok(line, " \n");
        char *word;
        for (word_count = 0; word_count < MOST && (word = strtok(NULL, " \n")) != NULL; word_count++) {
            words[word_count] = read_word(word);
        }
        answer(operation);
        putchar('\n');
        fflush(stdout);
    }
    free(line);
    return 0;
}
