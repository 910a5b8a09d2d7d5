/* Makes children with vfork(2), one after the other, each of which takes its time before it runs a
 * program of its own: the parent waits in the kernel most of the time. Usage: parent FILE. */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words)
{
    struct timespec while_waiting = {0, 300000000};
    int file, status;
    char line[16];

    if (count != 2 || (file = open(words[1], O_RDWR | O_CREAT | O_APPEND, 0600)) < 0)
        return 1;
    setlinebuf(stdout);
    puts("ready");
    while (fcntl(0, F_SETFL, O_NONBLOCK) == 0) {
        pid_t child = vfork();
        if (child == 0) {
            nanosleep(&while_waiting, NULL);
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            puts("a child has failed");
            return 1;
        }
        if (write(file, "child\n", 6) != 6)
            return 1;
        if (read(0, line, sizeof line) > 0)
            puts("ok");
    }
    return 1;
}
