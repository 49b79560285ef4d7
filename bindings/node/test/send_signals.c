/*
 * Sends a signal to a process many times, as evenly as it can, for tests: send_signals PID NUMBER TIMES PER_SECOND.
 * Prints how many were sent, and ends early with an error when the process cannot be sent any.
 */

#define _POSIX_C_SOURCE 200809L

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int count, char **arguments) {
    if (count != 5) {
        fputs("usage: send_signals PID NUMBER TIMES PER_SECOND\n", stderr);
        return 2;
    }
    pid_t process = (pid_t)atol(arguments[1]);
    int number = atoi(arguments[2]);
    long times = atol(arguments[3]);
    struct timespec pause = {0, 1000000000 / atol(arguments[4])};
    for (long sent = 0; sent < times; sent++) {
        if (kill(process, number) != 0) {
            perror("send_signals");
            return 1;
        }
        nanosleep(&pause, NULL);
    }
    printf("%ld\n", times);
    return 0;
}
