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
    FLUSHED = 1126, /* position up to which the legs are durable */
    PAGE_CELLS = 1127,
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
    LOGGED, /* position in the ring of the write in hand, plus 1 */
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

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* ---- what several threads take turns at -------------------------------------------------------- */

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

/* ---- ranges: see data/ranges.py --------------------------------------------------------------- */

enum { SLOTS = 62 };

struct range {
    uint64_t holder; /* 0: nobody */
    uint64_t start, end;
};

typedef struct {
    Locked locked;
    bool waiting; /* somebody was refused since the last time that anybody left */
    struct range held[SLOTS];
} Ranges;

static bool ranges_take(Ranges *ranges, unsigned slot, uint64_t holder, uint64_t start,
                        uint64_t end)
{
    bool is_free = true;
    pthread_mutex_lock(&ranges->locked.mutex);
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
    pthread_mutex_unlock(&ranges->locked.mutex);
    return is_free;
}

/* Whether somebody waits for a range, and is to be woken. */
static bool ranges_leave(Ranges *ranges, unsigned slot, uint64_t holder)
{
    bool wake = false;
    pthread_mutex_lock(&ranges->locked.mutex);
    if (ranges->held[slot].holder == holder) {
        ranges->held[slot].holder = 0;
        wake = ranges->waiting;
        ranges->waiting = false;
    }
    pthread_mutex_unlock(&ranges->locked.mutex);
    return wake;
}

/* ---- the log ring: log/ring_layout.py ----------------------------------------------------------------- */

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

/* Room for a record that is not whole yet. The slot says so before anybody sees that it is there. */
static bool ring_reserve(Reserver *reserver, const struct ring *ring, uint64_t *slot,
                         uint64_t offset, uint64_t length, uint64_t payload_bytes, uint64_t time_ns,
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
        set(&slot[LOGGED], *position + 1);
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
    bool writes;  /* every leg takes them from here, and a log from here, if there is one */
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
    Reserver *reserver;
    struct ring ring;
    struct leg leg[MOST_LEGS];
    /* what it comes back with */
    uint64_t number;
    int error;
    bool wake; /* somebody waits for the range that was left */
    bool ask;  /* room in the ring is to be asked for */
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
        call->wake = call->ask = call->tell = false;
        result = serve_one(call);
    } while (result == ANSWERED && !call->wake && !call->ask && !call->tell);
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

static bool is_slot(const Py_buffer *cells)
{
    return cells->len >= (Py_ssize_t)(SLOT_CELLS * sizeof(uint64_t))
           && (uintptr_t)cells->buf % sizeof(uint64_t) == 0;
}

static PyTypeObject *ranges_type, *reserver_type;

static PyObject *python_serve(PyObject *module, PyObject *arguments)
{
    (void)module;
    struct call call = {0};
    Py_buffer cells, header, buffer, legs, durable, touched, ring;
    PyObject *ranges, *reserver;
    int writes, intents;
    unsigned long long plan, holder, spare;
    if (!PyArg_ParseTuple(arguments, "iIKw*w*w*O!Ky*w*w*IppO!w*K:serve", &call.front, &call.slot,
                          &holder, &cells, &header, &buffer, ranges_type, &ranges, &plan, &legs,
                          &durable, &touched, &call.region_shift, &writes, &intents, reserver_type,
                          &reserver, &ring, &spare))
        return NULL;
    PyObject *result = NULL;
    call.legs = (unsigned)(legs.len / LEG_BYTES);
    if (!is_page(&cells) || call.slot >= SLOTS || !holder || header.len < HEADER_BYTES
        || call.region_shift > 62 || legs.len > MOST_LEGS * LEG_BYTES
        || durable.len != touched.len || !ring_from(&ring, &call.ring)) {
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
        call.reserver = (Reserver *)reserver;
        call.ring.spare = spare;
        for (unsigned each = 0; each < call.legs; each++)
            call.leg[each] = leg_from((const uint8_t *)legs.buf + each * LEG_BYTES);
        enum result what;
        Py_BEGIN_ALLOW_THREADS
        what = serve(&call);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("iKiiii", (int)what, (unsigned long long)call.number, call.error,
                               (int)call.wake, (int)call.ask, (int)call.tell);
    }
    PyBuffer_Release(&cells);
    PyBuffer_Release(&header);
    PyBuffer_Release(&buffer);
    PyBuffer_Release(&legs);
    PyBuffer_Release(&durable);
    PyBuffer_Release(&touched);
    PyBuffer_Release(&ring);
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

static PyType_Spec ranges_spec = {
    "holdfast.gate.data._fast_path.HeldRanges", sizeof(Ranges), 0, Py_TPFLAGS_DEFAULT, ranges_slots,
};

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
        uint64_t position;
        ring.spare = spare;
        bool is_there = ring_reserve((Reserver *)self, &ring, slot.buf, offset, length,
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
        {"LOGGED", LOGGED}, {"FLUSHED", FLUSHED}, {"BEGIN", BEGIN}, {"END", END}, {"ASKED", ASKED},
        {"STATE", STATE}, {"DEAD", DEAD},
        {"HEAD_BYTES", HEAD_BYTES}, {"POSITION", POSITION}, {"BYTES", BYTES}, {"KIND", KIND},
        {"OFFSET", OFFSET}, {"LENGTH", LENGTH}, {"TIME", TIME}, {"UNIT_BYTES", UNIT_BYTES},
        {"REQUEST", REQUEST}, {"FAILED", FAILED}, {"FLUSH_FAILED", FLUSH_FAILED},
        {"ANSWERED", ANSWERED}, {"GIVEN_UP", GIVEN_UP}, {"RECEIVE_FAILED", RECEIVE_FAILED},
        {"ANSWER_FAILED", ANSWER_FAILED}, {"TRUNCATED", TRUNCATED},
    };
    for (size_t each = 0; each < sizeof constants / sizeof *constants; each++)
        if (PyModule_AddIntConstant(module, constants[each].name, constants[each].value))
            return -1;
    ranges_type = (PyTypeObject *)PyType_FromSpec(&ranges_spec);
    reserver_type = (PyTypeObject *)PyType_FromSpec(&reserver_spec);
    if (!ranges_type || !reserver_type
        || PyModule_AddObjectRef(module, "Reserver", (PyObject *)reserver_type))
        return -1;
    return PyModule_AddObjectRef(module, "HeldRanges", (PyObject *)ranges_type);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)prepare}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fast_path", "Ordinary requests, without the interpreter.", 0, methods,
    slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__fast_path(void) { return PyModuleDef_Init(&definition); }
