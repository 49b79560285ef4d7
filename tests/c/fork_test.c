/*
 * Processes that fork. A child that makes a client of its own gets a working one, however it was forked and whatever
 * its parent was doing; a handle of its parent is refused there at once; and the parent notices nothing.
 *
 *     fork_test AGENT POLICIES
 *
 * AGENT is the program of tests/fakeagent; POLICIES is a local: address whose policies give a gold user eight
 * checkouts. The parent's agent accepts everything and the children's rejects everything, so that an answer that has
 * come over the wrong connection is a wrong one, and each agent counts what it was asked.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../capi/internal/guest/functions.h"
#include "host.h"
#include "process.h"

#define FORKS 200
#define AT_ONCE 4
#define FIRST_USES 20
#define GENERATIONS 20
#define PARENT_THREADS 8
#define CHILD_THREADS 4
#define CHILD_FLOWS 5 /* of each client of the children's agent */
#define PROGRAMS 50   /* that are executed in each way */
#define CAPACITY 8    /* of a gold user's bucket */

extern char **environ;

static const char *policies;
static struct agent parents_agent, childrens_agent;
static int children_of_agent; /* clients of the children's agent so far */

/* ---- What a child may do ---- */

static void run_remote_flows(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client = client_for(childrens_agent.address);
    CHECK_OK(aperture_client_wait_ready(client, PATIENCE, &error), error);
    for (int i = 0; i < CHILD_FLOWS; i++) {
        run_flow(client, APERTURE_REJECTED);
    }
    close_client(client);
}

/* The bucket is the child's own: it is full. */
static void run_local_flows(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_label labels[2] = {{APERTURE_TEXT("tier"), APERTURE_TEXT("gold")},
                                {APERTURE_TEXT("user_id"), APERTURE_TEXT("u")}};
    aperture_client client = client_for(policies);
    for (int i = 0; i < CAPACITY + 3; i++) {
        aperture_flow_params params = checkout();
        aperture_decision decision = APERTURE_DECISION_INIT;
        aperture_flow flow;
        params.labels = labels;
        params.label_count = 2;
        CHECK_OK(aperture_start_flow(client, &params, &flow, &decision, &error), error);
        CHECK(decision.decision == (i < CAPACITY ? APERTURE_ACCEPTED : APERTURE_REJECTED));
        finish_flow(flow);
    }
    close_client(client);
}

static void *run_local_flows_in_thread(void *argument) {
    run_local_flows();
    return argument;
}

