/*
 * Puts a program's input in its place, in a runtime that has started before go and cannot receive descriptors by itself:
 * Node and Java load this library, and loading it returns at go. The root directory of a jail has it as /cellblock/input.so.
 *
 * At descriptor 3 is the gate (daemon/warden/description.py). The library says there that the program takes its input,
 * and looks at the message that is "go": where a descriptor came with it, that is at 0 afterwards. The message itself stays
 * for the runtime to read. Nothing of a submission has run yet.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum { GATE = 3, FAILED = 98, JNI_VERSION = 0x00010008 /* 1.8, of jni.h */ };

static void take_input(void)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec part = {&byte, sizeof byte};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    ssize_t got;
    int input;
    if (send(GATE, "takes", 5, MSG_NOSIGNAL) != 5)
        _exit(FAILED);
    do {
        message.msg_controllen = sizeof control;
        got = recvmsg(GATE, &message, MSG_PEEK | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    struct cmsghdr *first = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (got < 0 || message.msg_flags & MSG_CTRUNC)
        _exit(FAILED); /* rather than without its input */
    if (first == NULL)
        return;
    memcpy(&input, CMSG_DATA(first), sizeof input);
    if (first->cmsg_type != SCM_RIGHTS || dup2(input, STDIN_FILENO) < 0)
        _exit(FAILED);
    close(input);
}

/* Node calls this when it has loaded an add-on ("Node-API", module registration). */
PUBLIC void *napi_register_module_v1(void *environment, void *exports);
PUBLIC void *napi_register_module_v1(void *environment, void *exports)
{
    (void)environment;
    take_input();
    return exports;
}

/* Java calls this when it has loaded a library (JNI, "The Invocation API"). */
PUBLIC int JNI_OnLoad(void *machine, void *reserved);
PUBLIC int JNI_OnLoad(void *machine, void *reserved)
{
    (void)machine;
    (void)reserved;
    take_input();
    return JNI_VERSION;
}
