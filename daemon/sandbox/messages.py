"""Every message that cellblock's processes send each other. Types and ranges are checked here, and only here.

Four kinds of unix SEQPACKET socket (unix(7): a message is whole or not there) carry one message each time, with
descriptors beside it. What two Python processes say is a JSON object with a `type`; what native code reads or writes
(daemon/warden/native) is a C struct. A message of an unknown type, with a field missing, unknown, of a wrong type or
out of range, or with another number of descriptors than it declares, is a `BadMessage`: the receiver closes the
descriptors and ends the peer (or, of a jail's channel, the jail).

HTTP process and keeper, /run/cellblock/<instance>/keeper.sock. The keeper says `Hello` and then `Stats`, anew at every
change. The HTTP process numbers its runs and asks for each by `Run`, whose descriptors are the source and the
artefact of an earlier step, each where the step takes it, packed files (judge/files.py) where `files` says so, and
where `input` does, a sealed file that takes the place of the pipe at the program's stdin. The keeper answers `Started`
with the far ends of the program's stdin, stdout and stderr, and later `Ended` (with the descriptors of the files that
the step left); or `Refused`, which means that nothing ran. `Kill` ends a run, whatever has become of it; a run that has
ended is no error, because messages cross. Of a `held` run, `Started` comes when its jail is parked, and the program
goes at `Begin`; where the jail is lost before, `Refused` follows. `Signal` sends a signal to the program of a run.

Keeper and warden, a socket pair. The keeper says `Setup` with the toolchain's plan and the compiled filter, each in a
memfd; the warden builds its rootfs and answers `Ready`, or `Broken` and ends. `Make` asks for a jail; its descriptors
are the jail's end of its channel and those through which the jail joins its control groups. The answer has the jail's
number: `Made` with the pidfd of its init and, of a fork, of its program; or `NotMade`. `ForkEnded` tells the wait
status of a program that is the warden's own child.

Warden and zygote, warden and maker, socket pairs. The warden sends `MakeInit` and `MakeCommand` to the maker, `Fork`
and `Prefault` to the zygote, each with a number, and native code answers with that number: `Answered`, whose descriptor
is the pidfd of a process that was made. The zygote has its jails' description from its start.

Keeper and jail, the channel: a socket pair that the keeper makes for each jail. When the jail is confined and its
program as far as it can be, it says `Parked` with the far ends of three pipes. `Go` comes once, with the source, the
artefact, the files and the input. A command's init answers `Status`, with the descriptors of the files that the step
left. A fork closes its channel as soon as it has read `Go`: its status comes from the warden. `Failed` may take any
answer's place and names the stage. After `Go` the other end may be untrusted code: whatever comes is checked as if it
were.
"""

import dataclasses
import json
import struct
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from . import fields as check
from .errors import CallersFault
from .fields import Check
from .model import KilledBy, Limits, Outcome, Usage
from .plan import Warm

MAX_BYTES = 64 << 10  # of a message
REASON_CHARACTERS = 500
LEAVES_MAX = 8  # files that a step or a run leaves
SHARING_MAX = 8  # runs that share one's part of the processors: with more they would go behind what is only prepared
SIGNAL_MAX = 64  # the highest that there is (signal(7), SIGRTMAX)
_ID_MAX = (1 << 53) - 1  # what every JSON reader tells exactly (RFC 8259, section 6)
_NAME_CHARACTERS = 4096


class BadMessage(CallersFault):
    """The peer does not speak our vocabulary; the text says what was wrong, in ASCII."""


_ID, _NAME, _REASON = check.number(0, _ID_MAX), check.text(_NAME_CHARACTERS), check.text(REASON_CHARACTERS)
_COUNT = check.number(0, (1 << 63) - 1)
_STATUS = check.number(0, 0xFFFF)  # of wait(2), raw
_UID = check.number(1, 0xFFFF)  # inside the warden's user namespace
NETWORKS_MAX = 64  # network namespaces that a warden lends; jails beyond so many have one of their own
_NETWORK = check.number(0, NETWORKS_MAX)
_JAIL_DESCRIPTORS = (2, 3, 4, 5, 6)  # the channel, and one to five groups


# -- messages in JSON


