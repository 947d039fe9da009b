"""Takes a Submission through the steps of its toolchain: compile, keep the artefact, run, tell what became of it."""

import asyncio
import base64
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from daemon.sandbox.client import GRADED_ACQUIRE_S, Client
from daemon.sandbox.descriptors import close_all, memfd, sealed_copy
from daemon.sandbox.messages import FULL
from daemon.sandbox.order import Finished, Order, SandboxUnavailable
from daemon.sandbox.plan import Warm
from daemon.sandbox.threads import to_the_end
from daemon.toolchain import plan
from daemon.toolchain.schema import VERSION_STEP, StepEntry, Toolchain

from . import artifacts, left, report
from .artifacts import Artifacts
from .files import File, pack
from .service import Service
from .submission import Report, Submission
from .versions import Versions

HEAL_STEP_S = 0.02
HEAL_S = 2.0  # how long a run waits for a warden or keeper that is being replaced
FULL_STEP_S = 0.02  # between two tries of a run that waits for other jails' ends, which nobody tells it of

MUCH_BYTES = 256 << 10  # of files or input, which a thread packs, hashes and copies: 16 MB take 20 ms

_Ended = TypeVar("_Ended")

OnStage = Callable[[str], None] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Built:
    """What the next step takes: the source, or what the step before left. Borrowed descriptors.

    `compile_ns` and `acquire_ns`: of the steps so far, compiling and waiting for their jails. `compilation`: what
    became of the last of them, where it had a jail.
    """

    source: int | None
    artifact: int | None
    compile_ns: int
    cached: bool = False
    files: int | None = None
    acquire_ns: int = 0
    compilation: Report | None = None


