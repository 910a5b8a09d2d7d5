/* Ordinary requests, served without the interpreter.

   A serving thread is in `serve` while nothing unusual happens: it receives a request from the FUSE
   connection, carries it out on the legs, answers, counts. Whatever is not ordinary comes back to
   Python, which is the reference: with the request whole in the inbox, and nothing of it done or
   only what may be done again. Nothing here allocates, waits for another thread (but for a mutex
   that is held for some hundred instructions, and for its partners), or is told to anybody but by
   its result.

   Invariants: a leg is touched only between `enter` and `leave`, and only when the plan that the
   caller read was still the present one after `enter`; an answer is given only when the plan was
   still the present one after the last leg answered. Every cell that others read or write is one
   aligned word, read and written atomically (see runtime/shared_page.py, which has their numbers).

   One translation unit: cells.h the shared page, ranges.h and ring.h what threads take turns at (and
   the classes that Python sees of them), call.h the legs, partner.h a thread that helps, pace.h when
   that is worth while, times.h how long legs take, side_by_side.h one request on several legs, requests.h reads, writes and
   flushes; here receiving, answering, and the module. companion.h has nothing to do with requests.
*/

#define _GNU_SOURCE /* clone */

#include "limited_api.h"

#include "call.h"
#include "cells.h"
#include "companion.h"
#include "pace.h"
#include "partner.h"
#include "ranges.h"
#include "requests.h"
#include "ring.h"
#include "times.h"
#include "wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static enum result answer(struct call *call, const struct request *request)
{
    uint8_t head[OUT_WRITE_BYTES] = {0};
    size_t data_bytes = request->opcode == FUSE_READ ? request->length : 0;
    size_t head_bytes = request->opcode == FUSE_WRITE ? OUT_WRITE_BYTES : OUT_HEADER_BYTES;
    uint32_t length = (uint32_t)(head_bytes + data_bytes);
    memcpy(head, &length, 4);
    memcpy(head + 8, &request->unique, 8);
    if (request->opcode == FUSE_WRITE)
        memcpy(head + OUT_HEADER_BYTES, &request->length, 4);
    struct iovec parts[2] = {{head, head_bytes}, {call->buffer, data_bytes}};
    if (writev(call->front, parts, data_bytes ? 2 : 1) >= 0)
        return ANSWERED;
    if (errno == ENOENT) { /* it was answered before */
        add(&call->mine[LATE_REPLIES], 1);
        return ANSWERED;
    }
    call->error = errno;
    return ANSWER_FAILED;
}

static void count(struct call *call, const struct request *request)
{
    uint64_t *mine = call->mine;
    if (request->opcode == FUSE_READ) {
        add(&mine[READS], 1);
        add(&mine[READ_BYTES], request->length);
    } else if (request->opcode == FUSE_WRITE) {
        add(&mine[WRITES], 1);
        add(&mine[WRITTEN_BYTES], request->length);
    } else {
        add(&mine[FLUSHES], 1);
    }
}

/* Receive one request and carry it out. ANSWERED: and so it was, and nobody is to be told. */
static enum result serve_one(struct call *call)
{
    uint64_t *mine = call->mine;
    struct iovec parts[2] = {{call->header, HEADER_BYTES}, {call->buffer, call->buffer_bytes}};
    ssize_t received = readv(call->front, parts, 2);
    if (received <= 0) {
        call->error = received ? errno : EPIPE;
        return RECEIVE_FAILED;
    }
    uint64_t since = now_ns();
    call->number = (uint64_t)received;
    struct request request = {0};
    memcpy(&request.opcode, call->header + 4, 4);
    memcpy(&request.unique, call->header + 8, 8);
    bool transfers = request.opcode == FUSE_READ || request.opcode == FUSE_WRITE;
    if (received < IN_HEADER_BYTES || !(transfers || request.opcode == FUSE_FSYNC))
        return REQUEST;
    set(&mine[BUSY_SINCE], since);
    if (request.unique & UNIQUE_RESEND)
        return REQUEST; /* the receipt of a takeover tells of it */
    if (transfers) {
        memcpy(&request.offset, call->header + 48, 8);
        memcpy(&request.length, call->header + 56, 4);
        if (!request.length || request.length > call->buffer_bytes
            || request.offset > (uint64_t)INT64_MAX - request.length)
            return REQUEST;
    }
    if (request.opcode == FUSE_WRITE && (uint64_t)received < HEADER_BYTES + (uint64_t)request.length)
        return REQUEST;
    bool is_taken = request.opcode == FUSE_READ    ? true
                    : request.opcode == FUSE_WRITE ? call->writes
                                                   : call->writes && call->flushes;
    if (!is_ordinary(call) || !is_taken)
        return REQUEST;
    enum result result = request.opcode == FUSE_READ    ? read_request(call, &request)
                         : request.opcode == FUSE_WRITE ? write_request(call, &request)
                                                        : flush_request(call, &request);
    if (result != ANSWERED)
        return result;
    count(call, &request);
    result = answer(call, &request);
    if (result != ANSWERED)
        return result;
    uint64_t waited = now_ns() - since;
    if (waited > get(&mine[LONGEST_WAIT]))
        set(&mine[LONGEST_WAIT], waited);
    add(&mine[SERVED_NS], waited);
    call->tell = !is_ordinary(call);
    if (call->tell)
        call->number = waited;
    else
        set(&mine[BUSY_SINCE], 0);
    return ANSWERED;
}

