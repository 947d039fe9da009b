"""From the facts of a run to the Report that a person reads: the reason of its end, and the sentence that explains it.

Pure: no clock, no descriptor, no task. What a wait status means stands in wait(2).
"""

import contextlib
import os
import signal
from typing import assert_never

from daemon.sandbox.model import KilledBy, Limits
from daemon.sandbox.order import Finished

from .submission import Reason, Report, Submission

MB = 1 << 20


def of_diagnostics(diagnostics: str, compile_ns: int) -> Report:
    """Of a program that a service refused: `diagnostics` is what it said, and no compiler's jail has figures of it."""
    said = diagnostics.encode()
    compilation = Report(
        reason=Reason.EXITED, error=diagnostics, stdout=b"", stderr=said, exit_code=1, signal=None, wall_ns=compile_ns,
        cpu_ns=None, compile_ns=0, memory_bytes=None, truncated=False, pieces=(("stderr", said),),
    )  # fmt: skip
    return Report(
        reason=Reason.COMPILE_ERROR, error=diagnostics, stdout=b"", stderr=said, exit_code=None, signal=None, wall_ns=0,
        cpu_ns=None, compile_ns=compile_ns, memory_bytes=None, truncated=False, compilation=compilation,
    )  # fmt: skip


def of_compilation(limits: Limits, output_bytes: int, finished: Finished, compile_ns: int) -> Report:
    """Of a compile step that left nothing to run. `limits` are the step's, `compile_ns` is the time of all so far."""
    diagnostics = (finished.stdout + finished.stderr).decode("utf-8", "replace")
    match _limit_reached(finished):
        case Reason.TIME_LIMIT:
            error = f"Compilation timed out after {seconds(limits.wall_ns)}"
        case Reason.CPU_LIMIT:
            error = f"Compilation used more than {seconds(limits.cpu_ns or 0)} of CPU time"
        case Reason.MEMORY_LIMIT:
            error = f"Compilation exceeded its memory limit of {size(limits.memory_bytes)}"
        case Reason.OUTPUT_LIMIT:
            error = "Compilation exceeded its limit of diagnostics:\n" + diagnostics[:4096]
        case _:
            error = diagnostics or _ending(finished) or "Compilation left no program"
    return Report(
        reason=Reason.COMPILE_ERROR, error=error, stdout=b"", stderr=finished.stdout + finished.stderr,
        exit_code=None, signal=None, wall_ns=0, cpu_ns=None, compile_ns=compile_ns, memory_bytes=None,
        truncated=finished.truncated, compilation=of_process(limits, output_bytes, finished),
    )  # fmt: skip


def of_run(
    submission: Submission, finished: Finished, compile_ns: int, cached: bool, acquire_ns: int = 0,
    compilation: Report | None = None,
) -> Report:  # fmt: skip
    """Of the last step, which ran the program; the others are of the steps before it.

    Raises AssertionError for ends that the client never hands out.
    """
    return of_process(
        submission.limits, submission.output_bytes, finished, compile_ns, cached, acquire_ns, compilation
    )  # fmt: skip


def of_process(
    limits: Limits, output_bytes: int, finished: Finished, compile_ns: int = 0, cached: bool = False,
    acquire_ns: int = 0, compilation: Report | None = None,
) -> Report:  # fmt: skip
    """Of any step, as of a program with these limits. Raises AssertionError as `of_run` does."""
    status = finished.outcome.wait_status
    limit = _limit_reached(finished)
    signaled = limit is None and status is not None and os.WIFSIGNALED(status)
    exited = limit is None and status is not None and os.WIFEXITED(status)
    reason = limit or (Reason.SIGNAL if signaled else Reason.EXITED)
    return Report(
        reason=reason,
        error=_error(reason, limits, output_bytes, finished),
        stdout=finished.stdout,
        stderr=finished.stderr,
        exit_code=os.WEXITSTATUS(status) if exited and status is not None else None,
        signal=os.WTERMSIG(status) if signaled and status is not None else None,
        wall_ns=finished.outcome.usage.wall_ns,
        cpu_ns=finished.outcome.usage.cpu_ns,
        compile_ns=compile_ns,
        cached=cached,
        memory_bytes=finished.outcome.usage.memory_bytes,
        truncated=finished.truncated,
        acquire_ns=acquire_ns + finished.acquire_ns,
        pieces=finished.pieces,
        compilation=compilation,
    )


def _limit_reached(finished: Finished) -> Reason | None:
    """The first that applies of memory, output, CPU, time; None when the program ended by itself."""
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
            return f"Execution timed out after {seconds(limits.wall_ns)}"
        case Reason.CPU_LIMIT:
            return f"CPU time limit of {seconds(limits.cpu_ns or 0)} exceeded"
        case Reason.MEMORY_LIMIT:
            return f"Memory limit of {size(limits.memory_bytes)} exceeded"
        case Reason.OUTPUT_LIMIT:
            return f"Output limit of {size(output_bytes)} exceeded"
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
    """SIGSEGV for 11; real-time signals, which have no name of their own, as SIGRTMIN+n (signal(7)), and SIGRTMIN-n for
    the two that glibc keeps for itself."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"SIGRTMIN{number - signal.SIGRTMIN:+d}"


def seconds(nanoseconds: int) -> str:
    """`1 second`, `0.3 seconds`."""
    count = nanoseconds / 1e9
    return "1 second" if count == 1 else f"{count:g} seconds"


def size(count: int) -> str:
    """`1 MB`, `64 KB`, `1000 bytes`: in the largest unit that divides it."""
    for unit, unit_bytes in (("MB", MB), ("KB", 1024)):
        if count % unit_bytes == 0:
            return f"{count // unit_bytes} {unit}"
    return f"{count} bytes"
