"""Compiles the system call policy of jails, a TOML file, to BPF. Done once, at start.

The kernel translates a jail's filter when the jail is made, at a cost for each instruction, and libseccomp makes four
times as many of this policy as it needs. So libseccomp tells the calls' numbers, and bpf.py makes the program. Tests
compare that with what libseccomp makes of the same policy.
"""

import errno
import platform
import tomllib
from typing import Any

from daemon.sandbox.errors import OurFault

from . import bpf

try:
    import seccomp  # the distribution's python3-seccomp
except ImportError:
    import pyseccomp as seccomp  # the same interface over ctypes, from PyPI

KINDS = ("allow", "refuse", "pretend", "when")  # of entries
DONE = "done"  # instead of an errno: the call does nothing and answers 0
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_* of linux/audit.h
_LOW_32_BITS = 0xFFFFFFFF  # the kernel reads an int argument as 32 bits; comparing 64 would let 1<<32 slip past
_ARGUMENTS = 6


class BadPolicy(OurFault):
    """The policy file says something that cannot be compiled; the text names file and entry."""


def compile_policy(path: str) -> bytes:
    """BPF (an array of struct sock_filter) of the policy. Raises BadPolicy, OSError.

    Form of the file: `default` is the errno of whatever is not listed, and of calls of another architecture (x32 and
    int 0x80 too); each `[[allow]]` has `calls` and a `reason`; each `[[refuse]]` has them too, and the `errno` that
    they answer; each `[[pretend]]` has calls that answer 0 and do nothing. Each `[[when]]` allows one `call` if
    `argument` masked by `mask` (default: its low 32 bits) equals one of `values`, and answers errno `otherwise` if
    not, or 0 where that is "done". Its `also` is a second condition of the same form, which does not count where the
    argument `unless_zero` is 0. No call is listed twice.
    """
    with open(path, "rb") as file:
        try:
            policy = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise BadPolicy(f"{path}: {error}") from error
    entry: dict[str, Any] = policy
    rules: dict[int, bpf.Rule] = {}
    try:
        default = _answer(policy["default"])
        for kind in KINDS:
            for entry in policy[kind]:
                _add(rules, _calls(kind, entry))
        return bpf.program(ARCHITECTURES[platform.machine()], rules, default)
    except (AttributeError, KeyError, RuntimeError, OSError, ValueError, TypeError) as error:
        raise BadPolicy(f"{path}: {error!r} in {entry}") from error


def _calls(kind: str, entry: dict[str, Any]) -> list[tuple[str, bpf.Rule]]:
    """What answers each call of an entry."""
    match kind:
        case "when":
            return [(entry["call"], _condition(entry))]
        case "allow":
            rule = bpf.ALLOW
        case "refuse":
            rule = _answer(entry["errno"])
        case _:
            rule = _answer(DONE)
    return [(call, rule) for call in entry["calls"]]


def _add(rules: dict[int, bpf.Rule], calls: list[tuple[str, bpf.Rule]]) -> None:
    """By number. Raises ValueError for a call that no kernel has, and for one that is there already."""
    for call, rule in calls:
        number = _number(call)
        if number in rules:
            raise ValueError(f"{call} is listed twice")
        if number >= 0:
            rules[number] = rule


def _number(call: str) -> int:
    """Its number here; below 0: this architecture has no such call. Raises ValueError for one that no kernel has."""
    number: int = seccomp.resolve_syscall(seccomp.Arch.NATIVE, call)
    if number == -1:
        raise ValueError(f"no system call {call}")
    return number


def _answer(name: str) -> int:
    """The action that answers this errno, or 0 for DONE, and does nothing. Raises AttributeError."""
    return bpf.ERRNO | (0 if name == DONE else getattr(errno, name))


def _condition(entry: dict[str, Any]) -> bpf.Condition:
    argument, mask = entry["argument"], entry.get("mask", _LOW_32_BITS)
    values = tuple(sorted({value & mask for value in entry["values"]}))
    if not 0 <= argument < _ARGUMENTS or not 0 < mask <= _LOW_32_BITS:
        raise ValueError("no such argument, or a mask of more than 32 bits")
    also, unless_zero = None, None
    if "also" in entry:
        second = entry["also"]
        also, unless_zero = _condition({"otherwise": entry["otherwise"], **second}), second["unless_zero"]
        if not 0 <= unless_zero < _ARGUMENTS:
            raise ValueError("no such argument")
    return bpf.Condition(argument, mask, values, _answer(entry["otherwise"]), also, unless_zero)
