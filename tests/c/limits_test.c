/*
 * Limits and environment of the process: what the library leaves alone, and what it does when there is not enough.
 *
 *     limits_test AGENT
 *
 * AGENT is the program of tests/fakeagent. Each case runs in a program of its own, started with the limits and the
 * environment that the case is about, because they are there before the library is; it must write nothing at all.
 *
 *     limits_test CASE ADDRESS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"
#include "process.h"

#define SOFT_LIMIT 256
#define LOW_LIMIT 64
#define FLOWS 100
#define CALLS 2000  /* asynchronous ones, to keep the runtime busy */
#define FAILURES 20 /* calls without a descriptor left */

/* What the runtime has beside the threads that run Go code: its monitor, threads in system calls, spare ones. */
#define OTHER_THREADS 8

static const char *address; /* of an agent */

static struct rlimit limit_of(int resource) {
    struct rlimit limit;
    CHECK(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
    return limit;
}

static void set_soft_limit(int resource, rlim_t soft) {
    struct rlimit limit = limit_of(resource);
    limit.rlim_cur = soft;
    CHECK(setrlimit((__rlimit_resource_t)resource, &limit) == 0);
}

static void use_everything(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client local = client_for("local:"), remote = client_for(address);
    CHECK_OK(aperture_client_wait_ready(remote, PATIENCE, &error), error);
    for (int i = 0; i < FLOWS; i++) {
        run_flow(local, APERTURE_ACCEPTED);
        run_flow(remote, APERTURE_ACCEPTED);
    }
    close_client(remote);
    close_client(local);
}

/* ---- The soft limit of open files ---- */

static void keep_soft_limit(void) {
    CHECK(limit_of(RLIMIT_NOFILE).rlim_cur == SOFT_LIMIT && limit_of(RLIMIT_NOFILE).rlim_max > SOFT_LIMIT);
    use_everything();
    CHECK(limit_of(RLIMIT_NOFILE).rlim_cur == SOFT_LIMIT && limit_of(RLIMIT_NOFILE).rlim_max > SOFT_LIMIT);
    set_soft_limit(RLIMIT_NOFILE, SOFT_LIMIT / 2); /* and what the host sets later holds too */
    use_everything();
    CHECK(limit_of(RLIMIT_NOFILE).rlim_cur == SOFT_LIMIT / 2);
}

/* ---- No file descriptors ---- */

/* No new descriptor can be had below the limit from here on. */
static void take_all_descriptors(void) {
    int fd;
    set_soft_limit(RLIMIT_NOFILE, LOW_LIMIT);
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
    }
    CHECK(errno == EMFILE);
}

static void give_descriptors(void) { set_soft_limit(RLIMIT_NOFILE, SOFT_LIMIT); }

static void run_dry_before_first_use(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client;
    const char *const addresses[] = {"local:", address};
    int before = descriptor_count();
    options.insecure = 1;
    take_all_descriptors();
    for (int i = 0; i < FAILURES; i++) {
        options.address = aperture_text_of(addresses[i % 2]);
        CHECK(aperture_new_client(&options, &client, &error) == APERTURE_ERROR_RESOURCE_EXHAUSTED);
        CHECK(client == NULL && error.code == APERTURE_ERROR_RESOURCE_EXHAUSTED && error.message_length > 0);
    }
    give_descriptors();
    CHECK(is_alone() && aperture_live_handles() == 0);
    CHECK(descriptor_count() >= before);
    use_everything();
}

/* Leaves one more descriptor at each try: wherever they run out, the call says so. */
static void run_low_before_first_use(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client;
    int refused = 0;
    options.address = aperture_text_of("local:");
    take_all_descriptors();
    while (aperture_new_client(&options, &client, &error) != APERTURE_OK) {
        CHECK(error.code == APERTURE_ERROR_RESOURCE_EXHAUSTED && error.message_length > 0);
        CHECK(refused < 32 && close(LOW_LIMIT - 1 - refused) == 0);
        refused++;
    }
    CHECK(refused > 0);
    run_flow(client, APERTURE_ACCEPTED);
    close_client(client);
    give_descriptors();
    use_everything();
}

/* Starts the runtime by a call that fails, in a process whose program has been replaced, as an upgrade in place does. */
static void start_without_program(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client;
    char program[4096], kept[sizeof program + 8];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    CHECK(length > 0);
    program[length] = '\0';
    snprintf(kept, sizeof kept, "%s.kept", program);
    CHECK(link(program, kept) == 0 && unlink(program) == 0);
    CHECK(aperture_new_client(&options, &client, &error) == APERTURE_ERROR_INVALID_ARGUMENT);
    CHECK(!is_alone() && rename(kept, program) == 0);
}

