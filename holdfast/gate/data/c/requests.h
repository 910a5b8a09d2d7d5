/* The kinds of requests, each carried out on the legs. */

#pragma once

#include "call.h"
#include "side_by_side.h"
#include "wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static enum result read_request(struct call *call, const struct request *request)
{
    for (unsigned each = 0; each < call->legs; each++) {
        const struct leg *leg = &call->leg[each];
        if (!leg->reads)
            continue;
        bool is_present = enter(call, leg);
        int error = !is_present ? 0 : read_leg(leg, call->buffer, request->length, request->offset);
        enum result result = after(call, leg, error);
        if (result == ANSWERED && is_present && request->unique % 16 == 0) /* as is_sample */
            note_time(call->times, leg->row, TIME_READ, now_ns() - get(&call->mine[LEG_SINCE]));
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
    uint64_t position, *slots[1 + MOST_LEGS];
    for (unsigned each = 0; each <= call->helped; each++)
        slots[each] = slot_cells(call->cells, call->hand[each].slot);
    if (!ring_reserve(call->reserver, &call->ring, slots, 1 + call->helped, request->offset,
                      request->length, request->length, clock_ns(CLOCK_REALTIME), &position))
        return false;
    uint64_t *record = record_at(&call->ring, position);
    memcpy((uint8_t *)record + UNIT_BYTES, call->buffer, request->length);
    set(&record[KIND], DATA);
    if (ring_ask_once(&call->ring))
        call->ask = true;
    return true;
}

/* Let go of what the partners have that were not given their part. */
static void free_partners(struct call *call)
{
    for (unsigned each = 1; each <= call->helped; each++) {
        set(&slot_cells(call->cells, call->hand[each].slot)[LOGGED], 0);
        call->wake |= ranges_leave(call->ranges, call->hand[each]);
    }
}

static enum result store(struct call *call, const struct request *request)
{
    bool is_ready = is_ordinary(call); /* once more, now that the range is held */
    if (is_ready) {
        set(&call->cells[WRITTEN], 1);
        is_ready = (!call->intents || covers(call, request))
                   && (!call->ring.cells || append(call, request));
    }
    if (!is_ready) {
        free_partners(call);
        return REQUEST;
    }
    enum result result = on_legs(call, request);
    return result == ANSWERED && !is_ordinary(call) ? REQUEST : result;
}

static enum result write_request(struct call *call, const struct request *request)
{
    share_out(call, request);
    uint64_t end = request->offset + request->length;
    if (!ranges_take(call->ranges, call->hand, 1 + call->helped, request->offset, end))
        return REQUEST;
    enum result result = store(call, request);
    if (result != GIVEN_UP) { /* else that was the watchdog's duty */
        set(&call->mine[LOGGED], 0);
        call->wake |= ranges_leave(call->ranges, call->hand[0]);
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

static enum result flush_request(struct call *call, const struct request *request)
{
    uint64_t position = call->ring.cells ? stable_position(call) : 0;
    share_out(call, request);
    enum result result = on_legs(call, request);
    if (result == FAILED)
        return FLUSH_FAILED;
    if (result != ANSWERED || !is_ordinary(call))
        return result == GIVEN_UP ? GIVEN_UP : REQUEST;
    if (call->ring.cells)
        note_flushed(call, position);
    return ANSWERED;
}