/* The threads race for the first client of the process. */
static void run_flows_in_threads(void) {
    pthread_t threads[CHILD_THREADS];
    for (int i = 0; i < CHILD_THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, run_local_flows_in_thread, NULL) == 0);
    }
    for (int i = 0; i < CHILD_THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* ---- Handles of the parent ---- */

static aperture_client parents_client, parents_local;
static aperture_flow parents_flow;
static aperture_call parents_call;
static aperture_cache_answer parents_answer;

/* Calls every function that takes a handle with one of the parent's; each must answer with the code. */
static void refuse_all(aperture_code expected) {
    static const char *const names[] = APERTURE_FUNCTION_NAMES;
    aperture_error error = APERTURE_ERROR_INIT, failure = APERTURE_ERROR_INIT;
    aperture_flow_params params = checkout();
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_end_result result = APERTURE_END_RESULT_INIT;
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    aperture_stats stats = APERTURE_STATS_INIT;
    aperture_flow flow = parents_flow;
    aperture_call call = parents_call;
    aperture_cache_answer answer = parents_answer;
    aperture_cache_keys keys = APERTURE_CACHE_KEYS_INIT;
    aperture_cache_entry entry = APERTURE_CACHE_ENTRY_INIT;
    aperture_cache_key key = APERTURE_CACHE_KEY_INIT;
    aperture_attribute attribute = APERTURE_ATTRIBUTE_INIT;
    aperture_lookup_status status = 7;
    aperture_connection_state state = 7;
    int32_t number = 7;
    size_t length = 0;
    char buffer[16];

    const struct {
        const char *name;
        aperture_code code;
    } answers[] = {
        {"aperture_client_wait_ready", aperture_client_wait_ready(parents_client, HOUR, &error)},
        {"aperture_client_wait_ready_async", aperture_client_wait_ready_async(parents_client, HOUR, 1, &call, &error)},
        {"aperture_client_state", aperture_client_state(parents_client, &state, &error)},
        {"aperture_client_stats", aperture_client_stats(parents_client, &stats, &error)},
        {"aperture_client_reload", aperture_client_reload(parents_client, &error)},
        {"aperture_client_snapshot",
         aperture_client_snapshot(parents_client, buffer, sizeof buffer, &length, &error)},
        {"aperture_client_close", aperture_client_close(parents_client, 0, &error)},
        {"aperture_client_close_async", aperture_client_close_async(parents_client, 0, 1, &call, &error)},
        {"aperture_start_flow", aperture_start_flow(parents_client, &params, &flow, &decision, &error)},
        {"aperture_start_flow_async",
         aperture_start_flow_async(parents_local, &params, 1, &flow, &decision, &call, &error)},
        {"aperture_flow_should_run", aperture_flow_should_run(parents_flow, &number, &error)},
        {"aperture_flow_decision", aperture_flow_decision(parents_flow, &decision, &error)},
        {"aperture_flow_error", aperture_flow_error(parents_flow, &failure, &error)},
        {"aperture_flow_set_status", aperture_flow_set_status(parents_flow, APERTURE_FLOW_STATUS_ERROR, &error)},
        {"aperture_flow_end", aperture_flow_end(parents_flow, &result, &error)},
        {"aperture_flow_end_async", aperture_flow_end_async(parents_flow, 1, &result, &call, &error)},
        {"aperture_flow_end_result", aperture_flow_end_result(parents_flow, &result, &error)},
        {"aperture_flow_end_response",
         aperture_flow_end_response(parents_flow, buffer, sizeof buffer, &length, &error)},
        {"aperture_flow_check_response",
         aperture_flow_check_response(parents_flow, buffer, sizeof buffer, &length, &error)},
        {"aperture_flow_cache_value",
         aperture_flow_cache_value(parents_flow, APERTURE_CACHE_RESULT, NULL, &status, buffer, sizeof buffer, &length,
                                   &error)},
        {"aperture_flow_set_attribute", aperture_flow_set_attribute(parents_flow, &attribute, &error)},
        {"aperture_cache_answer_value",
         aperture_cache_answer_value(parents_answer, APERTURE_CACHE_RESULT, NULL, &status, buffer, sizeof buffer,
                                     &length, &error)},
        {"aperture_cache_answer_close", aperture_cache_answer_close(parents_answer, &error)},
        {"aperture_cache_lookup", aperture_cache_lookup(parents_client, &keys, &answer, &error)},
        {"aperture_cache_lookup_async",
         aperture_cache_lookup_async(parents_client, &keys, 1, &answer, &call, &error)},
        {"aperture_cache_set", aperture_cache_set(parents_client, &entry, &error)},
        {"aperture_cache_set_async", aperture_cache_set_async(parents_client, &entry, 1, &call, &error)},
        {"aperture_cache_delete", aperture_cache_delete(parents_client, &key, &error)},
        {"aperture_cache_delete_async", aperture_cache_delete_async(parents_client, &key, 1, &call, &error)},
        {"aperture_flow_close", aperture_flow_close(parents_flow, &error)},
        {"aperture_client_completion_fd", aperture_client_completion_fd(parents_client, &number, &error)},
        {"aperture_client_poll", aperture_client_poll(parents_client, &completion, 1, &length, &error)},
        {"aperture_call_wait", aperture_call_wait(parents_call, HOUR, &completion, &error)},
        {"aperture_call_cancel", aperture_call_cancel(parents_call, &error)},
    };
    enum { ANSWERS = sizeof answers / sizeof answers[0], NAMES = sizeof names / sizeof names[0] };

    for (int i = 0; i < ANSWERS; i++) {
        if (answers[i].code != expected) {
            fprintf(stderr, "%s: %s, expected %s\n", answers[i].name, aperture_error_name(answers[i].code),
                    aperture_error_name(expected));
            exit(1);
        }
    }
    CHECK(error.code == expected && error.message_length > 0);
    CHECK(flow == NULL && call == NULL && answer == NULL && number == -1 && length == 0);
    CHECK(status == APERTURE_LOOKUP_MISS && state == 0);

    /* Nothing was left out but what takes no handle. */
    static const char *const without[] = {
        "aperture_new_client", "aperture_live_handles", "aperture_close_clients_with_thread"};
    for (int i = 0; i < NAMES; i++) {
        int found = 0;
        for (size_t j = 0; j < sizeof without / sizeof without[0]; j++) {
            found = found || strcmp(names[i], without[j]) == 0;
        }
        for (int j = 0; j < ANSWERS; j++) {
            found = found || strcmp(names[i], answers[j].name) == 0;
        }
        if (!found) {
            fprintf(stderr, "%s is not tested\n", names[i]);
            exit(1);
        }
    }
}

/* In a process that does not use the library: no thread is started by a question. */
static void check_refused_for_nothing(aperture_code expected) {
    CHECK(is_alone());
    refuse_all(expected);
    CHECK(aperture_live_handles() == 0);
    CHECK(aperture_client_stats(NULL, NULL, NULL) == APERTURE_ERROR_INVALID_HANDLE);
    CHECK(is_alone());
}

/* Returns an answer of the cache of a local engine, which is had at once. */
static aperture_cache_answer look_up(aperture_client client) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_cache_keys keys = APERTURE_CACHE_KEYS_INIT;
    aperture_cache_answer answer;
    keys.control_point = aperture_text_of("checkout");
    keys.result_key = aperture_text_of("key");
    CHECK_OK(aperture_cache_lookup(client, &keys, &answer, &error), error);
    return answer;
}

