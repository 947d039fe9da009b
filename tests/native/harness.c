/*
 * Runs what jail.c reads from others, on its own: built with the sanitizers, and for aarch64.
 *
 *   harness description           a description on stdin: its fields, or the error
 *   harness go START TAKES N      a go message on stdin, for a jail with a source and perhaps an artefact, N descriptors
 *   harness files                 packed files on stdin, unpacked into the working directory
 *   harness spawn                 starts a program that does not exist
 *   harness fuzz SEED SECONDS     changes the description on stdin, and go messages, at random
 */

#define HARNESS
#include "jail.c"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint8_t input[2 * MESSAGE_BYTES];

static void show(const char *name, char *const *strings)
{
    printf("%s:", name);
    for (; *strings != NULL; strings++)
        printf(" %s", *strings);
    printf("\n");
}

static int read_one(const uint8_t *data, size_t bytes, int loud)
{
    long result = read_description(data, bytes, &the_jail);
    if (result < 0) {
        if (loud)
            printf("refused: %s\n", strerrordesc_np((int)-result));
        return 0;
    }
    uint64_t sum = 0; /* every byte that it points to is there */
    for (uint32_t number = 0; number < the_jail.filter.len * sizeof(struct sock_filter); number++)
        sum += ((const uint8_t *)the_jail.filter.filter)[number];
    for (char **list = the_jail.argv; *list != NULL; list++)
        sum += strlen(*list);
    for (char **list = the_jail.environment; *list != NULL; list++)
        sum += strlen(*list);
    if (loud) {
        printf("start: %u\nfilter: %u\nnames: %s, %s, %s\n", the_jail.head.start, the_jail.filter.len, the_jail.source,
               the_jail.takes, the_jail.leaves[0] ? the_jail.leaves[0] : "");
        printf("limits: %llu %llu %llu\nscratch: %llu %llu\n", (unsigned long long)the_jail.head.stack_bytes,
               (unsigned long long)the_jail.head.file_bytes, (unsigned long long)the_jail.head.files_open,
               (unsigned long long)the_jail.head.scratch_bytes, (unsigned long long)the_jail.head.scratch_inodes);
        show("argv", the_jail.argv);
        show("environment", the_jail.environment);
    }
    return sum > 0;
}

static int go_one(uint8_t *data, size_t bytes, unsigned count, int loud)
{
    struct go go;
    long result = read_go(data, bytes, count, &the_jail, &go);
    if (result < 0) {
        if (loud)
            printf("refused: %s\n", strerrordesc_np((int)-result));
        return 0;
    }
    char *place = go.strings;
    if (!read_strings(&place, go.strings + go.bytes, go.count, the_jail.argv, LENGTH(the_jail.argv)))
        abort(); /* read_go has counted them */
    if (loud)
        show("strings", the_jail.argv);
    if (loud && go.left[0] != NULL)
        show("left", go.left);
    return 1;
}

static uint64_t state;

static uint64_t some(void) /* xorshift64 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* A copy that is exactly as long, so that the sanitizer sees every byte beyond it, with a few changes. */
static uint8_t *changed(const uint8_t *data, size_t *bytes)
{
    static const uint32_t telling[] = {0, 1, 2, 7, 255, 4096, 65536, 1u << 31, ~0u};
    size_t length = some() % 4 ? *bytes : some() % (*bytes + 1);
    uint8_t *copy = malloc(length ? length : 1);
    memcpy(copy, data, length);
    for (uint64_t left = some() % 4; left > 0 && length >= 4; left--) {
        if (some() % 2)
            copy[some() % length] = (uint8_t)some();
        else
            memcpy(copy + some() % (length < 28 ? length / 4 : 7) * 4, &telling[some() % LENGTH(telling)], 4);
    }
    if (length >= 12 && some() % 2) { /* else most would be refused for their length */
        uint32_t whole = (uint32_t)length;
        memcpy(copy, &whole, 4);
    }
    *bytes = length;
    return copy;
}

static int fuzz(size_t bytes, long seconds)
{
    static const char go_message[] = "\5\0\0\0\4\0\0\0\14\0\0\0\0\0\0\0" "\0\0\100\0\0\0\0\0" "one\0two\0\0xy";
    unsigned long tried = 0, taken = 0, went = 0;
    time_t end = time(NULL) + seconds;
    do {
        for (int round = 0; round < 500; round++, tried++) {
            size_t length = bytes;
            uint8_t *copy = changed(input, &length);
            taken += (unsigned long)read_one(copy, length, 0);
            free(copy);
            the_jail.source = "main";
            the_jail.takes = some() % 2 ? "" : "made";
            length = sizeof go_message;
            copy = changed((const uint8_t *)go_message, &length);
            went += (unsigned long)go_one(copy, length, (unsigned)(some() % 4), 0);
            free(copy);
        }
    } while (time(NULL) < end);
    printf("tried %lu, descriptions taken %lu, go taken %lu\n", tried, taken, went);
    return taken > 0 && went > 0 ? 0 : 1;
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "";
    size_t bytes = strcmp(mode, "spawn") == 0 ? 0 : fread(input, 1, sizeof input, stdin);
    if (strcmp(mode, "description") == 0) {
        read_one(input, bytes, 1);
    } else if (strcmp(mode, "go") == 0 && count == 5) {
        the_jail.head.start = (uint32_t)atoi(arguments[2]);
        the_jail.source = "main";
        the_jail.takes = arguments[3];
        go_one(input, bytes, (unsigned)atoi(arguments[4]), 1);
    } else if (strcmp(mode, "files") == 0) {
        int packed = (int)syscall(SYS_memfd_create, "packed", 0);
        if (write(packed, input, bytes) != (ssize_t)bytes)
            return 1;
        long result = put_files(packed);
        printf("%s\n", result < 0 ? strerrorname_np((int)-result) : "unpacked");
    } else if (strcmp(mode, "spawn") == 0) {
        const int streams[3] = {0, 1, 2};
        char *argv[] = {"/no/such/program", NULL};
        struct start start = {streams, 3, argv, argv + 1, 0, 0};
        long pid = spawn(&start);
        int status = 0;
        if (pid > 0) /* where it was a copy, as under qemu, the error did not come back */
            waitpid((pid_t)pid, &status, 0);
        printf("%s\n", pid == -ENOENT || status == 127 << 8 ? "did not start" : "?");
    } else if (strcmp(mode, "fuzz") == 0 && count == 4) {
        state = strtoull(arguments[2], NULL, 10);
        return fuzz(bytes, atol(arguments[3]));
    } else {
        return 2;
    }
    return 0;
}
