/* A 32-bit program (i386) that needs no library: it holds what argv[1], a folder, has of it.
 *
 * A file with a position, one to append to, a shared and a private map, a lock, the folder as its
 * working directory. One thread computes and looks whether its registers are its own; others wait
 * in calls that are made again, through int 0x80 or through the vDSO, with the rest of a time-out or
 * without an end; with a second word they may end with EINTR, as they do where an agent dies and after
 * a signal. "filter" sets a seccomp filter that allows everything. "signals" has the number of signals (SIGUSR1) that came.
 * Answers each line of its input with "ok", or with what is wrong.
 *
 * gcc -m32 -O2 -ffreestanding -fno-stack-protector -fno-pic -no-pie -static -nostdlib
 */
typedef unsigned int word;

enum { /* asm/unistd_32.h */
    EXIT = 1, READ = 3, WRITE = 4, OPEN = 5, CHDIR = 12, LSEEK = 19, CLONE = 120, FLOCK = 143,
    NANOSLEEP = 162, PRCTL = 172, SIGACTION = 174, POLL = 168, GETCWD = 183, MMAP2 = 192, FUTEX = 240, EXIT_GROUP = 252, EPOLL_WAIT = 256,
    EPOLL_CREATE1 = 329, PIPE2 = 331,
};
enum { INTERRUPTED = -4, SHARED = 1, PRIVATE = 2, ANONYMOUS = 0x20, PAGE = 4096, STACK = 65536 };

static word vdso; /* __kernel_vsyscall, or 0 */
static const char *volatile wrong;
static volatile word turns, sleeps, waits;

