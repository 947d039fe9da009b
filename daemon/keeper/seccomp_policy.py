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

_LOW_32_BITS = 0xFFFFFFFF  # the kernel reads an int argument as 32 bits; comparing 64 would let 1<<32 slip past


class BadPolicy(OurFault):
    """The policy file says something that cannot be compiled; the text names file and entry."""


def compile_policy(path: str) -> bytes:
    """BPF (an array of struct sock_filter) of the policy. Raises BadPolicy, OSError.

    Form of the file: `default` is the errno of whatever is not listed; each `[[allow]]` has `calls` and a `reason`;
    each `[[refuse]]` has them too, and the `errno` that they answer; each `[[when]]` allows one `call` if `argument`
    masked by `mask` (default: its low 32 bits) equals one of `values`, and answers errno `otherwise` if not.
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
                rules.add_rule(seccomp.ERRNO(getattr(errno, entry["errno"])), call)
        for entry in policy["when"]:
            _add_conditional(rules, entry)
    except (AttributeError, KeyError, RuntimeError, OSError, ValueError, TypeError) as error:
        raise BadPolicy(f"{path}: {error!r} in {entry}") from error
    return _export(rules)


def _add_conditional(rules: Any, entry: dict[str, Any]) -> None:
    call, argument, mask = entry["call"], entry["argument"], entry.get("mask", _LOW_32_BITS)
    values = [value & mask for value in entry["values"]]
    refusal = seccomp.ERRNO(getattr(errno, entry["otherwise"]))
    for value in values:
        rules.add_rule(seccomp.ALLOW, call, seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value))
    for part_mask, part_value in all_but(values, mask):
        rules.add_rule(refusal, call, seccomp.Arg(argument, seccomp.MASKED_EQ, part_mask, part_value))


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
