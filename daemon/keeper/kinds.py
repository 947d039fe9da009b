"""The kinds of jail as data: how a program starts, and who tells of its end; and the command lines that follow."""

import dataclasses
import re

from daemon.sandbox.descriptors import is_read_only, is_sealed
from daemon.sandbox.messages import Go, Run
from daemon.sandbox.model import Limits
from daemon.sandbox.plan import StepPlan, Warm

PROGRAM_PID = 2  # of a command, in its jail: the first that its init starts
OUR_PROCESSES = 1  # in a jail's group beside the program: a command's init, or a fork's memory holder
MB = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """`closes_channel_at_go`: the program itself holds the channel until go, and the warden tells of its end; else the
    jail's init holds it and tells. `starts_long`: it is started in the background while nobody waits for it.
    """

    closes_channel_at_go: bool
    starts_long: bool
    starts_before_go: bool


COMMAND = Kind(closes_channel_at_go=False, starts_long=False, starts_before_go=False)
STARTED_COMMAND = Kind(closes_channel_at_go=False, starts_long=True, starts_before_go=True)
FORK = Kind(closes_channel_at_go=True, starts_long=False, starts_before_go=False)

KINDS = {Warm.EXEC: COMMAND, Warm.PRELOAD: STARTED_COMMAND, Warm.STDIN: STARTED_COMMAND, Warm.FORK: FORK}


def command(step: StepPlan, limits: Limits) -> tuple[str, ...]:
    """The step's command with what it names of the limits (toolchain/schema.py, RUN_PLACEHOLDERS)."""
    values = _Values(memory_mb=limits.memory_bytes // MB, processes=limits.processes)
    return tuple(argument.format_map(values) for argument in step.argv)


class _Values(dict[str, int]):
    """Knows `name/16` and `name-16` too: a sixteenth of `name`, and sixteen less; both at least 1."""

    def __missing__(self, key: str) -> int:
        name, sign, number = re.split("([/-])", key)
        return max(1, self[name] // int(number) if sign == "/" else self[name] - int(number))


def at_start(step: StepPlan, warm: Warm, limits: Limits) -> tuple[str, ...]:
    """What Make says: the command of a program that starts before go."""
    return command(step, limits) if KINDS[warm].starts_before_go else ()


def go_message(step: StepPlan, warm: Warm, order: Run, given: list[int], joins: bool) -> Go:
    """What Go says: the whole command line of a program that starts then, else its arguments alone."""
    own = order.args if step.takes_args else ()
    strings = (*command(step, order.limits), *own) if warm is Warm.EXEC else own
    stack_bytes = 0 if KINDS[warm].starts_before_go else step.stack_bytes(order.limits, graded=order.graded)
    has_source, artifact = step.source_name is not None, has_artifact(step, _but_input(order, given), order.files)
    return Go(has_source, artifact, order.files, strings, stack_bytes, joins, order.input, order.leaves)


def is_parked_for(step: StepPlan, limits: Limits) -> bool:
    """False for a step whose parked command was started with other limits in its command line."""
    if not KINDS[step.warm].starts_before_go:
        return True
    return command(step, limits) == command(step, step.default)


def why_not(step: StepPlan, order: Run, given: list[int]) -> str | None:
    """Why a go for the step is refused, or None: limits past its maximum, descriptors that it does not take."""
    maximum, has_files = step.graded if order.graded else step.maximum, order.files
    if maximum is None:
        return "the step has no graded runs"
    beyond = order.limits.within(maximum)
    if beyond is not None:
        return f"limit {beyond} is out of range"
    if order.leaves and (step.leaves or KINDS[step.warm].closes_channel_at_go):
        return "the step has nobody to leave files by"
    put = _but_input(order, given)
    expected = (step.source_name is not None) + has_artifact(step, put, has_files) + has_files
    if len(put) != expected:
        return f"{len(put)} descriptors, the step takes {expected}"
    if has_artifact(step, put, has_files) and not is_sealed(put[-2 if has_files else -1]):
        return "the artefact is not sealed"
    if order.input and step.warm is Warm.STDIN:
        return "the step reads its source where its input would be"
    if order.input and not (is_sealed(given[-1]) and is_read_only(given[-1])):
        return "the input is not sealed, or can be written to"
    return None


def _but_input(order: Run, given: list[int]) -> list[int]:
    """The descriptors of what is put below /work: all but the last, where that is the input."""
    return given[:-1] if order.input else given


def has_artifact(step: StepPlan, given: list[int], has_files: bool) -> bool:
    """Whether an artefact is among the descriptors. Where files come it may be missing: it is one of them then."""
    if step.takes_artifact is None:
        return False
    return not has_files or len(given) > (step.source_name is not None) + has_files
