"""What a program's end is on either side, and when two ends are alike. Pure: nothing here runs anything."""

import dataclasses
import enum

MB = 1 << 20
NEAR = 0.4  # of a limit: a program that needs as much on the bare host may meet it under half a core


class Kind(enum.StrEnum):
    """The class of an end; the API's words where it has one."""

    EXITED = "exited"
    SIGNAL = "signal"
    COMPILE_ERROR = "compile_error"
    TIME_LIMIT = "time_limit"
    CPU_LIMIT = "cpu_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    REFUSED = "refused"  # by input validation
    TOO_LONG = "too_long"  # the source
    NO_ANSWER = "no_answer"  # the server did not answer, or said that it cannot


class Verdict(enum.StrEnum):
    """What a comparison found."""

    ALIKE = "alike"
    NONDETERMINISTIC = "nondeterministic"
    DIFFERENT = "different"
    REFUSED = "refused"  # although the bare program succeeds
    REFUSED_FAILING = "refused_failing"  # the bare program fails, too
    BEYOND = "beyond"  # it needs about as much as a limit allows, or more
    NO_ANSWER = "no_answer"


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """One run. `memory_bytes` is the largest process's on the bare host, the whole jail's on the server."""

    kind: Kind
    code: int | None = None
    signal: str | None = None
    stdout: str = ""
    stderr: str = ""
    wall_s: float = 0.0
    memory_bytes: int | None = None
    detail: str = ""  # a refusal's, a failure's

    @property
    def succeeded(self) -> bool:
        return self.kind is Kind.EXITED and self.code == 0

    @property
    def end(self) -> tuple[Kind, int | None, str | None]:
        return self.kind, self.code, self.signal

    def text(self) -> str:
        """For people: `exited 1`, `signal SIGSEGV`, `time_limit`."""
        return " ".join(str(part) for part in self.end if part is not None)


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a run was given."""

    wall_s: float
    memory_bytes: int
    output_bytes: int


def are_alike(bare: Ending, served: Ending) -> bool:
    """Whether both ended in the same way with the same output.

    A program that a limit ended was ended somewhere: its output is not compared. Of a compile error only that both
    have diagnostics is, for they name folders; of stderr otherwise nothing, for tracebacks do.
    """
    if bare.end != served.end:
        return False
    match bare.kind:
        case Kind.EXITED | Kind.SIGNAL:
            return bare.stdout == served.stdout
        case Kind.COMPILE_ERROR:
            return bool(bare.stdout + bare.stderr) == bool(served.stdout + served.stderr)
        case _:
            return True


def is_beyond(bare: Ending, served: Ending, limits: Limits) -> bool:
    """Whether the server's limit explains the difference: the bare program needs about as much."""
    match served.kind:
        case Kind.TOO_LONG:
            return True
        case Kind.MEMORY_LIMIT:
            return bare.memory_bytes is not None and bare.memory_bytes >= limits.memory_bytes
        case Kind.TIME_LIMIT:
            return bare.wall_s >= NEAR * limits.wall_s
        case Kind.OUTPUT_LIMIT:
            return len(bare.stdout.encode()) + len(bare.stderr.encode()) >= limits.output_bytes
        case _:
            return False


def judge(bare: Ending, again: Ending | None, served: Ending, limits: Limits) -> Verdict:
    """Compare; `again` is a second run of the bare program, for those that the first is not like."""
    if served.kind is Kind.REFUSED:
        return Verdict.REFUSED if bare.succeeded else Verdict.REFUSED_FAILING
    if served.kind is Kind.NO_ANSWER:
        return Verdict.NO_ANSWER
    if are_alike(bare, served):
        return Verdict.ALIKE
    if is_beyond(bare, served, limits):
        return Verdict.BEYOND
    if again is None or are_alike(bare, again):
        return Verdict.DIFFERENT
    if are_alike(again, served):
        return Verdict.NONDETERMINISTIC
    # The bare program's output varies: its end is compared all the same, unless that varies, too.
    varies = bare.end != again.end or bare.end == served.end
    return Verdict.NONDETERMINISTIC if varies else Verdict.DIFFERENT
