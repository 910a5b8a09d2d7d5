/* The kinds of requests, each carried out on the legs. */

#pragma once

#include "call.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* <linux/fuse.h>; see system/fuse/wire.py */
enum { FUSE_READ = 15, FUSE_WRITE = 16, FUSE_FSYNC = 20 };
enum { HEADER_BYTES = 80, IN_HEADER_BYTES = 40, OUT_HEADER_BYTES = 16, OUT_WRITE_BYTES = 24 };
#define UNIQUE_RESEND (UINT64_C(1) << 63)

struct request {
    uint32_t opcode, length;
    uint64_t unique, offset;
};

static enum result read_request(struct call *call, const struct request *request)
{
    for (unsigned each = 0; each < call->legs; each++) {
        const struct leg *leg = &call->leg[each];
        if (!leg->reads)
            continue;
        bool is_present = enter(call, leg);
        int error = !is_present ? 0 : read_leg(leg, call->buffer, request->length, request->offset);
        enum result result = after(call, leg, error);
        if (result == ANSWERED && !is_ordinary(call))
            return REQUEST; /* it may be somebody else's, and old, now */
        return result;
    }
    return REQUEST;
}

/* Note a write; whether all its regions have durable bits already. */
static bool covers(const struct call *call, const struct request *request)
{
    uint64_t first = request->offset >> call->region_shift;
    uint64_t last = (request->offset + request->length - 1) >> call->region_shift;
    if (last >= call->regions)
        return false;
    bool all = true;
    for (uint64_t region = first; region <= last; region++)
        __atomic_store_n(&call->touched[region], 2, __ATOMIC_SEQ_CST);
    for (uint64_t region = first; region <= last; region++)
        all = all && __atomic_load_n(&call->durable[region], __ATOMIC_SEQ_CST) == 1;
    return all;
}

/* Keep the write in the ring; false: there is no room. */
static bool append(struct call *call, const struct request *request)
{
    uint64_t position;
    if (!ring_reserve(call->reserver, &call->ring, call->mine, request->offset, request->length,
                      request->length, clock_ns(CLOCK_REALTIME), &position))
        return false;
    uint64_t *record = record_at(&call->ring, position);
    memcpy((uint8_t *)record + UNIT_BYTES, call->buffer, request->length);
    set(&record[KIND], DATA);
    if (ring_ask_once(&call->ring))
        call->ask = true;
    return true;
}

static enum result store(struct call *call, const struct request *request)
{
    if (!is_ordinary(call)) /* once more, now that the range is held */
        return REQUEST;
    set(&call->cells[WRITTEN], 1);
    if (call->intents && !covers(call, request))
        return REQUEST;
    if (call->ring.cells && !append(call, request))
        return REQUEST;
    bool stored = false;
    for (unsigned each = 0; each < call->legs; each++) {
        const struct leg *leg = &call->leg[each];
        bool is_present = enter(call, leg);
        int error = !is_present ? 0
                                : write_leg(leg, call->buffer, request->length, request->offset);
        enum result result = after(call, leg, error);
        if (result != ANSWERED || !is_present)
            return result == ANSWERED ? REQUEST : result;
        stored = stored || leg->reads;
    }
    return stored && is_ordinary(call) ? ANSWERED : REQUEST;
}

static enum result write_request(struct call *call, const struct request *request)
{
    uint64_t end = request->offset + request->length;
    if (!ranges_take(call->ranges, call->slot, call->holder, request->offset, end))
        return REQUEST;
    enum result result = store(call, request);
    if (result != GIVEN_UP) { /* else that was the watchdog's duty */
        set(&call->mine[LOGGED], 0);
        call->wake = ranges_leave(call->ranges, call->slot, call->holder);
    }
    return result;
}

/* Up to where a flush of the legs that starts now will have made everything durable: before the
   oldest record whose write is still on its way. */
static uint64_t stable_position(const struct call *call)
{
    uint64_t oldest = get(&call->ring.cells[END]); /* who comes later is behind it */
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        uint64_t logged = get(&call->cells[FIRST_SLOT + slot * SLOT_CELLS + LOGGED]);
        if (logged && logged - 1 < oldest)
            oldest = logged - 1;
    }
    return oldest;
}

static void note_flushed(const struct call *call, uint64_t position)
{
    uint64_t before = get(&call->cells[FLUSHED]);
    while (position > before)
        if (__atomic_compare_exchange_n(&call->cells[FLUSHED], &before, position, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            set(&call->cells[WRITTEN], 1); /* there is something to record */
            return;
        }
}

static enum result flush_request(struct call *call)
{
    bool flushed = false;
    uint64_t position = call->ring.cells ? stable_position(call) : 0;
    for (unsigned each = 0; each < call->legs; each++) {
        const struct leg *leg = &call->leg[each];
        if (!leg->reads)
            continue;
        bool is_present = enter(call, leg);
        enum result result = after(call, leg, is_present ? flush_leg(leg) : 0);
        if (result != ANSWERED)
            return result == FAILED ? FLUSH_FAILED : result;
        flushed = is_present;
    }
    if (!flushed || !is_ordinary(call))
        return REQUEST;
    if (call->ring.cells)
        note_flushed(call, position);
    return ANSWERED;
}