/* ---- Children ---- */

static void do_nothing(void *unused) { (void)unused; }

DELIBERATE static void crash(void *unused) {
    volatile int *nowhere = unused;
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
    *nowhere = 1;
}

/* A child of a process that has loaded the library, and never used it. */
static void use_first(void *unused) {
    (void)unused;
    CHECK(is_alone());
    run_flows_in_threads();
    run_remote_flows();
    CHECK(aperture_live_handles() == 0);
}

/* A child of a process that uses the library. */
static void use_again(void *unused) {
    (void)unused;
    check_refused_for_nothing(APERTURE_ERROR_FORKED);
    run_flows_in_threads();
    run_local_flows();
    run_remote_flows();
    CHECK(aperture_live_handles() == 0);
    CHECK(socket_count() == 0);
    refuse_all(APERTURE_ERROR_FORKED); /* as before, now that the child has a runtime */
}

static void only_refuse(void *unused) {
    (void)unused;
    check_refused_for_nothing(APERTURE_ERROR_FORKED);
}

/* Makes a client, and a child that does the same. */
static void use_in_generations(void *left) {
    int *generations = left;
    if (is_alone()) {
        refuse_all(APERTURE_ERROR_FORKED);
    }
    parents_client = client_for(childrens_agent.address);
    parents_local = client_for("local:");
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_flow_params params = checkout();
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow none;
    CHECK_OK(aperture_client_wait_ready(parents_client, PATIENCE, &error), error);
    for (int i = 1; i < CHILD_FLOWS; i++) {
        run_flow(parents_client, APERTURE_REJECTED);
    }
    run_local_flows();
    parents_flow = start_flow(parents_local, &decision);
    parents_answer = look_up(parents_local);
    CHECK(aperture_start_flow_async(parents_client, &params, 0, &none, NULL, &parents_call, &error) ==
          APERTURE_PENDING);
    if (--*generations > 0) {
        int status = in_child(use_in_generations, generations);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    CHECK_OK(aperture_call_wait(parents_call, PATIENCE, &completion, &error), error);
    finish_flow(completion.flow);
    finish_flow(parents_flow);
    CHECK_OK(aperture_cache_answer_close(parents_answer, &error), error);
    close_client(parents_local);
    close_client(parents_client);
    CHECK(aperture_live_handles() == 0);
}

/* Returns how many values are attached to this thread. A key is a small number; one that nobody has made has none. */
static int attached_values(void) {
    int count = 0;
    for (pthread_key_t key = 0; key < PTHREAD_KEYS_MAX; key++) {
        count += pthread_getspecific(key) != NULL;
    }
    return count;
}

/*
 * The runtime's handlers went with the runtime: the host finds its own, which are none here. So did what it has
 * attached to the thread, which would take the thread into the dead runtime when it ends, and its connections, whose
 * end an agent would not see as long as the child lives.
 */
static void check_left_behind(void *values) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGPIPE, SIGURG};
    CHECK(attached_values() == *(int *)values && socket_count() == 0);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action;
        CHECK(sigaction(numbers[i], NULL, &action) == 0);
        CHECK(action.sa_handler == SIG_DFL);
    }
}

static void expect_exit(void (*body)(void *), void *argument) {
    int status = in_child(body, argument);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void expect_crash(void) {
    int status = in_child(crash, NULL);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- The parent ---- */

static atomic_int stop;
static atomic_long remote_flows, local_flows;

/* Every other thread asks the agent. */
static void *keep_running_flows(void *argument) {
    int remote = argument != NULL;
    while (!atomic_load(&stop)) {
        run_flow(remote ? parents_client : parents_local, APERTURE_ACCEPTED);
        atomic_fetch_add(remote ? &remote_flows : &local_flows, 1);
    }
    return NULL;
}

static pthread_t threads[PARENT_THREADS];

static void start_threads(void) {
    atomic_store(&stop, 0);
    for (int i = 0; i < PARENT_THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, keep_running_flows, i % 2 != 0 ? &stop : NULL) == 0);
    }
}

