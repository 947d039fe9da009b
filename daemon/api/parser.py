"""Parses large bodies in a process of its own: whatever is in one, others are answered meanwhile.

That process (parser_process.py) has a limit of memory and of time, and holds nothing of a body once it has answered.
The body and the answer are memfds. What comes back is read as data: of classes it may name those of parcel.py alone.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from typing import Self, TypeVar

import pydantic
import structlog

from daemon.sandbox import wire
from daemon.sandbox.errors import CellblockError
from daemon.sandbox.threads import to_the_end
from daemon.turns.seats import Seats

from . import parcel
from .client import Client
from .parsing import BadBody

log = structlog.get_logger("cellblock.parser")

PARSE_S = 30.0  # 24 MB take 0.1 s of an idle core; one that is shared with fifty others, seconds
START_S = 30.0
END_S = 2.0
Model = TypeVar("Model", bound=pydantic.BaseModel)


class CannotParse(CellblockError):
    """The process took too long, or died; the next body has a new one."""


class Parser:
    """`async with Parser(bytes_max, places) as parser` keeps a process from the first body on, and replaces one that
    fails.

    One body is parsed at a time, in `parse_s` seconds at most; the clients take turns, and at most `places` bodies
    wait. `bytes_max`: of a body. `modules`: those that tell parcel.py more models.
    """

    def __init__(self, bytes_max: int, places: int, parse_s: float = PARSE_S, modules: Iterable[str] = ()) -> None:
        self._bytes_max, self._parse_s, self._modules = bytes_max, parse_s, tuple(modules)
        self._seats = Seats(1, places, full=f"{places} large bodies wait to be parsed; try again")
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def __repr__(self) -> str:
        line = self._seats.line
        return f"<Parser: {line.seated} parsed, {line.waiting} waiting>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await to_the_end(self._end)

    async def parse(self, body: int, model: type[Model], client: Client) -> Model:
        """The body in a memfd as a `model`. Cancelled, it waits for the process's answer.

        Raises BadBody, turns.seats.Refused where no place is left, CannotParse, OSError.
        """
        async with self._seats.taken(client.name, 1):
            try:
                found = await to_the_end(self._parse, body, model.__name__)
            finally:
                self._watch()
        if isinstance(found, BadBody):
            raise found
        assert isinstance(found, model)
        return found

    def _watch(self) -> None:
        """The process may be killed while nobody asks it for anything: it does not stay as a zombie."""
        process = self._process
        if process is None or process is self._watched:
            return
        loop = asyncio.get_running_loop()
        try:
            pidfd = os.pidfd_open(process.pid)
        except OSError:  # no descriptor is left: the next body has it tried again
            return
        self._watched = process

        def died() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            process.poll()

        loop.add_reader(pidfd, died)

    def _parse(self, body: int, name: str) -> pydantic.BaseModel | BadBody:
        """It blocks for `parse_s` at most, and START_S more where the process has to be started."""
        if self._socket is None:
            self._start()
        assert self._socket is not None
        answer = os.memfd_create("parsed", os.MFD_CLOEXEC)
        try:
            self._send(name.encode(), (body, answer))
            if not self._socket.recv(1):
                raise CannotParse("The process that parses large bodies died")
            return parcel.read(answer, os.fstat(body).st_size)
        except (OSError, CannotParse, parcel.BadParcel) as error:
            reason = f"not within {self._parse_s:g} s" if isinstance(error, TimeoutError) else str(error)
            log.error("a large body was not parsed", reason=reason)
            self._end()
            raise CannotParse("The process that parses large bodies did not answer; it is started anew") from None
        finally:
            os.close(answer)

    def _send(self, name: bytes, descriptors: tuple[int, int]) -> None:
        """To another process where this one has died since it was last used. Raises CannotParse, OSError."""
        assert self._socket is not None
        try:
            wire.send(self._socket, name, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            self._end()
            self._start()
            wire.send(self._socket, name, descriptors)

    def _start(self) -> None:
        """Raises CannotParse."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "daemon.api.parser_process", str(its.fileno()), str(self._bytes_max)]
        command += self._modules
        with its:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], env={}, cwd="/"
            )  # fmt: skip
        self._socket = ours
        ours.settimeout(START_S)
        with contextlib.suppress(OSError):
            if ours.recv(1):
                ours.settimeout(self._parse_s)
                return
        self._end()
        raise CannotParse("The process that parses large bodies did not start")

    def _end(self) -> None:
        """Idempotent. An idle process ends by itself when its socket is closed."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.kill()
            self._process.wait(END_S)
        self._socket = self._process = None
