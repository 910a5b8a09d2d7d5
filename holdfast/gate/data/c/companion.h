/* A process that shares the memory of a worker, and ends after it.

   A process that is killed gives back its memory first, and only then closes what it has open and is
   seen to have ended: 0.1 to 0.2 ms for each MiB that is locked. Its successor waits for its locks as
   long. While another process shares the memory the kernel has nothing to give back then; this one
   does it afterwards, at the lowest priority.

   It has no descriptor but the worker's pidfd, hears no signal that can be blocked, and executes
   nothing but system calls made here: it shares the thread-local memory of the thread that made it,
   so that not even errno of the C library may be touched.
*/

#pragma once

#include "limited_api.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define COMPANION_STACK_BYTES 4096 /* it calls nothing: some hundred bytes are in use */
#define COMPANION_NICE 19

static uint8_t companion_stack[COMPANION_STACK_BYTES] __attribute__((aligned(16)));
static int companion_watch;

static inline long system_call(long number, long first, long second, long third)
{
    register long fourth __asm__("r10") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

__attribute__((noreturn)) static int live_beside(void *nothing)
{
    (void)nothing;
    unsigned watch = (unsigned)companion_watch;
    struct pollfd worker = {.fd = companion_watch, .events = POLLIN};
    bool apart = (watch == 0 || system_call(SYS_close_range, 0, watch - 1, 0) == 0)
                 && system_call(SYS_close_range, watch + 1, ~0U, 0) == 0;
    if (apart) {
        struct sched_param ordinary = {.sched_priority = 0};
        system_call(SYS_sched_setscheduler, 0, SCHED_OTHER, (long)&ordinary);
        system_call(SYS_setpriority, PRIO_PROCESS, 0, COMPANION_NICE);
        system_call(SYS_prctl, PR_SET_NAME, (long)"memory", 0);
        while (system_call(SYS_poll, (long)&worker, 1, -1) == -EINTR)
            continue;
    }
    for (;;)
        system_call(SYS_exit, 0, 0, 0);
}

/* accompany(pidfd of the calling process): the number of the process that shares its memory from now
   on. It is a child of the caller. Raises OSError. Once in the life of a process. */
static PyObject *python_accompany(PyObject *module, PyObject *arguments)
{
    (void)module;
    if (!PyArg_ParseTuple(arguments, "i:accompany", &companion_watch))
        return NULL;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* what is blocked now, it will never hear */
    int pid = clone(live_beside, companion_stack + COMPANION_STACK_BYTES, CLONE_VM | SIGCHLD, NULL);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(pid);
}