class Message:
    """A JSON message: a frozen dataclass. `TYPE` is its name on the wire, `FIELDS` how each field is checked.

    `DESCRIPTORS` are the numbers of descriptors that may come with it.
    """

    TYPE: ClassVar[str]
    FIELDS: ClassVar[Mapping[str, Check]]
    DESCRIPTORS: ClassVar[tuple[int, ...]] = (0,)

    def encode(self) -> bytes:
        """Raises ValueError when it is too long to be sent whole."""
        fields = {name: getattr(self, name) for name in self.FIELDS}
        data = _ENCODER.encode({"type": self.TYPE, **fields}).encode()
        if len(data) > MAX_BYTES:
            raise ValueError(f"message of {len(data)} bytes, at most {MAX_BYTES} fit")
        return data

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Raises BadMessage."""
        if fields.keys() != cls.FIELDS.keys():
            raise BadMessage(
                ascii(f"{cls.TYPE}: fields {sorted(fields.keys() ^ cls.FIELDS.keys())} too many or missing")[:200]
            )
        checked = {}
        for name, checked_by in cls.FIELDS.items():
            try:
                checked[name] = checked_by(fields[name])
            except ValueError as error:
                raise BadMessage(ascii(f"{cls.TYPE}: {name}: {error}")[:200]) from None
        return cls(**checked)


def _plain(value: Any) -> Any:
    """Limits as an object."""
    return {field: getattr(value, field) for field in value.__slots__}


_ENCODER = json.JSONEncoder(separators=(",", ":"), default=_plain)  # json.dumps would make one for each message


def decode(data: bytes, descriptors: int | None, vocabulary: Mapping[str, type[Message]]) -> Message:
    """The message, one of the vocabulary. `descriptors` None: they were lost. Raises BadMessage."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise BadMessage("not JSON") from None
    kind = fields.pop("type", None) if isinstance(fields, dict) else None
    found = vocabulary.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise BadMessage("not an object with a known type")
    if descriptors is not None and descriptors not in found.DESCRIPTORS:
        raise BadMessage(f"{found.TYPE}: {descriptors} descriptors")
    return found.from_fields(fields)


def vocabulary(*kinds: type[Message]) -> dict[str, type[Message]]:
    """Message classes by their TYPE."""
    return {kind.TYPE: kind for kind in kinds}


# HTTP process to keeper


@dataclasses.dataclass(frozen=True, slots=True)
class Run(Message):
    """Run one step in a fresh jail. Descriptors: source, artefact, files, input, each where it applies.

    `input`: a memfd that nobody can change any more, opened for reading alone; the jail has the open description for
    itself, with its offset.
    `graded`: alone on a core, which it waits for before its clock starts, and within the step's limits of graded runs.
    `held`: it goes, and its clock starts, at `Begin`, with as much weight as a graded run, which may wait for it.
    `sharing`: it has one of so many parts of a run's share of the processors; a graded or held run has all of it.
    `leaves`: paths below /work of files that it leaves beside its status, of a step that leaves none by itself.
    """

    TYPE = "run"
    FIELDS = {
        "run": _ID, "toolchain": _NAME, "step": _NAME, "limits": check.limits, "args": check.texts, "files": check.flag,
        "input": check.flag, "graded": check.flag, "held": check.flag, "sharing": check.number(1, SHARING_MAX),
        "leaves": check.paths(LEAVES_MAX),
    }  # fmt: skip
    DESCRIPTORS = (0, 1, 2, 3, 4)

    run: int
    toolchain: str
    step: str
    limits: Limits
    args: tuple[str, ...] = ()
    files: bool = False
    input: bool = False
    graded: bool = False
    held: bool = False
    sharing: int = 1
    leaves: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Begin(Message):
    """Have a held run go. Nothing happens to one that is not held, or not any more."""

    TYPE = "begin"
    FIELDS = {"run": _ID}

    run: int


@dataclasses.dataclass(frozen=True, slots=True)
class Kill(Message):
    """End a run: too much output, or nobody wants it any more."""

    TYPE = "kill"
    FIELDS = {"run": _ID, "why": check.choice(KilledBy, KilledBy.OUTPUT, KilledBy.CLIENT)}

    run: int
    why: KilledBy


@dataclasses.dataclass(frozen=True, slots=True)
class Signal(Message):
    """Send a signal (signal(7)) to a run's program, and to nothing else in its jail: at once, or as soon as the program
    is there. Nothing happens where it was not told to go, or has ended."""

    TYPE = "signal"
    FIELDS = {"run": _ID, "number": check.number(1, SIGNAL_MAX)}

    run: int
    number: int


