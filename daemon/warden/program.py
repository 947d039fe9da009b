"""The process of a command before it is the command: its descriptors, its gate, then execve.

The gate is a socket shared with the jail's init. A step that is warm by exec waits there for its argv; one that is warm
by preload says "ready" there by itself and waits for its arguments; closing on exec, it tells of one that is warm by
stdin that the command has started.
"""

import json
import os
import signal
from typing import Any, NoReturn

from .wall import WORK

MESSAGE_BYTES = 64 << 10
READY = b"ready"
GATE = 3  # its descriptor in a command that waits there by itself
CANNOT_EXECUTE, NOT_FOUND = 126, 127  # as a shell tells it (POSIX, 2.8.2)


def become(gate: int, inner_ends: list[int], step: dict[str, Any], order: dict[str, Any]) -> NoReturn:
    """Never returns, and prints nothing of ours where the program's output goes."""
    warm, placeholders = order["warm"], order["placeholders"]
    try:
        for number, descriptor in enumerate(inner_ends):
            os.dup2(descriptor, number)
        os.dup2(gate, GATE, inheritable=warm == "preload")
        os.closerange(GATE + 1, 1 << 20)
        os.setsid()
        match warm:
            case "exec":
                argv: list[str] = json.loads(read_gate(GATE))
                _execute(argv, step["environment"])
            case "preload":
                environment = {**step["environment"], **step["start_environment"], "CELLBLOCK_GATE": str(GATE)}
                _execute(fill(step["argv"], placeholders), environment)
            case "stdin":
                environment = {**step["environment"], **step["start_environment"]}
                _execute(fill(step["argv"], placeholders), environment)
    finally:
        os._exit(99)


def fill(argv: list[str], placeholders: dict[str, int]) -> list[str]:
    return [argument.format_map(placeholders) for argument in argv]


def read_gate(gate: int) -> bytes:
    data = os.read(gate, MESSAGE_BYTES)
    if not data:
        os._exit(0)  # never wanted
    return data


def _execute(argv: list[str], environment: dict[str, str]) -> NoReturn:
    for number in range(1, signal.NSIG):  # Python ignores SIGPIPE and SIGXFSZ; a program starts with the defaults
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(argv[0], argv, environment)
    except OSError as error:
        reason = f"{argv[0]}: {error.strerror}"
        if argv[0].startswith(WORK + "/"):  # what the submission's own build left is no program: its own failure
            os.write(2, f"{reason}\n".encode())
            os._exit(CANNOT_EXECUTE)
        os.write(GATE, json.dumps([error.errno, reason]).encode())
    os._exit(NOT_FOUND)
