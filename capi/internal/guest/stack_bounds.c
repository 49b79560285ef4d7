/*
 * The bounds of a thread's stack, asked for once per thread.
 *
 * When C calls Go on a stack that is not the thread's own - koffi, a coroutine, a greenlet - the Go runtime asks for the
 * thread's bounds on every call (callbackUpdateSystemStack in runtime/cgocall.go). glibc answers for a main thread by
 * reading /proc/self/maps: some 100 microseconds. The bounds of a thread's own stack do not change, so the linker is
 * told (-Wl,--wrap, see guest.go) to put this cache in between. Known upstream as golang/go issues 62440 and 68587.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>

int __real_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);
int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);

static __thread struct {
    void *address;
    size_t size;
} own_stack;

int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    int own = pthread_equal(thread, pthread_self());
    if (own && own_stack.size != 0) {
        int error = pthread_attr_init(attributes);
        if (error == 0) {
            error = pthread_attr_setstack(attributes, own_stack.address, own_stack.size);
        }
        if (error == 0) {
            return 0;
        }
    }
    int error = __real_pthread_getattr_np(thread, attributes);
    if (error == 0 && own && pthread_attr_getstack(attributes, &own_stack.address, &own_stack.size) != 0) {
        own_stack.size = 0;
    }
    return error;
}
