/*
 * Calls from stacks that the library did not choose: small ones of threads, and such that are not the thread's own, as
 * a coroutine, a greenlet or koffi has them.
 *
 *     stack_test DOWN
 *
 * DOWN is the address of an agent that is down: its flows wait in the library, go through the network code, and
 * complete later.
 *
 * On a stack that is not the thread's own the Go runtime asks for the bounds of the thread's stack on every call, and
 * glibc answers for a main thread by reading /proc/self/maps; the library remembers the answer. The kernel's count of
 * this process's reads shows it, without a clock: 300,000 calls make at least as many reads when each reads that file,
 * and next to none when none does.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "coroutine.h"
#include "host.h"

#define FLOWS 100000 /* of three calls each, in the test that counts reads */
#define ROUNDS 50    /* of flows of each coroutine in the other ones */
#define SMALL_THREADS 8
#define COROUTINES 24
#define MOVERS 4

static aperture_client local, unreachable;

/* Returns how often this process has called read, from /proc/self/io, or -1 where the kernel does not count it. */
static long reads_so_far(void) {
    char line[128];
    long reads = -1;
    FILE *io = fopen("/proc/self/io", "r");
    while (io != NULL && fgets(line, sizeof line, io) != NULL) {
        if (sscanf(line, "syscr: %ld", &reads) == 1) {
            break;
        }
    }
    if (io != NULL) {
        fclose(io);
    }
    return reads;
}

/* Yields to the thread's own stack between its calls. */
static void many_flows(struct coroutine *self) {
    for (int i = 0; i < scaled(FLOWS); i++) {
        run_flow(local, APERTURE_ACCEPTED);
        if (i % 100 == 0) {
            yield(self);
        }
    }
}

static void test_bounds_are_remembered(void) {
    struct coroutine coroutine;
    make_coroutine(&coroutine, many_flows, NULL, 256 * 1024);
    long before = reads_so_far();
    int counted = before >= 0 && reads_so_far() > before; /* asking is a read itself */
    before = reads_so_far();
    while (!coroutine.finished) {
        resume(&coroutine);
        run_flow(local, APERTURE_ACCEPTED); /* and back on the thread's own */
    }
    long reads = reads_so_far() - before;
    if (!counted) {
        puts("stack: this kernel does not count reads; only that the calls work was tested");
    } else if (reads > scaled(FLOWS) / 10) {
        fprintf(stderr, "stack: %ld reads in %d calls: the bounds of the stack are asked for each time\n", reads,
                3 * scaled(FLOWS));
        exit(1);
    }
    free_coroutine(&coroutine);
}

static void wait_for(aperture_call call) {
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    CHECK_OK(aperture_call_wait(call, PATIENCE, &completion, &error), error);
    CHECK(completion.code == APERTURE_OK);
    finish_flow(completion.flow);
}

/* Everything that takes a way of its own through the library: a local decision, the network, a call that completes
 * later, a client that comes and goes. */
static void *every_kind_of_call(void *down) {
    aperture_flow_params params = checkout();
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    aperture_call call;

    run_flow(local, APERTURE_ACCEPTED);
    aperture_client client = client_for(down);
    CHECK(aperture_client_wait_ready(client, MILLISECOND, &error) == APERTURE_ERROR_TIMEOUT);
    run_flow(client, APERTURE_UNREACHABLE);
    CHECK(aperture_start_flow_async(client, &params, 0, &flow, NULL, &call, &error) == APERTURE_PENDING);
    wait_for(call);
    close_client(client);
    CHECK(aperture_client_close(client, 0, &error) == APERTURE_ERROR_INVALID_HANDLE);
    return NULL;
}

static void test_small_threads(char *down) {
    pthread_t threads[SMALL_THREADS];
    struct stack stacks[SMALL_THREADS];
    size_t most = 0;
    for (int i = 0; i < SMALL_THREADS; i++) {
        pthread_attr_t attributes;
        stacks[i] = new_stack(SMALL_STACK);
        CHECK(pthread_attr_init(&attributes) == 0);
        CHECK(pthread_attr_setstack(&attributes, stacks[i].lowest, stacks[i].size) == 0);
        CHECK(pthread_create(&threads[i], &attributes, every_kind_of_call, down) == 0);
        pthread_attr_destroy(&attributes);
    }
    for (int i = 0; i < SMALL_THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        most = used_of(stacks[i]) > most ? used_of(stacks[i]) : most;
        free_stack(stacks[i]);
    }
    printf("measured: %zu of %d bytes of a thread's stack used\n", most, SMALL_STACK);
}