TO_KEEPER = vocabulary(Run, Begin, Kill, Signal)


# Keeper to HTTP process


@dataclasses.dataclass(frozen=True, slots=True)
class Hello(Message):
    """The first message: what this keeper is. `cgroup` is v1 or v2; graded runs are pinned to one of `cores` each, or
    are as many at once where `pins` is false."""

    TYPE = "hello"
    FIELDS = {"cgroup": _NAME, "cores": check.numbers(0, 1 << 16), "pins": check.flag}

    cgroup: str
    cores: tuple[int, ...]
    pins: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Stats(Message):
    """The keeper's state, for /health and /metrics: counts, bytes, and by toolchain what its wardens lack ("ready":
    nothing).

    `parked` has for each pool its numbers of jails: {"parked", "wanted", "starting", "running"}, and "waiting", the
    runs that wait for one. `fleets` has for each toolchain {"started", "lost"}, its wardens so far and those that ended
    unasked, and where one is ready "since_s", when the oldest of those was started (CLOCK_MONOTONIC, whole seconds).
    `failures` counts what could not be made: {"jail"}, a jail whose control group or descriptors were refused.
    """

    TYPE = "stats"
    FIELDS = {
        "jails": _COUNT, "wardens": check.mapping, "parked": check.mapping, "parked_bytes": _COUNT,
        "memory_bytes": check.mapping, "fleets": check.mapping, "failures": check.mapping,
    }  # fmt: skip

    jails: int
    wardens: Mapping[str, str]
    parked: Mapping[str, Mapping[str, int]]
    parked_bytes: int
    memory_bytes: Mapping[str, int]
    fleets: Mapping[str, Mapping[str, int]]
    failures: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Started(Message):
    """The program was told to go, or is held. Descriptors: the far ends of its stdin, stdout and stderr."""

    TYPE = "started"
    FIELDS = {"run": _ID}
    DESCRIPTORS = (3,)

    run: int


FULL = "full"  # the stage of a refusal because as many jails are alive as may be, which passes


@dataclasses.dataclass(frozen=True, slots=True)
class Refused(Message):
    """Nothing ran; `stage` and `reason` are for the log, but for FULL."""

    TYPE = "refused"
    FIELDS = {"run": _ID, "stage": _REASON, "reason": _REASON}

    run: int
    stage: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Ended(Message):
    """What became of a run: the fields of model.Outcome. Descriptors: the files that it left, which are `left`."""

    TYPE = "ended"
    FIELDS = {
        "run": _ID, "wait_status": check.optional(_STATUS), "killed_by": check.optional(check.choice(KilledBy)),
        "wall_ns": _COUNT, "cpu_ns": check.optional(_COUNT), "memory_bytes": check.optional(_COUNT),
        "left": check.numbers(0, LEAVES_MAX - 1),
    }  # fmt: skip
    DESCRIPTORS = tuple(range(LEAVES_MAX + 1))

    run: int
    wait_status: int | None
    killed_by: KilledBy | None
    wall_ns: int
    cpu_ns: int | None
    memory_bytes: int | None
    left: tuple[int, ...] = ()

    @classmethod
    def of(cls, run: int, outcome: Outcome, left: tuple[int, ...]) -> Self:
        """The outcome of a run as a message."""
        usage = outcome.usage
        return cls(run, outcome.wait_status, outcome.killed_by, usage.wall_ns, usage.cpu_ns, usage.memory_bytes, left)

    @property
    def outcome(self) -> Outcome:
        """The message as an outcome."""
        return Outcome(self.wait_status, self.killed_by, Usage(self.wall_ns, self.cpu_ns, self.memory_bytes))


TO_HTTP = vocabulary(Hello, Stats, Started, Refused, Ended)


# Keeper to warden


@dataclasses.dataclass(frozen=True, slots=True)
class Setup(Message):
    """The first message. Descriptors: memfds of the ToolchainPlan (JSON) and of the filter (struct sock_filter[])."""

    TYPE = "setup"
    FIELDS = {}
    DESCRIPTORS = (2,)


