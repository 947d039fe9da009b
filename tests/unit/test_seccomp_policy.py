"""The policy compiler: it answers as libseccomp's program of the same policy does; what it says of a broken policy."""

import functools
import itertools
import pathlib
import random
import tomllib
from typing import Any

import pyseccomp as seccomp
import pytest

from daemon.keeper import bpf
from daemon.keeper.seccomp_policy import ARCHITECTURES, BadPolicy, compile_policy
from tests import by_libseccomp
from tests.by_libseccomp import Machine

POLICY = pathlib.Path(__file__).parents[2] / "jail_configs" / "inner.toml"
HERE, OTHER = ARCHITECTURES["x86_64"], 0x40000003  # i386
X32 = 0x40000000
INSTRUCTIONS_MAX = 400  # each is translated anew for each jail
NOTHING = (0,) * 6
HIGH = 1 << 32


@functools.cache
def machines() -> tuple[Machine, Machine]:
    """Ours and libseccomp's."""
    return Machine(compile_policy(str(POLICY))), Machine(by_libseccomp.compiled(str(POLICY)))


@pytest.mark.threat("K1")
@pytest.mark.parametrize("arguments", [NOTHING, (1,) * 6, (2**64 - 1,) * 6])
def test_every_call_is_answered_as_libseccomp_would(arguments: tuple[int, ...]) -> None:
    ours, theirs = machines()
    numbers = [*range(1000), *range(X32, X32 + 600), 2**31 - 1, 2**31, 2**32 - 1]
    for architecture, number in itertools.product((HERE, OTHER), numbers):
        assert ours.answers(architecture, number, arguments) == theirs.answers(architecture, number, arguments), number


def conditions() -> list[dict[str, Any]]:
    return list(tomllib.loads(POLICY.read_text())["when"])


@pytest.mark.threat("K1")
@pytest.mark.parametrize("entry", conditions(), ids=lambda entry: str(entry["call"]))
def test_every_condition_is_answered_as_libseccomp_would(entry: dict[str, Any]) -> None:
    """At each value, beside it, with each bit changed, with bits that an int has no room for, and elsewhere."""
    ours, theirs = machines()
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, entry["call"])
    chance = random.Random(entry["call"])
    parts = [entry, *([entry["also"]] if "also" in entry else [])]
    near = {part["argument"]: telling(part, chance) for part in parts}
    if "also" in entry:
        near[entry["also"]["unless_zero"]] = [0, 1, HIGH, 1 << 63]
    for chosen in itertools.product(*near.values()):
        arguments = list(NOTHING)
        for argument, value in zip(near, chosen, strict=True):
            arguments[argument] = value
        given = tuple(arguments)
        assert ours.answers(HERE, number, given) == theirs.answers(HERE, number, given), given


def telling(part: dict[str, Any], chance: random.Random) -> list[int]:
    values = [value & 0xFFFFFFFF for value in part["values"]]
    beside = [value + step for value in values for step in (-1, 1)]
    changed = [values[0] ^ 1 << bit for bit in range(64)]
    found = {
        *values,
        *beside,
        *changed,
        *(HIGH | value for value in values),
        *(chance.getrandbits(64) for _ in range(8)),
    }
    return sorted(value % 2**64 for value in found)


def test_a_lookup_longer_than_a_conditional_jump_finds_every_call() -> None:
    rules: dict[int, bpf.Rule] = {number: bpf.ERRNO | number for number in range(0, 3000, 2)}
    values = tuple(range(0, 400, 2))
    rules[7] = bpf.Condition(0, 0xFFFFFFFF, values, 1, None, None)
    machine = Machine(bpf.program(HERE, rules, default=5))
    for number in range(3001):
        expected = 1 if number == 7 else rules.get(number, 5)
        assert machine.answers(HERE, number, (201, 0, 0, 0, 0, 0)) == expected
    assert [machine.answers(HERE, 7, (value, 0, 0, 0, 0, 0)) for value in values] == [bpf.ALLOW] * 200


@pytest.mark.threat("K1")
def test_runs_of_values_hold_their_ends_and_nothing_beside() -> None:
    values = (*range(3, 9), 11, *range(20, 23), 24, 2**31 - 1, 2**31, *range(2**32 - 3, 2**32))
    machine = Machine(bpf.program(HERE, {7: bpf.Condition(0, 0xFFFFFFFF, values, 1, None, None)}, default=5))
    near = {value + step for value in values for step in (-1, 0, 1)} - {2**32}
    for value in {0, 1, 2**30, *near}:
        expected = bpf.ALLOW if value in values else 1
        assert [machine.answers(HERE, 7, (high | value, *NOTHING[1:])) for high in (0, HIGH)] == [expected] * 2, value


@pytest.mark.parametrize("gap", [1, 2])
def test_a_condition_that_no_jump_can_skip_is_refused(gap: int) -> None:
    values = tuple(range(0, 1200 * gap, gap))
    rules: dict[int, bpf.Rule] = {7: bpf.Condition(0, 0xFFFFFFFF, values, 1, None, None)}
    if gap == 1:
        assert bpf.program(HERE, rules, default=5)
    else:
        with pytest.raises(ValueError, match="1200 runs"):
            bpf.program(HERE, rules, default=5)


def test_the_shipped_policy_is_small() -> None:
    program = compile_policy(str(POLICY))
    assert len(program) % 8 == 0
    assert 0 < len(program) // 8 <= INSTRUCTIONS_MAX


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"memfd_create"', '"memfd_creat"'),
        ('"memfd_create"', '"mmap"'),
        ('default = "ENOSYS"', 'default = "ENOPE"'),
        ("argument = 0", "argument = 9"),
        ("mask = 8", "mask = 0x100000000"),
    ],
)
def test_a_broken_policy_is_told_with_its_entry(tmp_path: pathlib.Path, old: str, new: str) -> None:
    text = POLICY.read_text()
    assert old in text
    broken = tmp_path / "inner.toml"
    broken.write_text(text.replace(old, new, 1))
    with pytest.raises(BadPolicy, match=r"inner\.toml"):
        compile_policy(str(broken))


def test_every_entry_says_why() -> None:
    policy = tomllib.loads(POLICY.read_text())
    assert all(entry["reason"] for entry in policy["allow"] + policy["refuse"] + policy["pretend"] + policy["when"])
