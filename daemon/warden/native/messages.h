/* What jail.c reads and writes: the description of a jail, the messages on its channel, and what the warden asks of its
 * helpers. The same structs stand in daemon/warden/description.py and daemon/sandbox/messages.py. */

#include <errno.h>
#include <linux/filter.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum { MESSAGE_BYTES = 64 << 10, REPLY_TEXT_BYTES = 240 };
enum { GO_SOURCE = 1, GO_ARTIFACT = 2, GO_FILES = 4, GO_JOINS = 8, GO_INPUT = 16 };
enum { REPLY_PARKED = 1, REPLY_STATUS, REPLY_LINGERS, REPLY_FAILED };
enum { REQUEST_FORK = 1, REQUEST_PREFAULT, REQUEST_INIT, REQUEST_COMMAND };
enum { START_EXEC = 1, START_FORK, START_PRELOAD, START_STDIN };
enum { GROUPS_MAX = 5, DESCRIPTORS_MAX = 8, RANGES_MAX = 512, LEAVES_MAX = 8 };
enum { NETWORKS_MAX = 64, ENVIRONMENT_MAX = 256, NAME_BYTES = 1024, EXIT_KEEPER_GONE = 98 };

/* -- the description of a jail */

struct head { /* little-endian, as both processors are; written by description.py */
    uint32_t bytes; /* of the whole description */
    uint32_t start; /* START_* */
    uint32_t instructions; /* of the filter, each a struct sock_filter */
    uint32_t arguments, variables, leaves; /* numbers of strings */
    uint64_t stack_bytes, file_bytes, files_open; /* resource limits; the stack's is the most that a go may say */
    uint64_t scratch_bytes, scratch_inodes; /* of the tmpfs that holds /work, /tmp and /dev/shm */
    uint64_t pipe_bytes; /* what the pipes of stdout and stderr hold before a writer waits */
};

struct jail {
    struct head head;
    struct sock_fprog filter;
    const char *source, *takes; /* names below /work, or empty: of the source, of an earlier step's artefact */
    char *leaves[LEAVES_MAX + 1]; /* paths below /work of what the step leaves behind; a folder's ends with / */
    char *argv[MESSAGE_BYTES]; /* of a program that starts before go; of others, what came with go */
    char *environment[ENVIRONMENT_MAX + 1];
};

/* The next string of a block of strings, each with a NUL at its end; NULL where there is none. */
static char *next_string(char **place, const char *end)
{
    char *string = *place;
    char *nul = string < end ? memchr(string, 0, (size_t)(end - string)) : NULL;
    if (nul == NULL)
        return NULL;
    *place = nul + 1;
    return string;
}

/* Fill `list` with exactly `count` strings and a NULL. False where there are fewer. */
static int read_strings(char **place, const char *end, uint32_t count, char **list, size_t room)
{
    if (count >= room)
        return 0;
    for (uint32_t number = 0; number < count; number++) {
        list[number] = next_string(place, end);
        if (list[number] == NULL)
            return 0;
    }
    list[count] = NULL;
    return 1;
}