/* Has a flow open, and a call pending, each time that it yields. */
static void flows_across_yields(struct coroutine *self) {
    aperture_flow_params params = checkout();
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow, pending;
    aperture_call call;

    for (int i = 0; i < scaled(ROUNDS); i++) {
        flow = start_flow(i % 2 == 0 ? local : unreachable, &decision);
        CHECK(decision.decision == (i % 2 == 0 ? APERTURE_ACCEPTED : APERTURE_UNREACHABLE));
        yield(self);
        CHECK(aperture_start_flow_async(unreachable, &params, 0, &pending, NULL, &call, &error) == APERTURE_PENDING);
        yield(self);
        wait_for(call);
        finish_flow(flow);
        yield(self);
    }
    every_kind_of_call(self->argument);
}

static void make_coroutines(struct coroutine *coroutines, char *down) {
    for (int i = 0; i < COROUTINES; i++) {
        make_coroutine(&coroutines[i], flows_across_yields, down, SMALL_STACK);
    }
}

static void free_coroutines(struct coroutine *coroutines) {
    size_t most = 0;
    for (int i = 0; i < COROUTINES; i++) {
        most = used_of(coroutines[i].stack) > most ? used_of(coroutines[i].stack) : most;
        free_coroutine(&coroutines[i]);
    }
    printf("measured: %zu of %d bytes of a coroutine's stack used\n", most, SMALL_STACK);
}

/* The coroutines of one thread take turns. */
static void test_coroutines(char *down) {
    static struct coroutine coroutines[COROUTINES];
    int running = COROUTINES;
    make_coroutines(coroutines, down);
    while (running > 0) {
        for (int i = 0; i < COROUTINES; i++) {
            if (!coroutines[i].finished) {
                resume(&coroutines[i]);
                running -= coroutines[i].finished;
            }
        }
    }
    free_coroutines(coroutines);
}

/* The coroutines that wait to be resumed, by whichever thread comes first: each goes on where another has been. */
static struct {
    pthread_mutex_t lock;
    struct coroutine *waiting[COROUTINES];
    int first, count, finished;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put_back(struct coroutine *coroutine) {
    queue.waiting[(queue.first + queue.count++) % COROUTINES] = coroutine;
}

static void *resume_any(void *argument) {
    CHECK(pthread_mutex_lock(&queue.lock) == 0);
    while (queue.finished < COROUTINES) {
        struct coroutine *next = NULL;
        if (queue.count > 0) {
            next = queue.waiting[queue.first];
            queue.first = (queue.first + 1) % COROUTINES;
            queue.count--;
        }
        CHECK(pthread_mutex_unlock(&queue.lock) == 0);
        if (next != NULL) {
            resume(next);
        } else {
            sleep_ns(MILLISECOND);
        }
        CHECK(pthread_mutex_lock(&queue.lock) == 0);
        if (next != NULL && next->finished) {
            queue.finished++;
        } else if (next != NULL) {
            put_back(next);
        }
    }
    CHECK(pthread_mutex_unlock(&queue.lock) == 0);
    return argument;
}

static void test_moved_coroutines(char *down) {
    static struct coroutine coroutines[COROUTINES];
    pthread_t threads[MOVERS];
    make_coroutines(coroutines, down);
    for (int i = 0; i < COROUTINES; i++) {
        put_back(&coroutines[i]);
    }
    for (int i = 0; i < MOVERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, resume_any, NULL) == 0);
    }
    for (int i = 0; i < MOVERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    int moves = 0;
    for (int i = 0; i < COROUTINES; i++) {
        moves += coroutines[i].moves;
    }
    CHECK(moves > 0);
    free_coroutines(coroutines);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s DOWN\n", argv[0]);
        return 2;
    }
    local = client_for("local:");
    unreachable = client_for(argv[1]);
    test_bounds_are_remembered();
    test_small_threads(argv[1]);
    test_coroutines(argv[1]);
    test_moved_coroutines(argv[1]);
    close_client(unreachable);
    close_client(local);
    CHECK(aperture_live_handles() == 0);
    puts("stack: done");
    return 0;
}
