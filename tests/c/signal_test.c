/*
 * Signals of a host that uses the library: handlers that were installed late, threads that must not take them, crashes,
 * default actions, broken pipes and interrupted calls.
 *
 *     signal_test AGENT CERTIFICATES POLICIES
 *
 * AGENT is the program of tests/fakeagent, CERTIFICATES a folder that tests/testcert has filled, and POLICIES a local:
 * address with policies.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "process.h"

#define THREADS 4
#define SIGNALS 20000 /* that the handler must have taken, sent as fast as they come: thousands in a second */
#define DIRECTED 2000 /* signals of the process, which only one thread may take */
#define LABELS 64
#define BROKEN 8       /* agents that are killed in the middle of flows, in each way */
#define POLLS 300
#define TRIES 3        /* of what is expected to crash */

static const char *agent_program, *certificates, *policies;

/* ---- Threads that run flows of every kind: much to allocate, stacks to grow, sockets to write to ---- */

static aperture_client accepting, remote;
static atomic_int stop;
static atomic_long flows;
static pthread_t threads[THREADS];
static atomic_int identities[THREADS];

static void run_large_flow(aperture_client client) {
    static char value[1000];
    static char keys[LABELS][16];
    aperture_label labels[LABELS];
    aperture_flow_params params = checkout();
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow;
    for (int i = 0; i < LABELS; i++) {
        labels[i].key = aperture_text_of(keys[i]);
        labels[i].value = (aperture_text){value, sizeof value};
    }
    params.labels = labels;
    params.label_count = LABELS;
    CHECK_OK(aperture_start_flow(client, &params, &flow, &decision, &error), error);
    CHECK(decision.should_run == 1);
    finish_flow(flow);
}

static void *keep_running_flows(void *identity) {
    atomic_store((atomic_int *)identity, gettid());
    for (int i = 0; !atomic_load(&stop); i++) {
        run_large_flow(accepting);
        if (remote != NULL) {
            run_large_flow(remote);
        }
        if (i % 50 == 0) { /* reading policies goes deep */
            close_client(client_for(policies));
        }
        atomic_fetch_add(&flows, 1);
    }
    return NULL;
}