/*
 * The runtime has had no use for a timer or a socket yet. Nor has a file been opened, which makes the poller start too:
 * the program's own file is read by a package of protobuf where it is found.
 */
static void run_dry_after_start(void) {
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client;
    start_without_program();
    take_all_descriptors();
    client = client_for("local:");
    run_flow(client, APERTURE_ACCEPTED);
    CHECK(aperture_client_wait_ready(client, SECOND, &error) == APERTURE_OK);
    close_client(client);
    client = client_for(address);
    CHECK(aperture_client_wait_ready(client, MILLISECOND, &error) == APERTURE_ERROR_TIMEOUT);
    give_descriptors();
    CHECK_OK(aperture_client_wait_ready(client, PATIENCE, &error), error);
    run_flow(client, APERTURE_ACCEPTED);
    close_client(client);
}

static void run_dry_in_use(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_decision decision = APERTURE_DECISION_INIT;
    aperture_client remote = client_for(address), local = client_for("local:"), other, none;
    int32_t fd;
    options.insecure = 1;
    CHECK_OK(aperture_client_wait_ready(remote, PATIENCE, &error), error);
    take_all_descriptors();

    /* What has its descriptors goes on. */
    run_flow(remote, APERTURE_ACCEPTED);
    run_flow(local, APERTURE_ACCEPTED);
    other = client_for(address); /* connects later */
    for (int i = 0; i < FAILURES; i++) {
        fd = 0;
        CHECK(aperture_client_completion_fd(other, &fd, &error) == APERTURE_ERROR_RESOURCE_EXHAUSTED);
        CHECK(fd == -1 && error.message_length > 0);
        options.address = aperture_text_of("local:policies.yaml");
        CHECK(aperture_new_client(&options, &none, &error) == APERTURE_ERROR_POLICY && error.message_length > 0);
        CHECK(aperture_client_wait_ready(other, MILLISECOND, &error) == APERTURE_ERROR_TIMEOUT);
        CHECK(error.message_length > 0);
        aperture_flow flow = start_flow(other, &decision);
        CHECK(decision.decision == APERTURE_UNREACHABLE && decision.should_run == 1);
        finish_flow(flow);
    }
    give_descriptors();
    CHECK_OK(aperture_client_wait_ready(other, PATIENCE, &error), error);
    run_flow(other, APERTURE_ACCEPTED);
    CHECK_OK(aperture_client_completion_fd(other, &fd, &error), error);
    CHECK(close(fd) == 0);
    close_client(other);
    close_client(remote);
    close_client(local);
    use_everything();
}

/* ---- Address space ---- */

/* Gives more of it at each try, from much too little to enough: none of them ends the process. */
static void run_low_of_memory(void) {
    aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    aperture_client client;
    int refused = 0;
    options.address = aperture_text_of("local:");
    for (rlim_t mebibytes = 64;; mebibytes += 64) {
        CHECK(mebibytes < 16 * 1024);
        set_soft_limit(RLIMIT_AS, mebibytes << 20);
        aperture_code code = aperture_new_client(&options, &client, &error);
        if (code == APERTURE_OK) {
            break;
        }
        CHECK(code == APERTURE_ERROR_RESOURCE_EXHAUSTED && error.message_length > 0 && client == NULL);
        CHECK(is_alone());
        refused++;
    }
    CHECK(refused > 0);
    for (int i = 0; i < FLOWS; i++) {
        run_flow(client, APERTURE_ACCEPTED);
    }
    close_client(client);
    set_soft_limit(RLIMIT_AS, limit_of(RLIMIT_AS).rlim_max);
    use_everything();
}

/* ---- Threads ---- */

/* Returns how many threads the library has once it has had much to do at once. */
static int busy_threads(int max_procs) {
    aperture_process_options options = APERTURE_PROCESS_OPTIONS_INIT;
    aperture_error error = APERTURE_ERROR_INIT;
    options.max_procs = max_procs;
    CHECK_OK(aperture_configure(&options, &error), error);
    aperture_client client = client_for(address);
    CHECK_OK(aperture_client_wait_ready(client, PATIENCE, &error), error);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CALLS; i++) {
            aperture_flow_params params = checkout();
            aperture_flow flow;
            aperture_call call;
            CHECK(aperture_start_flow_async(client, &params, 0, &flow, NULL, &call, &error) == APERTURE_PENDING);
        }
        for (int taken = 0; taken < CALLS;) {
            aperture_completion completions[64];
            size_t count;
            completions[0].struct_size = sizeof completions[0];
            CHECK_OK(aperture_client_poll(client, completions, 64, &count, &error), error);
            for (size_t i = 0; i < count; i++, taken++) {
                finish_flow(completions[i].flow);
            }
        }
    }
    int threads = thread_count() - 1;
    close_client(client);
    return threads;
}

