/*
 * Compiles one source of Rust, and has done before there is one whatever can be done without it. rust.toml parks it.
 *
 *     compile RUSTC ARGUMENT...       in an empty folder; the source comes on standard input, and its name is main.rs
 *
 * The quick way. rustc is started on a crate of one line, include!("main.rs");, where main.rs is a FIFO: so rustc loads the
 * standard library, and waits when it opens the file. The source goes into the FIFO, and its name becomes that of a plain
 * file. As soon as link.c says that the program is linked, this process ends: what rustc would still do is free memory.
 *
 * The usual way. Where the quick one does not end so, rustc is started again on the source alone, with its usual linker, and
 * its answer is the answer. So the quick way can only be quicker. Nobody but rustc decides what compiles, and what it says.
 *
 * Two rules keep the usual way rare. An included file cannot begin with inner attributes, so those that change nothing of a
 * program that compiles, #![allow(...)] and comments like this //! one, are blanked, and what then fails takes the usual
 * way. And errors that are told alike in both ways (are_told_alike) are told at once.
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define SOURCE "main.rs"
#define LINKER "/usr/lib/cellblock/ld" /* there only where it has proved itself (bootstrap, choose_linker) */

enum { NOT_ME = 125, LINKED = 3 /* the descriptor on which link.c speaks */, ARGUMENTS_MAX = 64, CHUNK_BYTES = 64 << 10 };

static const char ROOT[] = "include!(\"" SOURCE "\");";
static char *const LINK_ARGUMENTS[] = {"-C", "linker=/usr/lib/cellblock/link", "-C", "linker-flavor=ld", NULL};

/* A rustc on the quick way: what it says goes into the memfd `errors`; `linked` has a byte when the program is linked, and
 * its end when rustc has ended. */
struct quick {
    pid_t pid;
    int fifo, errors, linked;
};

struct text {
    char *bytes;
    size_t count;
};

static int checked(int result, const char *what)
{
    if (result < 0)
        err(NOT_ME, "%s", what);
    return result;
}

