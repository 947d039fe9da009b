"""Proves, in the background, that a real program of every toolchain runs in a real jail."""

import asyncio
import dataclasses
import time

import structlog

from daemon.sandbox.order import SandboxUnavailable
from daemon.toolchain.plan import RunLimits, run_limits
from daemon.toolchain.registry import Registry
from daemon.toolchain.schema import Toolchain

from .executor import Executor
from .submission import Submission

log = structlog.get_logger("cellblock.self_tests")

AGAIN_S = 1.0  # after a failure
CHANGED_S = 10.0  # between two lines of the log that tell of one toolchain, where the problem is another
RETOLD_S, RETOLD_S_MAX = 10.0, 3600.0  # where it is the same: each time twice as long


@dataclasses.dataclass(slots=True)
class Failures:
    """Failures that follow each other, and which of them are logged: the first, a change, the others ever more
    rarely."""

    count: int = 0
    _told: str | None = None
    _told_s: float = 0.0
    _pause_s: float = RETOLD_S

    def is_told(self, problem: str, now_s: float) -> bool:
        """Count one more, at `now_s` (CLOCK_MONOTONIC seconds). True when the log is to tell of it."""
        self.count += 1
        is_change = problem != self._told
        if self._told is not None and now_s - self._told_s < (CHANGED_S if is_change else self._pause_s):
            return False
        self._pause_s = RETOLD_S if is_change else min(2 * self._pause_s, RETOLD_S_MAX)
        self._told, self._told_s = problem, now_s
        return True


@dataclasses.dataclass(slots=True)
class Proof:
    """When a toolchain was last seen to work (CLOCK_MONOTONIC seconds), and what is wrong if it does not."""

    proven_s: float | None = None
    problem: str | None = "not tested yet"
    failures: Failures | None = None


class SelfTests:
    """`run` until cancelled; `problems` tells what is not proven at this moment.

    A toolchain's version is learned before its first proof. An idle toolchain is tested every `every_s` seconds.
    """

    def __init__(self, executor: Executor, toolchains: Registry, run: RunLimits, every_s: float) -> None:
        self._executor, self._toolchains, self._run, self._every_s = executor, toolchains, run, every_s
        self._slot = asyncio.Lock()  # one at a time, beside the slots of requests and never in them
        self.proofs = {toolchain.id: Proof() for toolchain in toolchains}
        self.all_proven = asyncio.Event()  # every toolchain was seen to work once

    async def run(self) -> None:
        """Keep proving all toolchains; ends only by cancellation or by a defect."""
        async with asyncio.TaskGroup() as group:
            for toolchain in self._toolchains:
                group.create_task(self._keep_proving(toolchain))

    def succeeded(self, toolchain: Toolchain) -> None:
        """To be told of a real run that just worked, which proves as much as a self-test."""
        self._is_proven(toolchain, self.proofs[toolchain.id])

    def _is_proven(self, toolchain: Toolchain, proof: Proof) -> None:
        proof.proven_s, proof.problem = time.monotonic(), None
        if proof.failures is not None:
            log.warning("self-test works again", language=toolchain.id, failures=proof.failures.count)
            proof.failures = None
        if not self.all_proven.is_set() and all(each.proven_s is not None for each in self.proofs.values()):
            self.all_proven.set()

    def problems(self) -> dict[str, str]:
        """By toolchain id, one sentence for each that did not work within the last two periods."""
        now, fresh_s = time.monotonic(), 2 * self._every_s
        return {
            name: proof.problem or f"no program ran within the last {fresh_s:.0f} seconds"
            for name, proof in self.proofs.items()
            if proof.problem is not None or proof.proven_s is None or now - proof.proven_s > fresh_s
        }

    async def _keep_proving(self, toolchain: Toolchain) -> None:
        proof = self.proofs[toolchain.id]
        while True:
            age_s = self._every_s if proof.proven_s is None else time.monotonic() - proof.proven_s
            if age_s >= self._every_s or proof.problem is not None or not self._executor.versions.text(toolchain.id):
                proof.problem = await self.prove(toolchain)
                if proof.problem is None:
                    self._is_proven(toolchain, proof)
                    age_s = 0.0
                else:
                    self._tell(toolchain, proof, proof.problem)
                    await asyncio.sleep(AGAIN_S)
                    continue
            await asyncio.sleep(self._every_s - age_s)

    def _tell(self, toolchain: Toolchain, proof: Proof, problem: str) -> None:
        proof.failures = failures = proof.failures or Failures()
        if failures.is_told(problem, time.monotonic()):
            log.error("self-test failed", language=toolchain.id, problem=problem, failures=failures.count)

    async def prove(self, toolchain: Toolchain) -> str | None:
        """Run the toolchain's own test program; None when it did what its file says, else what is wrong.

        Raises nothing of the sandbox: that it is not available is what is wrong.
        """
        limits, _ = run_limits(toolchain, self._run)
        submission = Submission(toolchain, toolchain.self_test.code.encode(), limits, self._run.output_bytes)
        try:
            async with self._slot:
                return await self._prove(toolchain, submission)
        except SandboxUnavailable as error:
            return str(error)

    async def _prove(self, toolchain: Toolchain, submission: Submission) -> str | None:
        if self._executor.versions.text(toolchain.id) is None:
            await self._executor.learn_version(toolchain)
        report = await self._executor.execute(submission, use_kept=False)
        if not report.success:
            return f"self-test ended with {report.reason}: {report.error}"
        output = report.stdout.decode("utf-8", "replace")
        if output != toolchain.self_test.output:
            return f"self-test printed {output[:200]!r} instead of {toolchain.self_test.output!r}"
        return None
