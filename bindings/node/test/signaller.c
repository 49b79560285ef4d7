/*
 * Sends signals to a process and to each of its threads, several thousand a second, until its standard input is closed:
 * signaller PID SIGNAL... Then it prints how many it has sent.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS 20000

static int closed(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        return 2;
    }
    int pid = atoi(argv[1]);
    char threads[64];
    snprintf(threads, sizeof threads, "/proc/%d/task", pid);
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    long sent = 0;
    while (!closed()) {
        DIR *directory = opendir(threads);
        if (directory == NULL) {
            break;
        }
        for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
            int thread = atoi(entry->d_name);
            for (int i = 2; thread > 0 && i < argc; i++) {
                sent += kill(pid, atoi(argv[i])) == 0;
                sent += syscall(SYS_tgkill, pid, thread, atoi(argv[i])) == 0;
            }
            nanosleep(&pause, NULL);
        }
        closedir(directory);
    }
    printf("%ld\n", sent);
    return 0;
}
