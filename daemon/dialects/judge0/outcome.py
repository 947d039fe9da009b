"""From a Report to what Judge0 says of it: one of fourteen statuses, figures, a message.

The statuses and their order are Judge0's (app/enumerations/status.rb), the messages those of isolate, which it runs
programs in, where there is one that fits.
"""

import dataclasses
import enum
import json
from typing import assert_never

from daemon.judge.submission import Reason, Report

from .job import Options


class Status(enum.IntEnum):
    """By Judge0's ids."""

    IN_QUEUE = 1
    PROCESSING = 2
    ACCEPTED = 3
    WRONG_ANSWER = 4
    TIME_LIMIT_EXCEEDED = 5
    COMPILATION_ERROR = 6
    SIGSEGV = 7
    SIGXFSZ = 8
    SIGFPE = 9
    SIGABRT = 10
    NZEC = 11
    OTHER = 12
    INTERNAL_ERROR = 13
    EXEC_FORMAT_ERROR = 14

    @property
    def description(self) -> str:
        """Judge0's text."""
        return DESCRIPTIONS[self]


DESCRIPTIONS = {
    Status.IN_QUEUE: "In Queue",
    Status.PROCESSING: "Processing",
    Status.ACCEPTED: "Accepted",
    Status.WRONG_ANSWER: "Wrong Answer",
    Status.TIME_LIMIT_EXCEEDED: "Time Limit Exceeded",
    Status.COMPILATION_ERROR: "Compilation Error",
    Status.SIGSEGV: "Runtime Error (SIGSEGV)",
    Status.SIGXFSZ: "Runtime Error (SIGXFSZ)",
    Status.SIGFPE: "Runtime Error (SIGFPE)",
    Status.SIGABRT: "Runtime Error (SIGABRT)",
    Status.NZEC: "Runtime Error (NZEC)",
    Status.OTHER: "Runtime Error (Other)",
    Status.INTERNAL_ERROR: "Internal Error",
    Status.EXEC_FORMAT_ERROR: "Exec Format Error",
}
OF_SIGNAL = {11: Status.SIGSEGV, 25: Status.SIGXFSZ, 8: Status.SIGFPE, 6: Status.SIGABRT}
SIGXFSZ, SIGKILL = 25, 9
BLANKS = b"\0\t\n\v\f\r "  # what String#rstrip of Ruby takes off


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """The small part of an Outcome. Seconds; `memory` in kilobytes."""

    message: str | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    time: float | None = None
    wall_time: float | None = None
    memory: int | None = None

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, text: str) -> "Facts":
        """What `to_json` wrote."""
        return cls(**json.loads(text))


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a submission. Output that is empty is None."""

    status: Status
    stdout: bytes | None = None
    stderr: bytes | None = None
    compile_output: bytes | None = None
    facts: Facts = Facts()

    @property
    def size(self) -> int:
        """Bytes of what it holds."""
        return sum(len(one) for one in (self.stdout, self.stderr, self.compile_output) if one is not None)


def not_run(message: str) -> Outcome:
    """Of a submission that did not run, which is not its fault."""
    return Outcome(Status.INTERNAL_ERROR, facts=Facts(message=message))


def not_built(diagnostics: str) -> Outcome:
    """Of one that was refused by its compiler, or for what is in its source."""
    return Outcome(Status.COMPILATION_ERROR, compile_output=diagnostics.encode("utf-8", "replace") or None)


def of_report(report: Report, options: Options, expected: bytes | None, together: bytes | None) -> Outcome:
    """Of one run. `together`: both streams in the order in which they came, where they are wanted so."""
    if report.reason is Reason.COMPILE_ERROR:
        return not_built(report.error or "")
    stdout = report.stdout if together is None else together
    cpu_s = None if report.cpu_ns is None else report.cpu_ns / 1e9
    is_late = bool(options.cpu_time_limit) and cpu_s is not None and cpu_s > options.cpu_time_limit
    status, message, number = _end(report, is_late)
    if status is Status.ACCEPTED and expected is not None and not is_same(expected, stdout):
        status = Status.WRONG_ANSWER
    return Outcome(
        status, stdout or None, (report.stderr or None) if together is None else None,
        facts=Facts(
            message=message, exit_code=report.exit_code or 0, exit_signal=number, time=cpu_s,
            wall_time=report.wall_ns / 1e9,
            memory=None if report.memory_bytes is None else report.memory_bytes >> 10,
        ),
    )  # fmt: skip


def _end(report: Report, is_late: bool) -> tuple[Status, str | None, int | None]:
    """Status, message and signal of a program that began. `is_late`: it took more CPU time than its limit."""
    match report.reason:
        case Reason.TIME_LIMIT:
            return Status.TIME_LIMIT_EXCEEDED, "Time limit exceeded (wall clock)", None
        case Reason.CPU_LIMIT:
            return Status.TIME_LIMIT_EXCEEDED, "Time limit exceeded", None
        case Reason.MEMORY_LIMIT:
            return Status.OTHER, report.error, SIGKILL
        case Reason.OUTPUT_LIMIT:
            return Status.SIGXFSZ, report.error, SIGXFSZ
        case Reason.SIGNAL:
            number = report.signal or 0
            return OF_SIGNAL.get(number, Status.OTHER), f"Caught fatal signal {number}", number
        case Reason.EXITED if report.exit_code:
            return Status.NZEC, f"Exited with error status {report.exit_code}", None
        case Reason.EXITED:
            return (
                (Status.TIME_LIMIT_EXCEEDED, "Time limit exceeded", None) if is_late else (Status.ACCEPTED, None, None)
            )
        case Reason.COMPILE_ERROR:
            raise AssertionError("it did not begin")
        case _:
            assert_never(report.reason)


def is_same(expected: bytes, stdout: bytes) -> bool:
    """Line by line without blanks at the ends of lines and without empty lines at the end, as Judge0 compares."""
    return expected == stdout or _stripped(expected) == _stripped(stdout)


def _stripped(text: bytes) -> bytes:
    return b"\n".join(line.rstrip(BLANKS) for line in text.split(b"\n")).rstrip(BLANKS)


def average(outcomes: list[Outcome]) -> Outcome:
    """Of several runs of one submission: the last, with the mean of CPU time and memory of all (isolate_job.rb)."""
    last = outcomes[-1]
    times = [one.facts.time for one in outcomes if one.facts.time is not None]
    memories = [one.facts.memory for one in outcomes if one.facts.memory is not None]
    if len(outcomes) == 1 or last.status is Status.COMPILATION_ERROR:
        return last
    mean = dataclasses.replace(
        last.facts,
        time=sum(times) / len(times) if times else None,
        memory=sum(memories) // len(memories) if memories else None,
    )
    return dataclasses.replace(last, facts=mean)
