"""Lets a forked program's end be seen before its memory is freed, which takes most of a millisecond.

The kernel tells of a process's end once its memory is gone (do_exit in kernel/exit.c: exit_mm, then exit_notify), but
only the last of those that share it frees it. A holder shares the memory of a program (CLONE_VM), has nothing open and
waits in pause(2) until the jail is killed, a moment after the program's end has been told. It is confined as the
program is, and no child that wait(2) would find: its exit signal is none. A program that kills it only ends later.
"""

import ctypes
import mmap

from . import linux

STACK_BYTES = 4096  # for clone(2)'s wrapper; the code below has no use for one
CODE = bytes.fromhex(
    "b8b4010000"  # mov eax, 436        close_range(2)
    "31ff"  #       xor edi, edi        from 0
    "beffffffff"  # mov esi, 0xffffffff to the last
    "31d2"  #       xor edx, edx
    "0f05"  #       syscall
    "b822000000"  # mov eax, 34         pause(2)
    "0f05"  #       syscall
    "ebf7"  #       jmp to the pause
)


class Holder:
    """Made in the warden, used in each of its forks."""

    def __init__(self) -> None:
        self._code = mmap.mmap(-1, mmap.PAGESIZE)
        self._code.write(CODE)
        self._stack = ctypes.create_string_buffer(STACK_BYTES)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        linux.mprotect(self._address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)

    def hold(self) -> None:
        """Call it with all signals at their default, which end it. Raises OSError."""
        linux.clone(self._address, self._stack, linux.CLONE_VM)
