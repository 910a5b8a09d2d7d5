/* One call of `serve`: what Python gives it, and how it goes into a leg and leaves it. */

#pragma once

#include "cells.h"
#include "pace.h"
#include "ranges.h"
#include "ring.h"
#include "times.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

enum { TRUNCATED = 1 << 16 }; /* beside the numbers of errno: a leg is shorter than it was */

enum result {
    REQUEST,        /* a request is in the inbox, whole; nothing of it is done that matters */
    FAILED,         /* the same, and one leg failed at it: its number and why */
    FLUSH_FAILED,   /* the same, of a flush, which that leg must never be asked again */
    ANSWERED,       /* a request is done; somebody is to be told */
    GIVEN_UP,       /* the watchdog took the request */
    RECEIVE_FAILED, /* nothing was received, and why */
    ANSWER_FAILED,  /* a request is done; why it could not be answered */
    DISMISSED,      /* of a partner: no job will come any more */
};

struct leg {
    uint64_t number;
    uint64_t expected_bytes; /* its container was truncated when it is smaller */
    uint64_t arrived_ns;     /* who went in earlier is inside what was opened before */
    int descriptor;
    bool reads;          /* it is in sync */
    bool watch_transfer; /* look for a truncation after each transfer */
    bool watch_flush;
    uint8_t row; /* of its times */
};

typedef struct partner Partner;

struct call {
    int front;
    unsigned legs;
    bool flushes; /* a flush of every leg is all that a flush is */
    bool writes;  /* every leg takes them from here, and a log from here, if there is one */
    bool intents; /* regions need a durable bit before they are written */
    unsigned region_shift;
    uint64_t plan;
    uint64_t *cells; /* of the whole page */
    uint64_t *mine;  /* of the slot */
    uint64_t *flushing;
    uint8_t *header, *buffer;
    size_t buffer_bytes;
    uint8_t *durable, *touched;
    uint64_t regions;
    Ranges *ranges;
    Reserver *reserver;
    struct ring ring;
    struct leg leg[MOST_LEGS];
    struct pace pace;
    uint64_t *times;
    Partner *partner[MOST_LEGS];
    unsigned partners;
    bool may_lack; /* more partners can be had */
    /* how the request in hand is done */
    unsigned part[MOST_LEGS]; /* the legs that it concerns; from the second on, partners do one each */
    unsigned parts, helped;
    struct holder hand[1 + MOST_LEGS]; /* of this thread, then of the partners */
    /* what it comes back with */
    uint64_t number;
    int error;
    bool wake; /* somebody waits for the range that was left */
    bool ask;  /* room in the ring is to be asked for */
    bool lack; /* another partner would be worth while */
    bool tell; /* the answer is to be noted, and the request counts as under way until then */
};

/* Whether everything is as it was when the caller made its plan. */
static bool is_ordinary(const struct call *call)
{
    return get(&call->cells[PLAN]) == call->plan;
}

/* Say that this thread is about to touch a leg. False: it is not to be touched any more, as it may
   have left, and been erased, since the request was begun. */
static bool enter(struct call *call, const struct leg *leg)
{
    set(&call->mine[LEG_SINCE], now_ns());
    set(&call->mine[LEG], leg->number);
    return is_ordinary(call);
}

/* False: the watchdog was faster, and nothing may be touched any more. */
static bool leave(struct call *call, const struct leg *leg)
{
    uint64_t inside = leg->number;
    return __atomic_compare_exchange_n(&call->mine[LEG], &inside, 0, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static int check_whole(const struct leg *leg)
{
    off_t size = lseek(leg->descriptor, 0, SEEK_END);
    if (size < 0)
        return errno;
    return (uint64_t)size < leg->expected_bytes ? TRUNCATED : 0;
}

static int read_leg(const struct leg *leg, uint8_t *data, size_t length, uint64_t offset)
{
    ssize_t done;
    do
        done = pread(leg->descriptor, data, length, (off_t)offset);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return errno;
    if ((size_t)done != length)
        return TRUNCATED;
    return leg->watch_transfer ? check_whole(leg) : 0;
}

static int write_leg(const struct leg *leg, const uint8_t *data, size_t length, uint64_t offset)
{
    while (length) {
        ssize_t done = pwrite(leg->descriptor, data, length, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        if (!done)
            return EIO;
        data += done;
        offset += (uint64_t)done;
        length -= (size_t)done;
    }
    return leg->watch_transfer ? check_whole(leg) : 0;
}

/* An error is told once. So that a worker that comes after this one's death knows that there may have
   been one, the cell says so until all is well, or until Python has had the leg failed. */
static int flush_leg(struct call *call, const struct leg *leg)
{
    int done;
    set(call->flushing, leg->number);
    do
        done = fdatasync(leg->descriptor);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return errno;
    set(call->flushing, 0);
    return leg->watch_flush ? check_whole(leg) : 0;
}

enum { YIELDS = 16, NAP_NS = 50000 }; /* a wake-up; whoever leaves a leg should not have to tell */

static void wait_a_little(unsigned *times)
{
    if ((*times)++ < YIELDS) {
        sched_yield();
        return;
    }
    struct timespec nap = {0, NAP_NS};
    nanosleep(&nap, NULL);
}

/* Whether a flush that succeeded means anything: after it was left. Of several that flush one file
   the kernel tells one of an error in writing back, and the others that all is well. So everybody
   who is inside is waited for, and whoever heard of an error has the leg failed before he leaves. */
static bool is_believed(const struct call *call, const struct leg *leg)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        uint64_t *other = slot_cells(call->cells, slot);
        uint64_t inside = get(&other[LEG]), since = get(&other[LEG_SINCE]);
        if (other == call->mine || (inside & ~TAKEN) != leg->number || since < leg->arrived_ns)
            continue;
        for (unsigned times = 0; get(&other[LEG]) == inside && get(&other[LEG_SINCE]) == since;) {
            if (!is_ordinary(call))
                return false;
            wait_a_little(&times);
        }
    }
    return is_ordinary(call);
}

static enum result refused(struct call *call, const struct leg *leg, int error)
{
    call->number = leg->number;
    call->error = error;
    return FAILED;
}

/* What became of a leg's work that ended with that error, 0: none. */
static enum result after(struct call *call, const struct leg *leg, int error)
{
    if (!leave(call, leg))
        return GIVEN_UP;
    return error ? refused(call, leg, error) : ANSWERED;
}