static void start_threads(void) {
    atomic_store(&stop, 0);
    for (int i = 0; i < THREADS; i++) {
        atomic_store(&identities[i], 0);
        CHECK(pthread_create(&threads[i], NULL, keep_running_flows, &identities[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        while (atomic_load(&identities[i]) == 0) {
            sleep_ns(MILLISECOND);
        }
    }
}

static void stop_threads(void) {
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static void check_progress(void) {
    long before = atomic_load(&flows);
    int64_t deadline = now_ns() + PATIENCE;
    while (atomic_load(&flows) < before + THREADS) {
        CHECK(now_ns() < deadline);
        sleep_ns(MILLISECOND);
    }
}

/* ---- Handlers ---- */

static atomic_long taken;
static atomic_int elsewhere, only_thread;

/* Needs a stack of some size, as an interpreter's does. */
static void on_signal(int number) {
    volatile char frame[2048];
    int before = errno;
    for (size_t i = 0; i < sizeof frame; i++) {
        frame[i] = (char)number;
    }
    atomic_fetch_add(&taken, 1);
    errno = before;
}

static void on_directed_signal(int number) {
    (void)number;
    if (gettid() != atomic_load(&only_thread)) {
        atomic_fetch_add(&elsewhere, 1);
    }
    atomic_fetch_add(&taken, 1);
}

/* Installs a handler as most programs do: without SA_ONSTACK. */
static void install(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_flags = flags};
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(number, &action, NULL) == 0);
}

static int is_protected(int number) {
    struct sigaction action;
    CHECK(sigaction(number, NULL, &action) == 0);
    return (action.sa_flags & SA_ONSTACK) != 0;
}

static void wait_until_protected(int number) {
    int64_t deadline = now_ns() + PATIENCE;
    while (!is_protected(number)) {
        CHECK(now_ns() < deadline);
        sleep_ns(MILLISECOND);
    }
}

/* ---- A handler that was installed late, and many signals ---- */

/* Sends signals to the threads that run flows, and lets a timer send others to the process, until enough were taken. */
static void send_signals(void) {
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    long enough = scaled(SIGNALS);
    int64_t began = now_ns(), deadline = began + PATIENCE;
    atomic_store(&taken, 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; atomic_load(&taken) < enough; i++) {
        CHECK(now_ns() < deadline);
        CHECK(pthread_kill(threads[i % THREADS], SIGUSR1) == 0);
        sleep_ns(MILLISECOND / 20);
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    printf("measured: %ld signals in a second\n", atomic_load(&taken) * SECOND / (now_ns() - began));
}

static void test_late_handler(void) {
    accepting = client_for("local:");
    start_threads();
    check_progress();
    install(SIGUSR1, on_signal, 0);
    wait_until_protected(SIGUSR1); /* by the calls that the threads make */
    stop_threads();

    install(SIGALRM, on_signal, SA_RESTART);
    aperture_error error = APERTURE_ERROR_INIT;
    CHECK(!is_protected(SIGALRM));
    CHECK_OK(aperture_protect_signal_handlers(&error), error);
    CHECK(is_protected(SIGALRM)); /* and at once, when it is asked to */

    start_threads();
    send_signals();
    check_progress();
    stop_threads();
    install(SIGALRM, SIG_DFL, 0);
    install(SIGUSR1, SIG_DFL, 0);
    close_client(accepting);
}

static void silence(void) {
    const struct rlimit none = {0, 0};
    int nowhere = open("/dev/null", O_WRONLY);
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
    CHECK(nowhere >= 0 && dup2(nowhere, 1) == 1 && dup2(nowhere, 2) == 2);
}

/* The same without the library's protection, which is expected to corrupt the process. */
static void take_signals_unprotected(void *unused) {
    (void)unused;
    aperture_process_options options = APERTURE_PROCESS_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    options.leave_signal_handlers = 1;
    CHECK_OK(aperture_configure(&options, &error), error);
    silence();
    alarm(20); /* a corrupted process may as well hang; the timer of send_signals replaces this one */
    accepting = client_for("local:");
    install(SIGUSR1, on_signal, 0);
    install(SIGALRM, on_signal, SA_RESTART);
    CHECK(aperture_protect_signal_handlers(&error) == APERTURE_OK && !is_protected(SIGUSR1));
    start_threads();
    send_signals();
    stop_threads();
}

/* Go adds the flag at its start by itself; a host that has asked for its handlers to be left alone gets them back. */
static void leave_handlers(void *unused) {
    (void)unused;
    aperture_process_options options = APERTURE_PROCESS_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    options.leave_signal_handlers = 1;
    CHECK_OK(aperture_configure(&options, &error), error);
    install(SIGUSR1, on_signal, 0);
    install(SIGUSR2, on_signal, SA_ONSTACK);
    accepting = client_for("local:");
    CHECK(!is_protected(SIGUSR1) && is_protected(SIGUSR2));
    close_client(accepting);
}

static void test_left_handlers(void) {
    int status = in_child(leave_handlers, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Says whether the test of late handlers can fail. It proves nothing about the library, and no outcome of it is a failure. */
static void show_what_happens_unprotected(void) {
    int crashed = 0;
    for (int i = 0; i < TRIES; i++) {
        int status = in_child(take_signals_unprotected, NULL);
        crashed += !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    printf("measured: with leave_signal_handlers %d of %d processes have crashed\n", crashed, TRIES);
}

/* ---- Handlers that call the library ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEPTH (4 << 10) /* a sanitizer has alternate stacks of its own, which are small */
#else
#define DEPTH (512 << 10) /* bytes of stack that a handler takes */
#endif

static pthread_t interrupted;
static atomic_long refused, answered;

static void *keep_sending_signals(void *number) {
    while (!atomic_load(&stop)) {
        CHECK(pthread_kill(interrupted, *(int *)number) == 0);
        sleep_ns(MILLISECOND / 20);
    }
    return NULL;
}

/* Uses the library as a program that ends in its handler does: with much below it on the stack, and more signals. */
static void end_in_handler(int number) {
    static int other = SIGUSR1;
    volatile unsigned char frame[DEPTH];
    pthread_t sender;
    for (size_t i = 0; i < sizeof frame; i++) {
        frame[i] = (unsigned char)(i * 7);
    }
    atomic_store(&stop, 0);
    interrupted = pthread_self();
    CHECK(number == SIGHUP && pthread_create(&sender, NULL, keep_sending_signals, &other) == 0);
    for (int flow = 0; flow < scaled(DIRECTED) || atomic_load(&taken) < scaled(DIRECTED); flow++) {
        run_large_flow(accepting);
        for (size_t i = 0; i < sizeof frame; i += 509) {
            CHECK(frame[i] == (unsigned char)(i * 7));
        }
    }
    atomic_store(&stop, 1);
    CHECK(pthread_join(sender, NULL) == 0);
    exit(0);
}

static void close_accepting(void) {
    close_client(accepting);
}

static void *raise_in_thread(void *unused) {
    run_large_flow(accepting);
    raise(SIGHUP);
    return unused;
}

static void use_in_handler(void *in_thread) {
    pthread_t thread;
    accepting = client_for("local:");
    CHECK(atexit(close_accepting) == 0);
    install(SIGHUP, end_in_handler, 0);
    install(SIGUSR1, on_signal, SA_RESTART);
    CHECK(aperture_protect_signal_handlers(NULL) == APERTURE_OK);
    atomic_store(&taken, 0);
    if (*(int *)in_thread) {
        CHECK(pthread_create(&thread, NULL, raise_in_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
    run_large_flow(accepting);
    raise(SIGHUP);
}

/* Calls the library whatever it has interrupted. */
static void call_in_handler(int number) {
    int before = errno;
    aperture_flow_params params = checkout();
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_flow flow = NULL;
    aperture_code code = aperture_start_flow(accepting, &params, &flow, &decision, &error);
    if (code == APERTURE_ERROR_RESOURCE_EXHAUSTED) {
        CHECK(strstr(error.message, "signal handler") != NULL && flow == NULL);
        atomic_fetch_add(&refused, 1);
    } else {
        CHECK_OK(code, error);
        finish_flow(flow);
        atomic_fetch_add(&answered, 1);
    }
    CHECK(number == SIGUSR1);
    errno = before;
}

static void *take_calling_signals(void *unused) {
    int64_t deadline = now_ns() + PATIENCE;
    while (atomic_load(&refused) < scaled(DIRECTED) || atomic_load(&answered) < scaled(DIRECTED) / 20) {
        CHECK(now_ns() < deadline);
        run_large_flow(accepting);
        for (volatile int i = 0; i < 10000; i++) {
        }
    }
    atomic_store(&stop, 1);
    return unused;
}

static void interrupt_calls(void *unused) {
    static int other = SIGUSR1;
    pthread_t sender;
    (void)unused;
    accepting = client_for("local:");
    install(SIGUSR1, call_in_handler, SA_RESTART);
    CHECK(aperture_protect_signal_handlers(NULL) == APERTURE_OK);
    interrupted = pthread_self();
    CHECK(pthread_create(&sender, NULL, keep_sending_signals, &other) == 0);
    take_calling_signals(NULL);
    CHECK(pthread_join(sender, NULL) == 0);
    printf("measured: %ld calls of handlers answered, %ld refused\n", atomic_load(&answered), atomic_load(&refused));
    install(SIGUSR1, SIG_IGN, 0);
    close_client(accepting);
    CHECK(aperture_live_handles() == 0);
}

static void test_calls_of_handlers(void) {
    for (int in_thread = 0; in_thread <= 1; in_thread++) {
        int status = in_child(use_in_handler, &in_thread);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    int status = in_child(interrupt_calls, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- Threads of the library take no signal of the host ---- */

static int is_of_host(int thread) {
    for (int i = 0; i < THREADS; i++) {
        if (thread == atomic_load(&identities[i])) {
            return 1;
        }
    }
    return thread == getpid() || thread == atomic_load(&only_thread);
}

/* Returns the signals that a thread blocks, bit 0 for signal 1. */
static unsigned long long blocked_by(int thread) {
    char path[64], line[128];
    unsigned long long blocked = 0;
    int found = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
    FILE *status = fopen(path, "r");
    CHECK(status != NULL);
    while (!found && fgets(line, sizeof line, status) != NULL) {
        found = sscanf(line, "SigBlk: %llx", &blocked) == 1;
    }
    fclose(status);
    CHECK(found);
    return blocked;
}

/* Every signal but those that are a thread's own fault, and those that the runtime or the C library sends itself. */
static void check_masks(void) {
    static const int open_to_all[] = {SIGKILL, SIGSTOP, SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGURG, SIGSYS,
                                      SIGSTKFLT, 32, 33, 34};
    unsigned long long must = ~0ULL;
    int checked = 0;
    for (size_t i = 0; i < sizeof open_to_all / sizeof open_to_all[0]; i++) {
        must &= ~(1ULL << (open_to_all[i] - 1));
    }
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        int thread = atoi(entry->d_name);
        if (thread != 0 && !is_of_host(thread)) {
            unsigned long long missing = must & ~blocked_by(thread);
            if (missing != 0) {
                fprintf(stderr, "a thread of the library takes signals of the host: %llx\n", missing);
                exit(1);
            }
            checked++;
        }
    }
    closedir(tasks);
    CHECK(checked > 0);
}

static void *take_directed_signals(void *unused) {
    sigset_t all;
    sigemptyset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    atomic_store(&only_thread, gettid());
    while (atomic_load(&taken) < scaled(DIRECTED)) {
        run_flow(accepting, APERTURE_ACCEPTED);
    }
    return unused;
}

static void test_masks(void) {
    sigset_t user, before;
    pthread_t taker;
    accepting = client_for("local:");
    install(SIGUSR2, on_directed_signal, SA_RESTART);
    sigemptyset(&user);
    sigaddset(&user, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &user, &before) == 0); /* the threads that are made now inherit it */
    start_threads();
    check_progress();
    atomic_store(&taken, 0);
    CHECK(pthread_create(&taker, NULL, take_directed_signals, NULL) == 0);
    while (atomic_load(&only_thread) == 0) {
        sleep_ns(MILLISECOND);
    }
    wait_until_protected(SIGUSR2); /* no signal comes in the 10 ms that a handler may be without it */
    check_masks();
    int64_t deadline = now_ns() + PATIENCE;
    while (atomic_load(&taken) < scaled(DIRECTED)) {
        CHECK(now_ns() < deadline);
        CHECK(kill(getpid(), SIGUSR2) == 0);
        sleep_ns(MILLISECOND / 20);
    }
    CHECK(pthread_join(taker, NULL) == 0);
    CHECK(atomic_load(&elsewhere) == 0);
    stop_threads();
    install(SIGUSR2, SIG_IGN, 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    install(SIGUSR2, SIG_DFL, 0);
    close_client(accepting);
}

/* ---- Crashes ---- */

static volatile int zero;
static volatile int *volatile nowhere;

DELIBERATE static void touch_nothing(void) { *nowhere = 1; }

static void touch_past_the_end(void) {
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, memfd_create("empty", MFD_CLOEXEC), 0);
    CHECK(page != MAP_FAILED);
    zero = *(volatile char *)page;
}

DELIBERATE static void divide_by_zero(void) {
    zero = 1 / zero;
    raise(SIGFPE); /* where the processor does not mind */
}

static void trap(void) { __builtin_trap(); }

static const struct {
    int signal;
    void (*crash)(void);
} crashes[] = {{SIGSEGV, touch_nothing}, {SIGBUS, touch_past_the_end}, {SIGFPE, divide_by_zero}, {SIGILL, trap},
               {SIGABRT, abort}};

#define CRASHES ((int)(sizeof crashes / sizeof crashes[0]))
#define HANDLED 40 /* the exit status that a crash handler ends with */

struct crash {
    int number;
    int before; /* the handler is installed before the first use */
    int after;  /* or after it */
};

static void on_crash(int number, siginfo_t *info, void *context) {
    (void)context;
    for (int i = 0; i < CRASHES; i++) {
        if (crashes[i].signal == number && (number != SIGSEGV || info->si_addr == NULL)) {
            _exit(HANDLED + i);
        }
    }
    _exit(1);
}

static void install_crash_handler(int number) {
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_crash;
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(number, &action, NULL) == 0);
}

static void crash_in_use(void *argument) {
    const struct crash *crash = argument;
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
    if (crash->before) {
        install_crash_handler(crashes[crash->number].signal);
    }
    accepting = client_for("local:");
    start_threads();
    check_progress();
    if (crash->after) {
        install_crash_handler(crashes[crash->number].signal);
        check_progress();
    }
    run_flow(accepting, APERTURE_ACCEPTED);
    crashes[crash->number].crash();
}

static void test_crashes(void) {
    for (int i = 0; i < CRASHES; i++) {
        struct crash before = {i, 1, 0}, after = {i, 0, 1}, without = {i, 0, 0};
        int status = in_child(crash_in_use, &before);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == HANDLED + i);
        status = in_child(crash_in_use, &after);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == HANDLED + i);
        status = in_child(crash_in_use, &without);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == crashes[i].signal);
    }
}

/* ---- Default actions ---- */

static void be_ended(void *number) {
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
    accepting = client_for("local:");
    start_threads();
    check_progress();
    CHECK(kill(getpid(), *(int *)number) == 0);
    sleep_ns(PATIENCE);
}

static void test_default_actions(void) {
    int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGABRT, SIGSEGV};
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        int status = in_child(be_ended, &ending[i]);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == ending[i]);
    }
}

/* ---- Broken pipes ---- */

static aperture_client client_of(const struct agent *agent, int tls) {
    char authority[4096];
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client;
    snprintf(authority, sizeof authority, "%s/ca.pem", certificates);
    options.address = aperture_text_of(agent->address);
    options.insecure = !tls;
    options.ca_file = aperture_text_of(tls ? authority : NULL);
    CHECK_OK(aperture_new_client(&options, &client, &error), error);
    CHECK_OK(aperture_client_wait_ready(client, PATIENCE, &error), error);
    return client;
}

/* Kills an agent while the threads of the host write to it. Their flows fail open. */
static void lose_agents(void *with_tls) {
    int tls = with_tls != NULL;
    char certificate[4096], key[4096];
    snprintf(certificate, sizeof certificate, "-tls-cert=%s/server.pem", certificates);
    snprintf(key, sizeof key, "-tls-key=%s/server-key.pem", certificates);
    const char *const secure[] = {certificate, key, NULL}, *const plain[] = {NULL};
    accepting = client_for("local:");
    for (int i = 0; i < scaled(BROKEN); i++) {
        struct agent agent;
        start_agent(&agent, agent_program, tls ? secure : plain);
        remote = client_of(&agent, tls);
        install(SIGPIPE, SIG_DFL, 0); /* as Python programs do that are used in pipelines */
        start_threads();
        check_progress();
        kill_agent(&agent);
        check_progress();
        stop_threads();
        aperture_error error = APERTURE_ERROR_INIT;
        (void)aperture_client_close(remote, MILLISECOND, &error);
    }
    close_client(accepting);
}

/* A write of the host's own to a pipe that nobody reads. */
static void break_own_pipe(void *unused) {
    (void)unused;
    int ends[2];
    accepting = client_for("local:");
    run_flow(accepting, APERTURE_ACCEPTED);
    install(SIGPIPE, on_signal, 0);
    run_flow(accepting, APERTURE_ACCEPTED);
    CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
    atomic_store(&taken, 0);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE);
    CHECK(atomic_load(&taken) == 1);
    install(SIGPIPE, SIG_IGN, 0);
    run_flow(accepting, APERTURE_ACCEPTED);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE);
    CHECK(atomic_load(&taken) == 1);
}

/* The same with a handler that was there before the library was used. */
static void break_own_pipe_first(void *unused) {
    (void)unused;
    int ends[2];
    install(SIGPIPE, on_signal, 0);
    accepting = client_for("local:");
    run_flow(accepting, APERTURE_ACCEPTED);
    CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE);
    CHECK(atomic_load(&taken) == 1);
}

