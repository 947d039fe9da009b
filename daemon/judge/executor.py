"""Takes a Submission through the steps of its toolchain: compile, keep the artefact, run, tell what became of it."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from daemon.sandbox.client import Client, Finished, Order, SandboxUnavailable
from daemon.sandbox.descriptors import memfd, sealed_copy
from daemon.sandbox.model import KilledBy, Limits
from daemon.sandbox.plan import Warm
from daemon.toolchain import plan
from daemon.toolchain.schema import VERSION_STEP, StepEntry, Toolchain

from . import artifacts
from .artifacts import Artifacts
from .files import pack
from .service import Service
from .submission import Reason, Report, Submission

MB = 1 << 20
HEAL_STEP_S = 0.02
HEAL_S = 2.0  # how long a run waits for a warden or keeper that is being replaced


OnStage = Callable[[str], None] | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Built:
    """What the next step takes: the source, or what the step before left. Borrowed descriptors."""

    source: int | None
    artifact: int | None
    compile_ns: int
    cached: bool = False
    files: int | None = None


class Executor:
    """Runs submissions through one keeper. `services` by toolchain id do compile steps where they can."""

    def __init__(self, client: Client, services: Mapping[str, Service], kept: Artifacts) -> None:
        self._client, self._services, self._artifacts = client, services, kept

    async def execute(self, submission: Submission, version: str | None = None, on_stage: OnStage = None) -> Report:
        """Raises SandboxUnavailable when the sandbox could not hold its promises; that is never the program's fault.

        `version` is the toolchain's; without it no artefact is looked for or kept. `on_stage` hears the id of each step
        that begins.
        """
        with contextlib.ExitStack() as stack:
            built = await self._build(submission, version, on_stage, stack)
            if isinstance(built, Report):
                return built
            if on_stage is not None:
                on_stage(submission.toolchain.steps[-1].id)
            finished = await self._run(self._run_order(submission, built))
            return _report(submission, finished, built)

    async def _build(
        self, submission: Submission, version: str | None, on_stage: OnStage, stack: contextlib.ExitStack
    ) -> "_Built | Report":
        """Do all steps but the last, or find what they once left; descriptors live as long as the stack."""
        key = None
        if version is not None and submission.toolchain.compiles and not submission.files:
            key = artifacts.key_of(submission.toolchain, version, submission.code, submission.check)
            found = stack.enter_context(self._artifacts.in_memory(key))
            if found is None:
                found = await self._artifacts.find(key)
                if found is not None:
                    stack.callback(os.close, found)
            if found is not None:
                return _Built(None, found, 0, cached=True)
        files = None
        if submission.files:
            files = pack(submission.files)
            stack.callback(os.close, files)
        source = memfd("source", submission.code)
        stack.callback(os.close, source)
        built = _Built(source, None, 0, files=files)
        for entry in submission.toolchain.steps[:-1]:
            if on_stage is not None:
                on_stage(entry.id)
            result = await self._build_step(submission, entry, built, stack)
            if isinstance(result, Report):
                return result
            built = result
        if key is not None and built.artifact is not None:
            self._artifacts.keep(key, built.artifact)
        return built

    async def _build_step(
        self, submission: Submission, entry: StepEntry, built: "_Built", stack: contextlib.ExitStack
    ) -> "_Built | Report":
        started_ns = time.monotonic_ns()
        answer = await self._ask_service(submission, entry)
        if answer is not None:
            compile_ns = built.compile_ns + time.monotonic_ns() - started_ns
            if answer["code"] is None:
                return _diagnosed(answer["diagnostics"], compile_ns)
            emitted = memfd("artifact", answer["code"].encode(), sealed=True)
            stack.callback(os.close, emitted)
            return _Built(None, emitted, compile_ns, files=built.files)
        finished = await self._run(self._compile_order(submission, entry, built))
        compile_ns = built.compile_ns + finished.outcome.usage.wall_ns
        artifact = await _keep_artifact(finished, stack)
        if artifact is None:
            return _compile_error(entry, finished, compile_ns)
        return _Built(None, artifact, compile_ns, files=built.files)

    async def version(self, toolchain: Toolchain) -> str:
        """What the toolchain's version command prints in a jail. Raises SandboxUnavailable when it fails."""
        limits = plan.own_limits(plan.VERSION_LIMITS)
        finished = await self._run(Order(toolchain.id, VERSION_STEP, limits, output_bytes=4096))
        text = (finished.stdout or finished.stderr).decode("utf-8", "replace").strip()
        if finished.outcome.wait_status != 0 or not text:
            raise SandboxUnavailable("version", f"{toolchain.id}: {' '.join(toolchain.version)} failed: {text}")
        return text.splitlines()[0]

    async def _ask_service(self, submission: Submission, entry: StepEntry) -> dict[str, Any] | None:
        """What the toolchain's service says of a step; None where the step itself is to be run."""
        service = self._services.get(submission.toolchain.id)
        declared = submission.toolchain.service
        if service is None or declared is None or declared.step != entry.id or submission.files:
            return None
        answer = await service.ask({"code": submission.code.decode(), "check": submission.check})
        match answer:
            case {"code": str(), "diagnostics": str()}:
                return answer
            case {"code": None, "diagnostics": str(text)} if text:
                return answer
            case _:
                return None

    def _compile_order(self, submission: Submission, entry: StepEntry, built: "_Built") -> Order:
        unchecked = entry.argv_unchecked is not None and not submission.check
        with_files = entry.argv_with_files is not None and built.files is not None and not unchecked
        by_stdin = entry.warm is Warm.STDIN and not unchecked and not with_files
        suffix = plan.UNCHECKED if unchecked else plan.WITH_FILES if with_files else ""
        return Order(
            toolchain=submission.toolchain.id,
            step=entry.id + suffix,
            limits=plan.own_limits(entry.limits),
            output_bytes=plan.compile_output_bytes(entry),
            source=None if by_stdin else built.source,
            artifact=built.artifact,
            files=built.files,
            stdin=submission.code if by_stdin else b"",
        )

    def _run_order(self, submission: Submission, built: "_Built") -> Order:
        return Order(
            toolchain=submission.toolchain.id,
            step=submission.toolchain.steps[-1].id,
            limits=submission.limits,
            output_bytes=submission.output_bytes,
            source=built.source,
            artifact=built.artifact,
            files=built.files,
            stdin=submission.stdin,
            on_output=submission.on_output,
            args=submission.args,
        )

    async def _run(self, order: Order) -> Finished:
        """Run; wait a little for a warden or keeper that is being replaced; repeat what was lost before its first byte.

        A program that may have begun is begun at most twice. Raises SandboxUnavailable.
        """
        repeated = False
        deadline_s: float | None = None
        clock = asyncio.get_running_loop().time
        while True:
            try:
                return await self._client.run(order)
            except SandboxUnavailable as error:
                deadline_s = deadline_s or clock() + HEAL_S
                if error.streamed or (error.started and repeated) or clock() > deadline_s:
                    raise
                repeated = repeated or error.started
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline_s):
                    await self._client.wait_ready(order.toolchain)
            await asyncio.sleep(HEAL_STEP_S)  # the keeper may hear of a warden's death a moment after we do


