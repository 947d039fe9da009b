"""Which file of a program is the main one: by its name, or any where all are compiled together."""

import dataclasses
import os
import pathlib
from typing import Any

import pytest

from daemon.grading.packages import reader
from daemon.grading.problems import check_language
from daemon.grading.programs import CannotGrade, CannotRun, main_of, program_of, with_includes
from daemon.judge.files import File
from daemon.judge.submission import Submission
from daemon.toolchain.plan import JUDGE_LIMITS, own_limits
from daemon.toolchain.registry import BadToolchain, Registry, UnknownLanguage, load
from tests.small_packages import LEGACY, NEW, Files, with_files, write

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
        (("golf.py3",), "python", "golf.py3"),
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


@pytest.mark.parametrize(
    ("package", "folder"),
    [({**LEGACY, "problem.yaml": "name: Sum\nvalidation: custom\n"}, "output_validators/v"), (NEW, "output_validator")],
)
@pytest.mark.parametrize("scripts", [("build",), ("run",), ("build", "run")])
def test_a_program_with_scripts_of_its_own_is_the_script_run_and_all_that_lies_beside_it(
    tmp_path: pathlib.Path, toolchains: Registry, package: Files, folder: str, scripts: tuple[str, ...]
) -> None:
    root = write(tmp_path, with_files(package, {f"{folder}/{name}": f"# {name}" for name in (*scripts, "judge.c")}))
    (program,) = reader.read(root).validator.programs
    found = program_of(program, lambda path: os.open(root / path, os.O_RDONLY), toolchains)
    assert (found.toolchain.id, found.code) == ("bash", b"# run" if "run" in scripts else b"")
    assert {file.name for file in found.files} == {"judge.c", *scripts} - {"run"}


def test_scripts_need_the_language_that_runs_them(tmp_path: pathlib.Path) -> None:
    root = write(tmp_path, with_files(NEW, {"output_validator/run": ""}))
    (program,) = reader.read(root).validator.programs
    with pytest.raises(UnknownLanguage, match=r"output_validator: has a script .* which needs the language bash"):
        main_of(program, load([TOOLCHAINS]))


def test_a_deployment_may_have_pypy_run_what_packages_have_in_python(tmp_path: pathlib.Path) -> None:
    """As Kattis does: the formats' Python 3 names no interpreter."""
    package = write(tmp_path, LEGACY)
    found = {one.name: one.program for one in reader.read(package).submissions}["accepted/sum.py"]
    registry = load([TOOLCHAINS, TOOLCHAINS / "languages"], extensions={"py": "pypy"})
    assert main_of(found, registry)[0].id == "pypy"
    with pytest.raises(BadToolchain, match="extensions: py: no language 'pipi'; there are bash, c, "):
        load([TOOLCHAINS, TOOLCHAINS / "languages"], extensions={"py": "pipi"})


@pytest.mark.parametrize(
    ("installed", "extensions", "expected"),
    [
        (("python",), {}, "python"),
        (("python", "pypy"), {}, "pypy"),
        (("python", "pypy"), {"py": "python"}, "python"),
        (("python", "pypy"), {"py": "pypy"}, "pypy"),
    ],
)
def test_submissions_of_packages_in_python_3_are_run_by_pypy_where_it_is_installed(
    tmp_path: pathlib.Path, installed: tuple[str, ...], extensions: dict[str, str], expected: str
) -> None:
    """As Kattis, DOMjudge and the ICPC do: the formats name no interpreter. What judges is run by CPython, which starts
    sooner, and so is a file that somebody names without a package."""
    package = write(tmp_path, LEGACY)
    problem = reader.read(package)
    found = {one.name: one.program for one in problem.submissions}["accepted/sum.py"]
    registry = load([TOOLCHAINS, TOOLCHAINS / "languages"], installed, extensions)

    def opened(name: str) -> int:
        return os.open(package / name, os.O_RDONLY)

    assert program_of(found, opened, registry, problem).toolchain.id == expected
    judge = program_of(found, opened, registry).toolchain.id
    assert judge == registry.find_by_file("sum.py").id == extensions.get("py", "python")


