"""Takes memory of the kernel that no control group pays for, or that stays when its processes have ended.

threat: U7
needs: x86-64
remedy: In inner.toml setsockopt has no filters, mmap no huge pages, and System V memory and queues are not allowed.
"""

import socket

from attempts import ask, pointer, refused, room, tell

SETSOCKOPT, SOL_SOCKET = 54, 1
NO_SIZE = 63 << 26  # of a huge page: the kernel would answer EINVAL to mmap, and ENODEV to memfd_create
OPTIONS = {
    "SO_ATTACH_FILTER": 26, "SO_LOCK_FILTER": 44, "SO_ATTACH_BPF": 50, "SO_ATTACH_REUSEPORT_CBPF": 51,
    "SO_ATTACH_REUSEPORT_EBPF": 52, "SO_ATTACH_FILTER with a high bit": 26 | 1 << 32,
}  # fmt: skip

value = room(16)
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for name, option in OPTIONS.items():
    refused(name, SETSOCKOPT, one.fileno(), SOL_SOCKET, option, pointer(value), 16)
for name, call in {
    "shmget": (29, 0, 4096, 0o1600), "semget": (64, 0, 1, 0o1600), "msgget": (68, 0, 0o1600), "mq_open": (240,),
}.items():  # fmt: skip
    refused(name, *call)
for name, shut, call in (
    ("mmap", "ENOMEM", (9, 0, 1 << 21, 3, 0x40022 | NO_SIZE, -1)),
    ("memfd_create", "EINVAL", (319, pointer(value), 4 | NO_SIZE)),
):
    answer = ask(*call)
    tell(f"huge pages by {name}", answer != shut, f"answered {answer}")
