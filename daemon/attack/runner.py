"""Runs every probe in the jails of this configuration, on a keeper of its own, beside secrets that none may find.

A service that runs meanwhile is not asked: that needs a token, waits in its queue and takes slots from its users. What
makes its jails is the same: plan, limits and both walls come from the same settings.
"""

import asyncio
import contextlib
import json
import os
import platform
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil

from daemon import app
from daemon.judge import report
from daemon.judge.executor import Executor
from daemon.judge.files import File, pack
from daemon.judge.submission import Report, Submission
from daemon.sandbox.descriptors import close_all, memfd
from daemon.sandbox.order import Order, SandboxUnavailable
from daemon.settings import Settings
from daemon.toolchain.plan import run_limits
from daemon.toolchain.schema import JUDGE, Toolchain

from .bait import bait
from .probe import SHARED, Probe, load
from .verdict import Row, State, Trial, is_late, judge

LANGUAGE = "python"  # of the programs
KINDS = {"a forked program's jail": "", "a command's jail": JUDGE}  # to the id of a step
GONE_S = 1.0  # docs/threats.md, P2
LOOK_AGAIN_S = 0.02
TRIES = 5  # of what came late, which a busy host may have delayed
JAIL_DEPTH = 3  # of pid namespaces, seen from here: ours, the warden's, the jail's
SHARE_NEEDED, X86_64_NEEDED = "a share", "x86-64"


async def rows(settings: Settings) -> AsyncIterator[Row]:
    """A row for each probe as soon as it is known, and one for what they leave. Raises as app.own_engine."""
    only = settings.model_copy(update={"languages": (LANGUAGE,), "extensions": {}})
    with bait(settings.first_uid, secrets.token_hex(16)) as told:
        async with app.own_engine(only) as (executor, _, (toolchain,)):
            runner = _Runner(executor, toolchain, settings, told)
            for probe in load():
                yield await runner.row(probe)
            yield await asyncio.to_thread(_left_behind)


class _Runner:
    def __init__(self, executor: Executor, toolchain: Toolchain, settings: Settings, told: dict[str, object]) -> None:
        self._executor, self._toolchain, self._settings = executor, toolchain, settings
        self._limits, _ = run_limits(toolchain, settings.run_limits())
        self._told = json.dumps({**told, "processes": self._limits.processes}).encode()

    async def row(self, probe: Probe) -> Row:
        reason = self._not_tried(probe)
        if reason is not None:
            return Row(probe.threat, probe.tried, State.NOT_TRIED, reason)
        try:
            trials = [trial async for trial in self._trials(probe)]
        except SandboxUnavailable as error:
            return Row(probe.threat, probe.tried, State.FAILED, str(error), "See what `cellblock doctor` says.")
        return judge(probe, trials)

    def _not_tried(self, probe: Probe) -> str | None:
        if probe.needs == X86_64_NEEDED and platform.machine() != "x86_64":
            return "it knows the numbers of system calls on x86-64 alone"
        if probe.needs == SHARE_NEEDED and self._limits.cpu_share_ms is None:
            return "cpu_share_ms is 0: this configuration gives each run all of the processors"
        return None

    async def _trials(self, probe: Probe) -> AsyncIterator[Trial]:
        for kind, suffix in KINDS.items():
            if probe.beside is not None:
                async with self._neighbour(probe.beside, suffix):
                    yield await self._trial(probe, kind, suffix)
            for _ in range(TRIES):
                trial = await self._trial(probe, kind, suffix)
                if not is_late(probe, trial):
                    break
            yield trial

    async def _trial(self, probe: Probe, kind: str, suffix: str) -> Trial:
        limits = self._limits
        if probe.wall_s is not None:
            limits = replace(limits, wall_ns=min(limits.wall_ns, int(probe.wall_s * 1e9)))
        if probe.cpu_s is not None:
            limits = replace(limits, cpu_ns=int(probe.cpu_s * 1e9))
        submission = Submission(self._toolchain, probe.code, limits, self._settings.output_bytes)
        started_s = time.monotonic()
        found = await self._run(submission, suffix)
        took_s = time.monotonic() - started_s - found.acquire_ns / 1e9
        return Trial(kind, limits, submission.output_bytes, found, took_s)

    async def _run(self, submission: Submission, suffix: str) -> Report:
        """As Executor.execute, in either kind of jail. Raises SandboxUnavailable."""
        step = self._toolchain.steps[-1].id + suffix
        with contextlib.ExitStack() as stack:

            def lent(descriptor: int) -> int:
                stack.callback(os.close, descriptor)
                return descriptor

            finished = await self._executor.run(Order(
                self._toolchain.id, step, submission.limits, submission.output_bytes,
                source=lent(memfd("source", submission.code)),
                files=lent(pack((File(SHARED.name, SHARED.read_bytes()),))),
                input=lent(memfd("stdin", self._told, sealed=True)),
                on_output=submission.on_output,
            ))  # fmt: skip
        close_all(finished.left.values())
        return report.of_run(submission, finished, 0, False)

    @contextlib.asynccontextmanager
    async def _neighbour(self, code: bytes, suffix: str) -> AsyncIterator[None]:
        """A program that has said its first word and lives until the end of the body. Raises SandboxUnavailable."""
        spoke = asyncio.Event()

        def hear(_: str, __: bytes) -> None:
            spoke.set()

        submission = Submission(self._toolchain, code, self._limits, self._settings.output_bytes, on_output=hear)
        running = asyncio.create_task(self._run(submission, suffix))
        speaking = asyncio.create_task(spoke.wait())
        try:
            await asyncio.wait([running, speaking], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                raise SandboxUnavailable("neighbour", f"it ended before its first word: {running.result().error}")
            if not await asyncio.to_thread(_in_jails):
                raise SandboxUnavailable("neighbour", "its processes are not seen from here")
            yield
        finally:
            running.cancel()
            speaking.cancel()
            await asyncio.wait([running, speaking])


def _left_behind() -> Row:
    """Looked for from the host, by the depth of pid namespaces: processes of jails that outlived all runs."""
    tried = "Looks on the host for what is left of the processes of all these programs"
    deadline_s = time.monotonic() + GONE_S
    while (left := _in_jails()) and time.monotonic() < deadline_s:
        time.sleep(LOOK_AGAIN_S)  # nobody tells of the end of a process that is not one's child
    if left:
        return Row("P2", tried, State.OPEN, "; ".join(left), "Report it, with the kernel's release.")
    return Row("P2", tried, State.SHUT)


def _in_jails() -> list[str]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            numbers = Path(f"/proc/{process.pid}/status").read_text().partition("NSpid:")[2].splitlines()[0].split()
            if len(numbers) >= JAIL_DEPTH:
                found.append(f"{process.pid} {process.name()}")
    return found