class Executor:
    """Runs submissions through one keeper. `services` by toolchain id do compile steps where they can.

    No artefact of a toolchain is looked for or kept before `versions`, which the executor fills, knows its version.
    """

    def __init__(self, client: Client, services: Mapping[str, Service], kept: Artifacts, versions: Versions) -> None:
        self._client, self._services, self.artifacts, self.versions = client, services, kept, versions
        self._turn = asyncio.Lock()  # of runs that found as many jails alive as may be: one tries at a time

    async def execute(self, submission: Submission, on_stage: OnStage = None, use_kept: bool = True) -> Report:
        """Compile where the toolchain does, run, and tell what became of it. `on_stage` hears each step's id first.

        Without `use_kept` it compiles whatever was kept, and keeps nothing.
        Raises SandboxUnavailable when the sandbox could not hold its promises; that is never the program's fault.
        Cancelling it ends the run.
        """
        try:
            async with self.built(submission, on_stage, use_kept) as built:
                if isinstance(built, Report):
                    return built
                if on_stage is not None:
                    on_stage(submission.toolchain.steps[-1].id)
                with contextlib.ExitStack() as stack:
                    given = None
                    if submission.dialogue is None:
                        is_much = len(submission.stdin) > MUCH_BYTES
                        given = await _opened(stack, is_much, memfd, "stdin", submission.stdin, True)
                    finished = await self.run(self._run_order(submission, built, given))
                made = report.of_run(
                    submission, finished, built.compile_ns, built.cached, built.acquire_ns, built.compilation
                )
                if not finished.left:
                    return made
                return dataclasses.replace(made, left=await left.taken(finished.left, submission))
        except OSError as error:  # no descriptor is left, or no memory for a memfd
            raise SandboxUnavailable("descriptors", str(error)) from error

    @contextlib.asynccontextmanager
    async def built(
        self, submission: Submission, on_stage: OnStage = None, use_kept: bool = True
    ) -> AsyncIterator["Built | Report"]:
        """All that the last step needs, as long as the body lasts; or what became of a program that was not built.

        Raises SandboxUnavailable, OSError.
        """
        with contextlib.ExitStack() as stack:
            yield await self._build(submission, on_stage, use_kept, stack)

    async def _build(
        self, submission: Submission, on_stage: OnStage, use_kept: bool, stack: contextlib.ExitStack
    ) -> "Built | Report":
        """Do all steps but the last, or find what they once left; descriptors live as long as the stack."""
        files = None
        if submission.files:
            files = await _opened(stack, _is_much(submission.files), pack, submission.files)
        key = await self._key(submission) if use_kept else None
        found = None if key is None else await self._kept(key, stack)
        if found is not None:
            return Built(None, found, 0, cached=True, files=files)
        source = memfd("source", submission.code)
        stack.callback(os.close, source)
        built = Built(source, None, 0, files=files)
        for entry in submission.toolchain.steps[:-1]:
            if on_stage is not None:
                on_stage(entry.id)
            result = await self._build_step(submission, entry, built, stack)
            if isinstance(result, Report):
                return result
            built = result
        if key is not None and built.artifact is not None:
            self.artifacts.keep(key, built.artifact)
        return built

    async def _key(self, submission: Submission) -> str | None:
        """Of what compiling it leaves; None where that is not kept."""
        toolchain, files = submission.toolchain, submission.files
        identity = self.versions.identity(toolchain.id)
        if identity is None or not toolchain.compiles:
            return None
        if files and any(step.packed is not None for step in toolchain.steps):
            return None  # it leaves no artefact then
        beside = [(file.name, file.content) for file in files if isinstance(file.content, bytes)]
        if len(beside) < len(files):
            return None
        if _is_much(files):
            return await asyncio.to_thread(_key_of, identity, submission, beside)
        return _key_of(identity, submission, beside)

    async def _kept(self, key: str, stack: contextlib.ExitStack) -> int | None:
        found = stack.enter_context(self.artifacts.in_memory(key))
        if found is None:
            found = await self.artifacts.find(key)
            if found is not None:
                stack.callback(os.close, found)
        return found

    async def _build_step(
        self, submission: Submission, entry: StepEntry, built: "Built", stack: contextlib.ExitStack
    ) -> "Built | Report":
        started_ns = time.monotonic_ns()
        answer = await self._ask_service(submission, entry)
        compile_ns = built.compile_ns + time.monotonic_ns() - started_ns  # of an attempt that failed, too
        if answer is not None:
            if answer["code"] is None:
                return report.of_diagnostics(answer["diagnostics"], compile_ns)
            emitted = memfd("artifact", answer["code"], sealed=True)
            stack.callback(os.close, emitted)
            return Built(None, emitted, compile_ns, files=built.files)
        order = self._compile_order(submission, entry, built)
        finished = await self.run(order)
        compile_ns += finished.outcome.usage.wall_ns
        acquire_ns = built.acquire_ns + finished.acquire_ns
        artifact = await _keep_artifact(finished, stack)
        if artifact is None:
            return report.of_compilation(order.limits, order.output_bytes, finished, compile_ns)
        compilation = report.of_process(order.limits, order.output_bytes, finished)
        if built.files is not None and entry.packed is not None:
            return Built(None, None, compile_ns, files=artifact, acquire_ns=acquire_ns, compilation=compilation)
        return Built(None, artifact, compile_ns, files=built.files, acquire_ns=acquire_ns, compilation=compilation)

    async def learn_version(self, toolchain: Toolchain) -> None:
        """Note the first line that the toolchain's version command prints in a jail. Raises SandboxUnavailable."""
        limits = plan.own_limits(plan.VERSION_LIMITS)
        finished = await self.run(Order(toolchain.id, VERSION_STEP, limits, output_bytes=4096))
        text = (finished.stdout or finished.stderr).decode("utf-8", "replace").strip()
        if finished.outcome.wait_status != 0 or not text:
            raise SandboxUnavailable("version", f"{toolchain.id}: {' '.join(toolchain.version)} failed: {text}")
        self.versions.note(toolchain.id, text.splitlines()[0])

    async def _ask_service(self, submission: Submission, entry: StepEntry) -> dict[str, Any] | None:
        """What the toolchain's service says of a step, its `code` in bytes; None where the step itself is to be run."""
        service = self._services.get(submission.toolchain.id)
        declared = submission.toolchain.service
        if service is None or declared is None or declared.step != entry.id or submission.files:
            return None
        request = {"code": submission.code.decode(), "check": submission.check}
        answer = await service.ask(request, submission.client)
        match answer:
            case {"code": str(code), "diagnostics": str(text), **others}:
                try:
                    return {"code": _decoded(code, others.get("encoding")), "diagnostics": text}
                except ValueError:
                    return None
            case {"code": None, "diagnostics": str(text)} if text:
                return answer
            case _:
                return None

    def _compile_order(self, submission: Submission, entry: StepEntry, built: "Built") -> Order:
        options = tuple(option for option in submission.compiler_options if entry.takes(option))
        starts_anew = bool(options) and entry.warm is Warm.STDIN  # its command line stands when it is parked
        suffix = entry.variant(check=submission.check, has_files=built.files is not None or starts_anew)
        by_stdin = entry.warm is Warm.STDIN and not suffix
        return Order(
            toolchain=submission.toolchain.id,
            step=entry.id + suffix,
            limits=plan.lowered(plan.own_limits(entry.limits), submission.compile_limits),
            output_bytes=plan.compile_output_bytes(entry),
            source=None if by_stdin else built.source,
            artifact=built.artifact,
            files=built.files,
            stdin=submission.code if by_stdin else b"",
            args=options,
            sharing=submission.sharing,
        )

    def _run_order(self, submission: Submission, built: "Built", given: int | None) -> Order:
        return Order(
            toolchain=submission.toolchain.id,
            step=plan.leaving_step(submission.toolchain) if submission.leaves else submission.toolchain.steps[-1].id,
            limits=submission.limits,
            output_bytes=submission.output_bytes,
            source=built.source,
            artifact=built.artifact,
            files=built.files,
            input=given,
            dialogue=submission.dialogue,
            on_output=submission.on_output,
            args=submission.args,
            sharing=submission.sharing,
            leaves=submission.leaves,
        )

    async def run(self, order: Order) -> Finished:
        """Run; wait a little for a warden or keeper that is being replaced; repeat what was lost before its first byte.

        Where as many jails are alive as may be, it waits for its turn, GRADED_ACQUIRE_S at most.
        A program that may have begun is begun at most twice. Raises SandboxUnavailable.
        """
        return await self.patiently(order.toolchain, lambda: self._client.run(order))

    async def patiently(self, toolchain: str, attempt: Callable[[], Awaitable[_Ended]]) -> _Ended:
        """What `run` promises, for what runs a program of the toolchain in a way of its own."""
        deadline_s = asyncio.get_running_loop().time() + GRADED_ACQUIRE_S
        try:
            return await self._healing(toolchain, attempt)
        except SandboxUnavailable as error:
            if error.stage != FULL:
                raise
            full = error
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._turn.acquire()
        except TimeoutError:
            raise full from None
        try:
            return await self._as_soon_as_there_is_room(deadline_s, lambda: self._healing(toolchain, attempt))
        finally:
            self._turn.release()

    async def _as_soon_as_there_is_room(self, deadline_s: float, attempt: Callable[[], Awaitable[_Ended]]) -> _Ended:
        while True:
            await asyncio.sleep(FULL_STEP_S)
            try:
                return await attempt()
            except SandboxUnavailable as error:
                if error.stage != FULL or asyncio.get_running_loop().time() > deadline_s:
                    raise

    async def _healing(self, toolchain: str, attempt: Callable[[], Awaitable[_Ended]]) -> _Ended:
        repeated = False
        deadline_s: float | None = None
        clock = asyncio.get_running_loop().time
        while True:
            try:
                return await attempt()
            except SandboxUnavailable as error:
                deadline_s = deadline_s or clock() + HEAL_S
                if error.stage == FULL or error.streamed or (error.started and repeated) or clock() > deadline_s:
                    raise
                repeated = repeated or error.started
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline_s):
                    await self._client.wait_ready(toolchain)
            await asyncio.sleep(HEAL_STEP_S)  # the keeper may hear of a warden's death a moment after we do