static void stop_threads(void) {
    atomic_store(&stop, 1);
    for (int i = 0; i < PARENT_THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* Waits until the threads have run flows since. */
static void check_progress(void) {
    long remote = atomic_load(&remote_flows), here = atomic_load(&local_flows);
    int64_t deadline = now_ns() + PATIENCE;
    while (atomic_load(&remote_flows) == remote || atomic_load(&local_flows) == here) {
        CHECK(now_ns() < deadline);
        sleep_ns(MILLISECOND);
    }
}

static void test_unused(void) {
    CHECK(aperture_live_handles() == 0);
    check_refused_for_nothing(APERTURE_ERROR_INVALID_HANDLE);
    expect_exit(do_nothing, NULL);
    expect_crash();
    expect_exit(use_first, NULL);
    children_of_agent++;
    CHECK(is_alone());
}

static void *use_once(void *argument) {
    close_client(client_for("local:"));
    return argument;
}

/* Forks while another thread is about to start the runtime, is starting it, or has started it. */
static void fork_in_first_use(void *unused) {
    pthread_t user;
    pid_t children[AT_ONCE];
    CHECK(pthread_create(&user, NULL, use_once, unused) == 0);
    for (int i = 0; i < AT_ONCE; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            end_with_parent();
            run_local_flows();
            exit(0);
        }
    }
    for (int i = 0; i < AT_ONCE; i++) {
        int status = wait_for_child(children[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK(pthread_join(user, NULL) == 0);
}

static void test_first_use(void) {
    for (int i = 0; i < scaled(FIRST_USES); i++) {
        expect_exit(fork_in_first_use, NULL);
    }
}

/* The child's only thread is one that has used the library in the parent. It returns, which ends the child. */
static void *fork_and_return(void *child) {
    pid_t forked;
    run_flow(parents_local, APERTURE_ACCEPTED);
    forked = fork();
    CHECK(forked >= 0);
    if (forked > 0) {
        *(pid_t *)child = forked;
    }
    return NULL;
}

static void test_end_of_thread(void) {
    pthread_t thread;
    pid_t child;
    CHECK(pthread_create(&thread, NULL, fork_and_return, &child) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    int status = wait_for_child(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_many(void) {
    pid_t children[AT_ONCE];
    for (int i = 0; i < scaled(FORKS); i += AT_ONCE) {
        fflush(NULL);
        for (int j = 0; j < AT_ONCE; j++) {
            children[j] = fork();
            CHECK(children[j] >= 0);
            if (children[j] == 0) {
                end_with_parent();
                use_again(NULL);
                exit(0);
            }
            children_of_agent++;
        }
        for (int j = 0; j < AT_ONCE; j++) {
            int status = wait_for_child(children[j]);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        check_progress();
    }
}

static atomic_int loading;

static void *load_and_unload(void *unused) {
    (void)unused;
    while (atomic_load(&loading)) {
        void *library = dlopen("libresolv.so.2", RTLD_NOW);
        if (library != NULL) {
            dlclose(library);
        }
    }
    return NULL;
}

/*
 * A fork in the middle of a dlopen of another thread may leave glibc's loader locked in the child, for ever. A new client
 * is then an error, never a hang. The children end by _exit: exit takes other locks that dlclose may have left locked.
 */
static void test_locked_loader(void) {
    enum { CHILDREN = 40 };
    pid_t children[CHILDREN];
    pthread_t thread;
    int usable = 0, locked = 0;

    atomic_store(&loading, 1);
    CHECK(pthread_create(&thread, NULL, load_and_unload, NULL) == 0);
    for (int i = 0; i < CHILDREN; i++) {
        fflush(NULL);
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
            aperture_client client;
            end_with_parent();
            options.address = aperture_text_of("local:");
            aperture_code code = aperture_new_client(&options, &client, NULL);
            _exit(code == APERTURE_OK ? 0 : code == APERTURE_ERROR_FORKED ? 1 : 2);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = wait_for_child(children[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        usable += WEXITSTATUS(status) == 0;
        locked += WEXITSTATUS(status) == 1;
    }
    atomic_store(&loading, 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(usable > 0);
    printf("measured: %d children could load the library, %d have met a locked loader\n", usable, locked);
}

static void test_generations(void) {
    int generations = scaled(GENERATIONS);
    children_of_agent += generations;
    expect_exit(use_in_generations, &generations);
}

static char *program[] = {(char[]){"true"}, NULL};

static pid_t execute_by_spawn(void) {
    pid_t child;
    CHECK(posix_spawnp(&child, program[0], NULL, NULL, program, environ) == 0);
    return child;
}

static pid_t execute_by_vfork(void) {
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        execvp(program[0], program);
        _exit(127);
    }
    return child;
}

static pid_t execute_by_fork(void) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execvp(program[0], program);
        _exit(127);
    }
    return child;
}

/* The memory of a child of vfork or posix_spawn is the parent's, until it executes another program. */
static void test_programs(void) {
    pid_t (*const ways[])(void) = {execute_by_spawn, execute_by_vfork, execute_by_fork};
    for (int i = 0; i < scaled(PROGRAMS); i++) {
        for (size_t j = 0; j < sizeof ways / sizeof ways[0]; j++) {
            int status = wait_for_child(ways[j]());
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        check_progress();
    }
}

static pid_t plain_fork(void) { return fork(); }

#if __GLIBC_PREREQ(2, 34)
static pid_t without_handlers(void) { return _Fork(); }
#endif

/* The system call itself, which the C library does not notice. */
static pid_t by_system_call(void) { return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, 0UL); }

static void expect_of(pid_t (*fork_by)(void), void (*body)(void *), int signal) {
    fflush(NULL);
    pid_t child = fork_by();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        body(NULL);
        fflush(NULL);
        _exit(0); /* what exit does is the C library's business, which may not have noticed the fork */
    }
    int status = wait_for_child(child);
    if (signal != 0) {
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    } else {
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* No other thread of the host runs: a fork that the C library does not notice leaves its locks as they are. */
static void test_ways_of_forking(void) {
    pid_t (*const ways[])(void) = {
        plain_fork,
#if __GLIBC_PREREQ(2, 34)
        without_handlers,
#endif
        by_system_call,
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        expect_of(ways[i], do_nothing, 0);
        expect_of(ways[i], only_refuse, 0);
        expect_of(ways[i], crash, SIGSEGV);
        expect_of(ways[i], use_again, 0);
        children_of_agent++;
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s AGENT POLICIES\n", argv[0]);
        return 2;
    }
    const char *const nothing[] = {NULL}, *const reject[] = {"-decision=reject", NULL};
    char report[4096];
    int values = attached_values();
    policies = argv[2];
    start_agent(&parents_agent, argv[1], nothing);
    start_agent(&childrens_agent, argv[1], reject);

    test_unused();
    test_first_use();

    aperture_flow_params params = checkout();
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    parents_client = client_for(parents_agent.address);
    parents_local = client_for("local:");
    CHECK_OK(aperture_client_wait_ready(parents_client, PATIENCE, &error), error);
    parents_flow = start_flow(parents_client, &decision);
    parents_answer = look_up(parents_local);
    CHECK(aperture_start_flow_async(parents_client, &params, 0, &flow, NULL, &parents_call, &error) ==
          APERTURE_PENDING);

    start_threads();
    check_progress();
    test_many();
    expect_exit(do_nothing, NULL);
    expect_crash();
    CHECK(attached_values() > values && socket_count() > 0); /* or there would be nothing to find in the child */
    expect_exit(check_left_behind, &values);
    test_end_of_thread();
    test_programs();
    test_generations();
    check_progress();
    stop_threads();
    test_ways_of_forking();
    test_locked_loader();
    start_threads();
    check_progress();
    stop_threads();

    /* What the parent had open is as it was. */
    aperture_completion completion = APERTURE_COMPLETION_INIT;
    CHECK_OK(aperture_call_wait(parents_call, PATIENCE, &completion, &error), error);
    CHECK(completion.code == APERTURE_OK);
    finish_flow(completion.flow);
    finish_flow(parents_flow);
    CHECK_OK(aperture_cache_answer_close(parents_answer, &error), error);
    aperture_stats stats = APERTURE_STATS_INIT;
    uint64_t flows = (uint64_t)atomic_load(&remote_flows) + 2;
    CHECK_OK(aperture_client_stats(parents_client, &stats, &error), error);
    CHECK(stats.flows_accepted == flows && stats.flows_ended == flows && stats.flows_unreachable == 0);
    close_client(parents_local);
    CHECK_OK(aperture_client_close(parents_client, PATIENCE, &error), error);
    CHECK(aperture_live_handles() == 0);

    /* Each agent was asked by its own clients, and by nobody else. */
    stop_agent(&parents_agent, report, sizeof report);
    CHECK((uint64_t)reported(report, "check_count") == flows);
    stop_agent(&childrens_agent, report, sizeof report);
    CHECK(reported(report, "check_count") == (long)children_of_agent * CHILD_FLOWS);
    puts("fork: done");
    return 0;
}
