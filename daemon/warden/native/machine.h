/* System calls without the C library, and the program's entry: the only parts of jail.c that differ between processors. */

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/syscall.h>

/* clone_call(): a new process that runs function(argument) on a stack of its own, and must not return from it. Both
 * travel in registers, because processes that share memory may begin on the same stack at the same time. */

#if defined(__x86_64__)

#define LOADER "/lib64/ld-linux-x86-64.so.2"
#define PROGRAM_ENTRY __attribute__((force_align_arg_pointer)) /* a program begins where a function's stack is not */

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static long clone_call(uint64_t flags, char *stack_end, int *pidfd, void (*function)(void *), void *argument)
{
    register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0;
    register void *r12 __asm__("r12") = (void *)function, *r13 __asm__("r13") = argument;
    long result;
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\tmov %%r13, %%rdi\n\tcall *%%r12\n\thlt\n1:"
                     : "=a"(result)
                     : "0"((long)__NR_clone), "D"(flags), "S"(stack_end), "d"(pidfd), "r"(r10), "r"(r8), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

#define LOADER "/lib/ld-linux-aarch64.so.1"
#define PROGRAM_ENTRY

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

static long clone_call(uint64_t flags, char *stack_end, int *pidfd, void (*function)(void *), void *argument)
{
    register long x8 __asm__("x8") = __NR_clone, x0 __asm__("x0") = (long)flags, x1 __asm__("x1") = (long)stack_end;
    register long x2 __asm__("x2") = (long)pidfd, x3 __asm__("x3") = 0, x4 __asm__("x4") = 0;
    register long x9 __asm__("x9") = (long)function, x10 __asm__("x10") = (long)argument;
    __asm__ volatile("svc 0\n\tcbnz x0, 1f\n\tmov x29, #0\n\tmov x0, x10\n\tblr x9\n\tbrk #0\n1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x9), "r"(x10)
                     : "memory");
    return x0;
}

#else
#error "jail.c knows the system calls of x86-64 and aarch64 only"
#endif

enum { SIGNAL_SET_BYTES = 8 }; /* of the kernel, for rt_sigaction(2) and ppoll(2) */

#define SYS_ARGUMENTS(number, a, b, c, d, e, f, ...) \
    call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(name, ...) SYS_ARGUMENTS(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

static noreturn void leave(int code)
{
    for (;;)
        SYS(exit_group, code);
}

static void pause_for_ever(void)
{
    for (;;)
        SYS(ppoll, 0, 0, 0, 0, SIGNAL_SET_BYTES);
}
