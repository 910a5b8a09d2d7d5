/* A program that notices whatever was changed about it while it was stopped, and ends then.
 *
 * Threads compute twice with all registers and compare, sleep and wait with time-outs and check
 * that nothing ended early or with an error, and look at their signal masks; the main thread gets a
 * signal every millisecond and writes what each has done to standard output, over and over.
 *
 * Arguments: "seccomp" installs a filter first; "quiet" leaves out the signals.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long alarms, beats[4];

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    _exit(3);
}

static void on_alarm(int number)
{
    alarms++;
}

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

static void *compute(void *argument)
{
    uint64_t x = 1;
    double d = 1.0;
    for (;;) {
        uint64_t y = x;
        double e = d;
        for (int i = 0; i < 1000; i++) {
            x = x * 6364136223846793005ULL + 1442695040888963407ULL;
            d = d > 1e9 ? 1.0 : d * 1.0000001 + 0.5;
        }
        for (int i = 0; i < 1000; i++) {
            y = y * 6364136223846793005ULL + 1442695040888963407ULL;
            e = e > 1e9 ? 1.0 : e * 1.0000001 + 0.5;
        }
        if (x != y || d != e)
            fail("registers were lost");
        beats[0]++;
    }
}

static void *wait_long(void *argument)
{
    sigset_t every, mask;
    sigfillset(&every);
    pthread_sigmask(SIG_BLOCK, &every, NULL);
    for (;;) {
        struct timespec pause = {0, 3000000};
        long began = now();
        if (nanosleep(&pause, NULL))
            fail("nanosleep");
        if (now() - began < 3000000)
            fail("nanosleep ended early");
        began = now();
        if (poll(NULL, 0, 2))
            fail("poll");
        if (now() - began < 2000000)
            fail("poll ended early");
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        if (!sigismember(&mask, SIGUSR1))
            fail("the signal mask was lost");
        beats[(long)argument]++;
    }
}

static void install_filter(void)
{
    /* mmap, munmap, socketpair, recvmsg and dup3 kill; everything else is allowed */
    static const int killed[] = {SYS_socketpair, SYS_recvmsg, SYS_dup3};
    struct sock_filter program[16];
    int length = 0;
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    for (unsigned i = 0; i < sizeof killed / sizeof *killed; i++) {
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, killed[i], 0, 1);
        program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {length, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        fail("seccomp");
}

int main(int count, char **arguments)
{
    int quiet = 0;
    pthread_t thread;
    for (int i = 1; i < count; i++) {
        quiet |= !strcmp(arguments[i], "quiet");
        if (!strcmp(arguments[i], "seccomp"))
            install_filter();
    }
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval each_millisecond = {{0, 1000}, {0, 1000}};
    if (!quiet)
        setitimer(ITIMER_REAL, &each_millisecond, NULL);
    pthread_create(&thread, NULL, compute, NULL);
    pthread_create(&thread, NULL, wait_long, (void *)1);
    pthread_create(&thread, NULL, wait_long, (void *)2);
    for (;;) {
        sigset_t mask;
        char line[128];
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        if (sigismember(&mask, SIGALRM) || sigismember(&mask, SIGUSR1))
            fail("the signal mask was lost");
        beats[3]++;
        int length = snprintf(line, sizeof line, "%ld %ld %ld %ld %ld\n", beats[0], beats[1],
                              beats[2], beats[3], quiet ? beats[3] : alarms);
        if (pwrite(1, line, length, 0) != length)
            fail("write");
        struct timespec pause = {0, 2000000};
        nanosleep(&pause, NULL);
    }
}