static struct quick start_quick(char **command, char **environment)
{
    char *arguments[ARGUMENTS_MAX];
    size_t count = 0;
    int root[2], linked[2];
    struct quick quick;
    for (; command[count] != NULL && count < LENGTH(arguments) - LENGTH(LINK_ARGUMENTS); count++)
        arguments[count] = command[count];
    arguments[count] = NULL;
    if (access(LINKER, X_OK) == 0)
        memcpy(&arguments[count], LINK_ARGUMENTS, sizeof LINK_ARGUMENTS);
    checked(mkfifo(SOURCE, 0600), SOURCE);
    quick.fifo = checked(open(SOURCE, O_RDWR | O_NONBLOCK | O_CLOEXEC), SOURCE); /* so neither end waits for the other */
    quick.errors = checked(memfd_create("errors", MFD_CLOEXEC), "memfd_create");
    checked(pipe2(root, O_CLOEXEC), "pipe");
    checked(pipe2(linked, O_CLOEXEC), "pipe");
    checked((int)write(root[1], ROOT, sizeof ROOT - 1), "pipe");
    close(root[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, root[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, quick.errors, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, quick.errors, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, linked[1], LINKED);
    errno = posix_spawn(&quick.pid, arguments[0], &actions, NULL, arguments, environment);
    checked(errno ? -1 : 0, arguments[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(root[0]);
    close(linked[1]);
    quick.linked = linked[0];
    return quick;
}

/* All of standard input. */
static struct text read_source(void)
{
    struct text source = {NULL, 0};
    for (;;) {
        source.bytes = realloc(source.bytes, source.count + CHUNK_BYTES);
        if (source.bytes == NULL)
            err(NOT_ME, "the source");
        ssize_t got = read(STDIN_FILENO, source.bytes + source.count, CHUNK_BYTES);
        if (got == 0)
            return source;
        source.count += (size_t)checked((int)got, "standard input");
    }
}

static void write_all(int file, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t wrote = write(file, bytes, count);
        if (wrote < 0 && errno == EINTR)
            continue;
        checked((int)wrote, "write");
        bytes += wrote;
        count -= (size_t)wrote;
    }
}

/* Put the source where its name says, for what includes it as text and for a rustc that has not opened the FIFO yet. */
static int put_source(const struct text *source)
{
    int file = checked(open(SOURCE "~", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644), SOURCE "~");
    write_all(file, source->bytes, source->count);
    checked(rename(SOURCE "~", SOURCE), SOURCE);
    return file;
}

/* -- what a source may begin with */

enum form { AS_IT_IS, BLANKED, NOT_INCLUDABLE };

#define BLANKS "[ \t\r\n]*"
/* A lint is a word with an underscore, which no keyword has, or one of these groups. */
#define LINT "(clippy::)?([a-z]+_[a-z_]+|unused|warnings|deprecated|all|pedantic|style|complexity|perf)"
static const char LINTS[] = "^#" BLANKS "!" BLANKS "\\[" BLANKS "(allow|warn)" BLANKS "\\(" BLANKS LINT "(" BLANKS "," BLANKS LINT
                            ")*" BLANKS ",?" BLANKS "\\)" BLANKS "\\]";
static regex_t lints;

/* The end of the comment that begins here, or NULL where it has none. */
static char *end_of_comment(char *at, char *end)
{
    if (at[1] == '/') {
        char *line = memchr(at, '\n', (size_t)(end - at));
        return line == NULL ? end : line;
    }
    int depth = 0;
    while (end - at >= 2) {
        int opens = at[0] == '/' && at[1] == '*', closes = at[0] == '*' && at[1] == '/';
        depth += opens - closes;
        at += opens || closes ? 2 : 1;
        if (depth == 0)
            return at;
    }
    return NULL;
}

/* Whether a documenting comment may become a plain one: both are nothing to rustc unless it has something to say against
 * its characters. */
static int is_plain(const char *at, const char *end)
{
    for (; at < end; at++)
        if ((signed char)*at < 0 || (*at == '\r' && (at + 1 == end || at[1] != '\n')))
            return 0;
    return 1;
}

/* Blank what an included file cannot begin with and a program does not need. What this does not know is not includable. */
static enum form prepare(struct text *source)
{
    enum form form = AS_IT_IS;
    char *at = source->bytes, *end = at + source->count;
    for (;;) {
        while (at < end && strchr(" \t\r\n", *at) != NULL && *at != 0)
            at++;
        if (at == end || (end - at == 1))
            return form;
        if (at[0] == '/' && (at[1] == '/' || at[1] == '*')) {
            char *after = end_of_comment(at, end);
            if (after == NULL)
                return NOT_INCLUDABLE;
            if (end - at > 2 && at[2] == '!') {
                if (!is_plain(at, after))
                    return NOT_INCLUDABLE;
                at[2] = ' ';
                form = BLANKED;
            }
            at = after;
        } else if (at[0] == '#' && at[1] != '[') {
            regmatch_t match = {.rm_so = 0, .rm_eo = (regoff_t)(end - at)};
            if (regexec(&lints, at, 1, &match, REG_STARTEND) != 0)
                return NOT_INCLUDABLE;
            for (char *after = at + match.rm_eo; at < after; at++)
                if (*at != '\n')
                    *at = ' ';
            form = BLANKED;
        } else {
            int is_front_matter = at[0] == '-' && at[1] == '-';
            return is_front_matter || (signed char)*at < 0 ? NOT_INCLUDABLE : form;
        }
    }
}

/* -- the end */

/* Give the source to a rustc that waits for it. True when the program is linked, false when rustc has ended otherwise. */
static int is_linked(struct quick *quick, struct text source)
{
    struct pollfd wanted[2] = {{.fd = quick->linked, .events = POLLIN}, {.fd = quick->fifo, .events = POLLOUT}};
    char byte;
    for (;;) {
        if (source.count == 0 && wanted[1].fd >= 0) {
            close(quick->fifo);
            wanted[1].fd = -1;
        }
        if (poll(wanted, LENGTH(wanted), -1) < 0)
            continue;
        if (wanted[0].revents)
            return read(quick->linked, &byte, 1) == 1;
        ssize_t wrote = wanted[1].revents ? write(quick->fifo, source.bytes, source.count) : 0;
        if (wrote > 0) {
            source.bytes += wrote;
            source.count -= (size_t)wrote;
        }
    }
}

/* These tell of a source that was not parsed to its end. rustc stops there, but goes on where the source is included. */
static const char *const OF_PARSING[] = {
    "E0583", "E0584", "E0585", "E0586", "E0601", "E0704", "E0748", "E0753", "E0758", "E0762", "E0763", "E0765", "E0766", "E0768",
};

static int is_of_parsing(const char *code)
{
    for (size_t number = 0; number < LENGTH(OF_PARSING); number++)
        if (strncmp(code, OF_PARSING[number], 5) == 0)
            return 1;
    return 0;
}

/* Whether rustc would say the same of the source alone: all errors have codes, which errors of the parser have not, and
 * nothing tells of the inclusion. `text` ends with a NUL. */
static int are_told_alike(const char *text)
{
    static const char summary[] = "error: aborting due to ";
    if (strstr(text, "include") != NULL)
        return 0;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, "error[", 6) == 0 ? is_of_parsing(line + 6)
                                             : strncmp(line, "error", 5) == 0 && strncmp(line, summary, sizeof summary - 1) != 0)
            return 0;
    }
    return 1;
}

/* Tell the errors of the quick way, where that is all there is to do. */
static int tells_errors(const struct quick *quick)
{
    struct stat found;
    checked(fstat(quick->errors, &found), "errors");
    if (found.st_size == 0)
        return 0;
    checked((int)write(quick->errors, "", 1), "errors"); /* at its end: rustc shares the offset */
    char *text = mmap(NULL, (size_t)found.st_size + 1, PROT_READ, MAP_PRIVATE, quick->errors, 0);
    if (text == MAP_FAILED)
        err(NOT_ME, "errors");
    int alike = memchr(text, 0, (size_t)found.st_size) == NULL && are_told_alike(text);
    if (alike)
        write_all(STDERR_FILENO, text, (size_t)found.st_size);
    return alike;
}

int main(int argc, char **argv, char **environment)
{
    int status = 0;
    if (argc < 2 || argc > ARGUMENTS_MAX - (int)LENGTH(LINK_ARGUMENTS))
        errx(NOT_ME, "usage: compile RUSTC ARGUMENT...");
    struct quick quick = start_quick(argv + 1, environment);
    if (regcomp(&lints, LINTS, REG_EXTENDED) != 0)
        errx(NOT_ME, "regcomp");
    struct text source = read_source();
    int file = put_source(&source);
    enum form form = prepare(&source);
    if (form == NOT_INCLUDABLE) {
        kill(quick.pid, SIGKILL);
    } else {
        if (is_linked(&quick, source))
            return 0;
        while (waitpid(quick.pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (status == 0)
            return 0; /* by a linker that does not speak */
        if (form == AS_IT_IS && WIFEXITED(status) && WEXITSTATUS(status) == 1 && tells_errors(&quick))
            return 1;
    }
    checked((int)lseek(file, 0, SEEK_SET), SOURCE);
    checked(dup2(file, STDIN_FILENO), SOURCE);
    execve(argv[1], argv + 1, environment);
    err(NOT_ME, "%s", argv[1]);
}