def _key_of(identity: bytes, submission: Submission, beside: list[tuple[str, bytes]]) -> str:
    return artifacts.key_of(identity, submission.code, submission.check, beside, submission.compiler_options)


async def _keep_artifact(finished: Finished, stack: contextlib.ExitStack) -> int | None:
    """A sealed copy of what a compile step left, or None when it failed or left nothing acceptable."""
    artifact = finished.left.pop(0, None)
    close_all(finished.left.values())
    if artifact is None:
        return None
    if finished.outcome.wait_status != 0 or finished.outcome.killed_by is not None or finished.truncated:
        os.close(artifact)
        return None
    return await _opened(stack, True, _take_copy, artifact)


def _is_much(files: tuple[File, ...]) -> bool:
    """To be copied or hashed while others wait."""
    return sum(file.size for file in files) > MUCH_BYTES


async def _opened(stack: contextlib.ExitStack, is_much: bool, opens: Callable[..., int], *arguments: object) -> int:
    """The descriptor that `opens` returns, closed with the stack; where it copies much, a thread does it."""
    descriptor = await to_the_end(opens, *arguments, undo=os.close) if is_much else opens(*arguments)
    stack.callback(os.close, descriptor)
    return descriptor


def _decoded(code: str, encoding: object) -> bytes:
    """What a service has compiled: text, or with the encoding "base64" anything. Raises ValueError."""
    return base64.b64decode(code, validate=True) if encoding == "base64" else code.encode()


def _take_copy(artifact: int) -> int:
    try:
        return sealed_copy(artifact)
    finally:
        os.close(artifact)
