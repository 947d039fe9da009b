"""What the HTTP process asks its client for: one run of one step, and how it went."""

import dataclasses

from .dialogue import Dialogue
from .errors import CallersFault, OurFault
from .model import WAITING_MAX, Limits, Outcome
from .pumps import OnOutput, Piece


class SandboxUnavailable(OurFault):
    """A run could not be had, or was lost, for a reason of ours. `stage` and `reason` are for the log.

    `started`: the program may have begun to run. `streamed`: somebody has heard of its output, so it must not be
    repeated.
    """

    def __init__(self, stage: str, reason: str, started: bool = False, streamed: bool = False) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage, self.reason, self.started, self.streamed = stage, reason, started, streamed


class BadOrder(CallersFault):
    """A run that the keeper would not take, however often it were asked. Nothing of it was sent: the keeper ends the
    whole peer, with every run of it, for one message that it does not take."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What is run: descriptors are borrowed until `Client.run` returns.

    `input`, a sealed memfd, is the program's standard input: a file, whose offset no other run shares. Without one that
    is a pipe, into which `stdin` is written, bytes or the descriptor of a file; or what a `dialogue` says. `graded`:
    alone on a core, which it waits for as long as GRADED_ACQUIRE_S.
    `held`: it goes when it is told to (`Running.begin`). `sharing`: it has one of so many parts of a run's share of the
    processors. `leaves`: paths below /work of files that it leaves, at most messages.LEAVES_MAX. Without `keeps` its
    output goes to `on_output` alone. Of output beyond `output_bytes`, `spare_bytes` are thrown away before the run is
    ended for it.
    """

    toolchain: str
    step: str
    limits: Limits
    output_bytes: int
    spare_bytes: int = 0
    source: int | None = None
    artifact: int | None = None
    files: int | None = None  # packed (judge/files.py)
    input: int | None = None
    stdin: bytes | int = b""
    dialogue: Dialogue | None = None
    args: tuple[str, ...] = ()
    graded: bool = False
    held: bool = False
    sharing: int = 1
    leaves: tuple[str, ...] = ()
    keeps: bool = True
    on_output: OnOutput | None = None  # hears stdout and stderr as they come, besides

    @property
    def longest_s(self) -> float:
        """The wall time after which the keeper has ended it, whatever it did."""
        wall_s = self.limits.wall_ns / 1e9
        return (1 + WAITING_MAX) * wall_s if self.graded else wall_s


@dataclasses.dataclass(slots=True)
class Finished:
    """How it went. `left` are the files that the step left, by their number among what it leaves; they are the caller's
    to close. `truncated`: there was more output than it may have. `acquire_ns`: from the request for a jail until its
    program was told to go. `pieces`: the output of both streams, in the order in which it was read."""

    outcome: Outcome
    stdout: bytes
    stderr: bytes
    truncated: bool
    left: dict[int, int]
    acquire_ns: int = 0
    pieces: tuple[Piece, ...] = ()
