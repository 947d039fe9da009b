"""The process of a command: its descriptors and defaults, then execve.

One that starts before go does so by fork, with a gate: a socket shared with the jail's init. A command that is warm by
preload says "ready" there by itself and waits for its arguments. It has the end of a pipe besides, on which it may say
that it has ended with 0, but for the freeing of its memory. Closing on exec, the gate tells of one that is warm by
stdin that it has started. One that starts at go is spawned: sharing init's memory until execve (vfork(2)), it neither
copies pages nor frees any.
"""

import fcntl
import json
import os
import signal
from typing import Any, NoReturn

from . import linux

MESSAGE_BYTES = 64 << 10
READY, ENDED = b"ready", b"ended"
GATE, END = 3, 4  # their descriptors in a command that waits there by itself
NOT_FOUND = 127  # as a shell tells it (POSIX, 2.8.2)
# Python ignores SIGPIPE and SIGXFSZ; a program starts with the defaults. The C library keeps 32 and 33 to itself.
SIGNALS = sorted(set(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33})


def become(gate: int, end: int, inner_ends: list[int], step: dict[str, Any], order: dict[str, Any]) -> NoReturn:
    """Never returns, and prints nothing of ours where the program's output goes."""
    preloads = order["warm"] == "preload"
    environment = {**step["environment"], **step["start_environment"]}
    if preloads:
        environment |= {"CELLBLOCK_GATE": str(GATE), "CELLBLOCK_END": str(END)}
    argv = fill(step["argv"], order["placeholders"])
    try:
        for number, descriptor in enumerate(inner_ends):
            os.dup2(descriptor, number)
        gate, end = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, END + 1) for descriptor in (gate, end))
        os.dup2(gate, GATE, inheritable=preloads)
        os.dup2(end, END, inheritable=preloads)
        os.closerange(END + 1, 1 << 20)
        os.setsid()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execve(argv[0], argv, environment)
        except OSError as error:
            os.write(GATE, json.dumps([error.errno, _reason(argv, error)]).encode())
            os._exit(NOT_FOUND)
    finally:
        os._exit(99)


def spawn(inner_ends: list[int], argv: list[str], environment: dict[str, str]) -> int:
    """Start a command on the descriptors of its ends; the pid. Raises OSError whose text names it."""
    linux.close_on_exec(3)
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(inner_ends)]
    try:
        return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True, setsigdef=SIGNALS)
    except OSError as error:
        raise OSError(error.errno, _reason(argv, error)) from error


def fill(argv: list[str], placeholders: dict[str, int]) -> list[str]:
    return [argument.format_map(placeholders) for argument in argv]


def _reason(argv: list[str], error: OSError) -> str:
    return f"{argv[0]}: {error.strerror}"
