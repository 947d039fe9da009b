/*
 * Links what rustc (-C linker-flavor=ld) has compiled, by a linker that is called directly, and says when it is done.
 *
 *     link ARGUMENT...
 *
 * rustc names no start files where it calls a linker, because cc knows them: here they are, for a program that may lie
 * anywhere (-pie), in cc's order (gcc -###). An argument for cc, -Wl,a,b, becomes a and b. /usr/lib/cellblock/ld is the
 * linker that ./bootstrap chose. On descriptor 3 compile.c hears whether the program is linked, 1, or not, 0.
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define HERE "/usr/lib/cellblock/"
#define LIBC "/usr/lib/x86_64-linux-gnu/"

enum { NOT_ME = 125, LINKED = 3, ARGUMENTS_MAX = 4096 };

static char *const BEFORE[] = {
    HERE "ld", "--dynamic-linker", "/lib64/ld-linux-x86-64.so.2", "--hash-style=gnu", "--build-id=none",
    "--threads=1", /* to start a second costs more than it saves where a program of one source meets a shared library */
    LIBC "Scrt1.o", LIBC "crti.o", HERE "gcc/crtbeginS.o", "-L" HERE "gcc", "-L" LIBC,
};
static char *const AFTER[] = {HERE "gcc/crtendS.o", LIBC "crtn.o", NULL};

static char *arguments[ARGUMENTS_MAX];
static size_t count;

static void add(char *argument)
{
    if (count >= ARGUMENTS_MAX - LENGTH(AFTER))
        errx(NOT_ME, "more than %d arguments", ARGUMENTS_MAX);
    arguments[count++] = argument;
}

int main(int argc, char **argv, char **environment)
{
    pid_t pid;
    int status;
    fcntl(LINKED, F_SETFD, FD_CLOEXEC); /* the linker has it not */
    for (size_t number = 0; number < LENGTH(BEFORE); number++)
        add(BEFORE[number]);
    for (int number = 1; number < argc; number++)
        if (strncmp(argv[number], "-Wl,", 4) == 0)
            for (char *part = strtok(argv[number] + 4, ","); part != NULL; part = strtok(NULL, ","))
                add(part);
        else
            add(argv[number]);
    memcpy(&arguments[count], AFTER, sizeof AFTER);
    errno = posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environment);
    if (errno != 0)
        err(NOT_ME, "%s", arguments[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            err(NOT_ME, "waitpid");
    const char linked = status == 0;
    if (write(LINKED, &linked, 1) < 0 && errno != EBADF)
        warn("nobody hears what became of the program");
    return linked ? 0 : WIFEXITED(status) ? WEXITSTATUS(status) : NOT_ME;
}
