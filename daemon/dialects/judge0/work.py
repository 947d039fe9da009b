"""Runs submissions: those whose client waits, and in the background those that are stored, each in turns of its client.

A submission that is stored is tried TRIES_MAX times where the sandbox fails, or the process that runs it dies; then its
answer is an Internal Error. One that found no place is put back, and that is no try.
"""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from daemon.api import note as notes
from daemon.api.admission import Room
from daemon.api.client import Client
from daemon.api.errors import ApiProblem
from daemon.api.note import Note
from daemon.api.parts import Parts
from daemon.api.runs import Runs
from daemon.judge.submission import Submission
from daemon.sandbox.order import BadOrder, SandboxUnavailable
from daemon.turns.seats import Refused

from . import outcome, shown
from .callbacks import CONNECTIONS, Callbacks
from .connection import Unusable
from .database import Stored, Taken
from .job import Job
from .outcome import Outcome, Status
from .store import LEASE_S, Store
from .wanted import submission_of

log = structlog.get_logger("cellblock.judge0")

POLL_S = 1.0  # what another process has accepted, or left behind, is found so soon
BACK_S, TRIES_MAX = 1.0, 3  # until what was put back may be taken again; tries of one submission
CALL_AGAIN_S = 10.0
EXPIRE_S = 30.0
CLIENTS = 4  # with as many runs as run at once, whose submissions are under way together
_Item = TypeVar("_Item")