@dataclasses.dataclass(frozen=True, slots=True)
class Make(Message):
    """Make a jail for a step. `argv` is the command of a program that starts before go, else empty.

    `network` is the number of the network namespace that is lent to it, of which no other live jail has the same; 0 is
    one of its own.

    Descriptors: the jail's end of its channel, then those through which it joins its control groups.
    """

    TYPE = "make"
    FIELDS = {
        "jail": _ID,
        "step": _NAME,
        "warm": check.choice(Warm),
        "uid": _UID,
        "network": _NETWORK,
        "argv": check.texts,
    }
    DESCRIPTORS = _JAIL_DESCRIPTORS

    jail: int
    step: str
    warm: Warm
    uid: int
    network: int
    argv: tuple[str, ...] = ()


TO_WARDEN = vocabulary(Setup, Make)


# Warden to keeper


@dataclasses.dataclass(frozen=True, slots=True)
class Ready(Message):
    """The warden can make jails."""

    TYPE = "ready"
    FIELDS = {}


@dataclasses.dataclass(frozen=True, slots=True)
class Broken(Message):
    """The warden cannot work and ends."""

    TYPE = "broken"
    FIELDS = {"stage": _REASON, "reason": _REASON}

    stage: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Made(Message):
    """Descriptors: the pidfd of the jail's init, and of a fork that of its program."""

    TYPE = "made"
    FIELDS = {"jail": _ID}
    DESCRIPTORS = (1, 2)

    jail: int


@dataclasses.dataclass(frozen=True, slots=True)
class NotMade(Message):
    """The jail does not exist, and nothing of it is left."""

    TYPE = "not_made"
    FIELDS = {"jail": _ID, "reason": _REASON}

    jail: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class ForkEnded(Message):
    """The raw wait status (wait(2)) of a program that is the warden's own child."""

    TYPE = "fork_ended"
    FIELDS = {"jail": _ID, "status": _STATUS}

    jail: int
    status: int


FROM_WARDEN = vocabulary(Ready, Broken, Made, NotMade, ForkEnded)


# -- warden and helpers: C structs, little-endian, read and written by daemon/warden/native/jail.c

_REQUEST = struct.Struct("<IIII")  # struct request: number, kind (REQUEST_*), value, network
_RANGE = struct.Struct("<QQ")  # struct range: address and bytes
_ANSWER = struct.Struct("<Ii")  # struct answer: number of the request; a pid, 0 or a negated errno
REQUEST_FORK, REQUEST_PREFAULT, REQUEST_INIT, REQUEST_COMMAND = 1, 2, 3, 4
RANGES_MAX = 512


@dataclasses.dataclass(frozen=True, slots=True)
class MakeInit:
    """Make the init of a jail whose program is a fork, in a network as Make has it.

    The answer has its pid and pidfd.
    """

    number: int
    network: int = 0

    def encode(self) -> bytes:
        """As jail.c reads it."""
        return _REQUEST.pack(self.number, REQUEST_INIT, 0, self.network)


@dataclasses.dataclass(frozen=True, slots=True)
class MakeCommand:
    """Make the jail of a command, whose init has this uid, in a network as Make has it. Descriptors: the jail's end of
    its channel, its groups.

    `description` is that of daemon/warden/description.py. The answer has the pid and pidfd of its init.
    """

    number: int
    uid: int
    network: int
    description: bytes

    def encode(self) -> bytes:
        """As jail.c reads it."""
        return _REQUEST.pack(self.number, REQUEST_COMMAND, self.uid, self.network) + self.description


