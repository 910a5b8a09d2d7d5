/* How long legs take lately, and whether doing them side by side is worth waking a thread. */

#pragma once

#include "cells.h"

#include <stdbool.h>
#include <stdint.h>

enum { MOST_LEGS = 16 };

enum work { SHORT_WRITE, LONG_WRITE, FLUSH, WORKS };

enum {
    LONG_BYTES = 64 << 10, /* from here the copying counts more than the way to the leg */
    /* A waking thread was seen to run after 10 to 60 us on virtual machines whose other processor
       slept, after 5 on those that did not: until it was measured, and never less. */
    WAKE_NS = 25000,
    STEP = 8, /* a value that is off by half is right after some six more */
    FORGETTING = 256, /* of a wake-up that is not made any more, as it took so long */
};

enum { LAG, PACES, PACE_CELLS = PACES + MOST_LEGS * WORKS };

struct pace {
    uint64_t *cells; /* LAG, then those of each leg of the plan. Several threads write them: what one
                        overwrites of another is learned once more. */
};

static uint64_t *pace_of(const struct pace *pace, unsigned leg, enum work work)
{
    return pace->cells + PACES + leg * WORKS + work;
}

static uint64_t paced(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }

/* Move towards what half of the times are below: one that stood still (no processor, a disk that
   wrote back) counts as one, however long. */
static void learn(uint64_t *cell, uint64_t ns)
{
    uint64_t now = paced(cell);
    if (!now)
        now = ns;
    else if (ns > now)
        now = now / STEP < UINT64_MAX - now - 1 ? now + now / STEP + 1 : now;
    else
        now -= now / STEP;
    __atomic_store_n(cell, now, __ATOMIC_RELAXED);
}

static uint64_t wake_ns(const struct pace *pace)
{
    uint64_t lag = paced(&pace->cells[LAG]);
    return lag > WAKE_NS ? lag : WAKE_NS;
}

/* Whether these legs are done sooner when as many partners do one each, from the second on. Both
   threads wake up for that: one to begin, one to go on. */
static bool pays(const struct pace *pace, enum work work, const unsigned *legs, unsigned count,
                 unsigned partners)
{
    uint64_t own = 0, others = 0, longest = 0;
    for (unsigned each = 0; each < count; each++) {
        uint64_t ns = paced(pace_of(pace, legs[each], work)) & INT64_MAX >> 8;
        if (!each || each > partners) {
            own += ns;
        } else {
            others += ns;
            longest = ns > longest ? ns : longest;
        }
    }
    uint64_t apart = own > longest ? own : longest;
    return own + others - apart > 2 * (wake_ns(pace) & INT64_MAX >> 8);
}

/* It was not worth it: what made waking slow may be over. */
static void forget_lag(const struct pace *pace)
{
    uint64_t lag = paced(&pace->cells[LAG]);
    if (lag > WAKE_NS)
        __atomic_store_n(&pace->cells[LAG], lag - lag / FORGETTING, __ATOMIC_RELAXED);
}

static bool pace_from(const Py_buffer *bytes, struct pace *pace)
{
    pace->cells = bytes->buf;
    return bytes->len >= (Py_ssize_t)(PACE_CELLS * sizeof(uint64_t))
           && (uintptr_t)bytes->buf % sizeof(uint64_t) == 0;
}
