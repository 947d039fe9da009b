"""A toolchain file that is wrong stops the start, and the message names file, key and hint."""

import pathlib
import tomllib

import pytest

from daemon.keeper import kinds
from daemon.sandbox.model import Limits
from daemon.sandbox.plan import Warm
from daemon.toolchain import plan, registry, schema
from daemon.toolchain.registry import BadToolchain, Registry, UnknownLanguage
from tests.native import player

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
GOOD = """
title = "Echo"
aliases = ["e"]
extensions = ["echo"]
source = "main.echo"
version = ["/usr/bin/echo", "1"]
[[mounts]]
source = "/usr"
target = "/usr"
[[steps]]
id = "run"
argv = ["/usr/bin/cat", "{source}"]
[self_test]
code = "a"
output = "a"
"""


def read(tmp_path: pathlib.Path, text: str) -> schema.Toolchain:
    path = tmp_path / "echo.toml"
    path.write_text(text)
    return registry.read(path)


def test_a_plain_file_is_enough(tmp_path: pathlib.Path) -> None:
    toolchain = read(tmp_path, GOOD)
    assert (toolchain.id, toolchain.compiles) == ("echo", False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Echo"', 'titel = "Echo"', ["titel: unknown key; did you mean 'title'?", "title: Field required"]),
        ("[[steps]]", "[[steps]]\nartefact = 'x'", ["steps.0.artefact: unknown key; did you mean 'artifact'?"]),
        ("{source}", "{sorce}", ["unknown placeholder {sorce}", "did you mean {source}?"]),
        ("{source}", "{zzz}", ["unknown placeholder {zzz}", "known are {source}"]),
        ('source = "/usr"', 'source = "usr"', ["mounts.0.source", "must be an absolute path or begin with {root}/"]),
        ('target = "/usr"', 'target = "usr"', ["mounts.0.target"]),
        ('source = "main.echo"', 'source = "../main"', ["source: String should match pattern"]),
        ('id = "run"', 'id = "run"\nartifact = "x"', ["the last step, 'run', runs the program and leaves no artifact"]),
        ('id = "run"', 'id = "version"', ["ids must differ"]),
        ('aliases = ["e"]', "aliases = 5", ["aliases"]),
        ('title = "Echo"', 'title = "Echo"\nid = "x"', ["id: the file's name is the id"]),
        (
            "[self_test]",
            "[[fairness.programs]]\nname = 'n'\ncode = 'a'\noutput = 'a'\n[self_test]",
            ["there is no [bench]"],
        ),
        ("[[steps]]", "[[steps]", ["echo.toml"]),
        ('id = "run"', 'id = "run"\noptions = ["("]', ["steps.0.options.0", "is no regular expression"]),
        ('id = "run"', 'id = "run"\noptions = ["-O"]', ["the last step runs the program"]),
    ],
)
def test_a_mistake_is_told_with_file_key_and_hint(tmp_path: pathlib.Path, old: str, new: str, said: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(BadToolchain) as error:
        read(tmp_path, GOOD.replace(old, new, 1))
    for words in ["echo.toml", *said]:
        assert words in str(error.value)


def test_two_toolchains_cannot_share_a_name(tmp_path: pathlib.Path) -> None:
    one = read(tmp_path, GOOD)
    other = one.model_copy(update={"id": "other", "extensions": ("other",)})
    with pytest.raises(BadToolchain, match=r"other\.toml: aliases: 'e' already belongs to echo"):
        Registry([one, other])


def test_a_later_folder_replaces_a_file_of_the_same_name(tmp_path: pathlib.Path) -> None:
    for name, title in (("one", "First"), ("two", "Second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "echo.toml").write_text(GOOD.replace("Echo", title))
    assert registry.load([tmp_path / "one", tmp_path / "two"]).find("echo").title == "Second"


def test_an_enabled_language_without_a_file_is_told() -> None:
    with pytest.raises(BadToolchain, match="no toolchain file for the enabled language 'cobol'"):
        registry.load([SHIPPED], ["cobol"])


def test_unknown_languages_and_extensions_are_told_with_what_there_is() -> None:
    shipped = registry.load([SHIPPED])
    with pytest.raises(UnknownLanguage, match=r"^Unsupported language: cobol\. Supported: python, rust, typescript$"):
        shipped.find("cobol")
    with pytest.raises(UnknownLanguage, match=r"Known: \.py, \.py3, \.rs, \.ts"):
        shipped.find_by_file("main.cob")


def test_placeholders_are_filled_in_two_rounds() -> None:
    once = schema.fill_static("--{source}={{x}} -m{memory_mb}", {"source": "a{b}.py"})
    assert once.format_map({"memory_mb": 128}) == "--a{b}.py={x} -m128"


@pytest.mark.parametrize(
    ("text", "filled"),
    [("{memory_mb/16}", "8"), ("{memory_mb-56}", "72"), ("{memory_mb-500}", "1"), ("{processes/99}", "1")],
)
def test_a_placeholder_may_be_a_part_of_a_limit_and_is_at_least_one(text: str, filled: str) -> None:
    step = player.step("run", (schema.fill_static(text, {}),), Warm.EXEC)
    schema.check_placeholders(text, schema.RUN_PLACEHOLDERS)
    assert kinds.command(step, Limits(memory_bytes=128 << 20, wall_ns=1, processes=64)) == (filled,)
    with pytest.raises(ValueError, match="unknown placeholder"):
        schema.check_placeholders(text.replace("}", "+1}"), schema.RUN_PLACEHOLDERS)


def test_a_runtime_that_needs_more_processes_than_a_contest_allows_has_them() -> None:
    java = registry.load([SHIPPED / "languages"]).find("java")
    own = java.steps[-1].limits.processes
    assert own is not None
    for asked, found in ((1, own), (own + 1, own + 1)):
        limits = Limits(memory_bytes=1, wall_ns=1, processes=asked)
        assert plan.graded_limits(java, limits).processes == found


@pytest.mark.parametrize("path", sorted(SHIPPED.rglob("*.toml")), ids=lambda path: path.stem)
def test_shipped_files_are_good_and_say_why_they_forbid(path: pathlib.Path) -> None:
    toolchain = registry.read(path)
    assert toolchain.lexer is not None
    assert all(rule.reason for rule in toolchain.forbidden)
    assert tomllib.loads(path.read_text())["title"] == toolchain.title
