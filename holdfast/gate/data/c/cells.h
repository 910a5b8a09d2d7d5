/* The shared page: runtime/shared_page.py has the same numbers. */

#pragma once

#include "limited_api.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { /* behind the slots */
    PLAN = 1124,    /* changes when a plan that was made before is not to be used any more */
    WRITTEN = 1125, /* 1: something was written since a position was recorded */
    FLUSHED = 1126, /* position up to which the legs are durable */
};
enum { /* of a slot */
    BUSY_SINCE,
    LEG,
    LEG_SINCE,
    READS,
    WRITES,
    FLUSHES,
    DISCARDS,
    LONGEST_WAIT,
    ERRORS,
    READ_BYTES,
    WRITTEN_BYTES,
    LATE_REPLIES,
    RESENT,
    LOGGED,    /* position in the ring of the write in hand, plus 1 */
    SERVED_NS, /* time from reading requests to having answered them, of those answered here */
    HELPS,     /* 1: the request in hand is counted in another slot */
    SLOT_CELLS = 16,
};
enum { FIRST_SLOT = 128, SLOTS = 62 };
enum { /* behind the slots, too */
    FLUSHING = 1129, /* by slot: the leg that its thread flushes, until an error is known */
    PAGE_CELLS = FLUSHING + SLOTS,
};
#define TAKEN (UINT64_C(1) << 63) /* in LEG: whoever was inside was given up */

static uint64_t get(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_SEQ_CST); }
static void set(uint64_t *cell, uint64_t value)
{
    __atomic_store_n(cell, value, __ATOMIC_SEQ_CST);
}
/* Only one thread writes the cells of a slot that this is used for. */
static void add(uint64_t *cell, uint64_t more)
{
    uint64_t before = __atomic_load_n(cell, __ATOMIC_RELAXED);
    __atomic_store_n(cell, before + more, __ATOMIC_RELAXED);
}

static uint64_t *slot_cells(uint64_t *cells, unsigned slot)
{
    return cells + FIRST_SLOT + slot * SLOT_CELLS;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static bool is_page(const Py_buffer *cells)
{
    return cells->len >= (Py_ssize_t)(PAGE_CELLS * sizeof(uint64_t))
           && (uintptr_t)cells->buf % sizeof(uint64_t) == 0;
}

static bool is_slot(const Py_buffer *cells)
{
    return cells->len >= (Py_ssize_t)(SLOT_CELLS * sizeof(uint64_t))
           && (uintptr_t)cells->buf % sizeof(uint64_t) == 0;
}
