"""Does a blow to a server, and undoes it. Nothing is touched that is not the server's own."""

import contextlib
import os
import pathlib
import re
import signal
import threading
from collections.abc import Iterator

from tests.chaos import victims
from tests.chaos.plan import Blow, Kind
from tests.small_disk import SmallDisk

NAMES_TAKEN = 400  # groups of jails have numbers, so that these are the next ones
REMOVE_EVERY_S = 0.002
LIMITS = {Kind.PROCESSES: (("pids.max", "pids.current"),),
          Kind.MEMORY: (("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current"))}  # fmt: skip


@contextlib.contextmanager
def dealt(server: SmallDisk, blow: Blow) -> Iterator[str]:
    """It lasts as long as the block. What was done, in words; empty where there was nobody to do it to."""
    match blow.kind:
        case Kind.KILL | Kind.STOP:
            with _signalled(server, blow) as done:
                yield done
        case Kind.DISK:
            with server.full(server.state):
                yield "the state's file system is full"
        case Kind.PROCESSES | Kind.MEMORY:
            with _limited(server, blow.kind) as done:
                yield done
        case Kind.NAMES:
            with _names_taken(server) as done:
                yield done
        case Kind.REMOVED:
            with _removed(server):
                yield "groups that are empty are removed"


@contextlib.contextmanager
def _signalled(server: SmallDisk, blow: Blow) -> Iterator[str]:
    assert blow.part is not None
    found = victims.of(server, blow.part)
    if not found:
        yield ""
        return
    pid = found[int(blow.pick * len(found))]
    try:
        descriptor = os.pidfd_open(pid)  # its number may be another's when it is to go on
    except ProcessLookupError:
        yield ""
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            number = signal.SIGKILL if blow.kind is Kind.KILL else signal.SIGSTOP
            signal.pidfd_send_signal(descriptor, number)
        yield f"{pid}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        os.close(descriptor)


@contextlib.contextmanager
def _limited(server: SmallDisk, kind: Kind) -> Iterator[str]:
    """The instance's own top group may have no more than it has."""
    for group in server.groups():
        for limit, use in LIMITS[kind]:
            file = group / limit
            if not file.exists():
                continue
            before = file.read_text()
            file.write_text((group / use).read_text())
            try:
                yield f"{limit} is {file.read_text().strip()}"
            finally:
                with contextlib.suppress(FileNotFoundError):  # a keeper that starts makes its groups anew
                    file.write_text("-1" if limit == "memory.limit_in_bytes" and int(before) > 1 << 60 else before)
            return
    yield ""


@contextlib.contextmanager
def _names_taken(server: SmallDisk) -> Iterator[str]:
    group = server.groups()[-1]
    first = 1 + max([int(found[1]) for path in group.iterdir() if (found := re.fullmatch(r"jails-(\d+)", path.name))], default=0)  # fmt: skip
    taken = []
    for number in range(first, first + NAMES_TAKEN):
        with contextlib.suppress(FileExistsError):
            path = group / f"jails-{number}"
            path.mkdir()
            taken.append(path)
    try:
        yield f"jails-{first} and the next {NAMES_TAKEN}"
    finally:
        for path in taken:
            with contextlib.suppress(OSError):
                path.rmdir()


@contextlib.contextmanager
def _removed(server: SmallDisk) -> Iterator[None]:
    over = threading.Event()

    def remove() -> None:
        while not over.wait(REMOVE_EVERY_S):
            for group in server.groups():
                for path in group.glob("jails-*"):
                    _remove_empty(path)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        yield
    finally:
        over.set()
        remover.join()


def _remove_empty(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):  # what is in use stays: EBUSY
        path.rmdir()
