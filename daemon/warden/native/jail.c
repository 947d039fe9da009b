/*
 * Makes jails. This file is a library, which Python loads with ctypes, and a program, the maker; nothing here uses Python.
 *
 * THEORY OF OPERATION
 *
 * A jail is made by one process that confines itself: it moves into the jail's control groups, builds the jail's root
 * directory, takes the jail's uid, gives up every capability and installs the filter of system calls. The function
 * confine() is this list. Its order is the security argument, and the first step that fails ends the jail.
 *
 * Everything that a jail is made from stands in a description (struct head, then the filter, then strings), which
 * daemon/warden/description.py writes and messages.h checks. The uid and the descriptors come beside it.
 *
 * There are three entry points:
 *
 * maker_start    The maker, a program of its own beside the warden, because a fork of a small process costs a fifth of one
 *                of an interpreter. For a command it clones a process into new namespaces that confines itself, parks, and
 *                when it is told "go" puts the source in place, starts the program, waits for its end and tells the
 *                status. It is pid 1 of the jail, called init. For a fork of the interpreter it makes an init that only
 *                holds the namespaces; that one shares the maker's memory and costs a thirtieth of a fork.
 * zygote_serve   The zygote: a frozen copy of the interpreter that programs are forked from. A new process enters the
 *                namespaces of an init, confines itself and returns into the interpreter. The zygote itself goes on
 *                waiting here, and writes to as few pages as it can: every page that it writes to would be copied.
 * program_park   Called by the new process once the interpreter has got over its fork: it parks, and at "go" returns
 *                into the interpreter again, which then opens the source.
 *
 * A jail speaks with the keeper on its channel, a socket of type SEQPACKET, in the structs of daemon/sandbox/messages.py:
 * it says "parked" or "failed", hears "go", and (a command's init only) says the status or "failed". The program never
 * holds the channel, because it is closed or close-on-exec before any code of a submission runs.
 *
 * System calls are made without the C library's wrappers. Some processes here share memory with others, and a wrapper
 * would write to errno and other state of the C library in that memory. A call returns the negated errno where it fails.
 */

#define _GNU_SOURCE
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mman.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "machine.h"
#include "messages.h"
#include "packed.h"

#define PUBLIC __attribute__((visibility("default")))

enum { CANNOT_EXECUTE = 126, SIGNALS = 64, MAKER_SOCKET = 3 };

/* A shared library with this section is also a program: the kernel starts it through the loader that is named here (elf(5),
 * PT_INTERP; libc.so.6 is one too). */
#ifndef HARNESS /* of the tests, which is a program by itself */
static const char loader[] __attribute__((section(".interp"), used)) = LOADER;
#endif

/* Of each jail. The cgroup namespace follows in confine(), so that the jail's own group is its root. */
static const uint64_t NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS; /* and a network, below */

/* -- descriptors */

/* Close all descriptors from 3 on but these, which it sorts. */
static long close_all_but(int *kept, unsigned count)
{
    unsigned low = 3;
    for (unsigned done = 0; done < count; done++) {
        for (unsigned other = done + 1; other < count; other++)
            if (kept[other] < kept[done]) {
                int higher = kept[done];
                kept[done] = kept[other];
                kept[other] = higher;
            }
        if ((unsigned)kept[done] > low)
            SYS(close_range, low, kept[done] - 1, 0);
        low = (unsigned)kept[done] + 1;
    }
    return SYS(close_range, low, ~0U, 0);
}

static void close_each(const int *descriptors, unsigned count)
{
    for (unsigned number = 0; number < count; number++)
        SYS(close, descriptors[number]);
}

/* -- confinement */

static const struct {
    const char *scratch, *target;
    unsigned mode;
} WRITABLE[] = {
    {"/tmp/work", "/work", 0755},
    {"/tmp/shm", "/dev/shm", 01777},
    {"/tmp/tmp", "/tmp", 01777}, /* the last, because it hides the others */
};

/* Names for the jail's uid and gid, which no other jail has. The image links /etc/passwd and /etc/group here (rootfs.py);
 * they stay root's, so the program can only read them. Forms: passwd(5), group(5). */
