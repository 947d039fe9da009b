"""The policy compiler: what its refusals cover, and what it says of a broken policy."""

import itertools
import pathlib

import pytest

from daemon.keeper.seccomp_policy import BadPolicy, all_but, compile_policy

POLICY = pathlib.Path(__file__).parents[2] / "jail_configs" / "inner.toml"


@pytest.mark.parametrize(
    ("values", "mask"), [([1, 2, 10], 0xF), ([0], 0b1010), ([0b1000, 0b0010], 0b1010), ([], 0b11), ([3], 0b11)]
)
def test_all_but_matches_exactly_what_is_not_a_value(values: list[int], mask: int) -> None:
    pairs = list(all_but(values, mask))
    for argument in range(32):
        refused = any(argument & part_mask == value for part_mask, value in pairs)
        assert refused == (argument & mask not in values), argument


def test_the_parts_do_not_overlap() -> None:
    pairs = list(all_but([1, 2, 10], 0xFFFFFFFF))
    for (mask, value), (other_mask, other) in itertools.combinations(pairs, 2):
        common = mask & other_mask
        assert value & common != other & common


def test_the_shipped_policy_compiles_to_a_filter_that_the_kernel_takes() -> None:
    program = compile_policy(str(POLICY))
    assert len(program) % 8 == 0
    assert 0 < len(program) // 8 <= 4096  # BPF_MAXINSNS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"memfd_create"', '"memfd_creat"'),
        ('default = "ENOSYS"', 'default = "ENOPE"'),
        ("argument = 0", "argument = 9"),
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
    import tomllib

    policy = tomllib.loads(POLICY.read_text())
    assert all(entry["reason"] for entry in policy["allow"] + policy["refuse"] + policy["pretend"] + policy["when"])
