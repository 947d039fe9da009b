/*
 * Compiles one source of Rust, and has done before there is one whatever can be done without it. rust.toml parks it.
 *
 *     compile RUSTC ARGUMENT...       in an empty folder; the source comes on standard input, and its name is main.rs
 *
 * A linker is parked besides: it has loaded itself (half of its time) and waits for the end of its standard input before it
 * reads its arguments. link.c, which rustc calls to link, puts them where the linker finds them and says so.
 *
 * There are three ways. The first that comes to an end that the last would come to as well is the answer.
 *
 * included  rustc is started on a crate of one line, include!("main.rs");, where main.rs is a FIFO: so it loads the standard
 *           library, and waits when it reads the file. The source goes into the FIFO, whose name becomes that of a plain
 *           file. As soon as the program is linked, this process ends: all that rustc would still do is free memory. An included file cannot begin with inner attributes, so those that change nothing of a program
 *           that compiles are blanked, #![allow(...)] and comments like this: //! one. Of the errors only those are
 *           told that are the same without the inclusion (are_told_alike).
 * alone     rustc is started again on the source alone, with a parked linker too. It is told what it says, unless that is
 *           about linking.
 * usual     rustc takes the place of this process, with its usual linker.
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
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define SOURCE "main.rs"
#define LINK "/usr/lib/cellblock/link"
#define LINKER "/usr/lib/cellblock/ld" /* there only where it has proved itself (bootstrap, choose_linker) */

enum { ERRORS = 1 /* status of a rustc that told of some */, NOT_ME = 125, ARGUMENTS_MAX = 64, CHUNK_BYTES = 64 << 10 };
enum { ASKED = 62, ASKED_WHAT = 63 }; /* descriptors: link.c's voice, a byte; and the linker's arguments, a file */

static const char ROOT[] = "include!(\"" SOURCE "\");";
static char *const LINK_ARGUMENTS[] = {"-C", "linker=" LINK, "-C", "linker-flavor=ld", NULL};

/* A rustc with its linker, and our ends of its pipes: what it says, and a byte when it asks for the linker. `gate` is what
 * keeps the linker from reading its arguments as long as we hold it. Without a linker its three are -1. */
struct build {
    pid_t rustc, linker;
    int said, asked, gate, linker_ended;
};

struct text {
    char *bytes;
    size_t count;
};

enum end { LINKED_IT, SAID_ALL, MAY_DIFFER /* from the usual way */ };

