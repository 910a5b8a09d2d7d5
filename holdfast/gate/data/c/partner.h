/* A thread that does one leg of a request while the serving thread does another.

   It has a slot and a hand of its own, and has the request's range, and its position in the log, in its
   own name: what the watchdog frees when it gives one of the two up is not free while the other one is
   inside a leg. It lets go of them itself, whatever became of the serving thread.
*/

#pragma once

#include "call.h"

#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { JOB = 1, LEAVE = 2 };      /* in `work`, on which the partner sleeps */
enum { NOT_YET, TOLD, DESERTED }; /* in `told`, on which the serving thread sleeps */

struct partner {
    PyObject_HEAD
    uint32_t work, told;
    struct holder hand;
    /* written by the serving thread before it says JOB */
    struct leg leg;
    uint64_t plan, offset, given_ns;
    uint32_t length; /* 0: a flush */
    /* written by the partner before it says TOLD */
    bool is_over; /* and not told yet */
    enum result result;
    int error;
    uint64_t lag_ns, took_ns;
};

static void sleep_on(uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_from(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* ---- for the serving thread */

static bool is_free(const Partner *partner)
{
    return !__atomic_load_n(&partner->work, __ATOMIC_SEQ_CST)
           && __atomic_load_n(&partner->told, __ATOMIC_SEQ_CST) != DESERTED;
}

/* `length` 0: a flush. From here on it counts as being at work. */
static void give_job(const struct call *call, Partner *partner, const struct leg *leg,
                     uint64_t offset, uint32_t length)
{
    partner->leg = *leg;
    partner->plan = call->plan;
    partner->offset = offset;
    partner->length = length;
    partner->given_ns = now_ns();
    set(&slot_cells(call->cells, partner->hand.slot)[BUSY_SINCE], get(&call->mine[BUSY_SINCE]));
    __atomic_store_n(&partner->told, NOT_YET, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&partner->work, JOB, __ATOMIC_SEQ_CST);
    wake_from(&partner->work);
}

/* Wait until it is done, while inside no leg. False: the partner was given up. */
static bool await_partner(Partner *partner)
{
    uint32_t told;
    while ((told = __atomic_load_n(&partner->told, __ATOMIC_SEQ_CST)) == NOT_YET)
        sleep_on(&partner->told, NOT_YET);
    return told == TOLD;
}

/* ---- for the partner */

/* Do the job. What it lets go of, it has still. */
static enum result do_job(struct call *call, Partner *partner)
{
    const struct leg *leg = &partner->leg;
    call->plan = partner->plan;
    bool is_present = enter(call, leg);
    uint64_t entered = get(&call->mine[LEG_SINCE]);
    int error = !is_present      ? 0
                : partner->length ? write_leg(leg, call->buffer, partner->length, partner->offset)
                                  : flush_leg(call, leg);
    partner->lag_ns = entered - partner->given_ns;
    partner->took_ns = now_ns() - entered;
    partner->error = error;
    if (error && !partner->length) { /* the partner tells it, as the serving thread may be gone */
        refused(call, leg, error);
        partner->result = REQUEST;
        partner->is_over = true;
        return FLUSH_FAILED; /* and is inside still */
    }
    enum result result = after(call, leg, error);
    if (result == GIVEN_UP) /* nobody waits for the job any more */
        return GIVEN_UP;
    bool is_done = is_present && (partner->length || is_believed(call, leg));
    partner->result = result == ANSWERED && !is_done ? REQUEST : result;
    partner->is_over = true;
    return ANSWERED;
}

/* Let go of everything, and have the serving thread go on. */
static void tell(struct call *call, Partner *partner)
{
    set(&call->mine[LOGGED], 0);
    call->wake = ranges_leave(call->ranges, partner->hand);
    set(&call->mine[BUSY_SINCE], 0);
    partner->is_over = false;
    __atomic_fetch_and(&partner->work, ~(uint32_t)JOB, __ATOMIC_SEQ_CST);
    __atomic_store_n(&partner->told, TOLD, __ATOMIC_SEQ_CST);
    wake_from(&partner->told);
}

/* Do one job after the other until Python is needed: to tell of a failed flush, or that a range was
   left (ANSWERED). DISMISSED: there will be no more. */
static enum result assist(struct call *call, Partner *partner)
{
    call->wake = false;
    for (;;) {
        if (partner->is_over)
            tell(call, partner);
        if (call->wake)
            return ANSWERED;
        uint32_t work = __atomic_load_n(&partner->work, __ATOMIC_SEQ_CST);
        if (work & JOB) {
            enum result result = do_job(call, partner);
            if (result != ANSWERED)
                return result;
        } else if (work & LEAVE) {
            return DISMISSED;
        } else {
            sleep_on(&partner->work, work);
        }
    }
}

/* ---- for Python: see Partner in data/partners.py */

static PyObject *partner_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    (void)named;
    unsigned slot;
    unsigned long long number;
    if (!PyArg_ParseTuple(arguments, "IK:Partner", &slot, &number))
        return NULL;
    if (slot >= SLOTS || !number)
        return PyErr_Format(PyExc_ValueError, "there is no slot %u", slot);
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Partner *partner = (Partner *)allocate(type, 0); /* zeros */
    if (partner) {
        partner->hand = (struct holder){slot, number};
        partner->told = TOLD;
    }
    return (PyObject *)partner;
}

static void partner_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *partner_assist(PyObject *self, PyObject *arguments)
{
    Py_buffer cells, buffer;
    PyObject *ranges;
    if (!PyArg_ParseTuple(arguments, "w*w*O!:assist", &cells, &buffer, ranges_type, &ranges))
        return NULL;
    PyObject *result = NULL;
    Partner *partner = (Partner *)self;
    if (!is_page(&cells)) {
        PyErr_SetString(PyExc_ValueError, "not what a worker has");
    } else {
        struct call call = {
            .cells = cells.buf,
            .mine = slot_cells(cells.buf, partner->hand.slot),
            .flushing = (uint64_t *)cells.buf + FLUSHING + partner->hand.slot,
            .buffer = buffer.buf,
            .buffer_bytes = (size_t)buffer.len,
            .ranges = (Ranges *)ranges,
        };
        enum result what;
        Py_BEGIN_ALLOW_THREADS
        what = assist(&call, partner);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("iKii", (int)what, (unsigned long long)call.number, call.error,
                               (int)call.wake);
    }
    PyBuffer_Release(&cells);
    PyBuffer_Release(&buffer);
    return result;
}

static PyObject *partner_leave(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    Partner *partner = (Partner *)self;
    __atomic_fetch_or(&partner->work, LEAVE, __ATOMIC_SEQ_CST);
    wake_from(&partner->work);
    Py_RETURN_NONE;
}

static PyObject *partner_desert(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    Partner *partner = (Partner *)self;
    __atomic_store_n(&partner->told, DESERTED, __ATOMIC_SEQ_CST);
    wake_from(&partner->told);
    Py_RETURN_NONE;
}

static PyObject *partner_wait(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    Py_BEGIN_ALLOW_THREADS
    await_partner((Partner *)self);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef partner_methods[] = {
    {"assist", partner_assist, METH_VARARGS, "assist(cells, buffer, ranges): see assist in C"},
    {"leave", partner_leave, METH_NOARGS, "It is not needed any more once its job is done."},
    {"desert", partner_desert, METH_NOARGS, "It was given up: nobody waits for it any more."},
    {"wait", partner_wait, METH_NOARGS, "Until its job is done and told, or it was given up."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot partner_slots[] = {
    {Py_tp_new, (void *)partner_new},
    {Py_tp_dealloc, (void *)partner_dealloc},
    {Py_tp_methods, partner_methods},
    {0, NULL},
};

static PyType_Spec partner_spec = {
    "holdfast.gate.data._fast_path.Partner", sizeof(Partner), 0, Py_TPFLAGS_DEFAULT, partner_slots,
};
