"""Which file of a program is the main one: by its name, or any where all are compiled together."""

import pathlib

import pytest

from daemon.grading.packages import reader
from daemon.grading.programs import CannotRun, main_of
from daemon.toolchain.registry import Registry, load
from tests.small_packages import LEGACY, with_files, write

TOOLCHAINS = pathlib.Path(__file__).parents[2] / "toolchains"


@pytest.fixture(scope="module")
def toolchains() -> Registry:
    return load([TOOLCHAINS, TOOLCHAINS / "languages"])


@pytest.mark.parametrize(
    ("files", "toolchain", "main"),
    [
        (("solve.cpp", "graph.cpp", "graph.h"), "cpp", "graph.cpp"),
        (("b.c", "a.c"), "c", "a.c"),
        (("a.c", "b.cc"), "cpp", "b.cc"),
        (("helper.py", "main.py"), "python", "main.py"),
        (("helper.py", "__main__.py", "__init__.py"), "python", "__main__.py"),
        (("solve.py", "table.txt"), "python", "solve.py"),
    ],
)
def test_main_file_of_a_folder(
    tmp_path: pathlib.Path, toolchains: Registry, files: tuple[str, ...], toolchain: str, main: str
) -> None:
    folder = "submissions/accepted/x"
    package = write(tmp_path, with_files(LEGACY, {f"{folder}/{name}": "" for name in files}))
    found = {one.name: one.program for one in reader.read(package).submissions}["accepted/x"]
    language, path = main_of(found, toolchains)
    assert (language.id, path) == (toolchain, f"{folder}/{main}")


def test_two_scripts_without_a_main_one_are_not_guessed_at(tmp_path: pathlib.Path, toolchains: Registry) -> None:
    folder = "submissions/accepted/x"
    package = write(tmp_path, with_files(LEGACY, {f"{folder}/one.py": "", f"{folder}/two.py": ""}))
    found = {one.name: one.program for one in reader.read(package).submissions}["accepted/x"]
    with pytest.raises(CannotRun, match=r"several files, and none of them is main\.py"):
        main_of(found, toolchains)