class Crew(Generic[_Item]):
    """Serves what `take` finds, `places` at once. `take` and `serve` may raise SandboxUnavailable."""

    def __init__(
        self, places: int, take: Callable[[], Awaitable[_Item | None]], serve: Callable[[_Item], Awaitable[None]]
    ) -> None:
        self._free, self._take, self._serve = asyncio.Semaphore(places), take, serve
        self._came = asyncio.Event()

    def wake(self) -> None:
        """There may be something to take."""
        self._came.set()

    async def work(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                group.create_task(self._serve_one(await self._next()))

    async def _next(self) -> _Item:
        while True:
            self._came.clear()
            try:
                if (found := await self._take()) is not None:
                    return found
            except Exception as error:  # of one row, which must not end the work on all others
                _log(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._came.wait()

    async def _serve_one(self, item: _Item) -> None:
        try:
            await self._serve(item)
        except Exception as error:  # the lease runs out, and somebody takes it again
            _log(error)
        finally:
            self._free.release()


def _log(error: Exception) -> None:
    """But what connection.py tells once, however often it happens."""
    if not isinstance(error, Unusable):
        log.error("submissions", reason=str(error), exc_info=None if isinstance(error, SandboxUnavailable) else error)


class Work:
    """`background` runs what is stored as long as its body lasts. `language_of` says what the language of a submission
    is called."""

    def __init__(
        self, parts: Parts, runs: Runs, store: Store, callbacks: Callbacks, language_of: Callable[[Job], str]
    ) -> None:
        self._parts, self._runs, self._store = parts, runs, store
        self._callbacks, self._language_of = callbacks, language_of
        self._run_limits = parts.settings.run_limits()
        most_of_one = parts.settings.runs_at_once  # it takes no place of others, whom admission gives their turns
        places = CLIENTS * parts.settings.runs_at_once
        self._crew = Crew(places, lambda: store.take(most_of_one), self._serve)

    def wake(self) -> None:
        """Something was accepted."""
        self._crew.wake()

    @contextlib.asynccontextmanager
    async def background(self) -> AsyncIterator[None]:
        """What is under way at the end is ended; whoever opens the store next runs it."""
        async with self._callbacks.session() as session:

            async def call(found: Stored) -> None:
                names, language = shown.DEFAULT, self._language_of(found.job)
                fields = shown.fields(found, names, language, is_base64=True)
                told = await self._callbacks.tell(session, found.job.options.callback_url or "", fields)
                await self._store.called_back(found.token, None if told else CALL_AGAIN_S)

            self._calls = Crew(CONNECTIONS, self._store.take_callback, call)
            tasks = [asyncio.create_task(one) for one in (self._crew.work(), self._calls.work(), self._keep())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _keep(self) -> None:
        """Renew what is held, remove what has expired; where nothing can be stored, see whether it can be again."""
        renew_s = expire_s = 0.0  # of CLOCK_MONOTONIC, when that is due
        clock = asyncio.get_running_loop().time
        while True:
            with contextlib.suppress(SandboxUnavailable):
                if self._store.wrong is not None:
                    await self._store.probe()
                if clock() >= renew_s:
                    await self._store.renew()
                    renew_s = clock() + LEASE_S / 3
                if clock() >= expire_s and not await self._store.expire():
                    expire_s = clock() + EXPIRE_S
            await asyncio.sleep(POLL_S)

    async def _serve(self, taken: Taken) -> None:
        if taken.tries > TRIES_MAX:
            ended = outcome.not_run(f"What ran it ended {TRIES_MAX} times without an answer")
        else:
            try:
                ended = await self._of_stored(taken)
            except Refused:
                return await self._store.give_back(taken, BACK_S, counted=False)
            except ApiProblem as problem:
                if problem.status >= 429:
                    return await self._store.give_back(taken, BACK_S, counted=False)
                ended = outcome.not_run(problem.detail)
            except SandboxUnavailable as error:
                log.error("sandbox unavailable", stage=error.stage, reason=error.reason)
                if taken.tries < TRIES_MAX:
                    return await self._store.give_back(taken, BACK_S, counted=True)
                ended = outcome.not_run(f"The sandbox cannot run programs right now ({error.stage})")
            except Exception as error:  # as errors.py does for a request: somebody waits for an answer
                incident = uuid.uuid4().hex
                log.error("defect", incident=incident, exc_info=error)
                ended = outcome.not_run(f"Internal error; the log has it as {incident}")
        if await self._store.finish(taken, ended) and taken.job.options.callback_url:
            self._calls.wake()
        return None

    async def _of_stored(self, taken: Taken) -> Outcome:
        client = self._parts.access.named(taken.client)
        with self._parts.admission.room(client) as room:
            room.resize(taken.job.size)
            return await self.run(taken.job, client, notes.of_later("/judge0/submissions"), room, is_patient=True)

    async def run(self, job: Job, client: Client, note: Note, room: Room, is_patient: bool = False) -> Outcome:
        """What becomes of it, each run in a turn of its own. Raises as Runs.turn and Runs.run do."""
        toolchain = next((one for one in self._parts.toolchains if one.id == job.toolchain), None)
        if toolchain is None:
            return outcome.not_run("Its language is not here any more")
        given = (job, toolchain, self._parts.settings, self._run_limits)
        submission = submission_of(*given) if job.archive is None else await asyncio.to_thread(submission_of, *given)
        outcomes: list[Outcome] = []
        for _ in range(job.options.number_of_runs):
            try:
                outcomes.append(await self._once(job, submission, client, note, room, is_patient))
            except BadOrder as error:
                return outcome.not_run(str(error))
            except ApiProblem as problem:
                if problem.status != 400:
                    raise
                return outcome.not_built(problem.detail)  # a construct that this deployment forbids
            if outcomes[-1].status is not Status.ACCEPTED:
                break
        return outcome.average(outcomes)

    async def _once(
        self, job: Job, submission: Submission, client: Client, note: Note, room: Room, is_patient: bool
    ) -> Outcome:
        heard: list[bytes] = []
        if job.options.redirect_stderr_to_stdout:
            submission = dataclasses.replace(submission, on_output=lambda _, piece: heard.append(piece))
        async with self._runs.turn(submission, client, note, room, is_patient) as turn:
            report = await self._runs.run(turn.submission, note)
        together = b"".join(heard) if job.options.redirect_stderr_to_stdout else None
        return outcome.of_report(report, job.options, job.expected, together)
