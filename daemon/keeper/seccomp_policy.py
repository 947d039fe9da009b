"""Compiles the system call policy of jails, a TOML file, to BPF with libseccomp. Done once, at start."""

import errno
import os
import tomllib
from collections.abc import Iterator
from typing import Any

from daemon.sandbox.errors import OurFault

try:
    import seccomp  # the distribution's python3-seccomp
except ImportError:
    import pyseccomp as seccomp  # the same interface over ctypes, from PyPI

DONE = "done"  # instead of an errno: the call does nothing and answers 0
_LOW_32_BITS = 0xFFFFFFFF  # the kernel reads an int argument as 32 bits; comparing 64 would let 1<<32 slip past


class BadPolicy(OurFault):
    """The policy file says something that cannot be compiled; the text names file and entry."""


def compile_policy(path: str) -> bytes:
    """BPF (an array of struct sock_filter) of the policy. Raises BadPolicy, OSError.

    Form of the file: `default` is the errno of whatever is not listed; each `[[allow]]` has `calls` and a `reason`;
    each `[[refuse]]` has them too, and the `errno` that they answer; each `[[pretend]]` has calls that answer 0 and do
    nothing. Each `[[when]]` allows one `call` if `argument` masked by `mask` (default: its low 32 bits) equals one of
    `values`, and answers errno `otherwise` if not, or 0 where that is "done". Its `also` is a second condition of the
    same form, which does not count where the argument `unless_zero` is 0.
    """
    with open(path, "rb") as file:
        try:
            policy = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise BadPolicy(f"{path}: {error}") from error
    entry: dict[str, Any] = policy
    try:
        default = seccomp.ERRNO(getattr(errno, policy["default"]))
        rules = seccomp.SyscallFilter(default)
        rules.set_attr(seccomp.Attr.ACT_BADARCH, default)  # x32 and int 0x80 look unsupported too
        rules.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)  # a tree: a third less work for the kernel at each install
        for entry in policy["allow"]:
            for call in entry["calls"]:
                rules.add_rule(seccomp.ALLOW, call)
        for entry in policy["refuse"]:
            for call in entry["calls"]:
                rules.add_rule(_answer(entry["errno"]), call)
        for entry in policy["pretend"]:
            for call in entry["calls"]:
                rules.add_rule(_answer(DONE), call)
        for entry in policy["when"]:
            _add_conditional(rules, entry)
    except (AttributeError, KeyError, RuntimeError, OSError, ValueError, TypeError) as error:
        raise BadPolicy(f"{path}: {error!r} in {entry}") from error
    return _export(rules)


def _answer(name: str) -> Any:
    """The action that answers this errno, or 0 for DONE, and does nothing. Raises AttributeError."""
    return seccomp.ERRNO(0 if name == DONE else getattr(errno, name))


def _add_conditional(rules: Any, entry: dict[str, Any]) -> None:
    call, (held, broken) = entry["call"], _parts(entry)
    for part in held:
        if "also" in entry:
            _add_second(rules, call, part, entry["also"])
        else:
            rules.add_rule(seccomp.ALLOW, call, part)
    for part in broken:
        rules.add_rule(_answer(entry["otherwise"]), call, part)


def _add_second(rules: Any, call: str, first: Any, entry: dict[str, Any]) -> None:
    held, broken = _parts(entry)
    for part in held:
        rules.add_rule(seccomp.ALLOW, call, first, part)
    for part in broken:
        rules.add_rule(seccomp.ALLOW, call, first, part, seccomp.Arg(entry["unless_zero"], seccomp.EQ, 0))
        rules.add_rule(_answer(entry["otherwise"]), call, first, part, seccomp.Arg(entry["unless_zero"], seccomp.NE, 0))


def _parts(entry: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Comparisons of one argument: one of the first is true where the condition holds, one of the second where not."""
    argument, mask = entry["argument"], entry.get("mask", _LOW_32_BITS)
    values = [value & mask for value in entry["values"]]
    held = [seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value) for value in values]
    broken = [seccomp.Arg(argument, seccomp.MASKED_EQ, *part) for part in all_but(values, mask)]
    return held, broken


def all_but(values: list[int], mask: int) -> Iterator[tuple[int, int]]:
    """(mask, value) pairs that together match every argument which, masked by `mask`, is none of `values`.

    libseccomp has no "else" for a call with conditions, so the refusal is spelt out: walk the bits of `mask` from the
    highest, and where no value goes on, refuse that whole branch.
    """
    bits = [1 << bit for bit in range(mask.bit_length() - 1, -1, -1) if mask >> bit & 1]

    def walk(depth: int, decided: int, prefix: int) -> Iterator[tuple[int, int]]:
        if not any(value & decided == prefix for value in values):
            yield decided, prefix
        elif depth < len(bits):
            for side in (0, bits[depth]):
                yield from walk(depth + 1, decided | bits[depth], prefix | side)

    return walk(0, 0, 0)


def _export(rules: Any) -> bytes:
    with open(os.memfd_create("seccomp", os.MFD_CLOEXEC), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
