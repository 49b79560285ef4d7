/*
 * The connections of the runtime. A forked child inherits their descriptors and never uses them, but as long as it has them
 * a connection stays open for the agent when the parent has closed it, or has died: calls of the dead go on waiting there,
 * and connections that an agent has closed are never gone. So a child closes them.
 *
 * A descriptor is forgotten before it is closed, never after: its number may be another file of the host at once.
 */
#include "guest.h"

#include <unistd.h>

#define MOST 1024 /* more are not remembered, and stay open in children */

static atomic_int connections[MOST]; /* descriptor + 1; 0 for a free place */

int aperture_guest_remember_connection(int descriptor) {
    for (int place = 0; place < MOST; place++) {
        int expected = 0;
        if (atomic_compare_exchange_strong(&connections[place], &expected, descriptor + 1)) {
            return place;
        }
    }
    return -1;
}

void aperture_guest_forget_connection(int place) {
    if (place >= 0) {
        atomic_store(&connections[place], 0);
    }
}

void aperture_guest_close_connections(void) {
    for (int place = 0; place < MOST; place++) {
        int descriptor = atomic_exchange(&connections[place], 0) - 1;
        if (descriptor >= 0) {
            close(descriptor);
        }
    }
}
