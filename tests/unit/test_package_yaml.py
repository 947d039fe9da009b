"""YAML is read as texts, lists and maps, within bounds, and errors name file and line."""

import pytest

from daemon.grading.packages.fields import Fields, Warnings
from daemon.grading.packages.refusal import PackageRefused
from daemon.grading.packages.yaml_text import DEPTH_MAX, NODES_MAX, parse

FILE = "problem.yaml"


def fields(text: str) -> Fields:
    return Fields(FILE, parse(FILE, text.encode()), Warnings())


def test_scalars_are_the_text_that_was_written() -> None:
    text = "a: No\nb: 12:30\nc: 2024-01-01\nd: 0x10\ne: 'null'\nf: 1_000\n"
    assert parse(FILE, text.encode()) == {
        "a": "No", "b": "12:30", "c": "2024-01-01", "d": "0x10", "e": "null", "f": "1_000",
    }  # fmt: skip


def test_absent_is_none() -> None:
    assert parse(FILE, b"a:\nb: ~\nc: null\nd: ''") == {"a": None, "b": None, "c": None, "d": ""}
    assert parse(FILE, b"") is None and parse(FILE, b"# nothing") is None


def test_lists_maps_and_a_byte_order_mark() -> None:
    assert parse(FILE, b"\xef\xbb\xbfa: [1, {b: c}]\n") == {"a": ["1", {"b": "c"}]}


def test_aliases_and_merge_keys_are_followed() -> None:
    text = b"base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nsame: *b\n"
    assert parse(FILE, text) == {
        "base": {"x": "1", "y": "2"}, "use": {"x": "1", "y": "3"}, "same": {"x": "1", "y": "2"},
    }  # fmt: skip


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(PackageRefused, match="values, with its aliases"):
        parse(FILE, "\n".join(lines).encode())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1", "line 2: "),
        ("a: &x [*x]", "line 1: the alias x has no anchor before it"),
        ("a: b\n---\nc: d", "line 2: a second document begins"),
        ("? [a]\n: b", "a key that is no text"),
        ("[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2), f"more than {DEPTH_MAX} levels"),
        ("[" + "a," * NODES_MAX + "]", f"more than {NODES_MAX} values"),
        ("a: " + "x" * 70_000, "a text of more than"),
        ("a: \x01", "problem.yaml: "),
        ("x" * 1_100_000, "is larger than"),
    ],
)
def test_what_is_too_much_or_no_yaml_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(PackageRefused) as caught:
        parse(FILE, text.encode())
    assert str(caught.value).startswith(f"{FILE}: ") and sentence in str(caught.value)


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(PackageRefused, match="is not UTF-8"):
        parse(FILE, b"a: \xff")


def test_tags_construct_nothing() -> None:
    assert parse(FILE, b"a: !!python/object/apply:os.system [echo]") == {"a": ["echo"]}


def test_numbers() -> None:
    found = fields("a: 1.5\nb: '2'\nc: 1e3\nd: 2.0")
    assert (found.number("a"), found.number("b"), found.number("c"), found.integer("d", 0)) == (1.5, 2, 1000, 2)
    assert found.number("absent") is None


@pytest.mark.parametrize("text", ["x", "nan", ".nan", "inf", "1_0", "0x10", "1" * 100, "[1]", "-1", "0"])
def test_what_is_no_number_above_0_is_refused(text: str) -> None:
    with pytest.raises(PackageRefused, match=r"problem.yaml: limits.memory: must be"):
        fields(f"limits: {{memory: {text}}}").map("limits").scaled("memory", 1)


def test_keys_nobody_asked_for_are_warnings() -> None:
    warnings = Warnings()
    found = Fields(FILE, {"name": "x", "nmae": "y", "limits": {"memroy": "1"}}, warnings)
    found.text("name")
    found.map("limits").finish()
    found.finish()
    assert warnings.all() == (
        "problem.yaml: limits.memroy: is not a key of this format", "problem.yaml: nmae: is not a key of this format",
    )  # fmt: skip


def test_ranges_may_be_open() -> None:
    found = fields("a: -inf +inf\nb: 0 100\nc: [1, 2]\nd: 5 1\ne: 3")
    assert found.range("a") == (float("-inf"), float("inf"))
    assert (found.range("b"), found.range("c")) == ((0, 100), (1, 2))
    for key in "de":
        with pytest.raises(PackageRefused, match=f"problem.yaml: {key}: "):
            found.range(key)
