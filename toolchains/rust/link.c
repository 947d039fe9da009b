/*
 * Has what rustc (-C linker-flavor=ld) has compiled linked by a linker that is called directly.
 *
 *     link ARGUMENT...
 *
 * rustc names no start files where it calls a linker, because cc knows them: here they are, for a program that may lie
 * anywhere (-pie), in cc's order (gcc -###). An argument for cc, -Wl,a,b, becomes a and b. /usr/lib/cellblock/ld is the
 * linker that ./bootstrap chose. Where compile.c has parked one, its arguments are written to the file on descriptor 63, as
 * the linker reads a file of arguments, a byte on descriptor 62 asks for it, and nothing is left to do here but to wait
 * until compile.c, which hears of the linker's end, has ended. Elsewhere this process becomes the linker.
 */

#define _GNU_SOURCE
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define HERE "/usr/lib/cellblock/"
#define LIBC "/usr/lib/x86_64-linux-gnu/"

enum { NOT_ME = 125, ASKED = 62, ASKED_WHAT = 63, ARGUMENTS_MAX = 4096 };

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

/* In quotes, in which a backslash means that the next character is only itself. */
static void write_quoted(const char *argument, FILE *file)
{
    putc('"', file);
    for (; *argument != 0; argument++) {
        if (*argument == '"' || *argument == '\\')
            putc('\\', file);
        putc(*argument, file);
    }
    fputs("\"\n", file);
}

int main(int argc, char **argv, char **environment)
{
    for (size_t number = 0; number < LENGTH(BEFORE); number++)
        add(BEFORE[number]);
    for (int number = 1; number < argc; number++)
        if (strncmp(argv[number], "-Wl,", 4) == 0)
            for (char *part = strtok(argv[number] + 4, ","); part != NULL; part = strtok(NULL, ","))
                add(part);
        else
            add(argv[number]);
    memcpy(&arguments[count], AFTER, sizeof AFTER);

    FILE *file = fdopen(ASKED_WHAT, "w");
    if (file == NULL) {
        execve(arguments[0], arguments, environment);
        err(NOT_ME, "%s", arguments[0]);
    }
    for (char **argument = arguments + 1; *argument != NULL; argument++)
        write_quoted(*argument, file);
    if (fflush(file) != 0 || write(ASKED, "", 1) != 1)
        err(NOT_ME, "nobody links");
    struct pollfd compile = {.fd = ASKED}; /* an error when it has ended */
    while (poll(&compile, 1, -1) < 0)
        ;
    return NOT_ME;
}