async def _keep_artifact(finished: Finished, stack: contextlib.ExitStack) -> int | None:
    """A sealed copy of what a compile step left, or None when it failed or left nothing acceptable."""
    if finished.artifact is None:
        return None
    try:
        if finished.outcome.wait_status != 0 or finished.outcome.killed_by is not None or finished.truncated:
            return None
        copying = asyncio.create_task(asyncio.to_thread(sealed_copy, finished.artifact))
        try:
            copy = await asyncio.shield(copying)
        except asyncio.CancelledError:
            os.close(await copying)  # the thread goes on: neither descriptor may be closed under it
            raise
    finally:
        os.close(finished.artifact)
    stack.callback(os.close, copy)
    return copy


def _diagnosed(diagnostics: str, compile_ns: int) -> Report:
    return Report(
        reason=Reason.COMPILE_ERROR, error=diagnostics, stdout=b"", stderr=diagnostics.encode(), exit_code=None,
        signal=None, wall_ns=0, cpu_ns=None, compile_ns=compile_ns, memory_bytes=None, truncated=False,
    )  # fmt: skip


def _compile_error(entry: StepEntry, finished: Finished, compile_ns: int) -> Report:
    limits = plan.own_limits(entry.limits)
    diagnostics = (finished.stdout + finished.stderr).decode("utf-8", "replace")
    match _limit_reached(finished):
        case Reason.TIME_LIMIT:
            error = f"Compilation timed out after {_seconds(limits.wall_ns)}"
        case Reason.MEMORY_LIMIT:
            error = f"Compilation exceeded its memory limit of {limits.memory_bytes // MB} MB"
        case Reason.OUTPUT_LIMIT:
            error = "Compilation exceeded its limit of diagnostics:\n" + diagnostics[:4096]
        case _:
            error = diagnostics or _ending(finished) or "Compilation left no program"
    return Report(
        reason=Reason.COMPILE_ERROR, error=error, stdout=b"", stderr=finished.stdout + finished.stderr,
        exit_code=None, signal=None, wall_ns=0, cpu_ns=None, compile_ns=compile_ns, memory_bytes=None,
        truncated=finished.truncated,
    )  # fmt: skip


