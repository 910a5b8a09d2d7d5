/* Ordinary requests, served without the interpreter.

   A serving thread is in `serve` while nothing unusual happens: it receives a request from the FUSE
   connection, carries it out on the legs, answers, counts. Whatever is not ordinary comes back to
   Python, which is the reference: with the request whole in the inbox, and nothing of it done or
   only what may be done again. Nothing here allocates, waits for another thread (but for a mutex
   that is held for some hundred instructions), or is told to anybody but by its result.

   Invariants: a leg is touched only between `enter` and `leave`, and only when the plan that the
   caller read was still the present one after `enter`; an answer is given only when the plan was
   still the present one after the last leg answered. Every cell that others read or write is one
   aligned word, read and written atomically (see runtime/shared_page.py, which has their numbers).
*/

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000 /* 3.11: the first with buffers in the limited API */
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* ---- <linux/fuse.h>; see system/fuse/wire.py ------------------------------------------------- */

enum { FUSE_READ = 15, FUSE_WRITE = 16, FUSE_FSYNC = 20 };
enum { HEADER_BYTES = 80, IN_HEADER_BYTES = 40, OUT_HEADER_BYTES = 16, OUT_WRITE_BYTES = 24 };
#define UNIQUE_RESEND (UINT64_C(1) << 63)

/* ---- cells: runtime/shared_page.py ------------------------------------------------------------ */

enum { /* behind the slots */
    PLAN = 1124,    /* changes when a plan that was made before is not to be used any more */
    WRITTEN = 1125, /* 1: something was written since a position was recorded */
    PAGE_CELLS = 1126,
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
    SLOT_CELLS = 16,
};
enum { FIRST_SLOT = 128 };
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

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- ranges: see data/ranges.py --------------------------------------------------------------- */

enum { SLOTS = 62 };

struct range {
    uint64_t holder; /* 0: nobody */
    uint64_t start, end;
};

typedef struct {
    PyObject_HEAD
    pthread_mutex_t mutex;
    bool waiting; /* somebody was refused since the last time that anybody left */
    struct range held[SLOTS];
} Ranges;

static bool ranges_take(Ranges *ranges, unsigned slot, uint64_t holder, uint64_t start,
                        uint64_t end)
{
    bool is_free = true;
    pthread_mutex_lock(&ranges->mutex);
    for (unsigned each = 0; each < SLOTS && is_free; each++)
        is_free = !ranges->held[each].holder || ranges->held[each].start >= end
                  || ranges->held[each].end <= start;
    if (is_free) {
        ranges->held[slot].holder = holder;
        ranges->held[slot].start = start;
        ranges->held[slot].end = end;
    } else {
        ranges->waiting = true;
    }
    pthread_mutex_unlock(&ranges->mutex);
    return is_free;
}

/* Whether somebody waits for a range, and is to be woken. */
static bool ranges_leave(Ranges *ranges, unsigned slot, uint64_t holder)
{
    bool wake = false;
    pthread_mutex_lock(&ranges->mutex);
    if (ranges->held[slot].holder == holder) {
        ranges->held[slot].holder = 0;
        wake = ranges->waiting;
        ranges->waiting = false;
    }
    pthread_mutex_unlock(&ranges->mutex);
    return wake;
}

/* ---- one call of `serve` ---------------------------------------------------------------------- */

enum { MOST_LEGS = 16 };
enum { TRUNCATED = 1 << 16 }; /* beside the numbers of errno: a leg is shorter than it was */

enum result {
    REQUEST,        /* a request is in the inbox, whole; nothing of it is done that matters */
    FAILED,         /* the same, and one leg failed at it: its number and why */
    FLUSH_FAILED,   /* the same, of a flush, which that leg must never be asked again */
    ANSWERED,       /* a request is done; somebody is to be told */
    GIVEN_UP,       /* the watchdog took the request */
    RECEIVE_FAILED, /* nothing was received, and why */
    ANSWER_FAILED,  /* a request is done; why it could not be answered */
};

