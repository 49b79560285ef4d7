/*
 * Many threads of a host: a thousand at once that run flows, a thousand that are blocked in a call, and a hundred
 * thousand short-lived ones with a flow each, after which the process is no larger and has no more threads.
 *
 *     threads_test DOWN
 *
 * DOWN is the address of an agent that is down, for which a client waits.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "host.h"
#include "process.h"

#define AT_ONCE 1000
#define SHORT_LIVED 100000
#define SPAWNERS 4
#define STACK (64 * 1024)

/* How many threads the Go runtime may have made for itself meanwhile. It makes none for a thread of the host. */
#define RUNTIME_THREADS 32

static aperture_client client;
static pthread_barrier_t barrier;
static atomic_int closed, too_late;
static atomic_int identities[AT_ONCE];

static void create(pthread_t *thread, void *(*body)(void *), void *argument) {
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, STACK) == 0);
    CHECK(pthread_create(thread, &attributes, body, argument) == 0);
    pthread_attr_destroy(&attributes);
}

/* Holds a flow while every other thread has one too. */
static void *hold_a_flow(void *argument) {
    aperture_decision decision = APERTURE_DECISION_INIT;
    for (int i = 0; i < 3; i++) {
        run_flow(client, APERTURE_ACCEPTED);
    }
    aperture_flow flow = start_flow(client, &decision);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    CHECK(decision.should_run == 1);
    finish_flow(flow);
    return argument;
}

static void test_at_once(void) {
    static pthread_t threads[AT_ONCE];
    int count = scaled(AT_ONCE), before = thread_count();
    aperture_stats stats = APERTURE_STATS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;

    CHECK(pthread_barrier_init(&barrier, NULL, (unsigned)count + 1) == 0);
    for (int i = 0; i < count; i++) {
        create(&threads[i], hold_a_flow, NULL);
    }
    pthread_barrier_wait(&barrier);
    CHECK(aperture_live_handles() == (uint64_t)count + 1);
    CHECK(thread_count() <= before + count + RUNTIME_THREADS);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    pthread_barrier_destroy(&barrier);
    CHECK_OK(aperture_client_stats(client, &stats, &error), error);
    CHECK(stats.flows_ended == 4 * (uint64_t)count + 1 && stats.flows_accepted == stats.flows_ended);
    wait_for_threads(before + RUNTIME_THREADS);
}

static void *wait_for_agent(void *argument) {
    aperture_error error = APERTURE_ERROR_INIT;
    atomic_int *identity = argument;
    atomic_store(identity, gettid());
    switch (aperture_client_wait_ready(client, HOUR, &error)) {
    case APERTURE_ERROR_CLOSED:
        atomic_fetch_add(&closed, 1);
        break;
    case APERTURE_ERROR_INVALID_HANDLE:
        atomic_fetch_add(&too_late, 1);
        break;
    default:
        fprintf(stderr, "a wait ended otherwise: %s\n", error.message);
        exit(1);
    }
    return NULL;
}

static void test_blocked(const char *down) {
    static pthread_t threads[AT_ONCE];
    int count = scaled(AT_ONCE), before = thread_count();
    aperture_client other = client;

    client = client_for(down);
    for (int i = 0; i < count; i++) {
        create(&threads[i], wait_for_agent, &identities[i]);
    }
    for (int i = 0; i < count; i++) {
        while (atomic_load(&identities[i]) == 0) {
            sleep_ns(MILLISECOND);
        }
        wait_until_asleep(atomic_load(&identities[i]));
    }
    /* They keep nobody else from working, and cost no threads but their own. */
    run_flow(other, APERTURE_ACCEPTED);
    CHECK(thread_count() <= before + count + RUNTIME_THREADS);
    close_client(client);
    for (int i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    /* One that slept on its way into the call may find the handle gone. */
    CHECK(atomic_load(&closed) + atomic_load(&too_late) == count);
    CHECK(atomic_load(&closed) >= count / 2);
    wait_for_threads(before + RUNTIME_THREADS);
    client = other;
}

static void *one_flow(void *argument) {
    run_flow(client, APERTURE_ACCEPTED);
    return argument;
}

/* Makes threads one after the other, as many as its argument points to. */
static void *spawn(void *argument) {
    for (int left = *(int *)argument; left > 0; left--) {
        pthread_t thread;
        create(&thread, one_flow, NULL);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    return NULL;
}

static void spawn_in_all(int threads) {
    pthread_t spawners[SPAWNERS];
    int each = threads / SPAWNERS;
    for (int i = 0; i < SPAWNERS; i++) {
        create(&spawners[i], spawn, &each);
    }
    for (int i = 0; i < SPAWNERS; i++) {
        CHECK(pthread_join(spawners[i], NULL) == 0);
    }
}

static void test_short_lived(void) {
    int before = thread_count(), count = scaled(SHORT_LIVED);
    spawn_in_all(count / 5);
    long early = resident_kib();
    spawn_in_all(count - count / 5);
    long late = resident_kib();
    printf("measured: %ld KiB resident after %d short-lived threads, %ld KiB after %d\n", early, count / 5, late,
           count);
    CHECK(late - early < allowed_growth_kib()); /* 100 bytes for each of 80,000 are as much */
    wait_for_threads(before + RUNTIME_THREADS);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s DOWN\n", argv[0]);
        return 2;
    }
    client = client_for("local:");
    run_flow(client, APERTURE_ACCEPTED);
    test_at_once();
    test_blocked(argv[1]);
    test_short_lived();
    close_client(client);
    CHECK(aperture_live_handles() == 0);
    puts("threads: done");
    return 0;
}
