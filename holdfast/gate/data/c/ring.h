/* The log ring: log/ring_layout.py does the same. */

#pragma once

#include "cells.h"
#include "locked.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { BEGIN = 7, END = 8, ASKED = 9, STATE = 12, HEAD_BYTES = 4096 };
enum { DEAD = 2 }; /* in STATE: no room is given out any more */
enum { POSITION, BYTES, KIND, OFFSET, LENGTH, TIME };
enum { UNIT_BYTES = 64, DATA = 1 };

typedef Locked Reserver;

struct ring {
    uint64_t *cells; /* NULL: there is none */
    uint64_t area;   /* bytes behind the head */
    uint64_t spare;  /* of which ordinary appends leave so many free */
};

static uint64_t padded(uint64_t bytes) { return (bytes + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES; }

static bool ring_from(const Py_buffer *bytes, struct ring *ring)
{
    *ring = (struct ring){0};
    if (!bytes->len)
        return true;
    if (bytes->len <= HEAD_BYTES || bytes->len % UNIT_BYTES
        || (uintptr_t)bytes->buf % sizeof(uint64_t))
        return false;
    ring->cells = bytes->buf;
    ring->area = (uint64_t)bytes->len - HEAD_BYTES;
    return true;
}

static uint64_t *record_at(const struct ring *ring, uint64_t position)
{
    return ring->cells + (HEAD_BYTES + position % ring->area) / sizeof(uint64_t);
}

static void write_header(uint64_t *record, uint64_t position, uint64_t bytes, uint64_t offset,
                         uint64_t length, uint64_t time_ns)
{
    set(&record[KIND], 0); /* not whole */
    set(&record[POSITION], position);
    set(&record[BYTES], bytes);
    set(&record[OFFSET], offset);
    set(&record[LENGTH], length);
    set(&record[TIME], time_ns);
}

/* Room for a record that is not whole yet. The slots of all that carry its write out say so before
   anybody sees that it is there. */
static bool ring_reserve(Reserver *reserver, const struct ring *ring, uint64_t *const *slots,
                         unsigned count, uint64_t offset, uint64_t length, uint64_t payload_bytes, uint64_t time_ns,
                         uint64_t *position)
{
    uint64_t needed = UNIT_BYTES + padded(payload_bytes);
    bool is_there = false;
    pthread_mutex_lock(&reserver->mutex);
    uint64_t begin = get(&ring->cells[BEGIN]), end = get(&ring->cells[END]);
    uint64_t place = end % ring->area;
    uint64_t filling = place + needed > ring->area ? ring->area - place : 0;
    uint64_t used = end + filling + needed - begin;
    if (get(&ring->cells[STATE]) != DEAD && needed <= ring->area
        && !((begin | end) % UNIT_BYTES) && begin <= end
        && used <= ring->area && ring->area - used >= ring->spare) {
        if (filling)
            write_header(record_at(ring, end), end, filling, 0, 0, 0);
        *position = end + filling;
        write_header(record_at(ring, *position), *position, needed, offset, length, time_ns);
        for (unsigned each = 0; each < count; each++)
            set(&slots[each][LOGGED], *position + 1);
        set(&ring->cells[END], *position + needed);
        is_there = true;
    }
    pthread_mutex_unlock(&reserver->mutex);
    return is_there;
}

/* Whether room is to be asked for: more than half is in use, and nobody has since the last trim. */
static bool ring_ask_once(const struct ring *ring)
{
    uint64_t used = get(&ring->cells[END]) - get(&ring->cells[BEGIN]);
    return used > ring->area / 2 && !__atomic_exchange_n(&ring->cells[ASKED], 1, __ATOMIC_SEQ_CST);
}

/* ---- for Python: see Reserver in log/ring_layout.py */

static PyObject *reserver_reserve(PyObject *self, PyObject *arguments)
{
    Py_buffer bytes, slot;
    unsigned long long offset, length, payload_bytes, time_ns, spare;
    if (!PyArg_ParseTuple(arguments, "w*w*KKKKK:reserve", &bytes, &slot, &offset, &length,
                          &payload_bytes, &time_ns, &spare))
        return NULL;
    PyObject *result = NULL;
    struct ring ring;
    if (!ring_from(&bytes, &ring) || !ring.cells || !is_slot(&slot) || payload_bytes > ring.area) {
        PyErr_SetString(PyExc_ValueError, "not what a worker has");
    } else {
        uint64_t position, *slots = slot.buf;
        ring.spare = spare;
        bool is_there = ring_reserve((Reserver *)self, &ring, &slots, 1, offset, length,
                                     payload_bytes, time_ns, &position);
        result = PyLong_FromLongLong(is_there ? (long long)position : -1);
    }
    PyBuffer_Release(&bytes);
    PyBuffer_Release(&slot);
    return result;
}

static PyObject *reserver_shut(PyObject *self, PyObject *arguments)
{
    Py_buffer bytes;
    struct ring ring;
    if (!PyArg_ParseTuple(arguments, "w*:shut", &bytes))
        return NULL;
    bool is_ring = ring_from(&bytes, &ring) && ring.cells;
    if (is_ring) {
        Reserver *reserver = (Reserver *)self;
        pthread_mutex_lock(&reserver->mutex);
        set(&ring.cells[STATE], DEAD);
        pthread_mutex_unlock(&reserver->mutex);
    }
    PyBuffer_Release(&bytes);
    if (is_ring)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "not what a worker has");
    return NULL;
}

static PyMethodDef reserver_methods[] = {
    {"shut", reserver_shut, METH_VARARGS, "See Reserver in log/ring_layout.py."},
    {"reserve", reserver_reserve, METH_VARARGS, "See Reserver in log/ring_layout.py."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot reserver_slots[] = {
    {Py_tp_new, (void *)locked_new},
    {Py_tp_dealloc, (void *)locked_dealloc},
    {Py_tp_methods, reserver_methods},
    {0, NULL},
};

static PyType_Spec reserver_spec = {
    "holdfast.gate.data._fast_path.Reserver", sizeof(Reserver), 0, Py_TPFLAGS_DEFAULT,
    reserver_slots,
};
