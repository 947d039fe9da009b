"""The way of every single run, whichever words it was asked for in: admission, body, slot, validation, executor.

POST /execute takes it, and so do the dialects: none of them can run anything past the shares of its client.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import pydantic
from aiohttp import web

from daemon.judge.executor import OnStage
from daemon.judge.submission import Report, Submission
from daemon.turns.seats import Seat
from daemon.validation.matching import Finding

from . import note as notes
from . import submissions
from .admission import Room
from .client import CLIENT, Client
from .note import Note
from .parts import Parts, validate

Model = TypeVar("Model", bound=pydantic.BaseModel)


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """A submission that may run now. `finding` is a forbidden construct of it that the deployment only reports."""

    submission: Submission
    seat: Seat
    finding: Finding | None


class Runs:
    """Runs submissions of clients."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @contextlib.asynccontextmanager
    async def received(
        self, request: web.Request, model: type[Model], is_patient: bool = False, runs_now: bool = True
    ) -> AsyncIterator[tuple[Model, Room]]:
        """The body of a request that has a place, and the room that it holds as long as this lasts. It needs no place
        where it does not run now.

        A `model` of a dialect must be known to parcel.py, which carries large bodies. `is_patient`: it may wait as
        long as those before it take (admission.py). Raises turns.seats.Refused, and what Bodies.read raises.
        """
        client = request[CLIENT]
        if runs_now:
            self._parts.admission.check(client, is_patient)
        with self._parts.admission.room(client) as room:
            yield await self._parts.bodies.read(request, model, room), room

    @contextlib.contextmanager
    def admitted(self, client: Client, is_patient: bool = False) -> Iterator[Room]:
        """A place, and room of which nothing is held yet, for what a client is about to send.

        Raises turns.seats.Refused where there is no place.
        """
        self._parts.admission.check(client, is_patient)
        with self._parts.admission.room(client) as room:
            yield room

    @contextlib.asynccontextmanager
    async def turn(
        self, submission: Submission, client: Client, note: Note, room: Room | None = None, is_patient: bool = False
    ) -> AsyncIterator[Turn]:
        """Wait for a slot, hold it, look for forbidden constructs in it. `room` then holds what the submission does.
        `is_patient`: nobody waits for the answer, so that it may wait long.

        Raises turns.seats.Refused when there is no place, ApiProblem 400 for what the deployment forbids.
        """
        note.language = submission.toolchain.id
        if room is not None:
            room.resize(submissions.held_bytes(submission))
        async with self._parts.admission.slot(client, is_patient) as seat:
            note.queue_ns = seat.waited_ns
            finding = await validate(self._parts, submission.toolchain, submission.code.decode())
            yield Turn(dataclasses.replace(submission, client=client.name, sharing=seat.sharing), seat, finding)

    async def run(self, submission: Submission, note: Note, on_stage: OnStage = None) -> Report:
        """What became of a submission that has its turn. Raises SandboxUnavailable."""
        report = await self._parts.executor.execute(submission, on_stage)
        note.ran(report)
        if report.success:
            self._parts.self_tests.succeeded(submission.toolchain)
        return report

    async def once(
        self, request: web.Request, submission: Submission, room: Room | None = None, is_patient: bool = False
    ) -> Report:
        """Wait for a turn of the request's client, and run. Raises as `turn` and `run` do."""
        note = notes.of(request)
        async with self.turn(submission, request[CLIENT], note, room, is_patient) as turn:
            return await self.run(turn.submission, note)
