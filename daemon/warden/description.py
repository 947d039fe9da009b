"""What native/jail.c makes a jail from: bytes that are the same for every jail of a step that starts alike.

The layout is `struct head` of jail.c, then the filter (struct sock_filter[]), then strings, each with a NUL at its end:
the names of the source and of the artefact that an earlier step left (each may be empty), the paths that this step
leaves, the command of a program that starts before go, and its environment.
"""

import struct
from collections.abc import Sequence

from daemon.sandbox.plan import StepPlan, Warm

HEAD = struct.Struct("<6I6Q")  # struct head of jail.c
START = {Warm.EXEC: 1, Warm.FORK: 2, Warm.PRELOAD: 3, Warm.STDIN: 4}  # START_* of jail.c
MAX_BYTES = 64 << 10  # MESSAGE_BYTES of jail.c
GATE, END = 3, 4  # descriptors of a program that is warm by preload: where it waits for go, where it says it has ended
_FILTER_INSTRUCTION_BYTES = 8
_FILTER_INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS


def encode(step: StepPlan, warm: Warm, argv: Sequence[str], filter_program: bytes) -> bytes:
    """The description of a jail for this step whose program starts as `warm` says.

    `argv` is the filled command of a program that starts before go (preload, stdin), else empty. Raises ValueError for
    what jail.c would not take.
    """
    instructions, rest = divmod(len(filter_program), _FILTER_INSTRUCTION_BYTES)
    if rest or not 1 <= instructions <= _FILTER_INSTRUCTIONS_MAX:
        raise ValueError(f"a filter of {len(filter_program)} bytes")
    if bool(argv) != (warm in (Warm.PRELOAD, Warm.STDIN)):
        raise ValueError(f"a command of {len(argv)} strings for a program that is warm by {warm}")
    variables = [f"{name}={value}" for name, value in _environment(step, warm).items()]
    strings = [step.source_name or "", step.takes_artifact or "", *step.leaves, *argv, *variables]
    if any("\0" in text for text in strings):
        raise ValueError("a string with NUL")
    blob = b"".join(text.encode() + b"\0" for text in strings)
    total = HEAD.size + len(filter_program) + len(blob)
    if total > MAX_BYTES:
        raise ValueError(f"a description of {total} bytes, at most {MAX_BYTES} fit")
    jail, starts_before_go = step.jail, warm in (Warm.PRELOAD, Warm.STDIN)
    stack_bytes = jail.stack_bytes if starts_before_go else step.stack_bytes_max  # of others go lowers it
    head = HEAD.pack(
        total, START[warm], instructions, len(argv), len(variables), len(step.leaves),
        stack_bytes, jail.file_bytes, jail.files_open, jail.scratch_bytes, jail.scratch_inodes,
        jail.pipe_bytes,
    )  # fmt: skip
    return head + filter_program + blob


def _environment(step: StepPlan, warm: Warm) -> dict[str, str]:
    match warm:
        case Warm.FORK:
            return {}  # the zygote has it
        case Warm.EXEC:
            return dict(step.environment)
        case Warm.STDIN:
            return {**step.environment, **step.start_environment}
        case Warm.PRELOAD:
            gate = {"CELLBLOCK_GATE": str(GATE), "CELLBLOCK_END": str(END)}
            return {**step.environment, **step.start_environment, **gate}
