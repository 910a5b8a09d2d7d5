/* Ranges of bytes that are held, by the slots of their holders: see data/ranges.py. */

#pragma once

#include "cells.h"
#include "locked.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct range {
    uint64_t holder; /* 0: nobody */
    uint64_t start, end;
};

typedef struct {
    Locked locked;
    bool waiting; /* somebody was refused since the last time that anybody left */
    struct range held[SLOTS];
} Ranges;

struct holder {
    unsigned slot;
    uint64_t number;
};

/* All of them hold it from then on, each in its own name, or none. */
static bool ranges_take(Ranges *ranges, const struct holder *holders, unsigned count, uint64_t start,
                        uint64_t end)
{
    bool is_free = true;
    pthread_mutex_lock(&ranges->locked.mutex);
    for (unsigned each = 0; each < SLOTS && is_free; each++)
        is_free = !ranges->held[each].holder || ranges->held[each].start >= end
                  || ranges->held[each].end <= start;
    if (is_free) {
        for (unsigned each = 0; each < count; each++)
            ranges->held[holders[each].slot] = (struct range){holders[each].number, start, end};
    } else {
        ranges->waiting = true;
    }
    pthread_mutex_unlock(&ranges->locked.mutex);
    return is_free;
}

/* Whether somebody waits for a range, and is to be woken. */
static bool ranges_leave(Ranges *ranges, struct holder holder)
{
    bool wake = false;
    pthread_mutex_lock(&ranges->locked.mutex);
    if (ranges->held[holder.slot].holder == holder.number) {
        ranges->held[holder.slot].holder = 0;
        wake = ranges->waiting;
        ranges->waiting = false;
    }
    pthread_mutex_unlock(&ranges->locked.mutex);
    return wake;
}

/* ---- for Python: see Held in data/compiled.py */

static PyObject *ranges_python_take(PyObject *self, PyObject *arguments)
{
    unsigned slot;
    unsigned long long number, start, end;
    if (!PyArg_ParseTuple(arguments, "IKKK:take", &slot, &number, &start, &end))
        return NULL;
    if (slot >= SLOTS || !number)
        return PyErr_Format(PyExc_ValueError, "there is no slot %u", slot);
    struct holder holder = {slot, number};
    return PyBool_FromLong(ranges_take((Ranges *)self, &holder, 1, start, end));
}

static PyObject *ranges_python_leave(PyObject *self, PyObject *arguments)
{
    unsigned slot;
    unsigned long long number;
    if (!PyArg_ParseTuple(arguments, "IK:leave", &slot, &number))
        return NULL;
    if (slot >= SLOTS)
        return PyErr_Format(PyExc_ValueError, "there is no slot %u", slot);
    return PyBool_FromLong(ranges_leave((Ranges *)self, (struct holder){slot, number}));
}

static PyObject *ranges_python_held(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    Ranges *ranges = (Ranges *)self;
    struct range held[SLOTS]; /* a copy: Python is not to be called while others wait */
    pthread_mutex_lock(&ranges->locked.mutex);
    memcpy(held, ranges->held, sizeof held);
    pthread_mutex_unlock(&ranges->locked.mutex);
    PyObject *found = PyList_New(0);
    for (unsigned each = 0; found && each < SLOTS; each++) {
        if (!held[each].holder)
            continue;
        PyObject *one = Py_BuildValue("KKK", (unsigned long long)held[each].holder,
                                      (unsigned long long)held[each].start,
                                      (unsigned long long)held[each].end);
        if (!one || PyList_Append(found, one))
            Py_CLEAR(found);
        Py_XDECREF(one);
    }
    return found;
}

static PyMethodDef ranges_methods[] = {
    {"take", ranges_python_take, METH_VARARGS, "take(slot, holder, start, end): whether it is free"},
    {"leave", ranges_python_leave, METH_VARARGS, "leave(slot, holder): whether somebody waits"},
    {"held", ranges_python_held, METH_NOARGS, "held(): holder, start, end of each"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ranges_slots[] = {
    {Py_tp_new, (void *)locked_new},
    {Py_tp_dealloc, (void *)locked_dealloc},
    {Py_tp_methods, ranges_methods},
    {0, NULL},
};

static PyTypeObject *ranges_type;

static PyType_Spec ranges_spec = {
    "holdfast.gate.data._fast_path.HeldRanges", sizeof(Ranges), 0, Py_TPFLAGS_DEFAULT, ranges_slots,
};
