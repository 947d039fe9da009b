"""System calls as a table, made one after the other by a few bytes of machine code.

A process that was just forked shares the pages of its parent until it writes to them, and an interpreter writes to
nearly every page that it looks at. So a jail builds itself by a table that somebody else has made, and no Python runs
in it until it is built. A table is also what an auditor wants to read: wall.py is the list of what is done, in order.

An entry is nine words: number and six arguments of the call (syscall(2), x86-64), the entry to go on with where it
returns 0 (or 0: the next), and the address of a label. The first call that fails ends a run, and so does number -1.
"""

import ctypes
import dataclasses
import mmap
import os
import struct
from collections.abc import Sequence

from . import linux

CODE = bytes.fromhex(
    "53"  #             push rbx
    "4889fb"  #         mov rbx, rdi
    "488b03"  #   next: mov rax, [rbx]
    "4885c0"  #         test rax, rax
    "7834"  #           js end
    "488b7b08"  #       mov rdi, [rbx+8]
    "488b7310"  #       mov rsi, [rbx+16]
    "488b5318"  #       mov rdx, [rbx+24]
    "4c8b5320"  #       mov r10, [rbx+32]
    "4c8b4328"  #       mov r8, [rbx+40]
    "4c8b4b30"  #       mov r9, [rbx+48]
    "0f05"  #           syscall
    "4885c0"  #         test rax, rax
    "7815"  #           js end
    "750d"  #           jnz on
    "48837b3800"  #     cmp qword [rbx+56], 0
    "7406"  #           je on
    "488b5b38"  #       mov rbx, [rbx+56]
    "ebca"  #           jmp next
    "4883c348"  #   on: add rbx, 72
    "ebc4"  #           jmp next
    "48894338"  #  end: mov [rbx+56], rax
    "4889d8"  #         mov rax, rbx
    "5b"  #             pop rbx
    "c3"  #             ret
)
ENTRY = struct.Struct("<q8Q")
WORD = struct.Struct("<Q")
END = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """Memory that a call reads or writes: numbers, or addresses of what stands there."""

    words: tuple["Argument", ...]


@dataclasses.dataclass(frozen=True)
class At:
    """An address inside of Words."""

    words: Words
    offset: int


class Uid:
    """Stands for the jail's uid, which is filled in later."""


UID = Uid()
Argument = int | bytes | Words | At | Uid


@dataclasses.dataclass(frozen=True)
class Call:
    """`if_zero`: what to go on with where it returns 0, or the address of it."""

    label: str
    number: int
    arguments: tuple[Argument, ...] = ()
    if_zero: "Sequence[Call] | int" = 0


class Failed(Exception):
    """A stage of a jail's making, and the error."""

    def __init__(self, stage: str, error: OSError) -> None:
        self.stage, self.error = stage, error


class Table:
    """Calls as they lie in memory at an address, for any uid. Raises ValueError where there is not so much room."""

    def __init__(self, calls: Sequence[Call], address: int, room: int) -> None:
        self.address, self._data = address, bytearray()
        self._placed: dict[int, int] = {}
        self._texts: dict[bytes, int] = {}
        self._uids: list[int] = []
        rows = _flatten(calls, address)
        self._data += bytes(ENTRY.size * len(rows))
        for place, (call, if_zero) in enumerate(rows):
            arguments = (*call.arguments, *(0,) * (6 - len(call.arguments)))
            offset = ENTRY.size * place
            ENTRY.pack_into(self._data, offset, call.number, *(0,) * 6, if_zero, self._place(call.label.encode()))
            for index, argument in enumerate(arguments, 1):
                self._put(offset + WORD.size * index, argument)
        if len(self._data) > room:
            raise ValueError(f"a table of {len(self._data)} bytes, there is room for {room}")

    def with_uid(self, uid: int) -> bytearray:
        """What to write to the address."""
        data = bytearray(self._data)
        for offset in self._uids:
            WORD.pack_into(data, offset, uid)
        return data

    def _put(self, offset: int, argument: Argument) -> None:
        if isinstance(argument, Uid):
            self._uids.append(offset)
        elif isinstance(argument, At):
            WORD.pack_into(self._data, offset, self._place(argument.words) + argument.offset)
        else:
            word = argument % 2**64 if isinstance(argument, int) else self._place(argument)
            WORD.pack_into(self._data, offset, word)

    def _place(self, content: bytes | Words) -> int:
        """Its address; bytes end with a NUL."""
        if isinstance(content, bytes):
            if content not in self._texts:
                self._texts[content] = self._append(content + b"\0")
            return self._texts[content]
        if id(content) not in self._placed:
            self._placed[id(content)] = address = self._append(bytes(WORD.size * len(content.words)))
            for index, word in enumerate(content.words):
                self._put(address - self.address + WORD.size * index, word)
        return self._placed[id(content)]

    def _append(self, content: bytes) -> int:
        self._data += bytes(-len(self._data) % WORD.size)
        self._data += content
        return self.address + len(self._data) - len(content)


def _flatten(calls: Sequence[Call], address: int) -> list[tuple[Call, int]]:
    """Entries in their order, each list with its end, and where each goes on."""
    rows: list[tuple[Call, int]] = []
    waiting = [(calls, -1)]
    while waiting:
        part, caller = waiting.pop(0)
        if caller >= 0:
            rows[caller] = rows[caller][0], address + ENTRY.size * len(rows)
        for call in part:
            if isinstance(call.if_zero, int):
                rows.append((call, call.if_zero))
            else:
                waiting.append((call.if_zero, len(rows)))
                rows.append((call, 0))
        rows.append((Call("", END), 0))
    return rows


class Runner:
    """The machine code, in memory that forks inherit; `memory` is room for tables, at `address`."""

    def __init__(self, size: int) -> None:
        self._code = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._code.write(CODE)
        code = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        linux.mprotect(code, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
        self._run = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(code)  # which keeps the interpreter's lock
        self.memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address: int = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def table(self, calls: Sequence[Call], address: int | None = None) -> Table:
        """For an address in our memory, its start where none is said. Raises ValueError."""
        address = address or self.address
        return Table(calls, address, self.address + len(self.memory) - address)

    def fill(self, table: Table, uid: int = 0) -> None:
        data, offset = table.with_uid(uid), table.address - self.address
        self.memory[offset : offset + len(data)] = data

    def make(self, calls: Sequence[Call], address: int | None = None) -> None:
        """Fill and run. Raises ValueError, Failed."""
        table = self.table(calls, address)
        self.fill(table)
        self.check(self.run(table.address))

    def run(self, address: int) -> int:
        """The address of the entry at which it ended."""
        return int(self._run(address))

    def check(self, entry: int) -> None:
        """Raises Failed where the run ended by a call that failed."""
        number, *_, result, label = ENTRY.unpack_from(self.memory, entry - self.address)
        if number == END:
            return
        stage, _, what = ctypes.string_at(label).decode().partition(": ")
        error = 2**64 - result
        raise Failed(stage, OSError(error, f"{what}: {os.strerror(error)}"))
