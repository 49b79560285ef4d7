/* What the tests in C share of being a host of the library: making clients, running flows, and the size of a test. */
#ifndef HOST_H
#define HOST_H

#include <aperture.h>

#include "check.h"

#define MILLISECOND INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define HOUR (3600 * SECOND)

/* A wait that takes longer than this has hung. No test expects anything to happen sooner. */
#define PATIENCE (60 * SECOND)

/* Returns a client for an address, without TLS. */
aperture_client client_for(const char *address);

/* Closes a client. Whether its agent took the spans does not matter. */
void close_client(aperture_client client);

/* Returns the parameters of a flow at the control point of the tests, with a check timeout that never runs out. */
aperture_flow_params checkout(void);

/* Starts a flow and says what was decided. */
aperture_flow start_flow(aperture_client client, aperture_decision *decision);

/* Ends a flow and releases its handle. */
void finish_flow(aperture_flow flow);

/* Runs one flow, which must be decided as expected. */
void run_flow(aperture_client client, aperture_decision_type expected);

/*
 * Returns the size of a test: as it was written, or that divided by TEST_DIVISOR of the environment, for a run under a
 * tool that makes everything slow. Never less than 1.
 */
int scaled(int size);

/*
 * What one thread gives to an asynchronous call, and another takes with the completion: the second sees all that the
 * first has written. ThreadSanitizer cannot know, because the library in between is not compiled with it.
 */
void hand_over(void *what);
void take_over(void *what);

/* Returns the time of a clock that never goes back, in nanoseconds. */
int64_t now_ns(void);

/* Sleeps, whatever signals come. */
void sleep_ns(int64_t duration);

#endif