struct leg {
    uint64_t number;
    uint64_t expected_bytes; /* its container was truncated when it is smaller */
    int descriptor;
    bool reads;          /* it is in sync */
    bool watch_transfer; /* look for a truncation after each transfer */
    bool watch_flush;
};

struct call {
    int front;
    unsigned slot;
    unsigned legs;
    bool writes;  /* every leg takes them from here, and no journal keeps them */
    bool intents; /* regions need a durable bit before they are written */
    unsigned region_shift;
    uint64_t plan;
    uint64_t holder;
    uint64_t *cells; /* of the whole page */
    uint64_t *mine;  /* of the slot */
    uint8_t *header, *buffer;
    size_t buffer_bytes;
    uint8_t *durable, *touched;
    uint64_t regions;
    Ranges *ranges;
    struct leg leg[MOST_LEGS];
    /* what it comes back with */
    uint64_t number;
    int error;
    bool wake; /* somebody waits for the range that was left */
    bool tell; /* the answer is to be noted, and the request counts as under way until then */
};

struct request {
    uint32_t opcode, length;
    uint64_t unique, offset;
};

/* Whether everything is as it was when the caller made its plan. */
static bool is_ordinary(const struct call *call)
{
    return get(&call->cells[PLAN]) == call->plan;
}

/* Say that this thread is about to touch a leg. False: it is not to be touched any more, as it may
   have left, and been erased, since the request was begun. */
static bool enter(struct call *call, const struct leg *leg)
{
    set(&call->mine[LEG_SINCE], now_ns());
    set(&call->mine[LEG], leg->number);
    return is_ordinary(call);
}