@dataclasses.dataclass(frozen=True, slots=True)
class Fork:
    """Fork a program with this uid. Descriptors: the jail's end of its channel, its init's pidfd, its groups.

    The answer has its pid and pidfd.
    """

    number: int
    uid: int

    def encode(self) -> bytes:
        """As jail.c reads it."""
        return _REQUEST.pack(self.number, REQUEST_FORK, self.uid, 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Prefault:
    """Have programs copy these pages before go: address and bytes of each range, of which RANGES_MAX count."""

    number: int
    ranges: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        """As jail.c reads it."""
        chosen = self.ranges[:RANGES_MAX]
        head = _REQUEST.pack(self.number, REQUEST_PREFAULT, len(chosen), 0)
        return head + b"".join(_RANGE.pack(*one) for one in chosen)


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """To the request of this number. `result`: a pid, whose pidfd came with it, or 0, or a negated errno."""

    number: int
    result: int


HelperRequest = MakeInit | MakeCommand | Fork | Prefault


def decode_answer(data: bytes, descriptors: int) -> Answered:
    """What a helper says. Raises BadMessage."""
    if len(data) != _ANSWER.size:
        raise BadMessage(f"an answer of {len(data)} bytes")
    number, result = _ANSWER.unpack(data)
    if descriptors != (result > 0):
        raise BadMessage(f"answer {number} with {descriptors} descriptors and result {result}")
    return Answered(number, result)


# -- the channel of a jail: C structs, little-endian, written and read by daemon/warden/native/jail.c

GO_HEAD = struct.Struct("<4IQ")  # struct go_head: which descriptors (GO_*), number and bytes of strings, leaves, stack
REPLY_HEAD = struct.Struct("<IIQQ")  # struct reply: kind (REPLY_*), value, time, what is left; then text of a failure
REPLY_TEXT_BYTES = 240
GO_SOURCE, GO_ARTIFACT, GO_FILES, GO_JOINS, GO_INPUT = 1, 2, 4, 8, 16
REPLY_PARKED, REPLY_STATUS, REPLY_LINGERS, REPLY_FAILED = 1, 2, 3, 4


@dataclasses.dataclass(frozen=True, slots=True)
class Go:
    """Put what came with this in place, then start: once for each jail.

    `strings`: of a command that starts now its whole argv, else the program's arguments. Descriptors: source,
    artefact, files, input, in this order, those that the flags name. An artefact may be missing where it is one of the
    files. Without an input the program's stdin is its pipe.
    Where it `joins` the last descriptor is of a control group that whoever starts the program joins first.
    `leaves` are paths below /work of files whose descriptors come with the status.
    `stack_bytes` is the stack's limit of a program that starts now, at most what its jail was made with; 0 leaves that.
    """

    source: bool
    artifact: bool
    files: bool
    strings: tuple[str, ...]
    stack_bytes: int = 0
    joins: bool = False
    input: bool = False
    leaves: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Raises ValueError when it is too long or when a string holds NUL."""
        strings = (*self.strings, *self.leaves)
        if any("\0" in text for text in strings):
            raise ValueError("a string with NUL")
        blob = b"".join(text.encode() + b"\0" for text in strings)
        flags = GO_SOURCE * self.source | GO_ARTIFACT * self.artifact | GO_FILES * self.files
        flags |= GO_JOINS * self.joins | GO_INPUT * self.input
        data = GO_HEAD.pack(flags, len(strings), len(blob), len(self.leaves), self.stack_bytes) + blob
        if len(data) > MAX_BYTES:
            raise ValueError(f"message of {len(data)} bytes, at most {MAX_BYTES} fit")
        return data


@dataclasses.dataclass(frozen=True, slots=True)
class Parked:
    """Confined, and waiting for go. Descriptors: the far ends of stdin, stdout and stderr."""


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """The program ended with this raw wait status (wait(2)).

    `lingers`: it said that it has ended with 0 and waits to be killed; its memory is not freed yet. `ended_ns`: when
    its init knew (CLOCK_MONOTONIC). `left`: which of the step's files came as descriptors, by their number.
    """

    status: int
    lingers: bool = False
    ended_ns: int = dataclasses.field(default=0, compare=False)
    left: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """A stage of the jail's making or of its go did not work: our failure. `reason` is one line of ASCII."""

    stage: str
    reason: str


Reply = Parked | Status | Failed


def decode_reply(data: bytes, descriptors: int) -> Reply:
    """What a jail says on its channel. Raises BadMessage."""
    if len(data) < REPLY_HEAD.size or len(data) > REPLY_HEAD.size + REPLY_TEXT_BYTES:
        raise BadMessage(f"a jail's message of {len(data)} bytes")
    kind, value, when_ns, mask = REPLY_HEAD.unpack_from(data)
    left = tuple(number for number in range(LEAVES_MAX) if mask >> number & 1)
    text = data[REPLY_HEAD.size :]
    match kind, descriptors:
        case (1, 3) if not text:  # REPLY_PARKED
            return Parked()
        case ((2 | 3), count) if not text and value <= 0xFFFF and count == len(left) and mask >> LEAVES_MAX == 0:
            return Status(value, kind == REPLY_LINGERS, when_ns, left)  # REPLY_STATUS, REPLY_LINGERS
        case (4, 0):  # REPLY_FAILED
            stage, _, reason = ascii(text.decode("ascii", "replace"))[1:-1].partition("\\x00")
            return Failed(stage, reason)
    raise BadMessage(f"a jail's message of kind {kind} with {descriptors} descriptors and value {value}")
