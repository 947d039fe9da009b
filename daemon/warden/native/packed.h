/* Files of a jail in one descriptor: how they come, and how a folder leaves. judge/files.py packs and reads them too. */

#include <linux/memfd.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20, FOLDERS_MAX = 16, LISTING_BYTES = 4 << 10 };
enum { PACKED_BYTES_MAX = 64 << 20, PACKED_FILES_MAX = 1000 }; /* that leave */

struct file_head { /* of one file, then its name, then its content; judge/files.py packs them one after the other */
    uint32_t name_bytes, zero;
    uint64_t bytes;
};

/* Copy `bytes` of a descriptor, from `offset` on, to a new file below /work; all that there is where bytes is -1. */
static long put(int source, int64_t offset, int64_t bytes, const char *name, unsigned mode)
{
    long target = SYS(openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    while (target >= 0 && bytes != 0) {
        long copied = SYS(sendfile, target, source, &offset, bytes < 0 || bytes > COPY_BYTES ? COPY_BYTES : bytes);
        if (copied < 0)
            return copied;
        if (copied == 0 && bytes > 0)
            return -EINVAL; /* it is cut */
        if (copied == 0)
            break;
        bytes -= bytes > 0 ? copied : 0;
    }
    return target < 0 ? target : SYS(close, target);
}

/* Make the directories above a file. */
static long make_parents(char *name)
{
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        long made = SYS(mkdirat, AT_FDCWD, name, 0755);
        *slash = '/';
        if (made < 0 && made != -EEXIST)
            return made;
    }
    return 0;
}

/* Unpack the files below /work. We have the jail's uid by now, so no name reaches anything outside of it. */
static long put_files(int packed)
{
    char name[NAME_BYTES + 1];
    struct file_head head;
    int64_t offset = 0;
    for (;;) {
        long got = SYS(pread64, packed, &head, sizeof head, offset);
        if (got <= 0)
            return got;
        if (got != sizeof head || head.name_bytes < 1 || head.name_bytes > NAME_BYTES || head.bytes > INT64_MAX / 2)
            return -EINVAL;
        offset += (int64_t)sizeof head;
        if (SYS(pread64, packed, name, head.name_bytes, offset) != (long)head.name_bytes ||
            memchr(name, 0, head.name_bytes) != NULL || name[0] == '/')
            return -EINVAL;
        name[head.name_bytes] = 0;
        offset += head.name_bytes;
        long done = make_parents(name);
        if (done == 0)
            done = put(packed, offset, (int64_t)head.bytes, name, 0644);
        if (done < 0)
            return done;
        offset += (int64_t)head.bytes;
    }
}

/* -- what a step leaves */

/* A file below /work. Follows no link on the way nor at the end, and does not wait for a FIFO; the keeper checks what it is.
 * `name` is as it was once this returns. */
static long open_left(char *name)
{
    long folder = AT_FDCWD, next;
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(name, '/')) {
        *slash = 0;
        next = SYS(openat, folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        *slash = '/';
        if (folder != AT_FDCWD)
            SYS(close, folder);
        if (next < 0)
            return next;
        folder = next;
        name = slash + 1;
    }
    long file = SYS(openat, folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (folder != AT_FDCWD)
        SYS(close, folder);
    return file;
}

struct packing {
    int packed; /* a memfd, on the jail's account */
    unsigned files;
    int64_t bytes;
    char path[NAME_BYTES + 1]; /* of what is packed now */
};

/* Pack the file at `path`. It may be changed meanwhile: what was its size is packed, or it is an error. */
static long pack_file(struct packing *to)
{
    long file = open_left(to->path);
    long bytes = file < 0 ? file : SYS(lseek, file, 0, SEEK_END);
    struct file_head head = {.name_bytes = (uint32_t)strlen(to->path), .bytes = (uint64_t)bytes};
    int64_t offset = 0;
    long done = bytes < 0 ? bytes : 0;
    if (done == 0 && (++to->files > PACKED_FILES_MAX || bytes > PACKED_BYTES_MAX))
        done = -EFBIG;
    to->bytes += (int64_t)(sizeof head + head.name_bytes) + bytes;
    if (done == 0 && to->bytes > PACKED_BYTES_MAX)
        done = -EFBIG;
    if (done == 0 && (SYS(write, to->packed, &head, sizeof head) != sizeof head ||
                      SYS(write, to->packed, to->path, head.name_bytes) != (long)head.name_bytes))
        done = -EIO;
    while (done == 0 && offset < bytes) {
        long copied = SYS(sendfile, to->packed, file, &offset, bytes - offset);
        done = copied < 0 ? copied : copied == 0 ? -EIO : 0;
    }
    if (file >= 0)
        SYS(close, file);
    return done;
}

struct entry { /* struct linux_dirent64 of getdents64(2) */
    uint64_t inode;
    int64_t next;
    unsigned short bytes;
    unsigned char kind; /* DT_*, which tmpfs tells */
    char name[];
};

enum { KIND_FOLDER = 4, KIND_FILE = 8 }; /* DT_DIR and DT_REG of dirent.h */

/* Pack all files at and below `path`, a folder. What is neither file nor folder is left out. */
static long pack_below(struct packing *to, unsigned depth)
{
    _Alignas(8) char listing[LISTING_BYTES];
    long folder = SYS(openat, AT_FDCWD, to->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    long got = folder, done = 0;
    size_t length = strlen(to->path);
    while (folder >= 0 && done == 0 && (got = SYS(getdents64, folder, listing, sizeof listing)) > 0)
        for (long at = 0; at < got && done == 0;) {
            const struct entry *entry = (const struct entry *)(const void *)(listing + at);
            size_t bytes = strlen(entry->name);
            at += entry->bytes;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            if (length + 1 + bytes > NAME_BYTES || depth == FOLDERS_MAX)
                done = -ENAMETOOLONG;
            if (done == 0 && (entry->kind == KIND_FILE || entry->kind == KIND_FOLDER)) {
                to->path[length] = '/';
                memcpy(to->path + length + 1, entry->name, bytes + 1);
                done = entry->kind == KIND_FILE ? pack_file(to) : pack_below(to, depth + 1);
                to->path[length] = 0;
            }
        }
    if (folder >= 0)
        SYS(close, folder);
    return done < 0 ? done : got;
}

/* All files of the folder, whose name ends with a slash, in a memfd; or the error: it is not there, one of them cannot
 * be read, or they are too many. A part of them is never packed. */
static long pack_folder(const char *name)
{
    struct packing to = {.packed = -1};
    size_t length = strlen(name) - 1;
    if (length > NAME_BYTES)
        return -ENAMETOOLONG;
    long packed = SYS(memfd_create, "left", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (packed < 0)
        return packed;
    to.packed = (int)packed;
    memcpy(to.path, name, length);
    long done = pack_below(&to, 0);
    if (done == 0)
        done = SYS(lseek, packed, 0, SEEK_SET);
    if (done < 0)
        SYS(close, packed);
    return done < 0 ? done : packed;
}