/* False: the watchdog was faster, and nothing may be touched any more. */
static bool leave(struct call *call, const struct leg *leg)
{
    uint64_t inside = leg->number;
    return __atomic_compare_exchange_n(&call->mine[LEG], &inside, 0, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static int check_whole(const struct leg *leg)
{
    off_t size = lseek(leg->descriptor, 0, SEEK_END);
    if (size < 0)
        return errno;
    return (uint64_t)size < leg->expected_bytes ? TRUNCATED : 0;
}

static int read_leg(const struct leg *leg, uint8_t *data, size_t length, uint64_t offset)
{
    ssize_t done;
    do
        done = pread(leg->descriptor, data, length, (off_t)offset);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return errno;
    if ((size_t)done != length)
        return TRUNCATED;
    return leg->watch_transfer ? check_whole(leg) : 0;
}

static int write_leg(const struct leg *leg, const uint8_t *data, size_t length, uint64_t offset)
{
    while (length) {
        ssize_t done = pwrite(leg->descriptor, data, length, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        if (!done)
            return EIO;
        data += done;
        offset += (uint64_t)done;
        length -= (size_t)done;
    }
    return leg->watch_transfer ? check_whole(leg) : 0;
}

static int flush_leg(const struct leg *leg)
{
    int done;
    do
        done = fdatasync(leg->descriptor);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return errno;
    return leg->watch_flush ? check_whole(leg) : 0;
}

/* What became of a leg's work that ended with that error, 0: none. */
static enum result after(struct call *call, const struct leg *leg, int error)
{
    if (!leave(call, leg))
        return GIVEN_UP;
    if (!error)
        return ANSWERED;
    call->number = leg->number;
    call->error = error;
    return FAILED;
}

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

static enum result store(struct call *call, const struct request *request)
{
    if (!is_ordinary(call)) /* once more, now that the range is held */
        return REQUEST;
    set(&call->cells[WRITTEN], 1);
    if (call->intents && !covers(call, request))
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
    if (result != GIVEN_UP) /* else that was the watchdog's duty */
        call->wake = ranges_leave(call->ranges, call->slot, call->holder);
    return result;
}

static enum result flush_request(struct call *call)
{
    bool flushed = false;
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
    return flushed && is_ordinary(call) ? ANSWERED : REQUEST;
}

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
    if (transfers) {
        memcpy(&request.offset, call->header + 48, 8);
        memcpy(&request.length, call->header + 56, 4);
        if (!request.length || request.length > call->buffer_bytes
            || request.offset > (uint64_t)INT64_MAX - request.length)
            return REQUEST;
    }
    if (request.opcode == FUSE_WRITE && (uint64_t)received < HEADER_BYTES + (uint64_t)request.length)
        return REQUEST;
    if (!is_ordinary(call) || !(call->writes || request.opcode == FUSE_READ))
        return REQUEST;
    enum result result = request.opcode == FUSE_READ    ? read_request(call, &request)
                         : request.opcode == FUSE_WRITE ? write_request(call, &request)
                                                        : flush_request(call);
    if (result != ANSWERED)
        return result;
    count(call, &request);
    result = answer(call, &request);
    if (result != ANSWERED)
        return result;
    uint64_t waited = now_ns() - since;
    if (waited > get(&mine[LONGEST_WAIT]))
        set(&mine[LONGEST_WAIT], waited);
    if (request.unique & UNIQUE_RESEND)
        add(&mine[RESENT], 1);
    call->tell = !is_ordinary(call);
    if (call->tell) {
        call->number = waited;
        call->error = request.unique & UNIQUE_RESEND ? 1 : 0;
    } else {
        set(&mine[BUSY_SINCE], 0);
    }
    return ANSWERED;
}

/* Serve until Python is needed. */
static enum result serve(struct call *call)
{
    enum result result;
    do {
        call->number = 0;
        call->error = 0;
        call->wake = call->tell = false;
        result = serve_one(call);
    } while (result == ANSWERED && !call->wake && !call->tell);
    return result;
}

/* ---- for Python: see data/fast_path.py -------------------------------------------------------- */

enum { LEG_BYTES = 24 };

/* number, expected size, descriptor, reads, watch_transfer, watch_flush: struct "=QQiBBBx" */
static struct leg leg_from(const uint8_t *bytes)
{
    struct leg leg;
    memcpy(&leg.number, bytes, 8);
    memcpy(&leg.expected_bytes, bytes + 8, 8);
    memcpy(&leg.descriptor, bytes + 16, 4);
    leg.reads = bytes[20];
    leg.watch_transfer = bytes[21];
    leg.watch_flush = bytes[22];
    return leg;
}

static bool is_page(const Py_buffer *cells)
{
    return cells->len >= (Py_ssize_t)(PAGE_CELLS * sizeof(uint64_t))
           && (uintptr_t)cells->buf % sizeof(uint64_t) == 0;
}

static PyTypeObject *ranges_type;

static PyObject *python_serve(PyObject *module, PyObject *arguments)
{
    (void)module;
    struct call call = {0};
    Py_buffer cells, header, buffer, legs, durable, touched;
    PyObject *ranges;
    int writes, intents;
    unsigned long long plan, holder;
    if (!PyArg_ParseTuple(arguments, "iIKw*w*w*O!Ky*w*w*Ipp:serve", &call.front, &call.slot,
                          &holder, &cells, &header, &buffer, ranges_type, &ranges, &plan, &legs,
                          &durable, &touched, &call.region_shift, &writes, &intents))
        return NULL;
    PyObject *result = NULL;
    call.legs = (unsigned)(legs.len / LEG_BYTES);
    if (!is_page(&cells) || call.slot >= SLOTS || !holder || header.len < HEADER_BYTES
        || call.region_shift > 62 || legs.len > MOST_LEGS * LEG_BYTES
        || durable.len != touched.len) {
        PyErr_SetString(PyExc_ValueError, "not what a worker has");
    } else {
        call.plan = plan;
        call.holder = holder;
        call.cells = cells.buf;
        call.mine = call.cells + FIRST_SLOT + call.slot * SLOT_CELLS;
        call.header = header.buf;
        call.buffer = buffer.buf;
        call.buffer_bytes = (size_t)buffer.len;
        call.durable = durable.buf;
        call.touched = touched.buf;
        call.regions = (uint64_t)durable.len;
        call.writes = writes;
        call.intents = intents;
        call.ranges = (Ranges *)ranges;
        for (unsigned each = 0; each < call.legs; each++)
            call.leg[each] = leg_from((const uint8_t *)legs.buf + each * LEG_BYTES);
        enum result what;
        Py_BEGIN_ALLOW_THREADS
        what = serve(&call);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("iKiii", (int)what, (unsigned long long)call.number, call.error,
                               (int)call.wake, (int)call.tell);
    }
    PyBuffer_Release(&cells);
    PyBuffer_Release(&header);
    PyBuffer_Release(&buffer);
    PyBuffer_Release(&legs);
    PyBuffer_Release(&durable);
    PyBuffer_Release(&touched);
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
    if (cells.len >= (Py_ssize_t)(SLOT_CELLS * sizeof(uint64_t))) {
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

static PyObject *ranges_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    (void)arguments, (void)named;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Ranges *ranges = (Ranges *)allocate(type, 0);
    if (ranges)
        pthread_mutex_init(&ranges->mutex, NULL);
    return (PyObject *)ranges;
}

static void ranges_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    pthread_mutex_destroy(&((Ranges *)self)->mutex);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *ranges_python_take(PyObject *self, PyObject *arguments)
{
    unsigned slot;
    unsigned long long holder, start, end;
    if (!PyArg_ParseTuple(arguments, "IKKK:take", &slot, &holder, &start, &end))
        return NULL;
    if (slot >= SLOTS || !holder)
        return PyErr_Format(PyExc_ValueError, "there is no slot %u", slot);
    return PyBool_FromLong(ranges_take((Ranges *)self, slot, holder, start, end));
}

static PyObject *ranges_python_leave(PyObject *self, PyObject *arguments)
{
    unsigned slot;
    unsigned long long holder;
    if (!PyArg_ParseTuple(arguments, "IK:leave", &slot, &holder))
        return NULL;
    if (slot >= SLOTS)
        return PyErr_Format(PyExc_ValueError, "there is no slot %u", slot);
    return PyBool_FromLong(ranges_leave((Ranges *)self, slot, holder));
}

static PyObject *ranges_python_held(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    Ranges *ranges = (Ranges *)self;
    struct range held[SLOTS]; /* a copy: Python is not to be called while others wait */
    pthread_mutex_lock(&ranges->mutex);
    memcpy(held, ranges->held, sizeof held);
    pthread_mutex_unlock(&ranges->mutex);
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
    {Py_tp_new, (void *)ranges_new},
    {Py_tp_dealloc, (void *)ranges_dealloc},
    {Py_tp_methods, ranges_methods},
    {0, NULL},
};

static PyType_Spec ranges_spec = {
    "holdfast.gate.data._fast_path.HeldRanges", sizeof(Ranges), 0, Py_TPFLAGS_DEFAULT, ranges_slots,
};

static PyMethodDef methods[] = {
    {"serve", python_serve, METH_VARARGS, "See data/fast_path.py."},
    {"take", python_take, METH_VARARGS, "take(cells of a slot, leg): whether it was inside"},
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
        {"LATE_REPLIES", LATE_REPLIES}, {"RESENT", RESENT}, {"MOST_LEGS", MOST_LEGS},
        {"REQUEST", REQUEST}, {"FAILED", FAILED}, {"FLUSH_FAILED", FLUSH_FAILED}, {"ANSWERED", ANSWERED}, {"GIVEN_UP", GIVEN_UP},
        {"RECEIVE_FAILED", RECEIVE_FAILED}, {"ANSWER_FAILED", ANSWER_FAILED}, {"TRUNCATED", TRUNCATED},
    };
    for (size_t each = 0; each < sizeof constants / sizeof *constants; each++)
        if (PyModule_AddIntConstant(module, constants[each].name, constants[each].value))
            return -1;
    ranges_type = (PyTypeObject *)PyType_FromSpec(&ranges_spec);
    return ranges_type ? PyModule_AddObjectRef(module, "HeldRanges", (PyObject *)ranges_type) : -1;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)prepare}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fast_path", "Ordinary requests, without the interpreter.", 0, methods,
    slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fast_path(void) { return PyModuleDef_Init(&definition); }
