"""Goes round the filter by the kernel's other doors: x32 numbers and `int 0x80`.

threat: K1
needs: x86-64
remedy: The filter must refuse other architectures (its first instructions, daemon/keeper/bpf.py).
"""

import ctypes
import mmap
import os

from attempts import refused, tell

X32, GETPID, UNSHARE, BPF = 0x40000000, 39, 272, 321
GATE = "b8{}cd80c3"  # mov eax, NUMBER; int 0x80; ret
GETPID_32 = 20

for name, number in {"getpid": GETPID, "unshare": UNSHARE, "bpf": BPF}.items():
    refused(f"{name} by its x32 number", X32 | number, 0, 0, 0)
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex(GATE.format(GETPID_32.to_bytes(4, "little").hex())))
child = os.fork()
if child == 0:  # the filter or, where the kernel has no such door, the kernel ends whoever knocks
    answer = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    os._exit(0 if answer > 0 else 1)
status = os.waitpid(child, 0)[1]
tell("getpid by int 0x80", status == 0, f"wait status {status}")
