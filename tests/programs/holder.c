/* Holds one or more kinds of handles below a directory and verifies, whenever asked, that it still
 * has them: same offsets, flags, sharing, contents, locks, maps, watches.
 *
 * holder DIRECTORY WORD...   words: kinds (see below), "threads", "seccomp"
 * Says "ready", then for each line of input "ok" or what is wrong.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *base;
static char wrong[4096];

static int fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(wrong, sizeof wrong, format, list);
    va_end(list);
    return -1;
}

#define EXPECT(condition) \
    do { if (!(condition)) return fail("line %d: %s (errno %d)", __LINE__, #condition, errno); } while (0)

static char *at(const char *name) {
    static char paths[8][PATH_MAX];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, PATH_MAX, "%s/%s", base, name);
    return path;
}

static int same_inode(int descriptor, const char *path) {
    struct stat one, other;
    return fstat(descriptor, &one) == 0 && stat(path, &other) == 0 && one.st_ino == other.st_ino &&
           one.st_dev == other.st_dev;
}

/* --- file: offset, flags, close-on-exec, contents ------------------------------------------- */

static int file_rw, file_ro, file_flags;
static off_t file_offset;

static int file_begin(void) {
    file_rw = open(at("file"), O_RDWR | O_CREAT | O_TRUNC | O_NOATIME | O_NONBLOCK | O_CLOEXEC, 0600);
    EXPECT(file_rw >= 0 && write(file_rw, "first\n", 6) == 6);
    file_ro = open(at("file"), O_RDONLY);
    char byte;
    EXPECT(read(file_ro, &byte, 1) == 1 && byte == 'f');
    file_flags = fcntl(file_rw, F_GETFL);
    file_offset = 6;
    return 0;
}

static int file_verify(void) {
    EXPECT(lseek(file_rw, 0, SEEK_CUR) == file_offset);
    EXPECT(lseek(file_ro, 0, SEEK_CUR) == 1);
    EXPECT(fcntl(file_rw, F_GETFL) == file_flags);
    EXPECT(fcntl(file_rw, F_GETFD) == FD_CLOEXEC && fcntl(file_ro, F_GETFD) == 0);
    EXPECT(same_inode(file_rw, at("file")) && same_inode(file_ro, at("file")));
    char text[6];
    EXPECT(pread(file_ro, text, 6, 0) == 6 && memcmp(text, "first\n", 6) == 0);
    EXPECT(write(file_rw, "again\n", 6) == 6);
    file_offset += 6;
    EXPECT(pread(file_ro, text, 6, file_offset - 6) == 6 && memcmp(text, "again\n", 6) == 0);
    EXPECT(write(file_ro, "x", 1) == -1 && errno == EBADF);
    return 0;
}

/* --- append: write only, at the end --------------------------------------------------------- */

static int append_fd;
static off_t append_size;