/* Serve until Python is needed. */
static enum result serve(struct call *call)
{
    enum result result;
    do {
        call->number = 0;
        call->error = 0;
        call->wake = call->ask = call->lack = call->tell = false;
        result = serve_one(call);
    } while (result == ANSWERED && !call->wake && !call->ask && !call->lack
             && !call->tell);
    return result;
}

/* ---- for Python: see data/fast_path.py -------------------------------------------------------- */

enum { LEG_BYTES = 32 };

/* number, expected size, arrival, descriptor, reads, watch_transfer, watch_flush, row: "=QQQiBBBB" */
static struct leg leg_from(const uint8_t *bytes)
{
    struct leg leg;
    memcpy(&leg.number, bytes, 8);
    memcpy(&leg.expected_bytes, bytes + 8, 8);
    memcpy(&leg.arrived_ns, bytes + 16, 8);
    memcpy(&leg.descriptor, bytes + 24, 4);
    leg.reads = bytes[28];
    leg.watch_transfer = bytes[29];
    leg.watch_flush = bytes[30];
    leg.row = bytes[31];
    return leg;
}

static PyTypeObject *reserver_type, *partner_type;

/* They stay as long as the list does, in which nobody changes anything meanwhile. */
static bool partners_from(PyObject *list, struct call *call)
{
    Py_ssize_t count = PyTuple_Size(list);
    if (count < 0 || count >= MOST_LEGS)
        return false;
    for (Py_ssize_t each = 0; each < count; each++) {
        PyObject *one = PyTuple_GetItem(list, each);
        if (!PyObject_TypeCheck(one, partner_type))
            return false;
        call->partner[each] = (Partner *)one;
    }
    call->partners = (unsigned)count;
    return true;
}

static PyObject *python_serve(PyObject *module, PyObject *arguments)
{
    (void)module;
    struct call call = {0};
    Py_buffer cells, header, buffer, legs, durable, touched, ring, pace, times;
    PyObject *ranges, *reserver, *partners;
    int writes, flushes, intents, may_lack;
    unsigned long long plan, number, spare;
    if (!PyArg_ParseTuple(arguments, "iIKw*w*w*O!Ky*w*w*IpppO!w*KO!w*w*p:serve", &call.front,
                          &call.hand[0].slot, &number, &cells, &header, &buffer, ranges_type, &ranges, &plan, &legs,
                          &durable, &touched, &call.region_shift, &writes, &flushes, &intents, reserver_type,
                          &reserver, &ring, &spare, &PyTuple_Type, &partners, &pace, &times,
                          &may_lack))
        return NULL;
    PyObject *result = NULL;
    call.legs = (unsigned)(legs.len / LEG_BYTES);
    if (!is_page(&cells) || call.hand[0].slot >= SLOTS || !number || header.len < HEADER_BYTES
        || call.region_shift > 62 || legs.len > MOST_LEGS * LEG_BYTES
        || durable.len != touched.len || !ring_from(&ring, &call.ring)
        || !pace_from(&pace, &call.pace) || !times_from(&times, &call.times)
        || !partners_from(partners, &call)) {
        PyErr_SetString(PyExc_ValueError, "not what a worker has");
    } else {
        call.plan = plan;
        call.hand[0].number = number;
        call.cells = cells.buf;
        call.mine = slot_cells(call.cells, call.hand[0].slot);
        call.flushing = call.cells + FLUSHING + call.hand[0].slot;
        call.header = header.buf;
        call.buffer = buffer.buf;
        call.buffer_bytes = (size_t)buffer.len;
        call.durable = durable.buf;
        call.touched = touched.buf;
        call.regions = (uint64_t)durable.len;
        call.writes = writes;
        call.flushes = flushes;
        call.intents = intents;
        call.may_lack = may_lack;
        call.ranges = (Ranges *)ranges;
        call.reserver = (Reserver *)reserver;
        call.ring.spare = spare;
        for (unsigned each = 0; each < call.legs; each++)
            call.leg[each] = leg_from((const uint8_t *)legs.buf + each * LEG_BYTES);
        enum result what;
        Py_BEGIN_ALLOW_THREADS
        what = serve(&call);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("iKiiiii", (int)what, (unsigned long long)call.number, call.error,
                               (int)call.wake, (int)call.ask, (int)call.lack, (int)call.tell);
    }
    PyBuffer_Release(&cells);
    PyBuffer_Release(&header);
    PyBuffer_Release(&buffer);
    PyBuffer_Release(&legs);
    PyBuffer_Release(&durable);
    PyBuffer_Release(&touched);
    PyBuffer_Release(&ring);
    PyBuffer_Release(&pace);
    PyBuffer_Release(&times);
    return result;
}

