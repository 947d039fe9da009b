"""A filter of system calls as a program for the kernel's classic BPF machine (seccomp(2)).

The number of a call is looked for by halving, among ranges of numbers that are answered alike. A jump leads forward, by
at most 255 instructions where it is conditional.
"""

import dataclasses
import struct
from collections.abc import Mapping
from typing import Union

ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # SECCOMP_RET_* of linux/seccomp.h; ERRNO has the errno in its low 16 bits
LOAD, JUMP, EQUAL, AT_LEAST, AND, RETURN = 0x20, 0x05, 0x15, 0x35, 0x54, 0x06  # of linux/bpf_common.h, 32 bits wide
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; an argument's low half comes first
ARGUMENT_BYTES, HALF_BYTES = 8, 4
NUMBERS = 1 << 32
CONDITIONAL_MAX = 255

Instruction = tuple[int, int, int, int]  # struct sock_filter: code, jumps if true and if false, operand
Rule = Union[int, "Condition"]  # an action, or a condition that decides


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """The call is allowed where the argument, masked, is one of `values`, and `also` holds, where that is given; else
    the answer is the action `otherwise` of the first that does not hold. `also` does not count where the argument
    `unless_zero` is 0.

    Masks have 32 bits, because the kernel takes the low half of an argument that is an int.
    """

    argument: int
    mask: int
    values: tuple[int, ...]
    otherwise: int
    also: "Condition | None" = None
    unless_zero: int | None = None


def program(architecture: int, rules: Mapping[int, Rule], default: int) -> bytes:
    """An array of struct sock_filter. `rules` by number of the call; all others, and those of other architectures
    (AUDIT_ARCH_*), are answered by the action `default`. Raises ValueError where a condition has too many values."""
    code = [
        _load(ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, default),
        _load(NUMBER), *_look_up(_ranges(rules, default)),
    ]  # fmt: skip
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _ranges(rules: Mapping[int, Rule], default: int) -> list[tuple[int, Rule]]:
    """The first number of each range, and its rule; they cover all numbers, and neighbours differ."""
    found: list[tuple[int, Rule]] = []
    borders = {0} | {border for number in rules for border in (number, number + 1) if border < NUMBERS}
    for first in sorted(borders):
        rule = rules.get(first, default)
        if not found or found[-1][1] != rule:
            found.append((first, rule))
    return found


def _look_up(ranges: list[tuple[int, Rule]]) -> list[Instruction]:
    """Decides by the number, which is loaded and within the ranges."""
    if len(ranges) == 1:
        rule = ranges[0][1]
        return _decide(rule) if isinstance(rule, Condition) else [(RETURN, 0, 0, rule)]
    half = len(ranges) // 2
    lower, upper = _look_up(ranges[:half]), _look_up(ranges[half:])
    border = ranges[half][0]
    if len(lower) <= CONDITIONAL_MAX:
        return [(AT_LEAST, len(lower), 0, border), *lower, *upper]
    return [(AT_LEAST, 0, 1, border), (JUMP, 0, 0, len(lower)), *lower, *upper]


def _decide(condition: Condition) -> list[Instruction]:
    """Decides by the arguments."""
    code = [_load(_offset(condition.argument))]
    if condition.mask != NUMBERS - 1:
        code.append((AND, 0, 0, condition.mask))
    return [*code, *_is_one_of(_runs(condition.values)), (RETURN, 0, 0, condition.otherwise), *_second(condition)]


def _runs(values: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last of each run of numbers that follow each other. The values are sorted."""
    found: list[tuple[int, int]] = []
    for value in values:
        if found and found[-1][1] == value - 1:
            found[-1] = found[-1][0], value
        else:
            found.append((value, value))
    return found


def _is_one_of(runs: list[tuple[int, int]]) -> list[Instruction]:
    """Skips one more instruction than there are here where what is loaded is in a run. Raises ValueError."""
    code: list[Instruction] = []
    for first, last in reversed(runs):
        past = len(code) + 1  # over the rest, and what follows it
        if past > CONDITIONAL_MAX:
            raise ValueError(f"a condition with {len(runs)} runs of values")
        if first == last:
            code.insert(0, (EQUAL, past, 0, first))
        elif last == NUMBERS - 1:
            code.insert(0, (AT_LEAST, past, 0, first))
        else:
            code[:0] = [(AT_LEAST, 0, 1, first), (AT_LEAST, 0, past, last + 1)]
    return code


def _second(condition: Condition) -> list[Instruction]:
    """Decides where the condition itself holds."""
    allow: Instruction = (RETURN, 0, 0, ALLOW)
    if condition.also is None or condition.unless_zero is None:
        return [allow]
    offset = _offset(condition.unless_zero)
    return [
        _load(offset), (EQUAL, 0, 3, 0), _load(offset + HALF_BYTES), (EQUAL, 0, 1, 0), allow,
        *_decide(condition.also),
    ]  # fmt: skip


def _offset(argument: int) -> int:
    return FIRST_ARGUMENT + ARGUMENT_BYTES * argument


def _load(offset: int) -> Instruction:
    return LOAD, 0, 0, offset
