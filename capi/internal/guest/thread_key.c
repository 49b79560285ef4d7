/*
 * The Go runtime attaches a value to every thread that has called it, and enters itself when such a thread ends. In a
 * forked child that would enter a dead runtime, so the value is taken away there. The key is a private variable of
 * runtime/cgo: the linker is told (-Wl,--wrap, see guest.go) to let its creation pass through here.
 */
#include "guest.h"

int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));

static pthread_key_t go_key;
static bool has_key;

int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    int failure = __real_pthread_key_create(key, destructor);
    if (failure == 0) {
        go_key = *key;
        has_key = true;
    }
    return failure;
}

void aperture_guest_detach_thread(void) {
    if (has_key) {
        (void)pthread_setspecific(go_key, NULL);
    }
}