/* The default action is to end the process, which a program in a pipeline counts on. */
static void break_own_pipe_by_default(void *unused) {
    (void)unused;
    int ends[2];
    accepting = client_for("local:");
    run_flow(accepting, APERTURE_ACCEPTED);
    CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE);
}

static void test_broken_pipes(void) {
    int tls = 1;
    int status = in_child(lose_agents, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = in_child(lose_agents, &tls);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = in_child(break_own_pipe, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = in_child(break_own_pipe_first, NULL);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = in_child(break_own_pipe_by_default, NULL);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

/* ---- Interrupted calls ---- */

static void test_interruptions(void) {
    int interrupted = 0;
    accepting = client_for("local:");
    start_threads();
    for (int i = 0; i < scaled(POLLS); i++) {
        CHECK(poll(NULL, 0, 5) == 0); /* nobody has sent a signal */
        run_flow(accepting, APERTURE_ACCEPTED);
    }
    install(SIGALRM, on_signal, 0);
    wait_until_protected(SIGALRM);
    for (int64_t deadline = now_ns() + PATIENCE; interrupted == 0;) {
        const struct itimerval soon = {{0, 0}, {0, 1000}};
        CHECK(now_ns() < deadline);
        CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
        interrupted += poll(NULL, 0, 100) == -1 && errno == EINTR;
    }
    install(SIGALRM, SIG_DFL, 0);
    stop_threads();
    close_client(accepting);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s AGENT CERTIFICATES POLICIES\n", argv[0]);
        return 2;
    }
    agent_program = argv[1];
    certificates = argv[2];
    policies = argv[3];

    /* What runs in children comes first as of a process that has not used the library, and then as of one that has. */
    test_crashes();
    test_default_actions();
    test_broken_pipes();
    test_left_handlers();
    test_calls_of_handlers();
    show_what_happens_unprotected();

    test_late_handler();
    test_masks();
    test_interruptions();

#if !defined(__SANITIZE_ADDRESS__) /* whose allocator is not made for a child of a process with several threads */
    test_crashes();
    test_default_actions();
#endif
    CHECK(aperture_live_handles() == 0);
    puts("signal: done");
    return 0;
}