static int append_begin(void) {
    append_fd = open(at("append"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_SYNC, 0600);
    EXPECT(append_fd >= 0 && write(append_fd, "line\n", 5) == 5);
    append_size = 5;
    return 0;
}

static int append_verify(void) {
    struct stat status;
    char byte;
    EXPECT(lseek(append_fd, 0, SEEK_SET) == 0);
    EXPECT(write(append_fd, "line\n", 5) == 5);
    append_size += 5;
    EXPECT(stat(at("append"), &status) == 0 && status.st_size == append_size);
    EXPECT(read(append_fd, &byte, 1) == -1 && errno == EBADF);
    EXPECT((fcntl(append_fd, F_GETFL) & (O_SYNC | O_APPEND)) == (O_SYNC | O_APPEND));
    return 0;
}

/* --- direct: O_DIRECT ----------------------------------------------------------------------- */

static int direct_fd;
static char *direct_buffer;

static int direct_begin(void) {
    direct_fd = open(at("direct"), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
    EXPECT(direct_fd >= 0 && posix_memalign((void **)&direct_buffer, 4096, 4096) == 0);
    memset(direct_buffer, 'd', 4096);
    EXPECT(write(direct_fd, direct_buffer, 4096) == 4096);
    return 0;
}

static int direct_verify(void) {
    EXPECT(fcntl(direct_fd, F_GETFL) & O_DIRECT);
    memset(direct_buffer, 0, 4096);
    EXPECT(pread(direct_fd, direct_buffer, 4096, 0) == 4096 && direct_buffer[4095] == 'd');
    EXPECT(write(direct_fd, direct_buffer, 4096) == 4096);
    return 0;
}

/* --- dup: one description under three numbers, another one of the same file beside ----------- */

static int dup_first, dup_second, dup_high = 700, dup_other;

static int dup_begin(void) {
    dup_first = open(at("dup"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT(dup_first >= 0 && write(dup_first, "0123456789", 10) == 10);
    dup_second = dup(dup_first);
    EXPECT(dup3(dup_first, dup_high, O_CLOEXEC) == dup_high);
    dup_other = open(at("dup"), O_RDWR);
    EXPECT(lseek(dup_other, 10, SEEK_SET) == 10);
    return 0;
}

static int dup_verify(void) {
    off_t before = lseek(dup_first, 0, SEEK_CUR);
    off_t other = lseek(dup_other, 0, SEEK_CUR);
    EXPECT(write(dup_high, "x", 1) == 1);
    EXPECT(lseek(dup_first, 0, SEEK_CUR) == before + 1 && lseek(dup_second, 0, SEEK_CUR) == before + 1);
    EXPECT(lseek(dup_other, 0, SEEK_CUR) == other);
    EXPECT(fcntl(dup_high, F_GETFD) == FD_CLOEXEC && fcntl(dup_second, F_GETFD) == 0);
    EXPECT(fcntl(dup_second, F_SETFL, O_APPEND) == 0 && (fcntl(dup_first, F_GETFL) & O_APPEND));
    EXPECT(!(fcntl(dup_other, F_GETFL) & O_APPEND));
    EXPECT(fcntl(dup_second, F_SETFL, 0) == 0);
    return 0;
}

/* --- fork: one description in two processes --------------------------------------------------- */

static int fork_fd, fork_ask, fork_answer;

static int fork_begin(void) {
    int ask[2], answer[2];
    fork_fd = open(at("fork"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT(fork_fd >= 0 && pipe(ask) == 0 && pipe(answer) == 0);
    if (fork() == 0) {
        char byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ask[1]);
        while (read(ask[0], &byte, 1) == 1) {
            byte = write(fork_fd, "c", 1) == 1 ? 'y' : 'n';
            if (write(answer[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    close(ask[0]);
    fork_ask = ask[1];
    fork_answer = answer[0];
    return 0;
}

static int fork_verify(void) {
    char byte = 0;
    off_t before = lseek(fork_fd, 0, SEEK_CUR);
    EXPECT(write(fork_ask, "?", 1) == 1 && read(fork_answer, &byte, 1) == 1 && byte == 'y');
    EXPECT(lseek(fork_fd, 0, SEEK_CUR) == before + 1);
    EXPECT(write(fork_fd, "p", 1) == 1);
    return 0;
}

/* --- directory, path, cwd ---------------------------------------------------------------------- */

static int directory_fd;
static DIR *directory_stream;

static int directory_begin(void) {
    EXPECT(mkdir(at("directory"), 0700) == 0);
    for (int i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "directory/%d", i);
        int fd = open(at(name), O_WRONLY | O_CREAT, 0600);
        EXPECT(fd >= 0);
        close(fd);
    }
    directory_fd = open(at("directory"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EXPECT(directory_fd >= 0);
    directory_stream = opendir(at("directory"));
    EXPECT(directory_stream != NULL && readdir(directory_stream) != NULL);
    return 0;
}

static int directory_verify(void) {
    int seen = 0;
    EXPECT(same_inode(directory_fd, at("directory")));
    int fd = openat(directory_fd, "19", O_RDWR);
    EXPECT(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
    rewinddir(directory_stream);
    while (readdir(directory_stream) != NULL)
        seen++;
    EXPECT(seen == 22);
    return 0;
}

static int path_file, path_directory, path_link;

static int path_begin(void) {
    close(open(at("path"), O_WRONLY | O_CREAT, 0600));
    EXPECT(symlink("path", at("path-link")) == 0);
    path_file = open(at("path"), O_PATH);
    path_directory = open(base, O_PATH | O_DIRECTORY);
    path_link = open(at("path-link"), O_PATH | O_NOFOLLOW);
    EXPECT(path_file >= 0 && path_directory >= 0 && path_link >= 0);
    return 0;
}

static int path_verify(void) {
    char target[16] = "";
    EXPECT(same_inode(path_file, at("path")) && same_inode(path_directory, base));
    EXPECT(fcntl(path_file, F_GETFL) & O_PATH);
    EXPECT(readlinkat(path_link, "", target, sizeof target) == 4 && memcmp(target, "path", 4) == 0);
    EXPECT(faccessat(path_directory, "path", F_OK, 0) == 0);
    return 0;
}

static int cwd_begin(void) {
    EXPECT(mkdir(at("cwd"), 0700) == 0 && chdir(at("cwd")) == 0);
    return 0;
}

static int cwd_verify(void) {
    char here[PATH_MAX];
    EXPECT(getcwd(here, sizeof here) != NULL && strcmp(here, at("cwd")) == 0);
    int fd = open("made-here", O_WRONLY | O_CREAT, 0600);
    EXPECT(fd >= 0);
    close(fd);
    EXPECT(access(at("cwd/made-here"), F_OK) == 0);
    return 0;
}

static int root_begin(void) {
    EXPECT(mkdir(at("root"), 0700) == 0 && mkdir(at("root/inner"), 0700) == 0);
    EXPECT(chroot(at("root")) == 0 && chdir("/inner") == 0);
    return 0;
}

static int root_verify(void) {
    char here[PATH_MAX];
    EXPECT(getcwd(here, sizeof here) != NULL && strcmp(here, "/inner") == 0);
    int fd = open("/inner/made", O_WRONLY | O_CREAT, 0600);
    EXPECT(fd >= 0);
    close(fd);
    EXPECT(access("made", F_OK) == 0);
    return 0;
}

/* --- aside_root: the right to change it is put aside, and never seen to be taken up ----------- */

static int aside_root_begin(void) {
    EXPECT(mkdir(at("aside"), 0755) == 0 && mkdir(at("aside/inner"), 0777) == 0);
    EXPECT(chmod(at("aside/inner"), 0777) == 0);
    EXPECT(chroot(at("aside")) == 0 && chdir("/inner") == 0);
    EXPECT(setresgid(65534, 65534, 0) == 0 && setresuid(65534, 65534, 0) == 0);
    EXPECT(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
    return 0;
}

static int aside_root_verify(void) {
    char here[PATH_MAX];
    EXPECT(getcwd(here, sizeof here) != NULL && strcmp(here, "/inner") == 0);
    EXPECT(geteuid() == 65534 && chroot(".") == -1 && errno == EPERM);
    EXPECT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
    int fd = open("/inner/made", O_WRONLY | O_CREAT, 0600);
    EXPECT(fd >= 0);
    close(fd);
    EXPECT(access("made", F_OK) == 0 && access("/inner/made", F_OK) == 0);
    EXPECT(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    return 0;
}

/* --- maps -------------------------------------------------------------------------------------- */

enum { MAP_BYTES = 64 << 10 };
static char *shared_map, *read_map, *private_map, *locked_map;
static int private_round;

static int shared_map_begin(void) {
    int fd = open(at("shared"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT(fd >= 0 && ftruncate(fd, MAP_BYTES) == 0);
    shared_map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    read_map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
    EXPECT(shared_map != MAP_FAILED && read_map != MAP_FAILED);
    EXPECT(madvise(shared_map, MAP_BYTES, MADV_DONTFORK) == 0);
    close(fd);
    strcpy(shared_map + 5000, "written through the map");
    return 0;
}

static int shared_map_verify(void) {
    char text[32] = "";
    EXPECT(strcmp(shared_map + 5000, "written through the map") == 0);
    EXPECT(strcmp(read_map + 5000 - 4096, "written through the map") == 0);
    int fd = open(at("shared"), O_RDONLY);
    shared_map[0]++;
    EXPECT(pread(fd, text, 1, 0) == 1 && text[0] == shared_map[0]);
    EXPECT(pread(fd, text, 23, 5000) == 23 && memcmp(text, "written through the map", 23) == 0);
    EXPECT(msync(shared_map, MAP_BYTES, MS_SYNC) == 0);
    close(fd);
    return 0;
}

static int private_map_begin(void) {
    char text[MAP_BYTES];
    int fd = open(at("private"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    memset(text, 'f', sizeof text);
    EXPECT(fd >= 0 && write(fd, text, sizeof text) == sizeof text);
    private_map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    EXPECT(private_map != MAP_FAILED);
    close(fd);
    memcpy(private_map + 3 * 4096, "own", 3);
    EXPECT(mprotect(private_map + 3 * 4096, 4096, PROT_READ) == 0);
    locked_map = private_map + 8 * 4096;
    EXPECT(mlock(locked_map, 4096) == 0);
    return 0;
}

static int private_map_verify(void) {
    char text[4] = "";
    EXPECT(memcmp(private_map + 3 * 4096, "ownf", 4) == 0);
    EXPECT(private_map[0] == 'f' || private_round);
    EXPECT(private_map[MAP_BYTES - 1] == 'f');
    private_round++;
    private_map[0] = 'p';
    int fd = open(at("private"), O_RDONLY);
    EXPECT(pread(fd, text, 3, 3 * 4096) == 3 && memcmp(text, "fff", 3) == 0);
    close(fd);
    char line[256];
    int locked = 0;
    unsigned long start = 0;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    while (smaps && fgets(line, sizeof line, smaps)) {
        unsigned long first, last;
        if (sscanf(line, "%lx-%lx ", &first, &last) == 2)
            start = first;
        if (strncmp(line, "VmFlags:", 8) == 0 && start == (unsigned long)locked_map)
            locked = strstr(line, " lo") != NULL;
    }
    if (smaps)
        fclose(smaps);
    EXPECT(locked);
    return 0;
}

/* Protection keys (pkeys(7)), where the processor has them; else maps like any. */

static char *keyed_map, *keyed_code;
static int map_key, free_keys;

static int count_free_keys(void) {
    int keys[16], count = 0;
    while (count < 16 && (keys[count] = pkey_alloc(0, 0)) > 0)
        count++;
    for (int i = 0; i < count; i++)
        pkey_free(keys[i]);
    return count;
}

static int key_of(char *address) {
    char line[256];
    int key = 0, found = 0;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    while (smaps && fgets(line, sizeof line, smaps)) {
        unsigned long first, last;
        if (sscanf(line, "%lx-%lx ", &first, &last) == 2)
            found = first == (unsigned long)address;
        if (found && sscanf(line, "ProtectionKey: %d", &key) == 1)
            break;
    }
    if (smaps)
        fclose(smaps);
    return key;
}

static int keyed_map_begin(void) {
    map_key = pkey_alloc(0, 0);
    map_key = map_key < 0 ? 0 : map_key;
    free_keys = count_free_keys();
    int fd = open(at("keyed"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT(fd >= 0 && ftruncate(fd, MAP_BYTES) == 0);
    keyed_map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    keyed_code = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    EXPECT(keyed_map != MAP_FAILED && keyed_code != MAP_FAILED);
    close(fd);
    keyed_code[0] = '\xc3'; /* ret */
    if (map_key) {
        EXPECT(pkey_mprotect(keyed_map, MAP_BYTES, PROT_READ | PROT_WRITE, map_key) == 0);
        EXPECT(pkey_mprotect(keyed_code, MAP_BYTES, PROT_EXEC, map_key) == 0);
    } else
        EXPECT(mprotect(keyed_code, MAP_BYTES, PROT_READ | PROT_EXEC) == 0);
    return 0;
}

static int keyed_map_verify(void) {
    keyed_map[0]++;
    ((void (*)(void))keyed_code)();
    EXPECT(key_of(keyed_map) == map_key && key_of(keyed_code) == map_key);
    if (map_key) {
        int fd = open(at("keyed"), O_WRONLY);
        EXPECT(fd >= 0 && pkey_set(map_key, PKEY_DISABLE_ACCESS) == 0);
        ssize_t denied = write(fd, keyed_map, 1);
        EXPECT(pkey_set(map_key, 0) == 0 && denied == -1);
        EXPECT(pwrite(fd, keyed_map, 1, 1) == 1 && keyed_map[1] == keyed_map[0]);
        close(fd);
    }
    EXPECT(count_free_keys() == free_keys);
    return 0;
}

/* --- program: runs from the volume, with its libraries ------------------------------------------ */

static char program_path[PATH_MAX];
static int program_state = 42;

static int program_begin(void) {
    ssize_t length = readlink("/proc/self/exe", program_path, sizeof program_path - 1);
    EXPECT(length > 0 && strncmp(program_path, base, strlen(base)) == 0);
    program_state = 43;
    return 0;
}

static int program_verify(void) {
    char now[PATH_MAX] = "";
    EXPECT(readlink("/proc/self/exe", now, sizeof now - 1) > 0 && strcmp(now, program_path) == 0);
    EXPECT(program_state++ >= 43);
    double value = strtod("1.5", NULL); /* something of the library that ran never before */
    EXPECT(value == 1.5);
    return 0;
}

/* --- locks: tried by a child, which is another process ------------------------------------------ */

static int in_child(int (*attempt)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(attempt() ? 0 : 1);
    while (waitpid(child, &status, 0) == -1 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int flock_fd, posix_fd, ofd_fd, lease_fd;
static volatile sig_atomic_t lease_broken;

static int flock_begin(void) {
    flock_fd = open(at("flock"), O_RDWR | O_CREAT, 0600);
    EXPECT(flock_fd >= 0 && flock(flock_fd, LOCK_EX) == 0);
    return 0;
}
static int flock_refused(void) {
    int fd = open(at("flock"), O_RDWR);
    return flock(fd, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK;
}
static int flock_verify(void) {
    EXPECT(in_child(flock_refused));
    return 0;
}

static struct flock range(short type, off_t start, off_t length) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
}
static int posix_begin(void) {
    struct flock some = range(F_WRLCK, 100, 50), rest = range(F_RDLCK, 1000, 0);
    posix_fd = open(at("posix"), O_RDWR | O_CREAT, 0600);
    EXPECT(posix_fd >= 0 && fcntl(posix_fd, F_SETLK, &some) == 0 && fcntl(posix_fd, F_SETLK, &rest) == 0);
    return 0;
}
static int posix_refused(void) {
    int fd = open(at("posix"), O_RDWR);
    struct flock inside = range(F_WRLCK, 149, 1), after = range(F_WRLCK, 150, 1);
    struct flock far = range(F_WRLCK, 1 << 20, 1), far_read = range(F_RDLCK, 1 << 20, 1);
    return fcntl(fd, F_SETLK, &inside) == -1 && fcntl(fd, F_SETLK, &after) == 0 &&
           fcntl(fd, F_SETLK, &far) == -1 && fcntl(fd, F_SETLK, &far_read) == 0;
}
static int posix_verify(void) {
    EXPECT(in_child(posix_refused));
    return 0;
}

static int ofd_begin(void) {
    struct flock some = range(F_WRLCK, 10, 10);
    ofd_fd = open(at("ofd"), O_RDWR | O_CREAT, 0600);
    EXPECT(ofd_fd >= 0 && fcntl(ofd_fd, F_OFD_SETLK, &some) == 0);
    return 0;
}
static int ofd_refused(void) {
    struct flock inside = range(F_RDLCK, 19, 1), after = range(F_WRLCK, 20, 1);
    int fd = open(at("ofd"), O_RDWR);
    return fcntl(fd, F_OFD_SETLK, &inside) == -1 && fcntl(fd, F_OFD_SETLK, &after) == 0;
}
static int ofd_verify(void) {
    EXPECT(in_child(ofd_refused));
    return 0;
}

static void on_lease(int number) { (void)number; lease_broken = 1; }
static int lease_begin(void) {
    struct sigaction action = {.sa_handler = on_lease};
    sigaction(SIGUSR2, &action, NULL);
    lease_fd = open(at("lease"), O_RDWR | O_CREAT, 0600);
    EXPECT(lease_fd >= 0 && fcntl(lease_fd, F_SETSIG, SIGUSR2) == 0);
    EXPECT(fcntl(lease_fd, F_SETLEASE, F_WRLCK) == 0);
    return 0;
}
static int lease_refused(void) {
    return open(at("lease"), O_RDONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK;
}
static int lease_verify(void) {
    EXPECT(fcntl(lease_fd, F_GETLEASE) == F_WRLCK && fcntl(lease_fd, F_GETSIG) == SIGUSR2);
    lease_broken = 0;
    EXPECT(in_child(lease_refused));
    EXPECT(lease_broken);
    EXPECT(fcntl(lease_fd, F_SETLEASE, F_UNLCK) == 0 && fcntl(lease_fd, F_SETSIG, SIGUSR2) == 0);
    EXPECT(fcntl(lease_fd, F_SETLEASE, F_WRLCK) == 0);
    return 0;
}

/* --- deleted: contents live on without a name ---------------------------------------------------- */

static int deleted_fd, deleted_second;
static char *deleted_map;

static int deleted_begin(void) {
    deleted_fd = open(at("deleted"), O_RDWR | O_CREAT | O_TRUNC, 0640);
    deleted_second = open(at("deleted"), O_RDONLY);
    EXPECT(deleted_fd >= 0 && ftruncate(deleted_fd, 1 << 20) == 0);
    EXPECT(pwrite(deleted_fd, "far away", 8, 900000) == 8 && write(deleted_fd, "near", 4) == 4);
    deleted_map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, deleted_fd, 0);
    EXPECT(deleted_map != MAP_FAILED);
    EXPECT(unlink(at("deleted")) == 0);
    return 0;
}

static int deleted_verify(void) {
    char text[8];
    struct stat status;
    EXPECT(fstat(deleted_fd, &status) == 0 && status.st_nlink == 0 && status.st_size == 1 << 20);
    EXPECT((status.st_mode & 0777) == 0640);
    EXPECT(pread(deleted_second, text, 8, 900000) == 8 && memcmp(text, "far away", 8) == 0);
    EXPECT(lseek(deleted_fd, 0, SEEK_CUR) == 4 && memcmp(deleted_map, "near", 4) == 0);
    deleted_map[100]++;
    EXPECT(pread(deleted_second, text, 1, 100) == 1 && text[0] == deleted_map[100]);
    EXPECT(access(at("deleted"), F_OK) == -1 && errno == ENOENT);
    return 0;
}

/* --- removed: directories that are gone, one in the other; places of names that are gone -------------- */

static int removed_dir, removed_second, removed_inner, removed_place, removed_link, removed_socket;
static int removed_fifo, removed_file;

static int removed_begin(void) {
    struct timespec times[2] = {{1000, 5}, {2000, 7}};
    EXPECT(mkdir(at("kept"), 0755) == 0 && mkdir(at("kept/gone"), 02750) == 0);
    EXPECT(mkdir(at("kept/gone/inner"), 0700) == 0);
    EXPECT((removed_dir = open(at("kept/gone"), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    EXPECT((removed_second = open(at("kept/gone"), O_RDONLY)) >= 0);
    EXPECT((removed_inner = open(at("kept/gone/inner"), O_RDONLY)) >= 0);
    EXPECT((removed_place = open(at("kept/gone"), O_PATH | O_DIRECTORY)) >= 0);
    EXPECT(fchmod(removed_dir, 02750) == 0 && flock(removed_dir, LOCK_EX) == 0);
    EXPECT(symlink("some/where", at("gone-link")) == 0);
    EXPECT((removed_link = open(at("gone-link"), O_PATH | O_NOFOLLOW)) >= 0);
    EXPECT(mknod(at("gone-socket"), S_IFSOCK | 0604, 0) == 0);
    EXPECT((removed_socket = open(at("gone-socket"), O_PATH)) >= 0);
    EXPECT(mkfifo(at("gone-fifo"), 0604) == 0);
    EXPECT((removed_fifo = open(at("gone-fifo"), O_PATH)) >= 0);
    int file = open(at("gone-file"), O_RDWR | O_CREAT, 0644);
    EXPECT(file >= 0 && write(file, "contents", 8) == 8 && close(file) == 0);
    EXPECT((removed_file = open(at("gone-file"), O_PATH)) >= 0);
    EXPECT(rmdir(at("kept/gone/inner")) == 0 && rmdir(at("kept/gone")) == 0);
    EXPECT(unlink(at("gone-link")) == 0 && unlink(at("gone-socket")) == 0);
    EXPECT(unlink(at("gone-fifo")) == 0 && unlink(at("gone-file")) == 0);
    EXPECT(futimens(removed_dir, times) == 0);
    return 0;
}

static int is_gone(int descriptor, mode_t mode) {
    struct stat status;
    EXPECT(fstat(descriptor, &status) == 0 && status.st_nlink == 0 && status.st_mode == mode);
    EXPECT(status.st_uid == geteuid());
    return 0;
}

static int is_empty(int directory) {
    struct stat status;
    char path[64], text[64], name[PATH_MAX + 1] = "";
    EXPECT(openat(directory, "new", O_RDWR | O_CREAT, 0600) == -1 && errno == ENOENT);
    EXPECT(mkdirat(directory, "new", 0700) == -1 && errno == ENOENT);
    EXPECT(fstatat(directory, "new", &status, 0) == -1 && errno == ENOENT);
    EXPECT(syscall(SYS_getdents64, directory, text, sizeof text) == -1 && errno == ENOENT);
    snprintf(path, sizeof path, "/proc/self/fd/%d", directory);
    EXPECT(readlink(path, name, PATH_MAX) > 10 && strstr(name, " (deleted)"));
    return 0;
}

static int leads_to(int descriptor, int other, const char *path) {
    struct stat one, two;
    int above = openat(descriptor, "..", O_PATH);
    EXPECT(above >= 0 && fstat(above, &one) == 0 && close(above) == 0);
    EXPECT((path ? stat(path, &two) : fstat(other, &two)) == 0);
    EXPECT(one.st_ino == two.st_ino && one.st_dev == two.st_dev);
    return 0;
}

static int removed_verify(void) {
    char path[64], text[64] = "";
    struct stat one, two;
    EXPECT(is_gone(removed_dir, S_IFDIR | 02750) == 0 && is_gone(removed_inner, S_IFDIR | 0700) == 0);
    EXPECT(is_empty(removed_dir) == 0 && is_empty(removed_inner) == 0);
    EXPECT(fstat(removed_dir, &one) == 0 && fstat(removed_second, &two) == 0);
    EXPECT(one.st_ino == two.st_ino && one.st_dev == two.st_dev && one.st_mtime == 2000);
    EXPECT(fstat(removed_place, &two) == 0 && one.st_ino == two.st_ino);
    EXPECT(fcntl(removed_dir, F_GETFD) == FD_CLOEXEC && fcntl(removed_second, F_GETFD) == 0);
    EXPECT(fcntl(removed_place, F_GETFL) & O_PATH);
    EXPECT(flock(removed_second, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
    EXPECT(leads_to(removed_inner, removed_dir, NULL) == 0);
    EXPECT(leads_to(removed_dir, -1, at("kept")) == 0);
    EXPECT(is_gone(removed_link, S_IFLNK | 0777) == 0);
    EXPECT(readlinkat(removed_link, "", text, sizeof text) == 10 && !strcmp(text, "some/where"));
    EXPECT(is_gone(removed_socket, S_IFSOCK | 0604) == 0);
    EXPECT(is_gone(removed_fifo, S_IFIFO | 0604) == 0 && is_gone(removed_file, S_IFREG | 0644) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", removed_file);
    int file = open(path, O_RDONLY);
    EXPECT(file >= 0 && read(file, text, 8) == 8 && !memcmp(text, "contents", 8) && !close(file));
    EXPECT(access(at("gone-file"), F_OK) == -1 && access(at("kept/gone"), F_OK) == -1);
    return 0;
}

/* --- removed_cwd, removed_root: where one stands is gone ---------------------------------------------- */

static int removed_cwd_begin(void) {
    EXPECT(mkdir(at("stood"), 0700) == 0 && chdir(at("stood")) == 0 && rmdir(at("stood")) == 0);
    return 0;
}

static int removed_cwd_verify(void) {
    char path[PATH_MAX];
    struct stat status;
    EXPECT(getcwd(path, sizeof path) == NULL && errno == ENOENT);
    EXPECT(stat(".", &status) == 0 && status.st_nlink == 0 && status.st_mode == (S_IFDIR | 0700));
    EXPECT(open("new", O_RDWR | O_CREAT, 0600) == -1 && errno == ENOENT);
    EXPECT(leads_to(AT_FDCWD, -1, base) == 0);
    return 0;
}

static int removed_root_begin(void) {
    EXPECT(mkdir(at("jail"), 0711) == 0 && chdir(base) == 0 && chroot("jail") == 0);
    EXPECT(rmdir("jail") == 0 && chdir("/") == 0);
    return 0;
}

static int removed_root_verify(void) {
    struct stat root, here, above;
    EXPECT(stat("/", &root) == 0 && root.st_nlink == 0 && root.st_mode == (S_IFDIR | 0711));
    EXPECT(stat(".", &here) == 0 && here.st_ino == root.st_ino && here.st_dev == root.st_dev);
    EXPECT(stat("..", &above) == 0 && above.st_ino == root.st_ino && above.st_dev == root.st_dev);
    EXPECT(open("/new", O_RDWR | O_CREAT, 0600) == -1 && errno == ENOENT);
    return 0;
}

/* --- inotify: same numbers, also within epoll ------------------------------------------------------ */

static int inotify_fd, inotify_second, inotify_epoll, inotify_wd, inotify_other, inotify_round;

static int inotify_begin(void) {
    EXPECT(mkdir(at("watched"), 0700) == 0);
    close(open(at("watched/file"), O_WRONLY | O_CREAT, 0600));
    inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    EXPECT(inotify_fd >= 0);
    int gone = inotify_add_watch(inotify_fd, base, IN_CREATE);
    EXPECT(gone == 1 && inotify_rm_watch(inotify_fd, gone) == 0);
    inotify_other = inotify_add_watch(inotify_fd, "/tmp", IN_DELETE_SELF);
    inotify_wd = inotify_add_watch(inotify_fd, at("watched"), IN_CREATE | IN_ALL_EVENTS);
    EXPECT(inotify_other == 2 && inotify_wd == 3);
    inotify_second = dup(inotify_fd);
    char events[4096];
    while (read(inotify_fd, events, sizeof events) > 0)
        ;
    inotify_epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789abcULL};
    EXPECT(epoll_ctl(inotify_epoll, EPOLL_CTL_ADD, inotify_fd, &event) == 0);
    return 0;
}

static int inotify_verify(void) {
    char name[64], events[4096], file[32];
    struct epoll_event event = {0};
    EXPECT(epoll_wait(inotify_epoll, &event, 1, 0) == 0); /* nothing happened that it may see */
    snprintf(file, sizeof file, "new-%d", inotify_round++);
    snprintf(name, sizeof name, "watched/%s", file);
    int fd = open(at(name), O_WRONLY | O_CREAT, 0600);
    close(fd);
    EXPECT(epoll_wait(inotify_epoll, &event, 1, 1000) == 1 && event.data.u64 == 0x123456789abcULL);
    ssize_t length = read(inotify_second, events, sizeof events);
    struct inotify_event *first = (struct inotify_event *)events;
    EXPECT(length > 0 && first->wd == inotify_wd && (first->mask & IN_CREATE));
    EXPECT(strcmp(first->name, file) == 0);
    EXPECT(inotify_add_watch(inotify_fd, at("watched"), IN_ALL_EVENTS) == inotify_wd);
    EXPECT(inotify_add_watch(inotify_fd, "/tmp", IN_DELETE_SELF) == inotify_other);
    return 0;
}

/* --- fanotify: marks of an inode, the mount and the file system, also within epoll ------------------- */

static int marks_fd, marks_second, marks_epoll, mount_marks_fd, named_marks_fd, marks_round;

static int marks_drain(int group) {
    char events[65536];
    ssize_t length;
    int count = 0;
    while ((length = read(group, events, sizeof events)) > 0) {
        struct fanotify_event_metadata *each = (void *)events;
        for (; FAN_EVENT_OK(each, length); each = FAN_EVENT_NEXT(each, length), count++)
            if (each->fd >= 0)
                close(each->fd);
    }
    return count;
}

/* Whether an event of this kind comes, whose file has this path (or whose record has this name). */
static int marks_tell(int group, unsigned long long mask, const char *path, const char *name) {
    char events[65536];
    ssize_t length;
    int found = 0;
    while ((length = read(group, events, sizeof events)) > 0) {
        struct fanotify_event_metadata *each = (void *)events;
        for (; FAN_EVENT_OK(each, length); each = FAN_EVENT_NEXT(each, length)) {
            if (each->fd >= 0) {
                char link[64], where[PATH_MAX] = "";
                snprintf(link, sizeof link, "/proc/self/fd/%d", each->fd);
                if (readlink(link, where, sizeof where - 1) > 0 && !strcmp(where, path))
                    found |= !!(each->mask & mask);
                close(each->fd);
            } else if (each->mask & mask) {
                found |= !!memmem(each, each->event_len, name, strlen(name) + 1);
            }
        }
    }
    return found;
}

static int fanotify_begin(void) {
    EXPECT(mkdir(at("marked"), 0700) == 0);
    int quiet = open(at("marked-not"), O_CREAT | O_RDWR, 0600);
    EXPECT(quiet >= 0 && close(quiet) == 0);
    marks_fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
    mount_marks_fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDWR | O_LARGEFILE);
    named_marks_fd = fanotify_init(FAN_REPORT_DFID_NAME | FAN_NONBLOCK | FAN_CLOEXEC, 0);
    EXPECT(marks_fd >= 0 && mount_marks_fd >= 0 && named_marks_fd >= 0);
    EXPECT(fanotify_mark(marks_fd, FAN_MARK_ADD, FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD, -1,
                         at("marked")) == 0);
    EXPECT(fanotify_mark(marks_fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE, -1, "/sys") == 0);
    EXPECT(fanotify_mark(mount_marks_fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_CLOSE_WRITE, -1, base) == 0);
    EXPECT(fanotify_mark(mount_marks_fd,
                         FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
                         FAN_CLOSE_WRITE, -1, at("marked-not")) == 0);
    EXPECT(fanotify_mark(named_marks_fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE | FAN_ONDIR,
                         -1, base) == 0);
    marks_second = dup(marks_fd);
    marks_epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {EPOLLIN, {.u64 = 0xfa}};
    EXPECT(epoll_ctl(marks_epoll, EPOLL_CTL_ADD, marks_fd, &event) == 0);
    return 0;
}

static int fanotify_verify(void) {
    struct epoll_event event;
    EXPECT(epoll_wait(marks_epoll, &event, 1, 0) == 0); /* nothing happened that it may see */
    marks_drain(mount_marks_fd);
    marks_drain(named_marks_fd);
    char path[PATH_MAX], name[64];
    snprintf(name, sizeof name, "new-%d", marks_round++);
    snprintf(path, sizeof path, "%s/%s", at("marked"), name);
    int file = open(path, O_CREAT | O_RDWR, 0600);
    EXPECT(file >= 0 && close(file) == 0);
    EXPECT(epoll_wait(marks_epoll, &event, 1, 1000) == 1 && event.data.u64 == 0xfa);
    EXPECT(marks_tell(marks_second, FAN_CLOSE_WRITE, path, ""));
    EXPECT(marks_tell(mount_marks_fd, FAN_CLOSE_WRITE, path, ""));
    EXPECT(marks_tell(named_marks_fd, FAN_CREATE, "", name));
    file = open(at("marked-not"), O_RDWR);
    EXPECT(file >= 0 && write(file, name, 1) == 1 && close(file) == 0);
    EXPECT(!marks_tell(mount_marks_fd, FAN_CLOSE_WRITE, at("marked-not"), ""));
    return 0;
}

/* --- fifo: what is in it, packets, capacity, both ends in one process and in two, no other end --------- */

static int fifo_reader, fifo_writer, fifo_packets, fifo_epoll, fifo_never, fifo_over, fifo_full;
static int fifo_child;
static char fifo_next;

static int fifo_begin(void) {
    const char *names[] = {"fifo", "fifo-packets", "fifo-never", "fifo-over", "fifo-full",
                           "fifo-answer"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        EXPECT(mkfifo(at(names[i]), 0640) == 0);
    fifo_reader = open(at("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fifo_writer = open(at("fifo"), O_WRONLY);
    EXPECT(fcntl(fifo_reader, F_SETPIPE_SZ, 1 << 17) == 1 << 17);
    EXPECT(write(fifo_writer, "first", 5) == 5);
    fifo_packets = open(at("fifo-packets"), O_RDWR | O_NONBLOCK);
    EXPECT(fcntl(fifo_packets, F_SETFL, O_DIRECT | O_NONBLOCK | O_NOATIME) == 0);
    EXPECT(write(fifo_packets, "aaa", 3) == 3 && write(fifo_packets, "bb", 2) == 2);
    fifo_never = open(at("fifo-never"), O_RDONLY | O_NONBLOCK);
    fifo_over = open(at("fifo-over"), O_RDONLY | O_NONBLOCK);
    close(open(at("fifo-over"), O_WRONLY));
    int gone = open(at("fifo-full"), O_RDONLY | O_NONBLOCK);
    fifo_full = open(at("fifo-full"), O_WRONLY | O_NONBLOCK);
    while (write(fifo_full, wrong, sizeof wrong) > 0)
        ;
    EXPECT(errno == EAGAIN);
    close(gone);
    fifo_epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 0xfedcba987654ULL};
    EXPECT(epoll_ctl(fifo_epoll, EPOLL_CTL_ADD, fifo_packets, &event) == 0);
    int answer = open(at("fifo-answer"), O_RDWR);
    if (fork() == 0) { /* waits in read and answers in the other FIFO */
        char byte;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fifo_writer);
        while (read(answer, &byte, 1) == 1) {
            if (byte == '?')
                byte = '!';
            if (write(answer, &byte, 1) != 1)
                break;
            usleep(1000);
        }
        _exit(0);
    }
    fifo_child = answer;
    return 0;
}

static int fifo_verify(void) {
    char text[4096] = "";
    struct stat status;
    struct pollfd state;
    struct epoll_event event = {0};
    EXPECT(same_inode(fifo_reader, at("fifo")) && same_inode(fifo_writer, at("fifo")));
    EXPECT(fstat(fifo_reader, &status) == 0 && (status.st_mode & 07777) == 0640);
    EXPECT(fcntl(fifo_writer, F_GETPIPE_SZ) == 1 << 17 && fcntl(fifo_reader, F_GETFD) == FD_CLOEXEC);
    EXPECT((fcntl(fifo_reader, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
    EXPECT((fcntl(fifo_writer, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_WRONLY);
    if (!fifo_next) {
        EXPECT(read(fifo_reader, text, sizeof text) == 5 && memcmp(text, "first", 5) == 0);
        fifo_next = 'a';
    } else
        EXPECT(read(fifo_reader, text, sizeof text) == 1 && text[0] == fifo_next++);
    EXPECT(read(fifo_reader, text, sizeof text) == -1 && errno == EAGAIN);
    if (fifo_next > 'x')
        fifo_next = 'a';
    EXPECT(write(fifo_writer, &fifo_next, 1) == 1);

    EXPECT((fcntl(fifo_packets, F_GETFL) & (O_DIRECT | O_NOATIME)) == (O_DIRECT | O_NOATIME));
    EXPECT(epoll_wait(fifo_epoll, &event, 1, 0) == 1 && event.data.u64 == 0xfedcba987654ULL);
    EXPECT(read(fifo_packets, text, sizeof text) == 3 && memcmp(text, "aaa", 3) == 0);
    EXPECT(read(fifo_packets, text, sizeof text) == 2 && memcmp(text, "bb", 2) == 0);
    EXPECT(read(fifo_packets, text, sizeof text) == -1 && errno == EAGAIN);
    EXPECT(write(fifo_packets, "aaa", 3) == 3 && write(fifo_packets, "bb", 2) == 2);

    state = (struct pollfd){.fd = fifo_never, .events = POLLIN};
    EXPECT(poll(&state, 1, 0) == 0 && read(fifo_never, text, 1) == 0);
    state.fd = fifo_over;
    EXPECT(poll(&state, 1, 0) == 1 && state.revents == POLLHUP && read(fifo_over, text, 1) == 0);
    state = (struct pollfd){.fd = fifo_full}; /* an agent that died may be closing its copy */
    EXPECT(poll(&state, 1, 10000) == 1 && (state.revents & POLLERR));
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    EXPECT(write(fifo_full, "x", 1) == -1 && errno == EPIPE);
    signal(SIGPIPE, before);
    int inside = 0;
    EXPECT(ioctl(fifo_full, FIONREAD, &inside) == 0 && inside == 65536);

    EXPECT(write(fifo_child, "?", 1) == 1);
    do { /* either of us may read it */
        EXPECT(read(fifo_child, text, 1) == 1);
        if (text[0] == '?')
            EXPECT(write(fifo_child, "?", 1) == 1);
        usleep(1000);
    } while (text[0] != '!');
    return 0;
}

static int deleted_fifo_reader, deleted_fifo_writer;

static int deleted_fifo_begin(void) {
    EXPECT(mkfifo(at("deleted-fifo"), 0640) == 0);
    deleted_fifo_reader = open(at("deleted-fifo"), O_RDONLY | O_NONBLOCK);
    deleted_fifo_writer = open(at("deleted-fifo"), O_WRONLY);
    EXPECT(unlink(at("deleted-fifo")) == 0 && write(deleted_fifo_writer, "x", 1) == 1);
    return 0;
}

static int deleted_fifo_verify(void) {
    char byte;
    struct stat status;
    EXPECT(fstat(deleted_fifo_reader, &status) == 0 && S_ISFIFO(status.st_mode));
    EXPECT(status.st_nlink == 0 && (status.st_mode & 07777) == 0640 && status.st_uid == geteuid());
    EXPECT(read(deleted_fifo_reader, &byte, 1) == 1 && byte == 'x');
    EXPECT(read(deleted_fifo_reader, &byte, 1) == -1 && errno == EAGAIN);
    EXPECT(write(deleted_fifo_writer, "x", 1) == 1);
    return 0;
}

/* --- listening, seqpacket: sockets that accept connections at a name ----------------------------- */

struct listener {
    int type, fd, second, epoll;
    struct sockaddr_un address;
    socklen_t length;
    struct ucred seen;
    char file[32];
};

static struct listener stream_one = {.type = SOCK_STREAM, .file = "listening"};
static struct listener packet_one = {.type = SOCK_SEQPACKET, .file = "seqpacket"};
static const int five = 5, yes = 1, half = 300000;
static const struct timeval soon = {7, 500000};

static int listener_connect(struct listener *me) {
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    snprintf(there.sun_path, sizeof there.sun_path, "%s", at(me->file));
    int client = socket(AF_UNIX, me->type, 0);
    EXPECT(client >= 0 && connect(client, (struct sockaddr *)&there, sizeof there) == 0);
    return client;
}

static int listener_look(struct listener *me, struct sockaddr_un *address, socklen_t *length) {
    *length = sizeof *address;
    memset(address, 0, sizeof *address);
    return getsockname(me->fd, (struct sockaddr *)address, length);
}

static int listener_begin(struct listener *me, const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    me->fd = socket(AF_UNIX, me->type | SOCK_CLOEXEC, 0);
    EXPECT(setsockopt(me->fd, SOL_SOCKET, SO_PRIORITY, &five, sizeof five) == 0);
    EXPECT(setsockopt(me->fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0);
    EXPECT(setsockopt(me->fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof half) == 0);
    EXPECT(setsockopt(me->fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    EXPECT(bind(me->fd, (struct sockaddr *)&address, sizeof address) == 0);
    EXPECT(chmod(at(me->file), 0620) == 0 && listen(me->fd, 3) == 0);
    EXPECT(fcntl(me->fd, F_SETOWN, getpid()) == 0 && fcntl(me->fd, F_SETSIG, SIGURG) == 0);
    EXPECT(fcntl(me->fd, F_SETFL, O_NONBLOCK | O_ASYNC) == 0);
    me->second = dup(me->fd);
    me->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 0xabcdef0123456789ULL};
    EXPECT(epoll_ctl(me->epoll, EPOLL_CTL_ADD, me->fd, &event) == 0);
    EXPECT(listener_look(me, &me->address, &me->length) == 0);
    return 0;
}

static int listener_verify(struct listener *me) {
    struct sockaddr_un address;
    socklen_t length = sizeof address, size = sizeof me->seen;
    struct epoll_event event = {0};
    struct stat status;
    struct timeval wait = {0};
    int value = 0, clients[5];
    EXPECT(listener_look(me, &address, &length) == 0 && length == me->length);
    EXPECT(memcmp(&address, &me->address, sizeof address) == 0);
    EXPECT(fcntl(me->fd, F_GETFD) == FD_CLOEXEC && fcntl(me->second, F_GETFD) == 0);
    EXPECT((fcntl(me->second, F_GETFL) & (O_NONBLOCK | O_ASYNC)) == (O_NONBLOCK | O_ASYNC));
    EXPECT(fcntl(me->fd, F_GETOWN) == getpid() && fcntl(me->fd, F_GETSIG) == SIGURG);
    size = sizeof value;
    EXPECT(getsockopt(me->fd, SOL_SOCKET, SO_PRIORITY, &value, &size) == 0 && value == five);
    EXPECT(getsockopt(me->fd, SOL_SOCKET, SO_PASSCRED, &value, &size) == 0 && value == yes);
    EXPECT(getsockopt(me->fd, SOL_SOCKET, SO_RCVBUF, &value, &size) == 0 && value >= half);
    size = sizeof wait;
    EXPECT(getsockopt(me->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, &size) == 0 && wait.tv_sec == soon.tv_sec);
    EXPECT(stat(at(me->file), &status) == 0 && S_ISSOCK(status.st_mode));
    EXPECT((status.st_mode & 07777) == 0620 && status.st_uid == geteuid());
    /* A dead agent may leave connections that have ended; nobody else leaves any. */
    for (int ended; getenv("AGENTS_DIE") && (ended = accept(me->second, NULL, NULL)) >= 0; close(ended))
        EXPECT(read(ended, &event, 1) == 0);
    EXPECT(accept(me->second, NULL, NULL) == -1 && errno == EAGAIN);
    epoll_wait(me->epoll, &event, 1, 0); /* it may say once that nothing is there */
    for (int i = 0; i < 4; i++) { /* a backlog of 3 leaves room for four */
        clients[i] = listener_connect(me);
        if (clients[i] < 0)
            return -1;
    }
    size = sizeof me->seen;
    EXPECT(getsockopt(clients[0], SOL_SOCKET, SO_PEERCRED, &me->seen, &size) == 0);
    EXPECT(me->seen.pid == getpid() && me->seen.uid == geteuid() && me->seen.gid == getegid());
    clients[4] = socket(AF_UNIX, me->type | SOCK_NONBLOCK, 0);
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    snprintf(there.sun_path, sizeof there.sun_path, "%s", at(me->file));
    EXPECT(connect(clients[4], (struct sockaddr *)&there, sizeof there) == -1 && errno == EAGAIN);
    EXPECT(epoll_wait(me->epoll, &event, 1, 1000) == 1 && event.data.u64 == 0xabcdef0123456789ULL);
    for (int i = 0; i < 4; i++) {
        char text[8];
        int taken = accept(i % 2 ? me->fd : me->second, NULL, NULL);
        EXPECT(taken >= 0 && write(clients[i], "ping", 4) == 4 && read(taken, text, 8) == 4);
        length = sizeof address;
        EXPECT(getpeername(clients[i], (struct sockaddr *)&address, &length) == 0);
        EXPECT(length == me->length && memcmp(&address, &me->address, length) == 0);
        close(taken);
        close(clients[i]);
    }
    close(clients[4]);
    return 0;
}

static int listening_begin(void) { return listener_begin(&stream_one, at("listening")); }
static int listening_verify(void) { return listener_verify(&stream_one); }

static int seqpacket_begin(void) { /* bound to a name that means nothing where it stands afterwards */
    char here[PATH_MAX];
    EXPECT(getcwd(here, sizeof here) != NULL);
    EXPECT(mkdir(at("sub"), 0755) == 0 && chdir(at("sub")) == 0);
    if (listener_begin(&packet_one, "./.././sub/../seqpacket") != 0)
        return -1;
    return chdir(here);
}
static int seqpacket_verify(void) { return listener_verify(&packet_one); }

/* --- datagram: a socket at a name, what waits in it, and one that is connected to it --------------- */

static int datagram_fd, datagram_second, datagram_epoll, datagram_client;
static unsigned datagram_sent, datagram_got;

static int datagram_send(int count) {
    for (int i = 0; i < count; i++, datagram_sent++) {
        struct sockaddr_un there = {.sun_family = AF_UNIX};
        snprintf(there.sun_path, sizeof there.sun_path, "%s", at("datagram"));
        int other = socket(AF_UNIX, SOCK_DGRAM, 0);
        if (datagram_sent % 2)
            EXPECT(send(datagram_client, &datagram_sent, sizeof datagram_sent, 0) == 4);
        else
            EXPECT(sendto(other, &datagram_sent, 4, 0, (struct sockaddr *)&there, sizeof there) == 4);
        close(other);
    }
    return 0;
}

static int datagram_begin(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", at("datagram"));
    datagram_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    datagram_client = socket(AF_UNIX, SOCK_DGRAM, 0);
    EXPECT(setsockopt(datagram_fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0);
    EXPECT(setsockopt(datagram_fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    EXPECT(bind(datagram_fd, (struct sockaddr *)&address, sizeof address) == 0);
    EXPECT(chmod(at("datagram"), 0620) == 0 && fcntl(datagram_fd, F_SETFL, O_NONBLOCK) == 0);
    EXPECT(connect(datagram_client, (struct sockaddr *)&address, sizeof address) == 0);
    datagram_second = dup(datagram_fd);
    datagram_epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xabcdef0123456789ULL};
    EXPECT(epoll_ctl(datagram_epoll, EPOLL_CTL_ADD, datagram_fd, &event) == 0);
    return datagram_send(5);
}

static int datagram_verify(void) {
    struct epoll_event event = {0};
    struct sockaddr_un address = {0};
    struct timeval wait = {0};
    struct stat status;
    socklen_t length = sizeof address, size = sizeof wait;
    int value = 0;
    EXPECT(getsockname(datagram_second, (struct sockaddr *)&address, &length) == 0);
    EXPECT(strcmp(address.sun_path, at("datagram")) == 0);
    EXPECT(getpeername(datagram_client, (struct sockaddr *)&address, &length) == 0);
    EXPECT(strcmp(address.sun_path, at("datagram")) == 0);
    EXPECT(fcntl(datagram_fd, F_GETFD) == FD_CLOEXEC && fcntl(datagram_second, F_GETFD) == 0);
    EXPECT(fcntl(datagram_second, F_GETFL) & O_NONBLOCK);
    EXPECT(getsockopt(datagram_fd, SOL_SOCKET, SO_RCVTIMEO, &wait, &size) == 0);
    EXPECT(wait.tv_sec == soon.tv_sec);
    size = sizeof value;
    EXPECT(getsockopt(datagram_fd, SOL_SOCKET, SO_PASSCRED, &value, &size) == 0 && value == yes);
    size = sizeof value;
    EXPECT(getsockopt(datagram_fd, SOL_SOCKET, 42 /* SO_PEEK_OFF */, &value, &size) == 0 && value == -1);
    EXPECT(stat(at("datagram"), &status) == 0 && (status.st_mode & 07777) == 0620);
    EXPECT(epoll_wait(datagram_epoll, &event, 1, 1000) == 1 && event.data.u64 == 0xabcdef0123456789ULL);
    for (unsigned number; datagram_got < datagram_sent; datagram_got++) {
        char control[CMSG_SPACE(sizeof(struct ucred))];
        struct iovec vector = {&number, sizeof number};
        struct msghdr head = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof control};
        EXPECT(recvmsg(datagram_got % 3 ? datagram_fd : datagram_second, &head, 0) == 4);
        EXPECT(number == datagram_got);
        struct cmsghdr *told = CMSG_FIRSTHDR(&head);
        EXPECT(told != NULL && told->cmsg_type == SCM_CREDENTIALS);
        EXPECT(((struct ucred *)CMSG_DATA(told))->pid == getpid());
    }
    EXPECT(recv(datagram_fd, &value, 1, 0) == -1 && errno == EAGAIN);
    return datagram_send(5);
}

/* ----------------------------------------------------------------------------------------------------- */

/* --- device: of memory, by nodes that lie there; sharing, flags, one without a name ---------- */

static int device_null, device_copy, device_zero, device_random, device_full, device_epoll;
static mode_t device_mode;

static int device_begin(void) {
    const struct { const char *name; int minor; } nodes[] = {
        {"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        EXPECT(mknod(at(nodes[i].name), S_IFCHR | 0666, makedev(1, nodes[i].minor)) == 0);
    device_null = open(at("null"), O_RDWR | O_APPEND | O_CLOEXEC);
    device_copy = fcntl(device_null, F_DUPFD, 100);
    device_zero = open(at("zero"), O_RDONLY | O_NONBLOCK);
    device_random = open(at("random"), O_RDONLY);
    device_full = open(at("full"), O_WRONLY);
    EXPECT(device_null >= 0 && device_copy >= 0 && device_zero >= 0 && device_random >= 0 &&
           device_full >= 0);
    device_epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xdec0de5eedULL};
    EXPECT(epoll_ctl(device_epoll, EPOLL_CTL_ADD, device_random, &event) == 0);
    struct stat status;
    EXPECT(fstat(device_full, &status) == 0 && unlink(at("full")) == 0);
    device_mode = status.st_mode;
    return 0;
}

static int device_verify(void) {
    char bytes[64];
    memset(bytes, 1, sizeof bytes);
    EXPECT(same_inode(device_null, at("null")) && same_inode(device_zero, at("zero")));
    EXPECT(same_inode(device_random, at("random")));
    EXPECT((fcntl(device_null, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) ==
           (O_RDWR | O_APPEND));
    EXPECT((fcntl(device_zero, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_RDONLY | O_NONBLOCK));
    EXPECT(fcntl(device_null, F_GETFD) == FD_CLOEXEC && fcntl(device_copy, F_GETFD) == 0);
    EXPECT(syscall(SYS_kcmp, getpid(), getpid(), 0, device_null, device_copy) == 0);
    EXPECT(write(device_null, "gone", 4) == 4 && read(device_copy, bytes, 1) == 0);
    EXPECT(read(device_zero, bytes, sizeof bytes) == sizeof bytes && bytes[63] == 0);
    EXPECT(write(device_zero, "x", 1) == -1 && errno == EBADF);
    EXPECT(write(device_full, "x", 1) == -1 && errno == ENOSPC);
    struct stat status;
    EXPECT(fstat(device_full, &status) == 0 && status.st_rdev == makedev(1, 7));
    EXPECT((status.st_mode & 0777) == (device_mode & 0777) && status.st_nlink == 0);
    struct epoll_event event = {0};
    EXPECT(epoll_wait(device_epoll, &event, 1, 1000) == 1 && event.data.u64 == 0xdec0de5eedULL);
    EXPECT(read(device_random, bytes, 16) == 16);
    return 0;
}

struct kind {
    const char *name;
    int (*begin)(void), (*verify)(void);
};

#define KIND(name) {#name, name##_begin, name##_verify}
static const struct kind kinds[] = {
    KIND(file), KIND(append), KIND(direct), KIND(dup), KIND(fork), KIND(directory), KIND(path),
    KIND(cwd), KIND(root), KIND(shared_map), KIND(private_map), KIND(keyed_map), KIND(program),
    KIND(flock),
    KIND(posix), KIND(ofd), KIND(lease), KIND(deleted), KIND(inotify), KIND(fanotify), KIND(fifo),
    KIND(deleted_fifo), KIND(removed),
    KIND(removed_cwd), KIND(removed_root), KIND(listening), KIND(seqpacket), KIND(datagram),
    KIND(device), KIND(aside_root),
};

static volatile unsigned long counter;

static void *count(void *unused) {
    (void)unused;
    for (;;) {
        counter++;
        usleep(500);
    }
    return NULL;
}

static void *wait_for_ever(void *unused) {
    (void)unused;
    for (;;)
        poll(NULL, 0, -1);
    return NULL;
}

/* Calls that are made inside of us when handles are moved, and that we never make again. */
static void filter(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socketpair, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_recvmsg, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_dup3, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog whole = {sizeof program / sizeof *program, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0)
        perror("seccomp");
}

int main(int count_of_words, char **words) {
    char line[64];
    const struct kind *held[32];
    int number = 0;
    base = words[1];
    for (int i = 2; i < count_of_words; i++) {
        pthread_t thread;
        if (strcmp(words[i], "threads") == 0)
            for (int j = 0; j < 4; j++)
                pthread_create(&thread, NULL, j % 2 ? count : wait_for_ever, NULL);
        else if (strcmp(words[i], "seccomp") == 0)
            filter();
        for (size_t j = 0; j < sizeof kinds / sizeof *kinds; j++)
            if (strcmp(words[i], kinds[j].name) == 0) {
                held[number++] = &kinds[j];
                if (kinds[j].begin() != 0) {
                    printf("%s: %s\n", kinds[j].name, wrong);
                    return 1;
                }
            }
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int bad = 0;
        for (int i = 0; i < number && !bad; i++)
            if (held[i]->verify() != 0) {
                printf("%s: %s\n", held[i]->name, wrong);
                bad = 1;
            }
        if (!bad)
            puts("ok");
        fflush(stdout);
    }
    return 0;
}
