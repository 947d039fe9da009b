"""What keys the artefact cache: whatever decides how a source is compiled changes it, and nothing is kept without it."""

import collections.abc
import pathlib

import pytest

from daemon.judge.artifacts import key_of
from daemon.judge.versions import Versions
from daemon.toolchain import identity, registry
from daemon.toolchain.registry import BadToolchain

FILE = """
title = "Echo"
extensions = ["echo"]
source = "main.echo"
version = ["/usr/bin/echo", "1"]
version_files = ["{root}/lib/package.json"]
mounts = [{ source = "/usr", target = "/usr" }, { source = "{here}/echo", target = "/helpers" }]
steps = [{ id = "run", argv = ["/usr/bin/cat", "{source}"] }]
self_test = { code = "a", output = "a" }
"""
Change = collections.abc.Callable[[pathlib.Path], object]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "echo" / "inner").mkdir(parents=True)
    (tmp_path / "echo" / "inner" / "helper.mjs").write_text("one")
    (tmp_path / "root" / "lib").mkdir(parents=True)
    (tmp_path / "root" / "lib" / "package.json").write_text('{"version": "1.15.0"}')
    (tmp_path / "echo.toml").write_text(FILE)
    return tmp_path


def digest(folder: pathlib.Path) -> bytes:
    return identity.digest(registry.read(folder / "echo.toml"), folder / "root")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "echo.toml").write_text(FILE.replace("Echo", "Other")),
        lambda folder: (folder / "echo" / "inner" / "helper.mjs").write_text("two"),
        lambda folder: (folder / "echo" / "inner" / "helper.mjs").rename(folder / "echo" / "helper.mjs"),
        lambda folder: (folder / "echo" / "new").touch(),
        lambda folder: (folder / "root" / "lib" / "package.json").write_text('{"version": "1.15.1"}'),
    ],
    ids=["file", "helper", "helper moved", "new helper", "version file"],
)
def test_a_change_gives_another_digest(folder: pathlib.Path, change: Change) -> None:
    before = digest(folder)
    assert digest(folder) == before
    change(folder)
    assert digest(folder) != before


def test_a_version_file_that_is_not_there_is_named_with_a_hint(folder: pathlib.Path) -> None:
    (folder / "root" / "lib" / "package.json").unlink()
    with pytest.raises(BadToolchain, match=r"echo\.toml: .*package\.json.*No such file.*\./bootstrap"):
        digest(folder)


def test_without_digest_or_version_there_is_no_identity() -> None:
    versions = Versions({"a": b"digest"})
    assert versions.identity("a") is None
    versions.note("a", "a 1.0")
    versions.note("b", "b 1.0")
    first = versions.identity("a")
    assert first is not None and versions.text("a") == "a 1.0"
    assert versions.identity("b") is None
    versions.note("a", "a 1.1")
    assert versions.identity("a") != first


def test_the_source_and_the_check_are_in_the_key() -> None:
    keys = {
        key_of(identity, code, check) for identity in (b"1", b"2") for code in (b"x", b"y") for check in (True, False)
    }
    assert len(keys) == 8


def test_files_beside_the_source_are_in_the_key() -> None:
    """What belongs to which part cannot be shifted: every part has its length before it."""
    files = [
        (),
        (("a", b"x"),),
        (("a", b"y"),),
        (("b", b"x"),),
        (("a", b"x"), ("b", b"")),
        (("ax", b""),),
        (("a", b""), ("x", b"")),
    ]
    assert len({key_of(b"1", b"x", True, each) for each in files}) == len(files)


def test_a_key_is_of_the_compilers_options_too() -> None:
    options = [(), ("-a",), ("-b",), ("-a", "-b"), ("-b", "-a"), ("-a-b",)]
    assert len({key_of(b"1", b"x", True, (), each) for each in options}) == len(options)
