"""The process of a command: its descriptors and defaults, and execve.

It is spawned, sharing init's memory until execve (vfork(2)), so it neither copies pages nor frees any, and has started
once that returns. One that is warm by preload has a gate besides, a socket shared with the jail's init, where it says
"ready" and waits for its arguments, and the end of a pipe on which it may say that it has ended with 0, but for the
freeing of its memory.
"""

import fcntl
import os
import signal

from . import linux

READY, ENDED = b"ready", b"ended"
GATE, END = 3, 4  # their descriptors in a command that waits there by itself
# Python ignores SIGPIPE and SIGXFSZ; a program starts with the defaults. The C library keeps 32 and 33 to itself.
SIGNALS = sorted(set(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33})


def spawn(descriptors: list[int], argv: list[str], environment: dict[str, str]) -> int:
    """Start a command with these as its descriptors from 0 on. Its pid; OSError names it."""
    sources = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, len(descriptors)) for descriptor in descriptors]
    linux.close_on_exec(3)
    actions = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate(sources)]
    try:
        return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True, setsigdef=SIGNALS)
    except OSError as error:
        raise OSError(error.errno, f"{argv[0]}: {error.strerror}") from error
    finally:
        for descriptor in sources:
            os.close(descriptor)


def fill(argv: list[str], placeholders: dict[str, int]) -> list[str]:
    return [argument.format_map(placeholders) for argument in argv]