static int checked(int result, const char *what)
{
    if (result < 0)
        err(NOT_ME, "%s", what);
    return result;
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

struct given {
    int ours, theirs; /* ours -1: /dev/null */
};

/* Start a program with these descriptors. None of ours is one of theirs: ours are few, from 3 on, theirs 0 to 2, 62 and 63. */
static pid_t spawn(char **command, char **environment, const struct given *given, size_t count)
{
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (; count > 0; count--, given++)
        if (given->ours < 0)
            posix_spawn_file_actions_addopen(&actions, given->theirs, "/dev/null", O_RDWR, 0);
        else
            posix_spawn_file_actions_adddup2(&actions, given->ours, given->theirs);
    errno = posix_spawn(&pid, command[0], &actions, NULL, command, environment);
    checked(errno ? -1 : 0, command[0]);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

/* Start rustc, whose standard input is `input`, which is closed here, and its linker, where there is one. lld reads files of
 * arguments twice, first for the -m among them: so the first is one that is empty, and ends when we let it (the gate). */
static struct build start(char **command, char **environment, int input)
{
    static char *linker[] = {LINKER, "@/proc/self/fd/0", "@/proc/self/fd/63", NULL};
    struct build build = {.linker = -1, .gate = -1, .linker_ended = -1};
    char *arguments[ARGUMENTS_MAX];
    size_t count = 0;
    int said[2], asked[2], gate[2], what = checked(memfd_create("arguments", MFD_CLOEXEC), "memfd_create");
    for (; command[count] != NULL && count < LENGTH(arguments) - LENGTH(LINK_ARGUMENTS); count++)
        arguments[count] = command[count];
    arguments[count] = NULL;
    checked(pipe2(said, O_CLOEXEC), "pipe");
    checked(pipe2(asked, O_CLOEXEC), "pipe");
    if (access(LINKER, X_OK) == 0) {
        memcpy(&arguments[count], LINK_ARGUMENTS, sizeof LINK_ARGUMENTS);
        checked(pipe2(gate, O_CLOEXEC), "pipe");
        const struct given its[] = {{gate[0], 0}, {-1, 1}, {-1, 2}, {what, ASKED_WHAT}};
        build.linker = spawn(linker, environment, its, LENGTH(its));
        build.linker_ended = checked(pidfd_open(build.linker, 0), "pidfd_open");
        build.gate = gate[1];
        close(gate[0]);
    }
    const struct given its[] = {{input, 0}, {said[1], 1}, {said[1], 2}, {asked[1], ASKED}, {what, ASKED_WHAT}};
    build.rustc = spawn(arguments, environment, its, LENGTH(its));
    close(input);
    close(said[1]);
    close(asked[1]);
    close(what);
    build.said = said[0];
    build.asked = asked[0];
    return build;
}

/* The crate that includes the source. */
static int root(void)
{
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe");
    write_all(ends[1], ROOT, sizeof ROOT - 1);
    close(ends[1]);
    return ends[0];
}

/* Add what can be read at once. False at the end of the file. */
static int read_more(int file, struct text *text)
{
    text->bytes = realloc(text->bytes, text->count + CHUNK_BYTES);
    if (text->bytes == NULL)
        err(NOT_ME, "realloc");
    ssize_t got = read(file, text->bytes + text->count, CHUNK_BYTES);
    if (got < 0 && errno != EINTR)
        err(NOT_ME, "read");
    text->count += got > 0 ? (size_t)got : 0;
    return got != 0;
}

/* Put the source where its name says, for what includes it as text and for a rustc that has not opened the FIFO yet. */
static void put_source(const struct text *source)
{
    int file = checked(open(SOURCE "~", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), SOURCE "~");
    write_all(file, source->bytes, source->count);
    close(file);
    checked(rename(SOURCE "~", SOURCE), SOURCE);
}

static int open_source(void)
{
    return checked(open(SOURCE, O_RDONLY | O_CLOEXEC), SOURCE);
}

/* -- what a source may begin with */

enum form { AS_IT_IS, BLANKED, NOT_INCLUDABLE };

#define BLANKS "[ \t\r\n]*"
/* A lint is a word with an underscore, which no keyword has, or one of these groups. */
#define LINT "(clippy::)?([a-z]+_[a-z_]+|unused|warnings|deprecated|all|pedantic|style|complexity|perf)"
static const char LINTS[] = "^#" BLANKS "!" BLANKS "\\[" BLANKS "(allow|warn)" BLANKS "\\(" BLANKS
                            LINT "(" BLANKS "," BLANKS LINT ")*" BLANKS ",?" BLANKS "\\)" BLANKS "\\]";
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

/* Whether a documenting comment may become a plain one: both are nothing to rustc, unless it has something to say against
 * the characters. */
static int is_plain(const char *at, const char *end)
{
    for (; at < end; at++)
        if ((signed char)*at < 0 || (*at == '\r' && (at + 1 == end || at[1] != '\n')))
            return 0;
    return 1;
}

/* Blank what an included file cannot begin with and a program does not need. What is unknown here is not includable. */
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

/* These tell of a source that was not parsed to its end. rustc stops there, but goes on where the source is included. */
static const char *const OF_PARSING[] = {"E0583", "E0584", "E0585", "E0586", "E0601", "E0704", "E0748",
                                         "E0753", "E0758", "E0762", "E0763", "E0765", "E0766", "E0768"};

static int is_of_parsing(const char *code)
{
    for (size_t number = 0; number < LENGTH(OF_PARSING); number++)
        if (strncmp(code, OF_PARSING[number], 5) == 0)
            return 1;
    return 0;
}

/* Whether rustc would say the same of the source alone, as far as the lines tell that it has said: all errors have codes,
 * which errors of the parser have not, and nothing tells of the inclusion. */
static int are_told_alike(const struct text *said)
{
    static const char summary[] = "error: aborting due to ";
    const char *line = said->bytes, *end;
    if (memmem(said->bytes, said->count, "include", 7) != NULL)
        return 0;
    for (; (end = memchr(line, '\n', said->count - (size_t)(line - said->bytes))) != NULL; line = end + 1) {
        size_t length = (size_t)(end - line);
        if (length < 11 || memcmp(line, "error", 5) != 0)
            continue;
        int is_summary = length >= sizeof summary - 1 && memcmp(line, summary, sizeof summary - 1) == 0;
        if (line[5] == '[' ? is_of_parsing(line + 6) : !is_summary)
            return 0;
    }
    return 1;
}

/* Hear what rustc says, where it reads `fifo` give it the source, and have the linker link when it asks. This ends at once
 * where there is no linking, or where the source is `included` and rustc says what it may say otherwise of the source alone. */
static enum end hear(struct build *build, int fifo, struct text source, struct text *said, int included)
{
    enum { OF_LINKER, OF_ASKED, OF_SAID, OF_FIFO };
    struct pollfd wanted[] = {[OF_LINKER] = {.fd = -1, .events = POLLIN},
                              [OF_ASKED] = {.fd = build->asked, .events = POLLIN},
                              [OF_SAID] = {.fd = build->said, .events = POLLIN},
                              [OF_FIFO] = {.fd = fifo, .events = POLLOUT}};
    int status;
    for (;;) {
        if (source.count == 0 && wanted[OF_FIFO].fd >= 0) {
            close(fifo);
            wanted[OF_FIFO].fd = -1;
        }
        if (poll(wanted, LENGTH(wanted), -1) < 0)
            continue;
        if (wanted[OF_LINKER].revents && waitpid(build->linker, &status, 0) == build->linker)
            return status == 0 ? LINKED_IT : MAY_DIFFER;
        if (wanted[OF_ASKED].revents) {
            wanted[OF_ASKED].fd = -1; /* it asks once, or nobody is left who would */
            if (wanted[OF_ASKED].revents & POLLIN) {
                close(build->gate);
                build->gate = -1;
                wanted[OF_LINKER].fd = build->linker_ended;
            }
        }
        if (wanted[OF_SAID].revents) {
            if (!read_more(build->said, said))
                return SAID_ALL;
            if (included && !are_told_alike(said))
                return MAY_DIFFER;
        }
        ssize_t wrote = wanted[OF_FIFO].revents ? write(fifo, source.bytes, source.count) : 0;
        if (wrote > 0) {
            source.bytes += wrote;
            source.count -= (size_t)wrote;
        }
    }
}

/* The status of a child that ends. */
static int waited(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* Whether link.c failed, of which its caller has much to say and the usual linker something else. */
static int is_about_linking(const struct text *said)
{
    return memmem(said->bytes, said->count, LINK, sizeof LINK - 1) != NULL;
}

/* The end of this process where rustc came to one that the usual way would come to: it has linked, or told of errors. */
static void end_with(const struct build *build, enum end end, const struct text *said, int may_tell)
{
    int status;
    if (end == LINKED_IT)
        exit(0);
    if (build->linker > 0) {
        kill(build->linker, SIGKILL);
        waited(build->linker);
        close(build->gate);
        close(build->linker_ended);
    }
    if (end == MAY_DIFFER)
        kill(build->rustc, SIGKILL);
    status = waited(build->rustc);
    close(build->said);
    close(build->asked);
    if (end == MAY_DIFFER)
        return;
    if (status == 0)
        exit(0); /* by its usual linker */
    may_tell &= said->count > 0 && !is_about_linking(said);
    if (may_tell && WIFEXITED(status) && WEXITSTATUS(status) == ERRORS) {
        write_all(STDERR_FILENO, said->bytes, said->count);
        exit(ERRORS);
    }
}

/* A rustc or linker that was killed before there is a source: this process ends too, and who has parked it parks another. */
static void child_ended(int number, siginfo_t *how, void *context)
{
    (void)number, (void)context;
    if (how->si_code == CLD_KILLED || how->si_code == CLD_DUMPED)
        _exit(NOT_ME);
}

int main(int argc, char **argv, char **environment)
{
    struct sigaction watched = {.sa_sigaction = child_ended, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct text source = {NULL, 0}, said = {NULL, 0}, none = {NULL, 0};
    if (argc < 2 || argc > ARGUMENTS_MAX - (int)LENGTH(LINK_ARGUMENTS))
        errx(NOT_ME, "usage: compile RUSTC ARGUMENT...");
    checked(mkfifo(SOURCE, 0600), SOURCE);
    int fifo = checked(open(SOURCE, O_RDWR | O_NONBLOCK | O_CLOEXEC), SOURCE); /* neither end waits for the other */
    sigaction(SIGCHLD, &watched, NULL);
    struct build build = start(argv + 1, environment, root());
    if (regcomp(&lints, LINTS, REG_EXTENDED) != 0)
        errx(NOT_ME, "regcomp");
    read_more(STDIN_FILENO, &source);
    signal(SIGCHLD, SIG_DFL);
    while (read_more(STDIN_FILENO, &source))
        ;
    put_source(&source);

    enum form form = prepare(&source);
    enum end end = form == NOT_INCLUDABLE ? MAY_DIFFER : hear(&build, fifo, source, &said, 1);
    end_with(&build, end, &said, form == AS_IT_IS);

    if (access(LINKER, X_OK) == 0) {
        said.count = 0;
        build = start(argv + 1, environment, open_source());
        end = hear(&build, -1, none, &said, 0);
        end_with(&build, end, &said, 1);
    }

    checked(dup2(open_source(), STDIN_FILENO), SOURCE);
    execve(argv[1], argv + 1, environment);
    err(NOT_ME, "%s", argv[1]);
}
