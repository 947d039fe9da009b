"""The processes of a server by their part, seen from outside."""

import contextlib
import os
import pathlib

import psutil

from tests.chaos.plan import Part
from tests.server import Server


def of(server: Server, part: Part) -> list[int]:
    """Their pids in ascending order. What ends while we look is left out."""
    return sorted(pid for pid, found in _parts(server).items() if found is part)


def _parts(server: Server) -> dict[int, Part]:
    found: dict[int, Part] = {}
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError, IndexError):
            part = _part(process, found.get(process.ppid()), server)
            if part is not None:
                found[process.pid] = part
    return found


def _part(process: psutil.Process, parent: Part | None, server: Server) -> Part | None:
    command, group = process.cmdline(), pathlib.Path(f"/proc/{process.pid}/cgroup").read_text()
    own = f"/cellblock-{server.instance}/"
    if "daemon.keeper" in command:
        return Part.KEEPER
    if process.ppid() == server.process.pid and "http" in command:
        return Part.HTTP
    if parent in (Part.HTTP, Part.HTTP_HELPER):
        return Part.HTTP_HELPER
    if parent is Part.KEEPER:
        return Part.NSJAIL
    if parent is Part.NSJAIL:
        return Part.WARDEN
    if _innermost_pid(process.pid) == 1:
        return Part.RUNNING_INIT if _has_source(process.pid) else Part.PARKED_INIT
    if f"{own}jails-" in group:
        return None if _has_source(process.pid) else Part.WAITING
    return Part.WARDEN_HELPER if f"{own}warden-" in group and parent is Part.WARDEN else None


def _innermost_pid(pid: int) -> int:
    """Its number in its own pid namespace."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nNSpid:")[2].partition("\n")[0].split()[-1])


def _has_source(pid: int) -> bool:
    """A parked jail's directory for the program is empty, and so is a service's."""
    return bool(os.listdir(f"/proc/{pid}/root/work"))
