/* A 64-bit program, of which one thread runs 32-bit code most of the time, as Wine does.
 *
 * It looks whether the registers that code of 32 bits does not know are what they were when it comes
 * back. Holds the folder argv[1] as its working directory. Answers each line of its input with "ok".
 *
 * gcc -O2 -pthread -static -no-pie: its code lies where 32 bits reach.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile unsigned long rounds, wrong;
static struct {
    unsigned offset;
    unsigned short segment;
} __attribute__((packed)) there = {0, 0x23};
static unsigned long stack;

static void *change(void *unused) {
    for (;; rounds++) {
        unsigned long bad;
        __asm__ volatile(
            "push %%rbp\n push %%rbx\n sub $128, %%rsp\n mov %%rsp, %[stack]\n"
            "movabs $0x1212121212121212, %%r12\n movabs $0x1313131313131313, %%r13\n"
            "movabs $0x1414141414141414, %%r14\n movabs $0x1515151515151515, %%r15\n"
            "movl $1f, %[there]\n ljmp *%[there]\n"
            ".code32\n 1: mov $0x2b, %%eax\n mov %%eax, %%ds\n mov %%eax, %%es\n"
            "mov $0x11111111, %%ebx\n mov $0x66666666, %%ebp\n mov $200000, %%ecx\n"
            "2: dec %%ecx\n jnz 2b\n xor %%eax, %%eax\n"
            "cmp $0x11111111, %%ebx\n je 3f\n inc %%eax\n"
            "3: cmp $0x66666666, %%ebp\n je 4f\n inc %%eax\n"
            "4: ljmp $0x33, $5f\n .code64\n 5: mov %[stack], %%rsp\n add $128, %%rsp\n"
            "pop %%rbx\n pop %%rbp\n mov %%eax, %%eax\n"
            "movabs $0x1212121212121212, %%rcx\n cmp %%rcx, %%r12\n jne 6f\n"
            "movabs $0x1313131313131313, %%rcx\n cmp %%rcx, %%r13\n jne 6f\n"
            "movabs $0x1414141414141414, %%rcx\n cmp %%rcx, %%r14\n jne 6f\n"
            "movabs $0x1515151515151515, %%rcx\n cmp %%rcx, %%r15\n je 7f\n"
            "6: inc %%rax\n 7:\n"
            : "=&a"(bad), [stack] "+m"(stack), [there] "+m"(there)
            : : "rcx", "r12", "r13", "r14", "r15", "memory", "cc");
        wrong += bad;
    }
    return unused;
}

int main(int count, char **words) {
    pthread_t thread;
    if (count < 2 || chdir(words[1]) || pthread_create(&thread, NULL, change, NULL))
        return 1;
    char line[64];
    for (printf("ready\n"), fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout)) {
        for (unsigned long before = rounds; !wrong && rounds < before + 3;)
            usleep(1000);
        char here[4096];
        int good = !wrong && getcwd(here, sizeof here) && !strcmp(here, words[1]);
        printf("%s\n", good ? "ok" : "wrong");
    }
    return 0;
}
