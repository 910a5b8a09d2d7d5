/* Uses io_uring(7) on a file that it has open by number, while nothing of the file's storage is
 * registered with the ring. Usage: ring FILE WORD...
 *   "registered"  a pipe is registered with the ring
 *   "waiting"     a poll of that pipe waits in the ring all the time
 *   "worker"      a read of a pipe waits in a thread that the kernel made for it
 *   "fifo"        both pipes are FIFOs, beside the file
 *   "polling"     a thread of the kernel looks for requests all the time
 * Says "ready", then for each line of input "ok" or what is wrong. After the line "late" a direct
 * read of FILE is under way that another thread has begun, and which the next line waits for. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENTRIES = 8, POLLED = 1, READ = 2, WRITTEN = 3, LATE = 4 };

static int ring, asleep[2], readable[2];
static struct io_uring_params params;
static char *submissions, *completions;
static struct io_uring_sqe *entries;

#define FIELD(base, offset) ((unsigned *)((base) + (offset)))

static int begin(unsigned flags) {
    params.flags = flags;
    params.sq_thread_idle = 50;
    ring = syscall(__NR_io_uring_setup, ENTRIES, &params);
    if (ring < 0)
        return -1;
    size_t bytes = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    submissions = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    completions = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    bytes = params.sq_entries * sizeof(struct io_uring_sqe);
    entries = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    return submissions == MAP_FAILED || completions == MAP_FAILED || entries == MAP_FAILED ? -1 : 0;
}

static int submit(struct io_uring_sqe request) {
    unsigned *tail = FIELD(submissions, params.sq_off.tail);
    unsigned index = *tail & *FIELD(submissions, params.sq_off.ring_mask);
    entries[index] = request;
    FIELD(submissions, params.sq_off.array)[index] = index;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    unsigned flags = 0;
    if (params.flags & IORING_SETUP_SQPOLL)
        flags = IORING_ENTER_SQ_WAKEUP;
    return syscall(__NR_io_uring_enter, ring, 1, 0, flags, NULL, 0) == 1 ? 0 : -1;
}

static int completed(unsigned long long which, int *result) {
    unsigned *head = FIELD(completions, params.cq_off.head);
    while (*head == __atomic_load_n(FIELD(completions, params.cq_off.tail), __ATOMIC_ACQUIRE))
        if (syscall(__NR_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 &&
            errno != EINTR)
            return -1;
    struct io_uring_cqe *found = (struct io_uring_cqe *)(completions + params.cq_off.cqes) +
                                 (*head & *FIELD(completions, params.cq_off.ring_mask));
    int right = found->user_data == which;
    *result = found->res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return right ? 0 : -1;
}

static char byte, text[] = "ring\n";

static int await_pipe(void) {
    struct io_uring_sqe poll = {.opcode = IORING_OP_POLL_ADD, .fd = readable[0], .user_data = POLLED};
    poll.poll32_events = POLLIN;
    return submit(poll);
}

static int read_pipe(void) {
    struct io_uring_sqe request = {.opcode = IORING_OP_READ, .fd = asleep[0], .user_data = READ};
    request.flags = IOSQE_ASYNC;
    request.addr = (unsigned long long)&byte;
    request.len = 1;
    return submit(request);
}

static int late;

static pthread_barrier_t begun;

static void *read_late(void *path) {
    static char block[4096] __attribute__((aligned(4096)));
    int file = open(path, O_RDONLY | O_DIRECT);
    struct io_uring_sqe request = {.opcode = IORING_OP_READ, .fd = file, .user_data = LATE};
    request.addr = (unsigned long long)block;
    request.len = sizeof block;
    late = file >= 0 && submit(request) == 0;
    pthread_barrier_wait(&begun);
    for (;;)
        pause();
}

static int begin_late(char *path) {
    pthread_t thread;
    if (pthread_barrier_init(&begun, NULL, 2) || pthread_create(&thread, NULL, read_late, path))
        return 0;
    pthread_barrier_wait(&begun);
    return late;
}

static const char *verify(int file, int waiting, int worker) {
    int result;
    char buffer[8] = "";
    if (late && (completed(LATE, &result) != 0 || result <= 0))
        return "what was under way was not read";
    late = 0;
    struct io_uring_sqe request = {.opcode = IORING_OP_WRITE, .fd = file, .user_data = WRITTEN};
    request.addr = (unsigned long long)text;
    request.len = sizeof text - 1;
    request.off = -1;
    if (submit(request) != 0 || completed(WRITTEN, &result) != 0 || result != sizeof text - 1)
        return "nothing was written";
    if (waiting && (write(readable[1], "x", 1) != 1 || completed(POLLED, &result) != 0 ||
                    result != POLLIN || read(readable[0], buffer, 1) != 1 || await_pipe() != 0))
        return "the poll is gone";
    if (worker && (write(asleep[1], "y", 1) != 1 || completed(READ, &result) != 0 ||
                   result != 1 || byte != 'y' || read_pipe() != 0))
        return "the read is gone";
    if (lseek(file, -(off_t)sizeof text + 1, SEEK_END) < 0 ||
        read(file, buffer, sizeof text - 1) != sizeof text - 1 || strcmp(buffer, text) != 0)
        return "other contents";
    return "ok";
}

static int open_fifo(const char *beside, int number, int *ends) {
    char path[4096];
    snprintf(path, sizeof path, "%s.%d", beside, number);
    if (mkfifo(path, 0600) != 0 || (ends[0] = open(path, O_RDONLY | O_NONBLOCK)) < 0)
        return -1;
    ends[1] = open(path, O_WRONLY);
    return ends[1] < 0 || fcntl(ends[0], F_SETFL, 0) != 0 ? -1 : 0;
}

int main(int count, char **words) {
    int registered = 0, waiting = 0, worker = 0, polling = 0, fifo = 0;
    char line[16];
    for (int i = 2; i < count; i++) {
        registered |= strcmp(words[i], "registered") == 0;
        waiting |= strcmp(words[i], "waiting") == 0;
        worker |= strcmp(words[i], "worker") == 0;
        fifo |= strcmp(words[i], "fifo") == 0;
        polling |= strcmp(words[i], "polling") == 0;
    }
    int file = open(words[1], O_RDWR | O_CREAT | O_APPEND, 0600);
    if (file < 0 || (fifo ? open_fifo(words[1], 1, asleep) : pipe(asleep)) != 0 ||
        (fifo ? open_fifo(words[1], 2, readable) : pipe(readable)) != 0 ||
        begin(polling ? IORING_SETUP_SQPOLL : 0) != 0) {
        puts("no ring");
        return 1;
    }
    if (registered && syscall(__NR_io_uring_register, ring, IORING_REGISTER_FILES, asleep, 2) != 0)
        puts("not registered");
    if ((waiting && await_pipe() != 0) || (worker && read_pipe() != 0))
        puts("not submitted");
    setlinebuf(stdout);
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "late\n") == 0)
            puts(begin_late(words[1]) ? "ok" : "not submitted");
        else
            puts(verify(file, waiting, worker));
    }
    return 0;
}
