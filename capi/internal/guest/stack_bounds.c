/*
 * The bounds of a thread's stack, asked for once per thread.
 *
 * When C calls Go on a stack that is not the thread's own - koffi, a coroutine, a greenlet - the Go runtime asks for the
 * thread's bounds on every call (callbackUpdateSystemStack in runtime/cgocall.go). glibc answers for a main thread by
 * reading /proc/self/maps: some 100 microseconds. The bounds of a thread's own stack do not change, so the linker is
 * told (-Wl,--wrap, see guest.go) to answer with those that calling_thread.c has found. Known upstream as golang/go
 * issues 62440 and 68587.
 */
#define _GNU_SOURCE
#include "guest.h"

int __real_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);
int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);

int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    const struct aperture_guest_calling_thread *known = aperture_guest_calling_thread;
    if (known != NULL && known->stack_size != 0 && pthread_equal(thread, pthread_self()) &&
        pthread_attr_init(attributes) == 0) {
        if (pthread_attr_setstack(attributes, (void *)known->stack, known->stack_size) == 0) {
            return 0;
        }
        pthread_attr_destroy(attributes);
    }
    return __real_pthread_getattr_np(thread, attributes);
}
