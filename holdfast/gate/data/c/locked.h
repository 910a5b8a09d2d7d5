/* What several threads take turns at: an object of Python with a mutex. */

#pragma once

#include "limited_api.h"

#include <pthread.h>

typedef struct {
    PyObject_HEAD
    pthread_mutex_t mutex;
} Locked;

static PyObject *locked_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    (void)arguments, (void)named;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Locked *locked = (Locked *)allocate(type, 0);
    if (locked)
        pthread_mutex_init(&locked->mutex, NULL);
    return (PyObject *)locked;
}

static void locked_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    pthread_mutex_destroy(&((Locked *)self)->mutex);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}
