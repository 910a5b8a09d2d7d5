/* How long each leg takes, counted in steps that double: gate/data/leg_times.py has the same numbers
   and says what is done with it. */

#pragma once

#include "pace.h"

#include <stdbool.h>
#include <stdint.h>

enum { TIME_READ = WORKS, TIME_KINDS };      /* beside those of enum work */
enum { TIME_ROWS = MOST_LEGS, TIME_STEPS = 24 };
enum { TIME_CELLS = TIME_ROWS * TIME_KINDS * TIME_STEPS };
enum { TIME_SHIFT = 10 }; /* the first step ends at 1.024 us: nothing that matters is shorter */

/* Several threads write a cell. A row that is none: of a leg for which there was no room. */
static void note_time(uint64_t *times, unsigned row, unsigned kind, uint64_t ns)
{
    if (row >= TIME_ROWS)
        return;
    uint64_t rest = ns >> TIME_SHIFT;
    unsigned step = rest ? 64 - (unsigned)__builtin_clzll(rest) : 0;
    step = step < TIME_STEPS ? step : TIME_STEPS - 1;
    __atomic_fetch_add(&times[(row * TIME_KINDS + kind) * TIME_STEPS + step], 1, __ATOMIC_RELAXED);
}

static bool times_from(const Py_buffer *bytes, uint64_t **times)
{
    *times = bytes->buf;
    return bytes->len >= (Py_ssize_t)(TIME_CELLS * sizeof(uint64_t))
           && (uintptr_t)bytes->buf % sizeof(uint64_t) == 0;
}