static int call6(word number, word a, word b, word c, word d, word e, word f) {
    word frame[2] = {f, number};
    int result;
    __asm__ volatile("push %%ebp\n mov 0(%%eax), %%ebp\n mov 4(%%eax), %%eax\n int $0x80\n pop %%ebp"
                     : "=a"(result) : "a"(frame), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}

static int call(word number, word a, word b, word c) { return call6(number, a, b, c, 0, 0, 0); }

/* The same as the C library makes it: sysenter, where the processor has that. */
static int fast(word number, word a, word b, word c, word d) {
    int result;
    if (!vdso)
        return call6(number, a, b, c, d, 0, 0);
    __asm__ volatile("call *%6" : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "m"(vdso) : "memory");
    return result;
}

static void check(int good, const char *what) {
    if (!good && !wrong)
        wrong = what;
}

static void say(const char *text) {
    word length = 0;
    while (text[length])
        length++;
    call(WRITE, 1, (word)text, length);
}

/* All registers that a call does not return in, and the flags, over and over. */
static void compute(void) {
    for (;;) {
        word bad;
        __asm__ volatile(
            "push %%ebp\n mov $0x11111111, %%ebx\n mov $0x22222222, %%ecx\n mov $0x33333333, %%edx\n"
            "mov $0x44444444, %%esi\n mov $0x55555555, %%edi\n mov $0x66666666, %%ebp\n"
            "mov $20000, %%eax\n stc\n"
            "1: dec %%eax\n jnz 1b\n" /* dec leaves the carry flag alone */
            "jnc 2f\n cmp $0x11111111, %%ebx\n jne 2f\n cmp $0x22222222, %%ecx\n jne 2f\n"
            "cmp $0x33333333, %%edx\n jne 2f\n cmp $0x44444444, %%esi\n jne 2f\n"
            "cmp $0x55555555, %%edi\n jne 2f\n cmp $0x66666666, %%ebp\n jne 2f\n"
            "xor %%eax, %%eax\n jmp 3f\n 2: mov $1, %%eax\n 3: pop %%ebp\n"
            : "=a"(bad) : : "ebx", "ecx", "edx", "esi", "edi", "memory", "cc");
        check(!bad, "registers");
        turns++;
    }
}

static int pipes[2], set, may_end;
static volatile word signals;

static int ended(int result) { return result == INTERRUPTED && may_end; }

static void count_signal(int number) { __atomic_add_fetch(&signals, 1, __ATOMIC_SEQ_CST); }

__attribute__((naked)) static void leave_handler(void) {
    __asm__("pop %eax\n mov $119, %eax\n int $0x80"); /* sigreturn */
}

static void sleep_often(void) { /* made again with restart_syscall(2) */
    word time[2] = {0, 20000000};
    for (;; sleeps++) {
        int result = fast(NANOSLEEP, (word)time, 0, 0, 0);
        check(result == 0 || ended(result), "nanosleep");
    }
}

static void wait_in_read(void) {
    char byte;
    for (;; waits++)
        check(call(READ, pipes[0], (word)&byte, 1) == 1, "read");
}

static void wait_in_epoll(void) {
    char event[12];
    while (ended(fast(EPOLL_WAIT, set, (word)event, 1, -1)))
        ;
    check(0, "epoll_wait");
    call(EXIT, 0, 0, 0);
}

static void wait_in_poll(void) { /* its time-out goes on */
    struct { int file; short events, found; } nothing = {set, 0, 0};
    for (;;) {
        int result = fast(POLL, (word)&nothing, 1, 100, 0);
        check(result == 0 || ended(result), "poll");
    }
}

static void wait_in_futex(void) {
    static word cell;
    while (ended(fast(FUTEX, (word)&cell, 0, 0, 0)))
        ;
    check(0, "futex");
    call(EXIT, 0, 0, 0);
}

static void start(void (*what)(void)) {
    word stack = call6(MMAP2, 0, STACK, 3, PRIVATE | ANONYMOUS, -1, 0) + STACK - 16;
    *(word *)stack = (word)what;
    int child;
    /* CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM */
    __asm__ volatile("int $0x80\n test %%eax, %%eax\n jnz 1f\n pop %%eax\n call *%%eax\n hlt\n 1:"
                     : "=a"(child)
                     : "a"(CLONE), "b"(0x50f00), "c"(stack), "d"(0), "S"(0), "D"(0) : "memory");
    check(child > 0, "clone");
}

static int file, appended;
static volatile word *shared, *own;
static char folder[PAGE];
static word length, position;

static int same(const char *one, const char *other) {
    for (; *one && *one == *other; one++, other++)
        ;
    return *one == *other;
}

static void verify(void) {
    char here[PAGE];
    check(call(GETCWD, (word)here, PAGE, 0) > 0 && same(here, folder), "working directory");
    check(call(LSEEK, file, 0, 1) == (int)position, "position");
    check(call(WRITE, file, (word) "x", 1) == 1, "write");
    check(((volatile char *)shared)[position] == 'x', "shared map");
    position++;
    check(call(LSEEK, appended, 0, 0) == 0 && call(WRITE, appended, (word) "y", 1) == 1, "append");
    check(call(LSEEK, appended, 0, 2) == (int)++length, "append");
    check(own[0] == 0x12345678 && own[PAGE / 4] == 0, "private map");
    check(call(FLOCK, file, 6, 0) == 0, "lock");
    for (word turn = turns, sleep = sleeps, wait = waits, tries = 0;; tries++) {
        if (tries == 0)
            call(WRITE, pipes[1], (word) "z", 1);
        call(NANOSLEEP, (word)(word[]){0, 1000000}, 0, 0);
        if (wrong || (turns != turn && sleeps != sleep && waits != wait))
            return;
        check(tries < 20000, "threads");
    }
}

__attribute__((used)) static void begin(word *stack) {
    word count = stack[0];
    char **words = (char **)(stack + 1), **environment = words + count + 1;
    while (*environment)
        environment++;
    for (word *pair = (word *)(environment + 1); pair[0]; pair += 2)
        if (pair[0] == 32) /* AT_SYSINFO */
            vdso = pair[1];
    may_end = count > 2;
    struct { word handler, flags, restorer, mask[2]; } action = {
        (word)count_signal, 0x14000000, (word)leave_handler, {0, 0}}; /* SA_RESTART, SA_RESTORER */
    check(call6(SIGACTION, 10, (word)&action, 0, 8, 0, 0) == 0, "sigaction");
    if (count < 2)
        call(EXIT_GROUP, 0, 0, 0);
    check(call(CHDIR, (word)words[1], 0, 0) == 0, "chdir");
    check(call(GETCWD, (word)folder, PAGE, 0) > 0, "getcwd");
    file = call(OPEN, (word) "file", 0102, 0600);
    appended = call(OPEN, (word) "log", 02102, 0600);
    check(file >= 0 && appended >= 0 && call(FLOCK, file, 6, 0) == 0, "open");
    for (word done = 0; done < 4 * PAGE; done += sizeof folder)
        call(WRITE, file, (word)(char[sizeof folder]){0}, sizeof folder);
    call(LSEEK, file, position = 10, 0);
    length = call(LSEEK, appended, 0, 2);
    shared = (word *)call6(MMAP2, 0, PAGE, 3, SHARED, file, 0);
    own = (word *)call6(MMAP2, 0, 2 * PAGE, 3, PRIVATE, file, 2);
    check((word)shared < -PAGE && (word)own < -PAGE, "mmap");
    if (!wrong)
        own[0] = 0x12345678;
    set = call(EPOLL_CREATE1, 0, 0, 0);
    check(call(PIPE2, (word)pipes, 0, 0) == 0 && set >= 0, "pipe");
    start(compute);
    start(sleep_often);
    start(wait_in_read);
    start(wait_in_epoll);
    start(wait_in_poll);
    start(wait_in_futex);
    if (count > 2 && words[2][0] == 'f') {
        struct { unsigned short code; unsigned char yes, no; word value; } allow = {6, 0, 0, 0x7fff0000};
        struct { unsigned short length; void *program; } filter = {1, &allow};
        check(!call(PRCTL, 38, 1, 0) && !call(PRCTL, 22, 2, (word)&filter), "seccomp");
    }
    say(wrong ? wrong : "ready");
    say("\n");
    for (char byte, first = 0; call(READ, 0, (word)&byte, 1) == 1;) {
        first = first ? first : byte;
        if (byte != '\n')
            continue;
        if (first == 's') {
            char digits[4] = {'0' + signals / 100, '0' + signals / 10 % 10, '0' + signals % 10, 0};
            say(digits);
            say("\n");
            first = 0;
            continue;
        }
        first = 0;
        verify();
        say(wrong ? wrong : "ok");
        say("\n");
    }
    call(EXIT_GROUP, 0, 0, 0);
}

__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %esp, %eax\n push %eax\n call begin\n");
