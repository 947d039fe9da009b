"""What the HTTP processes beside this one have counted: each tells its own numbers on a unix socket of its own.

Nothing of it is on a disk, and a process that is being replaced finds its socket again. Only the own uid is answered.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from daemon.places import Place

ASK_S = 1.0  # for one sibling; one that is being replaced is left out

Collect = Callable[[], Iterable[Metric]]


class Siblings:
    """`async with Siblings(place, collect) as siblings` answers the others with what `collect` gives, and asks them."""

    def __init__(self, place: Place, collect: Collect) -> None:
        self.number = place.number
        self._place, self._collect = place, collect
        self._server: asyncio.Server | None = None

    def __repr__(self) -> str:
        return f"<Siblings of {self.number}: {sorted(self._place.others)}>"

    async def __aenter__(self) -> "Siblings":
        if self._place.listener is not None:
            listener = socket.socket(fileno=self._place.listener)
            self._server = await asyncio.start_unix_server(self._answer, sock=listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whoever connects is told, and cannot ask for anything."""
        try:
            peer = writer.get_extra_info("socket")
            uid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[1]
            if uid == os.geteuid():
                writer.write(encode(self._collect()))
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(ASK_S):
                        await writer.drain()
        finally:
            writer.close()

    @property
    def count(self) -> int:
        """How many processes there are, this one included."""
        return 1 + len(self._place.others)

    async def ask(self) -> dict[int, list[Metric]]:
        """What each process has counted, by its number, this one included. One that does not answer is not in it."""
        numbers = sorted(self._place.others)
        answers = await asyncio.gather(*(self._ask(self._place.others[number]) for number in numbers))
        found = {number: answer for number, answer in zip(numbers, answers, strict=True) if answer is not None}
        return {self.number: list(self._collect()), **found}

    async def _ask(self, name: str) -> list[Metric] | None:
        try:
            async with asyncio.timeout(ASK_S):
                reader, writer = await asyncio.open_unix_connection(sock=_connected(name))
                try:
                    data = await reader.read(-1)
                finally:
                    writer.close()
            return decode(data) if data else None
        except (OSError, TimeoutError, ValueError):
            return None


def _connected(name: str) -> socket.socket:
    """To an abstract name, which uvloop itself cannot connect to. Raises OSError, at once where too many wait there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(f"\0{name}")
    except OSError:
        sock.close()
        raise
    return sock


def encode(families: Iterable[Metric]) -> bytes:
    """As JSON: of each family its name, help, type and samples."""
    plain = [
        [family.name, family.documentation, family.type, [[s.name, s.labels, s.value] for s in family.samples]]
        for family in families
    ]
    return json.dumps(plain).encode()


def decode(data: bytes) -> list[Metric]:
    """What `encode` made. Raises ValueError."""
    families = []
    for name, text, kind, samples in json.loads(data):
        family = Metric(name, text, kind)
        family.samples = [Sample(*sample) for sample in samples]
        families.append(family)
    return families


def together(processes: "dict[int, Any]") -> list[Metric]:
    """One list of families out of each process's, in which a sample has the label `process`.

    Sums would drop when one of the processes starts again from 0, which Prometheus would take for a restart of all.
    """
    found: dict[str, Metric] = {}
    for number, families in processes.items():
        for family in families:
            one = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                if not sample.name.endswith("_created"):  # a second series of each, which nothing here needs
                    labels = {**sample.labels, "process": str(number)}
                    one.samples.append(Sample(sample.name, labels, sample.value))
    return list(found.values())