static int is_name(const char *name)
{
    return name != NULL && strlen(name) <= 255 && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* A relative path: not empty, and nothing in it leads upwards. */
static int is_path_below(const char *path)
{
    return *path != 0 && *path != '/' && strstr(path, "..") == NULL;
}

/* Whether a path, which is not empty, ends as that of a folder. */
static int is_folder(const char *path)
{
    return path[strlen(path) - 1] == '/';
}

/* Check a description and point into it; it must stay where it is. 0, or -EINVAL for anything that is not as above. */
static long read_description(const uint8_t *data, size_t bytes, struct jail *jail)
{
    struct head *head = &jail->head;
    if (bytes < sizeof *head || bytes > MESSAGE_BYTES)
        return -EINVAL;
    memcpy(head, data, sizeof *head);
    if (head->bytes != bytes || head->start < START_EXEC || head->start > START_STDIN)
        return -EINVAL;
    if (head->instructions < 1 || head->instructions > BPF_MAXINSNS ||
        head->instructions * sizeof(struct sock_filter) > bytes - sizeof *head)
        return -EINVAL;
    if (!head->stack_bytes || !head->files_open || !head->scratch_bytes || !head->scratch_inodes)
        return -EINVAL; /* for a tmpfs 0 would mean "no limit" */
    jail->filter.len = (unsigned short)head->instructions;
    jail->filter.filter = (struct sock_filter *)(uintptr_t)(data + sizeof *head);
    char *place = (char *)(uintptr_t)data + sizeof *head + head->instructions * sizeof(struct sock_filter);
    const char *end = (const char *)data + bytes;
    jail->source = next_string(&place, end);
    jail->takes = next_string(&place, end);
    if (!is_name(jail->source) || !is_name(jail->takes))
        return -EINVAL;
    if (!read_strings(&place, end, head->leaves, jail->leaves, LENGTH(jail->leaves)) || !read_strings(&place, end, head->arguments, jail->argv, LENGTH(jail->argv)) ||
        !read_strings(&place, end, head->variables, jail->environment, LENGTH(jail->environment)) || place != end)
        return -EINVAL;
    for (uint32_t number = 0; number < head->leaves; number++)
        if (!is_path_below(jail->leaves[number]))
            return -EINVAL;
    int starts_early = head->start == START_PRELOAD || head->start == START_STDIN;
    return starts_early == (head->arguments > 0) ? 0 : -EINVAL;
}

/* -- go */

struct go_head {
    uint32_t flags, count, bytes; /* GO_*, strings, and their bytes with a NUL after each */
    uint32_t left; /* so many of the strings, the last ones, are paths below /work of what the run leaves behind */
    uint64_t stack_bytes; /* resource limit of a program that starts now; 0 leaves it as the jail was made */
};

struct go {
    uint32_t flags, count, bytes;
    uint64_t stack_bytes;
    char *strings;
    char *left[LEAVES_MAX + 1]; /* as the leaves of a jail, but of files alone; their strings are not among `count` */
    int input; /* -1: the program has its pipe */
    int descriptors[DESCRIPTORS_MAX]; /* source, artefact, files, input, group to join: those that the flags name */
};

/* Check what came as "go" for this jail. 0, or -EISDIR where it is to leave a folder, or -EPROTO. */
static long read_go(uint8_t *data, size_t bytes, unsigned descriptors, const struct jail *jail, struct go *go)
{
    struct go_head head;
    if (bytes < sizeof head)
        return -EPROTO;
    memcpy(&head, data, sizeof head);
    go->flags = head.flags;
    go->count = head.count;
    go->bytes = head.bytes;
    go->stack_bytes = head.stack_bytes;
    go->strings = (char *)data + sizeof head;
    go->input = -1;
    uint32_t expected = (*jail->source ? GO_SOURCE : 0) | (*jail->takes ? GO_ARTIFACT : 0);
    uint32_t packed = (expected & ~(uint32_t)GO_ARTIFACT) | GO_FILES; /* the artefact is one of the files */
    uint32_t brought = head.flags & ~(uint32_t)(GO_JOINS | GO_INPUT);
    if (head.bytes != bytes - sizeof head || (brought != packed && (brought & ~(uint32_t)GO_FILES) != expected) ||
        descriptors != (unsigned)__builtin_popcount(head.flags))
        return -EPROTO;
    if (head.left > head.count || (head.left > 0 && (jail->head.leaves > 0 || jail->head.start == START_FORK)))
        return -EPROTO; /* a fork has no init that would open them */
    go->count -= head.left;
    if (jail->head.start == START_EXEC && go->count == 0)
        return -EPROTO;
    if (jail->head.start == START_STDIN && head.flags & GO_INPUT)
        return -EPROTO; /* its input is its source */
    char *place = go->strings;
    const char *end = place + head.bytes;
    uint32_t found = 0;
    while (found < go->count && next_string(&place, end) != NULL)
        found++;
    go->bytes = (uint32_t)(place - go->strings);
    if (found < go->count || !read_strings(&place, end, head.left, go->left, LENGTH(go->left)) || place != end)
        return -EPROTO;
    for (uint32_t number = 0; number < head.left; number++) {
        if (!is_path_below(go->left[number]))
            return -EPROTO;
        if (is_folder(go->left[number]))
            return -EISDIR;
    }
    return 0;
}

/* -- what the warden asks of the maker and the zygote */

struct request {
    uint32_t number, kind, value; /* REQUEST_*; a uid, or how many ranges follow. A description follows a command */
    uint32_t network; /* of a jail: the number of the one that is lent to it; 0: one of its own */
};

struct range {
    uint64_t start, bytes;
};

struct answer {
    uint32_t number; /* that of the request */
    int32_t result; /* a pid, 0, or a negated errno */
};

/* -- messages */

/* Receive one message. Its length, 0 at the end of the stream; descriptors arrive close-on-exec. */
static long receive(int sock, void *data, size_t room, int *descriptors, unsigned *count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    struct iovec part = {data, room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    long bytes;
    do {
        message.msg_controllen = sizeof control;
        bytes = SYS(recvmsg, sock, &message, MSG_CMSG_CLOEXEC);
    } while (bytes == -EINTR);
    *count = 0;
    if (bytes < 0)
        return bytes;
    struct cmsghdr *first = CMSG_FIRSTHDR(&message);
    if (first != NULL && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS) {
        *count = (unsigned)((first->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(descriptors, CMSG_DATA(first), *count * sizeof(int));
    }
    return message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : bytes;
}

static long send_with(int sock, const void *data, size_t bytes, const int *descriptors, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    } control;
    struct iovec part = {(void *)(uintptr_t)data, bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *first = CMSG_FIRSTHDR(&message);
        first->cmsg_level = SOL_SOCKET;
        first->cmsg_type = SCM_RIGHTS;
        first->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(first), descriptors, count * sizeof(int));
    }
    return SYS(sendmsg, sock, &message, MSG_NOSIGNAL);
}

struct reply {
    uint32_t kind, value;
    uint64_t when_ns; /* CLOCK_MONOTONIC, when the program's end was known */
    uint64_t left; /* which of the paths in `leaves`, or of go, came, a bit for each, the first is the lowest */
    char text[REPLY_TEXT_BYTES];
};

static void say(int channel, struct reply reply, const int *descriptors, unsigned count)
{
    if (send_with(channel, &reply, offsetof(struct reply, text), descriptors, count) < 0)
        leave(EXIT_KEEPER_GONE); /* the keeper has let go of us */
}

/* Tell which stage failed, and end: nothing of a jail that is not whole goes on. */
static noreturn void fail(int channel, const char *stage, const char *what, long error)
{
    struct reply reply = {.kind = REPLY_FAILED};
    const char *reason = strerrordesc_np((int)-error);
    int bytes = snprintf(reply.text, sizeof reply.text, "%s%c%s: %s", stage, 0, what, reason ? reason : "?");
    size_t length = bytes < (int)sizeof reply.text ? (size_t)bytes : sizeof reply.text - 1;
    send_with(channel, &reply, offsetof(struct reply, text) + length, NULL, 0);
    leave(0);
}

static void must(int channel, const char *stage, const char *what, long result)
{
    if (result < 0)
        fail(channel, stage, what, result);
}