DRIVER = "import guess\nprint(guess.of(input()))\n"
GUESS = Submission(load([TOOLCHAINS]).find("python"), b"# guess", own_limits(JUDGE_LIMITS), 1, name="guess.py")


def driven(root: pathlib.Path, package: Files, include: str, submission: Submission) -> tuple[bytes, dict[str, object]]:
    """The main file's content and the files beside it, with DRIVER as include/python3/`include`."""
    path = write(root, with_files(package, {f"include/python3/{include}": DRIVER}))
    found = with_includes(reader.read(path), lambda name: os.open(path / name, os.O_RDONLY), submission)
    return found.code, {file.name: file.content for file in found.files}


@pytest.mark.parametrize(
    ("package", "include"), [(LEGACY, "main.py"), (LEGACY, "__main__.py"), (NEW, "__main__.py"), (LEGACY, "grader.py")]
)
def test_a_driver_is_the_main_file_and_the_submission_lies_beside_it(
    tmp_path: pathlib.Path, package: Files, include: str
) -> None:
    """Legacy, "Included code": it is called like a main file; else the first by name is one, as in problemtools."""
    code, files = driven(tmp_path, package, include, GUESS)
    assert (code, files.pop("guess.py")) == (DRIVER.encode(), b"# guess")
    assert files == ({} if include == "main.py" else {include: DRIVER.encode()})  # by which a submission may import it


@pytest.mark.parametrize(
    ("package", "include", "name"),
    [(LEGACY, "helper.py", "guess.py"), (LEGACY, "a.py", "main.py"), (LEGACY, "a.py", None), (NEW, "a.py", "guess.py")],
)
def test_an_included_file_that_is_no_driver_lies_beside_the_submission(
    tmp_path: pathlib.Path, package: Files, include: str, name: str | None
) -> None:
    submission = dataclasses.replace(GUESS, name=name)
    assert driven(tmp_path, package, include, submission) == (b"# guess", {include: DRIVER.encode()})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "include/python3/main.py is the main file: it needs the name of the submission's file"),
        ({"name": "main.py", "files": (File("x.py", b""),)}, None),
        ({"files": (File("guess.py", b""),)}, "include/python3: guess.py is there already"),
    ],
)
def test_a_submission_to_a_driver_has_a_name_of_its_own(
    tmp_path: pathlib.Path, changes: dict[str, Any], said: str | None
) -> None:
    submission = dataclasses.replace(GUESS, **changes)
    if said is None:  # the package's file of that name goes before it
        assert driven(tmp_path, LEGACY, "main.py", submission) == (DRIVER.encode(), {"x.py": b""})
    else:
        with pytest.raises(CannotGrade, match=said):
            driven(tmp_path, LEGACY, "main.py", submission)


def test_a_driver_of_a_language_that_joins_sources_is_one_of_them(tmp_path: pathlib.Path, toolchains: Registry) -> None:
    root = write(tmp_path, with_files(LEGACY, {"include/cpp/main.cpp": "// driver"}))
    submission = dataclasses.replace(GUESS, toolchain=toolchains.find("cpp"), name="guess.cc")
    found = with_includes(reader.read(root), lambda name: os.open(root / name, os.O_RDONLY), submission)
    assert (found.code, [file.name for file in found.files]) == (b"// driver", ["guess.cc"])


def test_a_solution_for_pypy_is_one_in_python_3(tmp_path: pathlib.Path, toolchains: Registry) -> None:
    """`languages` of problem.yaml (2025-09) allows it, and what include/python3 has lies beside it."""
    yaml = f"{NEW['problem.yaml']}languages: [python3]\n"
    package = write(tmp_path, with_files(NEW, {"problem.yaml": yaml, "include/python3/table.py": "ROWS = 3\n"}))
    problem, pypy = reader.read(package), toolchains.find("pypy")
    check_language(problem, pypy)
    with pytest.raises(UnknownLanguage, match="This problem is not to be solved in C, but in python3"):
        check_language(problem, toolchains.find("c"))
    submission = Submission(pypy, b"import table", own_limits(JUDGE_LIMITS), 1)
    beside = with_includes(problem, lambda path: os.open(package / path, os.O_RDONLY), submission)
    assert [file.name for file in beside.files] == ["table.py"]
