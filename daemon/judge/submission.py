"""A Submission is what someone wants run; a Report is what became of it."""

import dataclasses
import enum
from collections.abc import Mapping

from daemon.sandbox.dialogue import Dialogue
from daemon.sandbox.model import Limits
from daemon.sandbox.pumps import OnOutput, Piece
from daemon.toolchain.schema import Toolchain

from .files import File


class Reason(enum.StrEnum):
    """How a submission ended. When several apply, the first in this order is told, compile_error before all."""

    COMPILE_ERROR = "compile_error"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    CPU_LIMIT = "cpu_limit"
    TIME_LIMIT = "time_limit"
    SIGNAL = "signal"
    EXITED = "exited"


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """One program with its input. `check` False skips a toolchain's type check where it has one.

    `on_output` hears stdout and stderr of the run while they come. `name` is what the source is called where another
    file is the main one (the driver of a problem), None where nobody said. `client`: whose it is, empty where
    it is ours; `sharing`: that one has so many at once. `dialogue`: what is said to it while it runs, in place of
    `stdin`. `compile_limits`: of each step that compiles, where they are below its own. `compiler_options`: for the
    steps that take them (Toolchain.takes).

    `leaves` names files below /work whose contents the report is to have once the program has ended by itself, of
    together at most `left_bytes_max` bytes.
    """

    toolchain: Toolchain
    code: bytes
    limits: Limits
    output_bytes: int
    stdin: bytes = b""
    args: tuple[str, ...] = ()
    check: bool = True
    files: tuple[File, ...] = ()
    on_output: OnOutput | None = None
    name: str | None = None
    client: str = ""
    sharing: int = 1
    dialogue: Dialogue | None = None
    compile_limits: Limits | None = None
    compiler_options: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    left_bytes_max: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """The facts of one submission. Times are ns; `cpu_ns`, `wall_ns`, `memory_bytes` are the run's, not the compiler's.

    `cached`: what it compiles to was there already. `acquire_ns`: waiting for jails, of all steps together.
    `exit_code` and `signal` are None unless the program ended that way by itself. `error` is None on success.
    `pieces`: the output of both streams, in the order in which it was read. `compilation`: what became of the compiler,
    as of a program; None where no jail of one was needed. `left` has the files that were asked for, without what is no
    plain file or too long.
    """

    reason: Reason
    error: str | None
    stdout: bytes
    stderr: bytes
    exit_code: int | None
    signal: int | None
    wall_ns: int
    cpu_ns: int | None
    compile_ns: int
    memory_bytes: int | None
    truncated: bool
    cached: bool = False
    acquire_ns: int = 0
    pieces: tuple[Piece, ...] = ()
    compilation: "Report | None" = None
    left: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def success(self) -> bool:
        """True when the program was built, ran within its limits and exited with 0."""
        return self.reason is Reason.EXITED and self.exit_code == 0
