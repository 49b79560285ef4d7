/* See process.h. */
#define _GNU_SOURCE
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "host.h"

extern char **environ;

static int entries_of(const char *directory) {
    int count = 0;
    DIR *listing = opendir(directory);
    CHECK(listing != NULL);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        count += entry->d_name[0] != '.';
    }
    closedir(listing);
    return count;
}

int thread_count(void) { return entries_of("/proc/self/task"); }

int is_alone(void) {
#if defined(__SANITIZE_THREAD__)
    return thread_count() <= 2;
#else
    return thread_count() == 1;
#endif
}

int descriptor_count(void) { return entries_of("/proc/self/fd") - 1; /* that of the listing */ }

int socket_count(void) {
    int count = 0;
    DIR *listing = opendir("/proc/self/fd");
    CHECK(listing != NULL);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        char target[64] = "";
        ssize_t length = readlinkat(dirfd(listing), entry->d_name, target, sizeof target - 1);
        count += length > 0 && strncmp(target, "socket:", 7) == 0;
    }
    closedir(listing);
    return count;
}

void wait_for_threads(int most) {
    int64_t deadline = now_ns() + PATIENCE;
    while (thread_count() > most) {
        if (now_ns() > deadline) {
            fprintf(stderr, "%d threads are left, at most %d should be\n", thread_count(), most);
            exit(1);
        }
        sleep_ns(MILLISECOND);
    }
}

void wait_until_asleep(pid_t thread) {
    char path[64], state = '?';
    int64_t deadline = now_ns() + PATIENCE;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    for (;;) {
        FILE *stat = fopen(path, "r");
        CHECK(stat != NULL);
        CHECK(fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
        fclose(stat);
        if (state == 'S') {
            return;
        }
        CHECK(now_ns() < deadline);
        sleep_ns(MILLISECOND);
    }
}

long resident_kib(void) {
    char line[128];
    long resident = -1;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &resident) == 1) {
            break;
        }
    }
    fclose(status);
    CHECK(resident > 0);
    return resident;
}

long allowed_growth_kib(void) { return (scaled(2) == 2 ? 8 : 64) * 1024; }

void end_with_parent(void) { CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0); }

int in_child(void (*body)(void *), void *argument) {
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        body(argument);
        exit(0);
    }
    return wait_for_child(child);
}

int wait_for_child(pid_t child) {
    int status;
    int64_t deadline = now_ns() + PATIENCE;
    for (;;) {
        pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child) {
            return status;
        }
        CHECK(ended == 0 || errno == EINTR);
        if (now_ns() > deadline) {
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
            fprintf(stderr, "a child process has hung\n");
            exit(1);
        }
        sleep_ns(MILLISECOND);
    }
}

/* Reads a line, without its end, or what there is before the end of the file. */
static void read_line(int fd, char *line, size_t capacity) {
    size_t length = 0;
    int64_t deadline = now_ns() + PATIENCE;
    while (length + 1 < capacity) {
        struct pollfd watched = {.fd = fd, .events = POLLIN};
        int ready = poll(&watched, 1, (int)((deadline - now_ns()) / MILLISECOND));
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        CHECK(ready == 1);
        ssize_t count = read(fd, line + length, 1);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0 || line[length] == '\n') {
            break;
        }
        length++;
    }
    line[length] = '\0';
}

void start_agent(struct agent *agent, const char *program, const char *const *arguments) {
    const char *words[16] = {program, "-keep=-1"}; /* its report then has counts only, and is short */
    size_t count = 0;
    int output[2], input[2];
    char line[160];
    posix_spawn_file_actions_t actions;

    for (; arguments[count] != NULL; count++) {
        CHECK(count + 3 < sizeof words / sizeof words[0]);
        words[count + 2] = arguments[count];
    }
    /* Its standard input ends with this process, and then so does the agent. */
    CHECK(pipe2(output, O_CLOEXEC) == 0 && pipe2(input, O_CLOEXEC) == 0);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, input[0], 0) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, output[1], 1) == 0);
    CHECK(posix_spawn(&agent->process, program, &actions, NULL, (char *const *)words, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(output[1]);
    close(input[0]);
    agent->input = input[1];
    agent->output = output[0];

    read_line(agent->output, line, sizeof line);
    CHECK(sscanf(line, "fakeagent: listening on %127s", agent->address) == 1);
}

void stop_agent(struct agent *agent, char *report, size_t capacity) {
    CHECK(kill(agent->process, SIGTERM) == 0);
    read_line(agent->output, report, capacity);
    close(agent->input);
    close(agent->output);
    int status = wait_for_child(agent->process);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void kill_agent(struct agent *agent) {
    CHECK(kill(agent->process, SIGKILL) == 0);
    close(agent->input);
    close(agent->output);
    int status = wait_for_child(agent->process);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

long reported(const char *report, const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *found = strstr(report, quoted);
    CHECK(found != NULL);
    return atol(found + strlen(quoted));
}