def _report(submission: Submission, finished: Finished, built: _Built) -> Report:
    status = finished.outcome.wait_status
    limit = _limit_reached(finished)
    signaled = limit is None and status is not None and os.WIFSIGNALED(status)
    exited = limit is None and status is not None and os.WIFEXITED(status)
    reason = limit or (Reason.SIGNAL if signaled else Reason.EXITED)
    return Report(
        reason=reason,
        error=_error(reason, submission.limits, submission.output_bytes, finished),
        stdout=finished.stdout,
        stderr=finished.stderr,
        exit_code=os.WEXITSTATUS(status) if exited and status is not None else None,
        signal=os.WTERMSIG(status) if signaled and status is not None else None,
        wall_ns=finished.outcome.usage.wall_ns,
        cpu_ns=finished.outcome.usage.cpu_ns,
        compile_ns=built.compile_ns,
        cached=built.cached,
        memory_bytes=finished.outcome.usage.memory_bytes,
        truncated=finished.truncated,
    )


def _limit_reached(finished: Finished) -> Reason | None:
    """The first that applies of memory, output, cpu, time; None when the program ended by itself."""
    killed_by = finished.outcome.killed_by
    if killed_by is KilledBy.MEMORY:
        return Reason.MEMORY_LIMIT
    if finished.truncated:
        return Reason.OUTPUT_LIMIT
    match killed_by:
        case None:
            return None
        case KilledBy.CPU:
            return Reason.CPU_LIMIT
        case KilledBy.WALL:
            return Reason.TIME_LIMIT
        case KilledBy.OUTPUT | KilledBy.CLIENT | KilledBy.LOST:
            raise AssertionError(f"killed by {killed_by} without output over the limit")
        case _:
            assert_never(killed_by)


def _error(reason: Reason, limits: Limits, output_bytes: int, finished: Finished) -> str | None:
    stderr = finished.stderr.decode("utf-8", "replace")
    match reason:
        case Reason.TIME_LIMIT:
            return f"Execution timed out after {_seconds(limits.wall_ns)}"
        case Reason.CPU_LIMIT:
            return f"CPU time limit of {_seconds(limits.cpu_ns or 0)} exceeded"
        case Reason.MEMORY_LIMIT:
            return f"Memory limit of {limits.memory_bytes // MB} MB exceeded"
        case Reason.OUTPUT_LIMIT:
            return f"Output limit of {_size(output_bytes)} exceeded"
        case Reason.SIGNAL:
            separator = "" if not stderr or stderr.endswith("\n") else "\n"
            return stderr + separator + (_ending(finished) or "")
        case Reason.EXITED:
            return None if finished.outcome.wait_status == 0 else stderr or _ending(finished)
        case Reason.COMPILE_ERROR:
            raise AssertionError("a run is not a compilation")
        case _:
            assert_never(reason)


def _ending(finished: Finished) -> str | None:
    """One sentence about how a process ended, None for exit 0."""
    status = finished.outcome.wait_status
    if not status:
        return None
    if os.WIFSIGNALED(status):
        return f"Killed by signal {os.WTERMSIG(status)} ({signal_name(os.WTERMSIG(status))})"
    return f"Exited with code {os.WEXITSTATUS(status)}"


def signal_name(number: int) -> str:
    """SIGSEGV for 11; real-time signals, which have no name of their own, as SIGRTMIN+n (signal(7))."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _seconds(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    return "1 second" if seconds == 1 else f"{seconds:g} seconds"


def _size(count: int) -> str:
    for unit, size in (("MB", MB), ("KB", 1024)):
        if count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"