static PyObject *python_take(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer cells;
    unsigned long long number;
    if (!PyArg_ParseTuple(arguments, "w*K:take", &cells, &number))
        return NULL;
    bool taken = false;
    if (is_slot(&cells)) {
        uint64_t inside = number;
        taken = __atomic_compare_exchange_n((uint64_t *)cells.buf + LEG, &inside, number | TAKEN,
                                            false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    PyBuffer_Release(&cells);
    return PyBool_FromLong(taken);
}

static PyObject *python_fence(PyObject *module, PyObject *nothing)
{
    (void)module, (void)nothing;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"serve", python_serve, METH_VARARGS, "See data/fast_path.py."},
    {"take", python_take, METH_VARARGS, "take(cells of a slot, leg): whether it was inside"},
    {"accompany", python_accompany, METH_VARARGS, "accompany(pidfd of this process): see companion.h"},
    {"fence", python_fence, METH_NOARGS, "What was written before is seen before what is read now."},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    static const struct {
        const char *name;
        long value;
    } constants[] = {
        {"PLAN", PLAN}, {"WRITTEN", WRITTEN}, {"PAGE_CELLS", PAGE_CELLS},
        {"FIRST_SLOT", FIRST_SLOT}, {"SLOTS", SLOTS}, {"SLOT_CELLS", SLOT_CELLS},
        {"BUSY_SINCE", BUSY_SINCE}, {"LEG", LEG}, {"LEG_SINCE", LEG_SINCE}, {"READS", READS},
        {"WRITES", WRITES}, {"FLUSHES", FLUSHES}, {"LONGEST_WAIT", LONGEST_WAIT},
        {"READ_BYTES", READ_BYTES}, {"WRITTEN_BYTES", WRITTEN_BYTES},
        {"LATE_REPLIES", LATE_REPLIES}, {"MOST_LEGS", MOST_LEGS},
        {"LOGGED", LOGGED}, {"HELPS", HELPS}, {"SERVED_NS", SERVED_NS},
        {"FLUSHED", FLUSHED}, {"FLUSHING", FLUSHING}, {"BEGIN", BEGIN}, {"END", END}, {"ASKED", ASKED},
        {"STATE", STATE}, {"DEAD", DEAD},
        {"HEAD_BYTES", HEAD_BYTES}, {"POSITION", POSITION}, {"BYTES", BYTES}, {"KIND", KIND},
        {"OFFSET", OFFSET}, {"LENGTH", LENGTH}, {"TIME", TIME}, {"UNIT_BYTES", UNIT_BYTES},
        {"REQUEST", REQUEST}, {"FAILED", FAILED}, {"FLUSH_FAILED", FLUSH_FAILED},
        {"ANSWERED", ANSWERED}, {"GIVEN_UP", GIVEN_UP}, {"RECEIVE_FAILED", RECEIVE_FAILED},
        {"ANSWER_FAILED", ANSWER_FAILED}, {"DISMISSED", DISMISSED}, {"TRUNCATED", TRUNCATED},
        {"PACE_CELLS", PACE_CELLS},
        {"TIME_ROWS", TIME_ROWS}, {"TIME_KINDS", TIME_KINDS}, {"TIME_STEPS", TIME_STEPS},
    };
    for (size_t each = 0; each < sizeof constants / sizeof *constants; each++)
        if (PyModule_AddIntConstant(module, constants[each].name, constants[each].value))
            return -1;
    ranges_type = (PyTypeObject *)PyType_FromSpec(&ranges_spec);
    reserver_type = (PyTypeObject *)PyType_FromSpec(&reserver_spec);
    partner_type = (PyTypeObject *)PyType_FromSpec(&partner_spec);
    if (!ranges_type || !reserver_type || !partner_type
        || PyModule_AddObjectRef(module, "Reserver", (PyObject *)reserver_type)
        || PyModule_AddObjectRef(module, "Partner", (PyObject *)partner_type))
        return -1;
    return PyModule_AddObjectRef(module, "HeldRanges", (PyObject *)ranges_type);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)prepare}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fast_path", "Ordinary requests, without the interpreter.", 0, methods,
    slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fast_path(void) { return PyModuleDef_Init(&definition); }
