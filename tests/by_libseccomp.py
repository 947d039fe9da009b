"""What libseccomp makes of the system call policy, to compare with what we make of it; and a machine to run both on."""

import errno
import os
import struct
import tomllib
from collections.abc import Iterator
from typing import Any

import pyseccomp as seccomp

LOW_32_BITS = 0xFFFFFFFF


def compiled(path: str) -> bytes:
    """BPF of the policy, by libseccomp alone."""
    with open(path, "rb") as file:
        policy = tomllib.load(file)
    default = seccomp.ERRNO(getattr(errno, policy["default"]))
    rules = seccomp.SyscallFilter(default)
    rules.set_attr(seccomp.Attr.ACT_BADARCH, default)
    rules.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    for entry in policy["allow"]:
        for call in entry["calls"]:
            rules.add_rule(seccomp.ALLOW, call)
    for entry in policy["refuse"] + [{**entry, "errno": "done"} for entry in policy["pretend"]]:
        for call in entry["calls"]:
            rules.add_rule(answer(entry["errno"]), call)
    for entry in policy["when"]:
        add_conditional(rules, entry)
    with open(os.memfd_create("seccomp"), "w+b") as program:
        rules.export_bpf(program)
        program.seek(0)
        return program.read()


def answer(name: str) -> Any:
    return seccomp.ERRNO(0 if name == "done" else getattr(errno, name))


def add_conditional(rules: Any, entry: dict[str, Any]) -> None:
    call, (held, broken) = entry["call"], parts(entry)
    for part in held:
        if "also" in entry:
            add_second(rules, call, part, entry["also"])
        else:
            rules.add_rule(seccomp.ALLOW, call, part)
    for part in broken:
        rules.add_rule(answer(entry["otherwise"]), call, part)


def add_second(rules: Any, call: str, first: Any, entry: dict[str, Any]) -> None:
    held, broken = parts(entry)
    for part in held:
        rules.add_rule(seccomp.ALLOW, call, first, part)
    for part in broken:
        rules.add_rule(seccomp.ALLOW, call, first, part, seccomp.Arg(entry["unless_zero"], seccomp.EQ, 0))
        rules.add_rule(answer(entry["otherwise"]), call, first, part, seccomp.Arg(entry["unless_zero"], seccomp.NE, 0))


def parts(entry: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Comparisons of one argument: one of the first is true where the condition holds, one of the second where not."""
    argument, mask = entry["argument"], entry.get("mask", LOW_32_BITS)
    values = [value & mask for value in entry["values"]]
    held = [seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value) for value in values]
    broken = [seccomp.Arg(argument, seccomp.MASKED_EQ, *part) for part in all_but(values, mask)]
    return held, broken


def all_but(values: list[int], mask: int) -> Iterator[tuple[int, int]]:
    """(mask, value) pairs that together match every argument which, masked by `mask`, is none of `values`: libseccomp
    has no "else" for a call with conditions."""
    bits = [1 << bit for bit in range(mask.bit_length() - 1, -1, -1) if mask >> bit & 1]

    def walk(depth: int, decided: int, prefix: int) -> Iterator[tuple[int, int]]:
        if not any(value & decided == prefix for value in values):
            yield decided, prefix
        elif depth < len(bits):
            for side in (0, bits[depth]):
                yield from walk(depth + 1, decided | bits[depth], prefix | side)

    return walk(0, 0, 0)


class Machine:
    """Runs a filter as the kernel does (bpf_check_classic and seccomp_check_filter of the kernel say what there is)."""

    def __init__(self, program: bytes) -> None:
        self._code = list(struct.iter_unpack("<HBBI", program))

    def answers(self, architecture: int, number: int, arguments: tuple[int, ...]) -> int:
        """The action for this call. IndexError where it jumps beyond its end."""
        data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments)
        place = value = 0
        while True:
            code, if_true, if_false, operand = self._code[place]
            place += 1
            match code:
                case 0x20:
                    (value,) = struct.unpack_from("<I", data, operand)
                case 0x54:
                    value &= operand
                case 0x05:
                    place += operand
                case 0x06:
                    return int(operand)
                case 0x15 | 0x25 | 0x35:
                    holds = {0x15: value == operand, 0x25: value > operand, 0x35: value >= operand}[code]
                    place += if_true if holds else if_false
                case _:
                    raise AssertionError(f"instruction {code:#x}")