static void obey_max_procs(void) {
    int few = busy_threads(1);
    CHECK(few <= 1 + OTHER_THREADS);
    int many = busy_threads(64); /* which can be set at any time, and lets the runtime start more */
    CHECK(many > few);
}

/* ---- The environment ---- */

static char *environment[] = {
    (char[]){"GOMAXPROCS=0x1"},
    (char[]){"GODEBUG=inittrace=1,gctrace=1,schedtrace=1,scheddetail=1,gcstoptheworld=2,http2debug=2"},
    (char[]){"GOTRACEBACK=crash"},
    (char[]){"GOGC=1"},
    (char[]){"GOMEMLIMIT=1KiB"},
    (char[]){"GRPC_GO_LOG_SEVERITY_LEVEL=info"},
    (char[]){"GRPC_GO_LOG_VERBOSITY_LEVEL=99"},
    (char[]){"HTTPS_PROXY=http://127.0.0.1:1"},
    (char[]){"HTTP_PROXY=http://127.0.0.1:1"},
    (char[]){"https_proxy=http://127.0.0.1:1"},
    (char[]){"ALL_PROXY=http://127.0.0.1:1"},
    (char[]){"SSL_CERT_FILE=/no/such/file"},
    (char[]){"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"},
};

static void see_no_environment(void) {
    CHECK(getenv("GODEBUG") != NULL && getenv("HTTPS_PROXY") != NULL);
    use_everything();
    CHECK(setenv("GODEBUG", "gctrace=1", 1) == 0);
    use_everything();
}

/* ---- The cases ---- */

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"soft limit", keep_soft_limit},
    {"no descriptors before the first use", run_dry_before_first_use},
    {"few descriptors before the first use", run_low_before_first_use},
    {"no descriptors after the start", run_dry_after_start},
    {"no descriptors in use", run_dry_in_use},
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which end the process themselves then */
    {"little address space", run_low_of_memory},
#endif
    {"max_procs", obey_max_procs},
    {"environment", see_no_environment},
};

#define CASES (sizeof cases / sizeof cases[0])

/* Runs a case in a program of its own, and fails when it writes anything, or does not end with 0. */
static void run_case(const char *program, const char *name) {
    int output[2];
    char text[1024];
    size_t length = 0;
    CHECK(pipe2(output, O_CLOEXEC) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char *const words[] = {(char *)(size_t)program, (char *)(size_t)name, (char *)(size_t)address, NULL};
        end_with_parent();
        set_soft_limit(RLIMIT_NOFILE, SOFT_LIMIT);
        CHECK(dup2(output[1], 1) == 1 && dup2(output[1], 2) == 2);
        for (size_t i = 0; i < sizeof environment / sizeof environment[0]; i++) {
            CHECK(putenv(environment[i]) == 0);
        }
        execv("/proc/self/exe", words);
        _exit(127);
    }
    CHECK(close(output[1]) == 0);
    for (int64_t deadline = now_ns() + PATIENCE;;) {
        struct pollfd watched = {.fd = output[0], .events = POLLIN};
        if (poll(&watched, 1, (int)((deadline - now_ns()) / MILLISECOND)) != 1) {
            kill(child, SIGKILL);
            break;
        }
        ssize_t count = read(output[0], text + length, sizeof text - 1 - length);
        if (count <= 0) {
            break;
        }
        length += (size_t)count;
    }
    text[length] = '\0';
    close(output[0]);
    int status = wait_for_child(child);
    if (length > 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s: wait status %x; it wrote: %s\n", name, (unsigned)status, text);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc == 3) {
        address = argv[2];
        for (size_t i = 0; i < CASES; i++) {
            if (strcmp(argv[1], cases[i].name) == 0) {
                cases[i].run();
                CHECK(aperture_live_handles() == 0);
                return 0;
            }
        }
    }
    if (argc != 2) {
        fprintf(stderr, "usage: %s AGENT\n", argv[0]);
        return 2;
    }
    const char *const nothing[] = {NULL};
    char report[4096];
    struct agent agent;
    start_agent(&agent, argv[1], nothing);
    address = agent.address;
    for (size_t i = 0; i < CASES; i++) {
        run_case(argv[0], cases[i].name);
    }
    stop_agent(&agent, report, sizeof report);
    CHECK(reported(report, "check_count") > 0);
    puts("limits: done");
    return 0;
}
