/* See coroutine.h. */
#define _GNU_SOURCE
#include "coroutine.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define UNUSED_BYTE 0xA5

/* ThreadSanitizer has to be told which coroutine a thread runs. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
static void *this_fiber(void) { return __tsan_get_current_fiber(); }
static void *new_fiber(void) { return __tsan_create_fiber(0); }
static void free_fiber(void *fiber) { __tsan_destroy_fiber(fiber); }
static void switch_to_fiber(void *fiber) { __tsan_switch_to_fiber(fiber, 0); }
#else
static void *this_fiber(void) { return NULL; }
static void *new_fiber(void) { return NULL; }
static void free_fiber(void *fiber) { (void)fiber; }
static void switch_to_fiber(void *fiber) { (void)fiber; }
#endif

struct stack new_stack(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *mapping = mmap(NULL, page + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(mapping != MAP_FAILED);
    CHECK(mprotect(mapping, page, PROT_NONE) == 0);
    memset(mapping + page, UNUSED_BYTE, size);
    return (struct stack){mapping + page, size};
}

void free_stack(struct stack stack) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK(munmap(stack.lowest - page, page + stack.size) == 0);
}

/* Reads the stack as a file: valgrind takes a stack that was left for memory that nobody may read. */
size_t used_of(struct stack stack) {
    size_t unused = 0;
    unsigned char *copy = malloc(stack.size);
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    CHECK(copy != NULL && memory >= 0);
    CHECK(pread(memory, copy, stack.size, (off_t)(uintptr_t)stack.lowest) == (ssize_t)stack.size);
    while (unused < stack.size && copy[unused] == UNUSED_BYTE) {
        unused++;
    }
    close(memory);
    free(copy);
    return stack.size - unused;
}

/* makecontext passes numbers of type int only. */
static void run_body(unsigned high, unsigned low) {
    struct coroutine *coroutine = (struct coroutine *)(uintptr_t)((uint64_t)high << 32 | low);
    coroutine->body(coroutine);
    coroutine->finished = 1;
    yield(coroutine);
}

void make_coroutine(struct coroutine *coroutine, void (*body)(struct coroutine *), void *argument, size_t stack_size) {
    uint64_t self = (uintptr_t)coroutine;
    memset(coroutine, 0, sizeof *coroutine);
    coroutine->stack = new_stack(stack_size);
    coroutine->body = body;
    coroutine->argument = argument;
    coroutine->fiber = new_fiber();
    CHECK(getcontext(&coroutine->context) == 0);
    coroutine->context.uc_stack.ss_sp = coroutine->stack.lowest;
    coroutine->context.uc_stack.ss_size = coroutine->stack.size;
    makecontext(&coroutine->context, (void (*)(void))run_body, 2, (unsigned)(self >> 32), (unsigned)self);
}

void free_coroutine(struct coroutine *coroutine) {
    CHECK(coroutine->finished);
    free_fiber(coroutine->fiber);
    free_stack(coroutine->stack);
}

void resume(struct coroutine *coroutine) {
    ucontext_t here;
    pid_t thread = gettid();
    coroutine->moves += coroutine->thread != 0 && coroutine->thread != thread;
    coroutine->thread = thread;
    coroutine->resumer = &here;
    coroutine->resumer_fiber = this_fiber();
    switch_to_fiber(coroutine->fiber);
    CHECK(swapcontext(&here, &coroutine->context) == 0);
}

void yield(struct coroutine *coroutine) {
    switch_to_fiber(coroutine->resumer_fiber);
    CHECK(swapcontext(&coroutine->context, coroutine->resumer) == 0);
}
