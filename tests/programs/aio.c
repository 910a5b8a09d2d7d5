/* Requests of Linux AIO (io_submit(2)) that are under way all the time, on a file at argv[1].
 *
 * "direct": blocks are written without the page cache, 32 at a time; each must come back as it was
 * written. "buffered": with it. Answers each line of its input with "ok" when the requests since have
 * done what they were to do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DEPTH = 32, BLOCK = 4096, ROUND = 200 };

static aio_context_t context;
static int file;
static char wrong[256];
static volatile unsigned long done;

static void fail(const char *what, long result) {
    snprintf(wrong, sizeof wrong, "%s: %ld (errno %d)", what, result, errno);
}

static int submit(struct iocb *request) { return syscall(SYS_io_submit, context, 1, &request); }

static int next_event(struct io_event *event) {
    return syscall(SYS_io_getevents, context, 1, 1, event, NULL);
}

static void *traffic(void *unused) {
    static struct iocb requests[DEPTH];
    static unsigned long *blocks[DEPTH], *back, number;
    if (posix_memalign((void **)&back, BLOCK, BLOCK))
        abort();
    for (int place = 0; place < DEPTH; place++) {
        if (posix_memalign((void **)&blocks[place], BLOCK, BLOCK))
            abort();
        requests[place] = (struct iocb){.aio_data = place, .aio_lio_opcode = IOCB_CMD_PWRITE,
                                        .aio_fildes = file, .aio_buf = (unsigned long)blocks[place],
                                        .aio_nbytes = BLOCK, .aio_offset = (long)place * BLOCK};
        blocks[place][0] = blocks[place][BLOCK / 8 - 1] = ++number;
        if (submit(&requests[place]) != 1)
            fail("io_submit", place);
    }
    while (!wrong[0]) {
        struct io_event event;
        int got = next_event(&event);
        if (got < 0 && errno == EINTR)
            continue;
        if (got != 1 || event.res != BLOCK) {
            fail("a write", got == 1 ? (long)event.res : got);
            break;
        }
        unsigned long *block = blocks[event.data];
        if (pread(file, back, BLOCK, (long)event.data * BLOCK) != BLOCK || memcmp(back, block, BLOCK)) {
            fail("what was written", event.data);
            break;
        }
        block[0] = block[BLOCK / 8 - 1] = ++number;
        if (submit(&requests[event.data]) != 1) {
            fail("io_submit", event.data);
            break;
        }
        done++;
    }
    return unused;
}

int main(int count, char **words) {
    int direct = count > 2 && !strcmp(words[2], "direct");
    file = open(words[1], O_CREAT | O_RDWR | (direct ? O_DIRECT : 0), 0600);
    pthread_t thread;
    if (file < 0 || syscall(SYS_io_setup, DEPTH, &context))
        return 1;
    if (pthread_create(&thread, NULL, traffic, NULL))
        return 1;
    char line[64];
    for (printf("ready\n"), fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout)) {
        for (unsigned long before = done; !wrong[0] && done < before + ROUND;)
            usleep(1000);
        printf("%s\n", wrong[0] ? wrong : "ok");
    }
    return 0;
}
