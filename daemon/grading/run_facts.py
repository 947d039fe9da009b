"""What became of a run, from how the sandbox says that it ended."""

import os

from daemon.sandbox.model import KilledBy, Limits
from daemon.sandbox.order import Finished

from .verdicts import RunFacts


def facts_of(finished: Finished, limits: Limits) -> RunFacts:
    """Its facts for verdicts.py, whose precedence is not the sandbox's: CPU time over the limit is told whatever was
    the first reason to end it."""
    killed_by, status = finished.outcome.killed_by, finished.outcome.wait_status
    if killed_by is not None or finished.truncated:
        status = None  # it was ended from outside
    cpu_ns = finished.outcome.usage.cpu_ns
    is_over = limits.cpu_ns is not None and cpu_ns is not None and cpu_ns > limits.cpu_ns
    return RunFacts(
        exit_code=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
        memory=killed_by is KilledBy.MEMORY, cpu=killed_by is KilledBy.CPU or is_over, output=finished.truncated,
        wall=killed_by is KilledBy.WALL,
    )  # fmt: skip
