/* Coroutines for the tests in C: bodies on stacks of their own, which any thread may resume. */
#ifndef COROUTINE_H
#define COROUTINE_H

#include <stddef.h>
#include <sys/types.h>
#include <ucontext.h>

/* A stack with a page below it that must not be touched: one that overflows ends the process. */
struct stack {
    char *lowest;
    size_t size;
};

/*
 * The size of a small stack, which is what a host may give the library: 16 KiB. Sanitizers make every frame of the host
 * larger, and have data of their own for each thread there.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SMALL_STACK (2 * 1024 * 1024)
#else
#define SMALL_STACK (16 * 1024)
#endif

struct stack new_stack(size_t size);
void free_stack(struct stack stack);

/* Returns how much of a stack has been written to so far. */
size_t used_of(struct stack stack);

struct coroutine {
    struct stack stack;
    int finished;
    void (*body)(struct coroutine *);
    void *argument;
    ucontext_t context;
    ucontext_t *resumer;
    pid_t thread; /* the one that resumed it last */
    int moves;    /* how often that was another one than before */
    void *fiber; /* what ThreadSanitizer knows the coroutine by */
    void *resumer_fiber;
};

/* Makes a coroutine that runs body when it is resumed for the first time. */
void make_coroutine(struct coroutine *coroutine, void (*body)(struct coroutine *), void *argument, size_t stack_size);
void free_coroutine(struct coroutine *coroutine);

/* Runs a coroutine on this thread until it yields or its body returns. */
void resume(struct coroutine *coroutine);

/* Goes back to where the coroutine was resumed. Called on the coroutine itself. */
void yield(struct coroutine *coroutine);

#endif