static void name_user(int channel, uint32_t uid)
{
    static const char *const paths[] = {"/tmp/user/passwd", "/tmp/user/group"};
    char texts[2][192];
    int bytes[2];
    bytes[0] = snprintf(texts[0], sizeof texts[0],
                        "root:x:0:0:root:/:/usr/sbin/nologin\nuser:x:%u:%u:user:/work:/bin/sh\n"
                        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n", uid, uid);
    bytes[1] = snprintf(texts[1], sizeof texts[1], "root:x:0:\nuser:x:%u:\nnogroup:x:65534:\n", uid);
    must(channel, "root", "/tmp/user", SYS(mkdirat, AT_FDCWD, "/tmp/user", 0755));
    for (unsigned number = 0; number < LENGTH(paths); number++) {
        long file = SYS(openat, AT_FDCWD, paths[number], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        must(channel, "root", paths[number], file);
        must(channel, "root", paths[number], SYS(write, file, texts[number], bytes[number]));
        SYS(close, file);
    }
    const char *target = "/cellblock/user";
    const unsigned long read_only = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV;
    must(channel, "root", target, SYS(mount, "/tmp/user", target, 0, MS_BIND, 0));
    must(channel, "root", target, SYS(mount, 0, target, 0, read_only, 0));
}

/*
 * Confine this process, which is root of the warden's user namespace and in new namespaces, to its jail. What fails is
 * told on the channel and ends the process. Afterwards it has the jail's uid and root directory, no capability
 * in any set, and only the system calls of the filter; its working directory is /work.
 */
static void confine(const struct jail *jail, int channel, uint32_t uid, const int *groups, unsigned count)
{
    /* 1. The control groups come first, so that all that follows is on the jail's account. Whoever holds one of these
     * descriptors can move processes, because root opened them, so each is closed at once. */
    for (unsigned number = 0; number < count; number++) {
        must(channel, "cgroup", "write", SYS(write, groups[number], "0", 1));
        must(channel, "cgroup", "close", SYS(close, groups[number]));
    }
    must(channel, "cgroup", "unshare", SYS(unshare, CLONE_NEWCGROUP));

    /* 2. Our root directory is the image, read-only (enter_image() below). It gets writable parts of one bounded tmpfs,
     * which they hide, and a /proc that shows the jail's own processes only, which hides an empty one. */
    const unsigned long plain = MS_NOSUID | MS_NODEV;
    char options[96];
    snprintf(options, sizeof options, "size=%llu,nr_inodes=%llu,mode=755", (unsigned long long)jail->head.scratch_bytes,
             (unsigned long long)jail->head.scratch_inodes);
    SYS(umask, 022);
    must(channel, "root", "mount /tmp", SYS(mount, "tmpfs", "/tmp", "tmpfs", plain, options));
    name_user(channel, uid);
    for (unsigned number = 0; number < LENGTH(WRITABLE); number++) {
        const char *path = WRITABLE[number].scratch, *target = WRITABLE[number].target;
        must(channel, "root", path, SYS(mkdirat, AT_FDCWD, path, WRITABLE[number].mode));
        must(channel, "root", path, SYS(fchmodat, AT_FDCWD, path, WRITABLE[number].mode)); /* umask or not */
        must(channel, "root", path, SYS(fchownat, AT_FDCWD, path, uid, uid, 0));
        must(channel, "root", target, SYS(mount, path, target, 0, MS_BIND, 0));
    }
    must(channel, "root", "mount /proc",
         SYS(mount, "proc", "/proc", "proc", plain | MS_NOEXEC | MS_RDONLY, "subset=pid"));
    must(channel, "root", "chdir /work", SYS(chdir, "/work"));
    must(channel, "root", "sethostname", SYS(sethostname, "cellblock", 9));

    /* 3. Resource limits: soft and hard at once, while we may still raise them. With 1 a crash reaches no handler that
     * the host's core_pattern names, which 0 would not prevent (core(5)); a keeper without any may not raise it to 1. */
    uint64_t core[2];
    must(channel, "confine", "prlimit64", SYS(prlimit64, 0, RLIMIT_CORE, 0, core));
    const struct {
        int kind;
        uint64_t value;
    } limits[] = {
        {RLIMIT_CORE, core[1] ? 1 : 0},
        {RLIMIT_STACK, jail->head.stack_bytes},
        {RLIMIT_FSIZE, jail->head.file_bytes},
        {RLIMIT_NOFILE, jail->head.files_open},
        {RLIMIT_MEMLOCK, 64 << 10},
        {RLIMIT_MSGQUEUE, 0},
        {RLIMIT_SIGPENDING, 256}, /* charged to the user namespace's owner too (Linux 5.14), so shared by all jails */
    };
    for (unsigned number = 0; number < LENGTH(limits); number++) {
        const uint64_t both[2] = {limits[number].value, limits[number].value};
        must(channel, "confine", "prlimit64", SYS(prlimit64, 0, limits[number].kind, both, 0));
    }

    /* 4. The uid. Going from 0 to another empties the permitted and effective sets (capabilities(7)); the groups go
     * before it, because it ends the right to set them. nsjail fills the inheritable set, which capset empties. */
    must(channel, "confine", "setgroups", SYS(setgroups, 0, 0));
    must(channel, "confine", "setresgid", SYS(setresgid, uid, uid, uid));
    must(channel, "confine", "setresuid", SYS(setresuid, uid, uid, uid));
    struct __user_cap_header_struct version = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    must(channel, "confine", "capset", SYS(capset, &version, none));

    /* 5. Not dumpable: the program, which has the same uid, can neither trace nor read this process. */
    must(channel, "confine", "dumpable", SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));

    /* 6. The filter is the last, because it forbids most of the above. It needs no_new_privs, which also makes that no
     * program file can give rights back. */
    must(channel, "confine", "no_new_privs", SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(channel, "confine", "seccomp", SYS(prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &jail->filter, 0, 0));
}

/* Three pipes, made when it is confined, so that their buffers are on the jail's account: the program's ends (0, 1, 2 of it)
 * and the far ends. */
static void make_pipes(int channel, uint64_t bytes, int program_ends[3], int keeper_ends[3])
{
    for (int number = 0; number < 3; number++) {
        int ends[2];
        must(channel, "pipes", "pipe2", SYS(pipe2, ends, O_CLOEXEC));
        if (number > 0) /* so that what a runtime queues by itself when a pipe is full (Node) is beyond the output limit */
            SYS(fcntl, ends[1], F_SETPIPE_SZ, bytes);
        program_ends[number] = ends[number == 0 ? 0 : 1];
        keeper_ends[number] = ends[number == 0 ? 1 : 0];
    }
}

/* -- go */

static _Alignas(8) uint8_t message[MESSAGE_BYTES];

/* Wait for go, take the input out of it and join the group that came with it. Where there is none the jail was never
 * wanted, and ends. */
static void receive_go(int channel, const struct jail *jail, struct go *go)
{
    unsigned count;
    long bytes = receive(channel, message, sizeof message, go->descriptors, &count);
    if (bytes == 0 || bytes == -ECONNRESET)
        leave(0);
    must(channel, "go", "recvmsg", bytes);
    must(channel, "go", "message", read_go(message, (size_t)bytes, count, jail, go));
    if (go->flags & GO_JOINS) { /* the group of a core. This process starts the program, or becomes it */
        must(channel, "go", "join", SYS(write, go->descriptors[count - 1], "0", 1));
        SYS(close, go->descriptors[--count]);
        go->flags &= ~(uint32_t)GO_JOINS;
    }
    if (go->flags & GO_INPUT) {
        go->input = go->descriptors[--count];
        go->flags &= ~(uint32_t)GO_INPUT;
    }
}

/* Lower the stack's limit to what came with go. The kernel refuses more than the jail was made with (getrlimit(2)). */
static void limit_stack(int channel, const struct go *go)
{
    const uint64_t both[2] = {go->stack_bytes, go->stack_bytes};
    if (go->stack_bytes > 0)
        must(channel, "go", "prlimit64", SYS(prlimit64, 0, RLIMIT_STACK, both, 0));
}

/* Put in place what came with go, and close it: a source is first, then an artefact, then files. */
static void put_in_place(int channel, const struct jail *jail, const struct go *go)
{
    unsigned next = 0;
    if (go->flags & GO_FILES) {
        unsigned last = (unsigned)__builtin_popcount(go->flags) - 1;
        must(channel, "source", "files", put_files(go->descriptors[last]));
    }
    if (go->flags & GO_SOURCE)
        must(channel, "source", jail->source, put(go->descriptors[next++], 0, -1, jail->source, 0644));
    if (go->flags & GO_ARTIFACT)
        must(channel, "source", jail->takes, put(go->descriptors[next++], 0, -1, jail->takes, 0755));
    close_each(go->descriptors, (unsigned)__builtin_popcount(go->flags));
}

/* -- a command's jail */

static struct jail the_jail; /* one for each process */
static _Alignas(16) char child_stack[8 << 10]; /* of a process that shares our memory */

struct start {
    const int *descriptors; /* of the program, from 0 on */
    unsigned count;
    char *const *argv, *const *environment;
    long error;           /* set by the child; of execve where that was called */
    int execve_was_called;
};

/* In the child, which shares our memory until execve. All other descriptors are close-on-exec. */
static void become_program(void *argument)
{
    struct start *start = argument;
    int high[5];
    SYS(setsid);
    SYS(close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
    for (unsigned number = 0; number < start->count; number++) /* out of the way of the numbers below */
        high[number] = (int)SYS(fcntl, start->descriptors[number], F_DUPFD_CLOEXEC, start->count);
    for (unsigned number = 0; number < start->count && start->error == 0; number++)
        start->error = SYS(dup3, high[number], number, 0) < 0 ? -EBADF : 0;
    start->execve_was_called = start->error == 0;
    if (start->error == 0)
        start->error = SYS(execve, start->argv[0], start->argv, start->environment);
    leave(127);
}

/* Start a program as vfork(2) would: nothing is copied, and it has started once this returns. Its pid, or an error. */
static long spawn(struct start *start)
{
    uint64_t flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    long pid = clone_call(flags, child_stack + sizeof child_stack, NULL, become_program, start);
    if (pid > 0 && start->error != 0) {
        SYS(wait4, pid, 0, 0, 0);
        return start->error;
    }
    return pid;
}

/* The raw wait status of the program. Orphans that end before it are reaped on the way. */
static int wait_for(int channel, long pid)
{
    for (;;) {
        int status;
        long ended = SYS(wait4, -1, &status, 0, 0);
        if (ended == pid)
            return status;
        if (ended != -EINTR)
            must(channel, "wait", "wait4", ended);
    }
}

/* A descriptor that can be read when a child has ended, in place of SIGCHLD. */
static int watch_children(int channel)
{
    const uint64_t child = UINT64_C(1) << (SIGCHLD - 1);
    must(channel, "wait", "rt_sigprocmask", SYS(rt_sigprocmask, SIG_BLOCK, &child, 0, SIGNAL_SET_BYTES));
    long signals = SYS(signalfd4, -1, &child, SIGNAL_SET_BYTES, O_CLOEXEC | O_NONBLOCK);
    must(channel, "wait", "signalfd4", signals);
    return (int)signals;
}

/*
 * As wait_for(), but a program that is warm by preload may say on `end` that it has ended with 0 and waits to be killed:
 * then this returns -1. A program that says so without having ended is killed as well, as if it had called exit.
 */
static int wait_for_end(int channel, long pid, int signals, int end)
{
    struct pollfd wanted[2] = {{.fd = signals, .events = POLLIN}, {.fd = end, .events = POLLIN}};
    for (;;) {
        int status;
        char text[128];
        long ended = SYS(wait4, -1, &status, WNOHANG, 0);
        if (ended == pid)
            return status;
        if (ended > 0)
            continue;
        must(channel, "wait", "wait4", ended);
        SYS(ppoll, wanted, 2, 0, 0, SIGNAL_SET_BYTES);
        if (wanted[0].revents)
            SYS(read, signals, text, sizeof text);
        if (wanted[1].revents) {
            if (SYS(read, end, text, 5) == 5 && memcmp(text, "ended", 5) == 0)
                return -1;
            wanted[1].fd = -1; /* it has closed it, or says something else: its status is waited for */
        }
    }
}

/* A program that starts before go. */
struct early {
    long pid;
    int gate, end, signals;
};

static noreturn void fail_early(int channel, int status)
{
    char what[64];
    snprintf(what, sizeof what, "the program ended before go: wait status %d", status);
    fail(channel, "park", what, -ECHILD);
}

/* Start it and wait until it has come as far as it can without its source. Closes the program's ends of the pipes. */
static struct early start_early(int channel, const struct jail *jail, const int program_ends[3])
{
    int gate[2] = {-1, -1}, end[2] = {-1, -1};
    int with_gate = jail->head.start == START_PRELOAD;
    if (with_gate) {
        must(channel, "park", "socketpair", SYS(socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, gate));
        must(channel, "park", "pipe2", SYS(pipe2, end, O_CLOEXEC | O_NONBLOCK));
    }
    /* In the program the gate is 3, the end 4. */
    const int descriptors[5] = {program_ends[0], program_ends[1], program_ends[2], gate[1], end[1]};
    struct start start = {descriptors, with_gate ? 5 : 3, jail->argv, jail->environment, 0, 0};
    struct early early = {spawn(&start), gate[0], end[0], -1};
    must(channel, "exec", jail->argv[0], early.pid);
    early.signals = watch_children(channel);
    close_each(descriptors, start.count);
    char text[5];
    if (with_gate) {
        long said = SYS(read, gate[0], text, sizeof text);
        if (said == sizeof text && memcmp(text, "ready", sizeof text) == 0) /* it would leave its input at the gate */
            fail(channel, "park", "the program says \"ready\", not \"takes\", so its input would be lost", -EPROTO);
        if (said != sizeof text || memcmp(text, "takes", sizeof text) != 0)
            fail_early(channel, wait_for(channel, early.pid));
    }
    return early;
}

/* Wait until the keeper says something. A program that was killed while it was parked has not run: what ended it is not
 * its own end. */
static void wait_for_word(int channel, const struct early *early)
{
    struct pollfd wanted[2] = {{.fd = channel, .events = POLLIN}, {.fd = early->signals, .events = POLLIN}};
    do {
        int status;
        char text[128];
        SYS(ppoll, wanted, 2, 0, 0, SIGNAL_SET_BYTES);
        if (wanted[1].revents)
            SYS(read, early->signals, text, sizeof text);
        long ended;
        while ((ended = SYS(wait4, -1, &status, WNOHANG, 0)) > 0)
            if (ended == early->pid)
                fail_early(channel, status);
    } while (wanted[0].revents == 0);
}

/* Start the program now. What a submission's own build left may be no program: that is the submission's failure, and
 * told as a shell tells it (POSIX, 2.8.2). Anything else that cannot be started is ours. */
static int run_now(int channel, struct jail *jail, const struct go *go, const int program_ends[3])
{
    char *place = go->strings;
    must(channel, "go", "arguments",
         read_strings(&place, go->strings + go->bytes, go->count, jail->argv, LENGTH(jail->argv)) ? 0 : -E2BIG);
    limit_stack(channel, go);
    struct start start = {program_ends, 3, jail->argv, jail->environment, 0, 0};
    long pid = spawn(&start);
    if (pid < 0 && start.execve_was_called && strncmp(jail->argv[0], "/work/", 6) == 0) {
        char text[NAME_BYTES];
        int bytes = snprintf(text, sizeof text, "%s: %s\n", jail->argv[0], strerrordesc_np((int)-pid));
        SYS(write, program_ends[2], text, bytes < (int)sizeof text ? (size_t)bytes : sizeof text - 1);
        return CANNOT_EXECUTE << 8;
    }
    must(channel, "exec", jail->argv[0], pid);
    close_each(program_ends, 3);
    return wait_for(channel, pid);
}

/* Tell the program's arguments to the gate: "go", then each, with a NUL at its end, and beside them its input, which it
 * puts at 0 (input.c). */
static void open_gate(int channel, const struct early *early, const struct go *go)
{
    char *text = go->strings - 3; /* over the end of the head, which has been read */
    memcpy(text, "go", 3);
    long sent = send_with(early->gate, text, go->bytes + 3, &go->input, go->input >= 0);
    must(channel, "go", "the gate", sent);
    if (go->input >= 0)
        SYS(close, go->input);
}

static uint64_t now_ns(void)
{
    struct timespec now = {0, 0};
    SYS(clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* All that init does after go. */
static void run(int channel, struct jail *jail, int program_ends[3], const struct early *early)
{
    struct go go;
    int status;
    if (jail->head.start != START_EXEC)
        wait_for_word(channel, early);
    receive_go(channel, jail, &go);
    put_in_place(channel, jail, &go);
    if (jail->head.start == START_EXEC) {
        if (go.input >= 0) {
            SYS(close, program_ends[0]);
            program_ends[0] = go.input;
        }
        status = run_now(channel, jail, &go, program_ends);
    } else if (jail->head.start == START_STDIN) {
        status = wait_for(channel, early->pid);
    } else {
        open_gate(channel, early, &go);
        status = wait_for_end(channel, early->pid, early->signals, early->end);
        char word; /* a socket whose other end was closed before it was read to the end says so (unix(7)) */
        if (status > 0 && SYS(recvfrom, early->gate, &word, 1, MSG_DONTWAIT, 0, 0) == -ECONNRESET)
            fail(channel, "go", "the program ended before it heard go", -ECHILD);
    }
    const uint64_t ended_ns = now_ns();
    struct reply reply = {.kind = status < 0 ? REPLY_LINGERS : REPLY_STATUS, .value = status < 0 ? 0 : (uint32_t)status};
    reply.when_ns = ended_ns;
    int files[LEAVES_MAX];
    unsigned count = 0;
    char *const *leaves = jail->head.leaves > 0 ? jail->leaves : go.left;
    for (uint32_t number = 0; leaves[number] != NULL; number++) {
        char *name = leaves[number];
        long file = is_folder(name) ? pack_folder(name) : open_left(name);
        if (file < 0)
            continue;
        files[count++] = (int)file;
        reply.left |= UINT64_C(1) << number;
    }
    say(channel, reply, files, count);
}

/* The handler of rt_sigaction(2): SIG_DFL or SIG_IGN. */
static void set_signal(int number, void (*handler)(int))
{
    const uint64_t action[4] = {(uintptr_t)handler, 0, 0, 0}; /* struct sigaction: handler, flags, restorer, mask */
    SYS(rt_sigaction, number, action, 0, SIGNAL_SET_BYTES);
}

/* Init of a jail whose program is a command. Its signals are at their default, as the program finds them. */
static noreturn void be_init(struct jail *jail, uint32_t uid, int channel, const int *groups, unsigned count)
{
    int kept[GROUPS_MAX + 1], program_ends[3], keeper_ends[3];
    set_signal(SIGCHLD, SIG_DFL);
    memcpy(kept, groups, count * sizeof *groups);
    kept[count] = channel;
    must(channel, "descriptors", "close_range", close_all_but(kept, count + 1));
    confine(jail, channel, uid, groups, count);
    make_pipes(channel, jail->head.pipe_bytes, program_ends, keeper_ends);
    struct early early = {0, -1, -1, -1};
    if (jail->head.start != START_EXEC)
        early = start_early(channel, jail, program_ends);
    /* Until now our standard descriptors were the keeper's; nothing of the host stays open beside a program. */
    long null = SYS(openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
    must(channel, "descriptors", "/dev/null", null);
    for (int number = 0; number < 3; number++)
        must(channel, "descriptors", "dup3", SYS(dup3, null, number, 0));
    SYS(close, null);
    say(channel, (struct reply){.kind = REPLY_PARKED}, keeper_ends, 3);
    close_each(keeper_ends, 3);
    run(channel, jail, program_ends, &early);
    leave(0);
}

/*
 * Make a jail for a command, in our own network namespace, or where `network` is CLONE_NEWNET in a new one. `descriptors`
 * are the channel and then 0 to 5 groups. Returns the pid of its init and sets `pidfd`; or returns a negated errno, and
 * nothing is left. The init is a child of our parent, the warden.
 */
static long make_command(const uint8_t *description, size_t bytes, uint32_t uid, const int *descriptors, unsigned count,
                         uint64_t network, int *pidfd)
{
    long read = read_description(description, bytes, &the_jail);
    if (read < 0 || the_jail.head.start == START_FORK || uid == 0 || count < 1 || count > 1 + GROUPS_MAX)
        return -EINVAL;
    struct clone_args arguments = {.flags = NAMESPACES | network | CLONE_PARENT | CLONE_PIDFD, .pidfd = (uintptr_t)pidfd};
    long pid = SYS(clone3, &arguments, sizeof arguments);
    if (pid == 0)
        be_init(&the_jail, uid, descriptors[0], descriptors + 1, count - 1);
    return pid;
}

/* -- the image */

/*
 * The root directory that rootfs.py has composed at /image becomes the maker's own, once, and so that of every jail: a
 * jail begins in a copy of the maker's mount namespace, from which all else is gone. Otherwise each jail would have to copy
 * the warden's mounts and to leave them, and would wait for a grace period of RCU there.
 */
static int warden_proc; /* the directory /proc of the warden, which we look into */

/* End with the reason where a step of our own start has failed. The warden's stderr is its log. */
static void demand(const char *what, long result)
{
    char text[128];
    if (result >= 0)
        return;
    int bytes = snprintf(text, sizeof text, "maker: %s: %s\n", what, strerrordesc_np((int)-result));
    SYS(write, 2, text, bytes < (int)sizeof text ? (size_t)bytes : sizeof text - 1);
    leave(1);
}

/* In a child that shares our memory and is pid 1 of a pid namespace, which ends with it. */
static void mount_empty_proc(void *unused)
{
    (void)unused;
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    demand("mount /image/proc", SYS(mount, "proc", "/image/proc", "proc", flags, "subset=pid"));
    leave(0);
}

/*
 * A jail may mount a /proc only where one is mounted that nothing covers (mount_too_revealing() in fs/namespace.c). So
 * the image has one of a pid namespace that has ended, in which there is nothing, and each jail's covers it. After
 * pivot_root(".", ".") the old root is mounted on top of the new one (pivot_root(2), NOTES), and is detached with all
 * that is mounted on it.
 */
static void enter_image(void)
{
    int status;
    long proc = SYS(openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    demand("/proc", proc);
    warden_proc = (int)proc;
    demand("unshare", SYS(unshare, CLONE_NEWNS));
    long pid = clone_call(CLONE_NEWPID | CLONE_VM | CLONE_VFORK | SIGCHLD, child_stack + sizeof child_stack, NULL,
                          mount_empty_proc, NULL);
    demand("clone", pid);
    demand("wait4", SYS(wait4, pid, &status, 0, 0));
    if (status != 0)
        leave(1);
    demand("chdir /image", SYS(chdir, "/image"));
    demand("pivot_root", SYS(pivot_root, ".", "."));
    demand("umount2", SYS(umount2, ".", MNT_DETACH));
    demand("chdir /", SYS(chdir, "/"));
}

/* -- network namespaces */

/*
 * A network namespace is lent to one live jail after the other, because to make one and to take it down costs the kernel more
 * than a millisecond. Programs have sockets of AF_UNIX alone, so all that it can hold of a jail is sockets with their abstract
 * names (unix(7)), and it is lent only when it holds none. The keeper lends no number to two live jails.
 */
static int networks[NETWORKS_MAX + 1]; /* descriptors by number; 0: not made yet */

/* Whether our own network namespace holds no socket: the file has its heading alone. A socket outlives its processes for a
 * moment where it was on its way through another one. */
static int is_network_empty(void)
{
    char text[256];
    long file = SYS(openat, warden_proc, "self/net/unix", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    long bytes = SYS(read, file, text, sizeof text);
    SYS(close, file);
    return bytes > 0 && memchr(text, '\n', (size_t)bytes) == text + bytes - 1;
}

/* Be in the network namespace of this number, which is empty, and with us those that we make. 0, or an error. */
static long enter_network(uint32_t number)
{
    int *kept = &networks[number];
    if (*kept > 0) {
        long entered = SYS(setns, *kept, CLONE_NEWNET);
        if (entered < 0 || is_network_empty())
            return entered;
        SYS(close, *kept);
        *kept = 0;
    }
    long made = SYS(unshare, CLONE_NEWNET);
    if (made < 0)
        return made;
    long file = SYS(openat, warden_proc, "self/ns/net", O_RDONLY | O_CLOEXEC);
    if (file > 0)
        *kept = (int)file;
    return file < 0 ? file : 0;
}

/* -- the helpers: what the warden asks of them */

static void answer(int sock, uint32_t number, long result, const int *pidfd)
{
    const struct answer answer = {number, (int32_t)result};
    if (send_with(sock, &answer, sizeof answer, pidfd, result > 0) < 0)
        leave(1); /* the warden is gone */
}

static void hold(void *unused)
{
    (void)unused;
    SYS(close_range, 0, ~0U, 0);
    pause_for_ever();
}

/* Make the init that was asked for. `bytes` are those of the description. Its pid, or an error. */
static long make(const struct request *request, const uint8_t *description, size_t bytes, const int *descriptors,
                 unsigned count, int *pidfd)
{
    uint64_t network = CLONE_NEWNET;
    if (request->network > NETWORKS_MAX)
        return -EPROTO;
    if (request->network > 0) {
        long entered = enter_network(request->network);
        if (entered < 0)
            return entered;
        network = 0;
    }
    if (request->kind == REQUEST_INIT && bytes == 0 && count == 0)
        return clone_call(NAMESPACES | network | CLONE_VM | CLONE_PIDFD | SIGCHLD, child_stack + sizeof child_stack, pidfd,
                          hold, NULL);
    if (request->kind == REQUEST_COMMAND)
        return make_command(description, bytes, request->value, descriptors, count, network, pidfd);
    return -EPROTO;
}

/*
 * Where the maker begins: the kernel starts the library as a program (execve(2)), with its socket at descriptor 3 and the
 * warden as its parent, and it serves until the warden is gone.
 *
 * Inits that only hold namespaces have no descriptor, so not the socket either, and the maker's death is seen at once. All
 * signals of such an init are at their default, which for pid 1 of a namespace means ignored, and SIGCHLD is ignored, so
 * that the kernel reaps orphans by itself (wait(2), NOTES). They share one stack, also with one that is just starting:
 * hold() may write to it, and reads nothing from it.
 */
PUBLIC noreturn PROGRAM_ENTRY void maker_start(void)
{
    static struct {
        struct request request;
        uint8_t description[MESSAGE_BYTES];
    } asked;
    int descriptors[DESCRIPTORS_MAX];
    unsigned count;
    enter_image();
    answer(MAKER_SOCKET, 0, 0, NULL);
    for (int number = 1; number <= SIGNALS; number++) /* Python ignores SIGPIPE and SIGXFSZ */
        set_signal(number, number == SIGCHLD ? SIG_IGN : SIG_DFL);
    for (;;) {
        const long got = receive(MAKER_SOCKET, &asked, sizeof asked, descriptors, &count);
        int pidfd = -1;
        if (got < (long)sizeof asked.request)
            leave(0);
        long pid = make(&asked.request, asked.description, (size_t)got - sizeof asked.request, descriptors, count, &pidfd);
        answer(MAKER_SOCKET, asked.request.number, pid, &pidfd);
        if (pid > 0)
            SYS(close, pidfd);
        close_each(descriptors, count);
    }
}

/* -- the zygote */

static struct {
    struct request request;
    struct range ranges[RANGES_MAX];
} received; /* what came last */
static struct range prefault[RANGES_MAX]; /* pages that a program's start writes to */
static uint32_t prefault_count;
static uint64_t python_sigint[4]; /* struct sigaction: Python's own handler */

static int program_channel, program_pipes[3]; /* of a program that is to park; the far ends of its pipes */

/*
 * In the new process: everything until it can park.
 *
 * hold() shares the memory of the program until the jail is killed, a moment after the program's end has been told. The
 * kernel tells of a process's end once its memory is gone (do_exit in kernel/exit.c: exit_mm, then exit_notify), which
 * takes most of a millisecond; but only the last of those that share it frees it. The holder is confined as the program
 * is, has nothing open and is no child that wait(2) would find, because it has no exit signal. It is made while SIGINT is
 * ignored, so it catches no signal. A program that kills it only ends later.
 */
static void be_program(const struct jail *jail, uint32_t uid, const int *descriptors, unsigned count)
{
    const int channel = descriptors[0], init = descriptors[1], *groups = descriptors + 2;
    int kept[GROUPS_MAX + 1], program_ends[3];
    must(channel, "namespaces", "setns", SYS(setns, init, (NAMESPACES | CLONE_NEWNET) & ~(uint64_t)CLONE_NEWPID));
    memcpy(kept, groups, (count - 2) * sizeof *groups);
    kept[count - 2] = channel;
    must(channel, "descriptors", "close_range", close_all_but(kept, count - 1));
    confine(jail, channel, uid, groups, count - 2);
    make_pipes(channel, jail->head.pipe_bytes, program_ends, program_pipes);
    for (int number = 0; number < 3; number++)
        must(channel, "pipes", "dup3", SYS(dup3, program_ends[number], number, 0));
    close_each(program_ends, 3);
    must(channel, "session", "setsid", SYS(setsid));
    must(channel, "holder", "clone", clone_call(CLONE_VM, child_stack + sizeof child_stack, NULL, hold, NULL));
    must(channel, "session", "dumpable", SYS(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)); /* as after an exec */
    must(channel, "session", "rt_sigaction", SYS(rt_sigaction, SIGINT, python_sigint, 0, SIGNAL_SET_BYTES));
    for (uint32_t number = 0; number < prefault_count; number++) /* where it fails the page is copied later */
        SYS(madvise, prefault[number].start, prefault[number].bytes, MADV_POPULATE_WRITE);
    program_channel = channel;
}

/*
 * Called in the process of a program: parks, waits for go and puts source and input in place; never returns where there
 * is no go. Returns the bytes of the program's arguments, each with a NUL at its end, and sets `strings`.
 */
PUBLIC long program_park(const char **strings)
{
    struct go go;
    say(program_channel, (struct reply){.kind = REPLY_PARKED}, program_pipes, 3);
    close_each(program_pipes, 3);
    receive_go(program_channel, &the_jail, &go);
    put_in_place(program_channel, &the_jail, &go);
    limit_stack(program_channel, &go);
    if (go.input >= 0) {
        must(program_channel, "go", "dup3", SYS(dup3, go.input, 0, 0));
        SYS(close, go.input);
    }
    SYS(close, program_channel);
    *strings = go.strings;
    return go.bytes;
}

/* Fork one program whose pid namespace is that of `init`. Its pid, or an error; 0 in the new process. Its parent is ours:
 * the warden, which hears of its end. */
static long fork_program(int init, int own_pids, int *pidfd)
{
    struct clone_args arguments = {.flags = CLONE_PARENT | CLONE_PIDFD, .pidfd = (uintptr_t)pidfd};
    long entered = SYS(setns, init, CLONE_NEWPID); /* of those that we fork, not our own */
    if (entered < 0)
        return entered;
    long pid = SYS(clone3, &arguments, sizeof arguments);
    if (pid != 0 && SYS(setns, own_pids, CLONE_NEWPID) < 0)
        leave(1);
    return pid;
}

/*
 * Serve as the zygote until the warden is gone. `own_pids` is the pid namespace of this process. Returns 0 in the process
 * of a program, which then calls program_park(); or -EINVAL at once for a bad description.
 */
PUBLIC long zygote_serve(const uint8_t *description, size_t bytes, int sock, int own_pids)
{
    const uint64_t ignore[4] = {(uintptr_t)SIG_IGN, 0, 0, 0};
    int descriptors[DESCRIPTORS_MAX];
    unsigned count;
    if (read_description(description, bytes, &the_jail) < 0 || the_jail.head.start != START_FORK)
        return -EINVAL;
    SYS(rt_sigaction, SIGINT, ignore, python_sigint, SIGNAL_SET_BYTES);
    for (;;) {
        long got = receive(sock, &received, sizeof received, descriptors, &count);
        const struct request request = received.request;
        if (got < (long)sizeof request)
            leave(0);
        if (request.kind == REQUEST_PREFAULT && request.value <= RANGES_MAX &&
            (size_t)got == sizeof request + request.value * sizeof(struct range)) {
            prefault_count = request.value;
            memcpy(prefault, received.ranges, prefault_count * sizeof(struct range));
            answer(sock, request.number, 0, NULL);
        } else if (request.kind == REQUEST_FORK && request.value > 0 && count >= 2 && count <= 2 + GROUPS_MAX) {
            int pidfd = -1;
            long pid = fork_program(descriptors[1], own_pids, &pidfd);
            if (pid == 0) {
                be_program(&the_jail, request.value, descriptors, count);
                return 0;
            }
            answer(sock, request.number, pid, &pidfd);
            if (pid > 0)
                SYS(close, pidfd);
        } else {
            answer(sock, request.number, -EPROTO, NULL);
        }
        close_each(descriptors, count);
    }
}
