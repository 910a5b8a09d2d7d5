/* One request on the legs that it concerns: one after the other, or with partners. */

#pragma once

#include "call.h"
#include "pace.h"
#include "partner.h"
#include "wire.h"

#include <stdbool.h>
#include <stdint.h>

static enum work work_of(const struct request *request)
{
    if (request->opcode == FUSE_FSYNC)
        return FLUSH;
    return request->length < LONG_BYTES ? SHORT_WRITE : LONG_WRITE;
}

/* Which legs a write or a flush concerns, and how many partners help. */
static void share_out(struct call *call, const struct request *request)
{
    enum work work = work_of(request);
    call->parts = call->helped = 0;
    for (unsigned each = 0; each < call->legs; each++)
        if (work != FLUSH || call->leg[each].reads)
            call->part[call->parts++] = each;
    if (call->parts < 2)
        return;
    unsigned wanted = call->parts - 1, there = 0;
    while (there < wanted && there < call->partners && is_free(call->partner[there]))
        there++;
    if (there && pays(&call->pace, work, call->part, call->parts, there))
        call->helped = there;
    else if (there)
        forget_lag(&call->pace);
    call->lack = there < wanted && call->may_lack
                 && pays(&call->pace, work, call->part, call->parts, wanted);
    for (unsigned each = 0; each < call->helped; each++)
        call->hand[1 + each] = call->partner[each]->hand;
}

/* One of eight short writes is timed: reading the clock is a hundredth of one. The kernel counts
   requests by two. */
static bool is_sample(const struct request *request, enum work work)
{
    return work != SHORT_WRITE || request->unique % 16 == 0;
}

static const struct leg *leg_of(const struct call *call, unsigned part)
{
    return &call->leg[call->part[part]];
}

/* A leg took so long for it. Who is alone is compared with nobody. */
static void note_work(struct call *call, unsigned part, enum work work, uint64_t ns)
{
    if (call->parts > 1)
        learn(pace_of(&call->pace, call->part[part], work), ns);
    note_time(call->times, leg_of(call, part)->row, work, ns);
}

/* By the serving thread. REQUEST: the leg is there no more. FAILED of a flush: it is inside still. */
static enum result do_part(struct call *call, const struct request *request, unsigned part)
{
    const struct leg *leg = leg_of(call, part);
    enum work work = work_of(request);
    bool is_present = enter(call, leg);
    int error = !is_present     ? 0
                : work == FLUSH ? flush_leg(call, leg)
                                : write_leg(leg, call->buffer, request->length, request->offset);
    if (error && work == FLUSH)
        return refused(call, leg, error);
    enum result result = after(call, leg, error);
    if (result != ANSWERED || !is_present)
        return result == ANSWERED ? REQUEST : result;
    if (is_sample(request, work))
        note_work(call, part, work, now_ns() - get(&call->mine[LEG_SINCE]));
    return work != FLUSH || is_believed(call, leg) ? ANSWERED : REQUEST;
}

/* What has become of the whole, when so much is known already. Of several that failed one is told:
   Python finds the others. */
static enum result gather(struct call *call, unsigned part, enum work work, enum result result)
{
    Partner *partner = call->partner[part - 1];
    bool is_told = await_partner(partner);
    if (is_told)
        learn(&call->pace.cells[LAG], partner->lag_ns);
    if (is_told && partner->result == ANSWERED) {
        note_work(call, part, work, partner->took_ns);
        return result;
    }
    if (result == FAILED || !is_told || partner->result != FAILED)
        return result == FAILED ? FAILED : REQUEST;
    call->number = partner->leg.number;
    call->error = partner->error;
    return FAILED;
}

/* After share_out. */
static enum result on_legs(struct call *call, const struct request *request)
{
    enum work work = work_of(request);
    bool is_somewhere = false; /* on a leg that is in sync */
    for (unsigned part = 0; part < call->parts; part++)
        is_somewhere = is_somewhere || leg_of(call, part)->reads;
    for (unsigned part = 1; part <= call->helped; part++)
        give_job(call, call->partner[part - 1], leg_of(call, part), request->offset,
                 work == FLUSH ? 0 : request->length);
    enum result result = call->parts ? do_part(call, request, 0) : REQUEST;
    for (unsigned part = call->helped + 1; part < call->parts && result == ANSWERED; part++)
        result = do_part(call, request, part);
    if (result == GIVEN_UP || (result == FAILED && work == FLUSH))
        return result; /* a flush that failed is told at once */
    for (unsigned part = 1; part <= call->helped; part++)
        result = gather(call, part, work, result);
    return result == ANSWERED && !is_somewhere ? REQUEST : result;
}
