/* What the tests in C share of looking at their own process, and of starting others. */
#ifndef PROCESS_H
#define PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* Returns how many threads this process has, the Go runtime's among them. */
int thread_count(void);

/* Says whether this process has but one thread, beside one that ThreadSanitizer may have made. */
int is_alone(void);

/* Waits until this process has no more than so many threads; one that has been joined may still be listed. */
void wait_for_threads(int most);

/* Waits until a thread sleeps: it is then in a call that waits. */
void wait_until_asleep(pid_t thread);

/* Returns how many file descriptors are open. */
int descriptor_count(void);

/* Returns how many of them are sockets. */
int socket_count(void);

/* Returns the resident memory in KiB. */
long resident_kib(void);

/* Lets a child end with the thread that has forked it, so that one that hangs does not outlive a failed test. */
void end_with_parent(void);

/*
 * Returns by how much a process may have grown that has not. What the Go runtime keeps in reserve differs by a few MiB;
 * a tool that makes everything slow also remembers everything.
 */
long allowed_growth_kib(void);

/* Runs body in a forked child, which then exits with 0. Returns how it ended, for WIFEXITED and WIFSIGNALED. */
int in_child(void (*body)(void *), void *argument);

/* Waits for a child. One that has hung is killed, and fails the test. Returns how it ended. */
int wait_for_child(pid_t child);

/* An agent of tests/fakeagent that runs in a process of its own. */
struct agent {
    pid_t process;
    int input;
    int output;
    char address[128];
};

/* Starts program with arguments (NULL at the end, without the program's name) and waits until it listens. */
void start_agent(struct agent *agent, const char *program, const char *const *arguments);

/* Ends the agent and writes its report, a line of JSON, to report. */
void stop_agent(struct agent *agent, char *report, size_t capacity);

/* Kills the agent, as a machine that fails does. */
void kill_agent(struct agent *agent);

/* Returns the number that a report gives for a name, such as "span_count". */
long reported(const char *report, const char *name);

#endif
