"""Programs of a package as a jail takes them: the language here, the main file, and all that lies beside it."""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Callable, Iterator

from daemon.judge.files import Above, BadName, File, check_name, check_together
from daemon.judge.submission import Submission
from daemon.sandbox.errors import CallersFault
from daemon.toolchain.plan import JUDGE_LIMITS, own_limits
from daemon.toolchain.registry import Registry, UnknownLanguage
from daemon.toolchain.schema import Toolchain

from .packages.languages import of_file
from .packages.problem import Format, Include, Problem, Program

MB = 1 << 20
DEFAULT_OUTPUT_BYTES = 8 * MB  # "limits" of both formats
SOURCES_BYTES = 4 * MB  # of a program of the package, and of the files beside a submission on one test
FOR_ALL = "default"  # include/default/ is for languages that have no folder of their own (2025-09, "Included files")
MAIN_MODULE, MAIN = "__main__", "main"
SCRIPTED, RUN = "bash", "run"  # a program's script `run` is the main source of this toolchain, which runs `build` first

Open = Callable[[str], int]  # a descriptor of a file or folder of the package, the caller's to close; raises OSError


class CannotGrade(CallersFault):
    """The package asks for what this deployment cannot do; the text says what."""


class CannotRun(CannotGrade):
    """One program of the package cannot be run here; others may be."""


def program_of(program: Program, opened: Open, toolchains: Registry, problem: Problem | None = None) -> Submission:
    """A program of the package with limits of a judge's. Of a submission to `problem` those files are left out that
    with_includes puts others over: one of them may not be the main file. Raises CannotGrade, UnknownLanguage, OSError.
    """
    toolchain, main = main_of(program, toolchains)
    found = None if problem is None else _include_of(problem, toolchain)
    if found is not None:
        included = {f"{program.path}/{path.removeprefix(found.folder + '/')}" for path in found.files}
        own = tuple(path for path in program.files if path not in included)
        program = dataclasses.replace(program, files=own or program.files)
        toolchain, main = main_of(program, toolchains)
    code, files = b"", []
    left = SOURCES_BYTES
    for path in program.files:
        content = read(opened, path, left)
        left -= len(content)
        if path == main:
            code = content
        else:
            files.append(File(check_name(path.removeprefix(program.path + "/")), content))
    name = main.rpartition("/")[2]
    if problem is not None and name != RUN:
        toolchain = toolchains.of_submission(name, program.language)
    submission = Submission(toolchain, code, own_limits(JUDGE_LIMITS), DEFAULT_OUTPUT_BYTES, name=name)
    return _beside(submission, tuple(files), program.path)


def main_of(program: Program, toolchains: Registry) -> tuple[Toolchain, str]:
    """Its language here, and which of its files is the main one. Raises UnknownLanguage, CannotRun.

    Where all sources are compiled together it does not matter which that is, and the first one is taken. Of a program
    with scripts of its own it is `run`, which its `build` may have to make first.
    """
    if program.build or program.run:
        try:
            return toolchains.find(SCRIPTED), f"{program.path}/{RUN}"
        except UnknownLanguage:
            raise UnknownLanguage(
                f"{program.path}: has a script of its own to build or run it, which needs the language {SCRIPTED}"
            ) from None
    if program.language == "python2":
        raise UnknownLanguage(f"{program.path}: no toolchain for python2")
    known: list[tuple[str, Toolchain]] = []
    for path in program.files:
        with contextlib.suppress(UnknownLanguage):
            known.append((path, toolchains.find_by_file(path)))
    of_its_language = [one for one in known if of_file(one[0]) == program.language]
    known = of_its_language or known
    if not known:
        raise UnknownLanguage(f"{program.path}: no toolchain for {program.language or 'its files'}")
    if len(known) == 1:
        return known[0][1], known[0][0]
    entry = program.entry_point
    for path, toolchain in known:
        name = path.rpartition("/")[2]
        if name == entry or name == toolchain.source or (entry is None and name.rpartition(".")[0] == MAIN_MODULE):
            return toolchain, path
    path, toolchain = known[0]
    if toolchain.joins_sources:
        return toolchain, path
    raise CannotRun(f"{program.path}: several files, and none of them is {entry or toolchain.source}")


def with_includes(problem: Problem, opened: Open, submission: Submission) -> Submission:
    """The submission with the files that the package puts beside it, over its own ("Included code" of legacy,
    "Included files" of 2025-09). One of them may be a driver, which is the main file then. Raises CannotGrade, OSError.
    """
    found = _include_of(problem, submission.toolchain)
    if found is None:
        return submission
    files, left = [], SOURCES_BYTES
    for path in found.files:
        content = read(opened, path, left)
        left -= len(content)
        files.append(File(check_name(path.removeprefix(found.folder + "/")), content))
    above = Above(file.name for file in files)
    own = tuple(file for file in submission.files if not above.replaces(file.name))
    driver = _driver(problem, submission, own, tuple(files))
    if driver is None:
        return _beside(submission, (*own, *files), found.folder)
    if submission.name is None:
        raise CannotGrade(f"{found.folder}/{driver.name} is the main file: it needs the name of the submission's file")
    if submission.toolchain.joins_sources or driver.name == submission.toolchain.source:
        files.remove(driver)  # else it lies there under its own name too, by which a submission may import it
    if not above.replaces(submission.name):
        files.append(File(check_name(submission.name), submission.code))
    try:
        check_together((*own, *files), set())
    except BadName as error:
        raise CannotGrade(f"{found.folder}: {error}") from None
    assert isinstance(driver.content, bytes)
    driven = dataclasses.replace(submission, code=driver.content, name=driver.name)
    return _beside(driven, (*own, *files), found.folder)


def _driver(problem: Problem, submission: Submission, own: tuple[File, ...], included: tuple[File, ...]) -> File | None:
    """Which of the included files is the main one, if any: one that is called so, or in legacy, where no file is and
    the language needs one, the first of all sources by name (that is problemtools' rule, by which drivers are written).
    """
    toolchain, codes = submission.toolchain, codes_of(submission.toolchain)
    sources = {file.name: file for file in included if "/" not in file.name and of_file(file.name) in codes}
    if toolchain.joins_sources:
        return sources.get(toolchain.source)
    called_main = sorted(filter(_is_called_main, sources))
    if called_main:
        return sources[called_main[0]]
    if problem.format is not Format.LEGACY or submission.name is None:
        return None
    names = (*sources, submission.name, *(file.name for file in own if of_file(file.name) in codes))
    return None if any(map(_is_called_main, names)) else sources.get(min(names))


def _is_called_main(name: str) -> bool:
    return name.partition(".")[0].lower() in (MAIN_MODULE, MAIN)


def codes_of(toolchain: Toolchain) -> frozenset[str | None]:
    """What the format's table of languages calls it."""
    return frozenset((*map(of_file, (f"main.{one}" for one in toolchain.extensions)), *toolchain.package_languages))


def _include_of(problem: Problem, toolchain: Toolchain) -> Include | None:
    """What the package puts beside submissions in this language."""
    codes = codes_of(toolchain)
    folders = {include.language: include for include in problem.includes}
    return next((folders[code] for code in folders if code in codes), folders.get(FOR_ALL))


def _beside(submission: Submission, files: tuple[File, ...], path: str) -> Submission:
    """The submission with these files. Its source has the toolchain's name for it, which no other may have."""
    taken = submission.toolchain.source
    if any(file.name.partition("/")[0] == taken for file in files):
        raise CannotRun(f"{path}: has a {taken} that is not the main file; {submission.toolchain.title} needs the name")
    return dataclasses.replace(submission, files=files)


def check_beside(opened: Open, folder: str, toolchain: Toolchain) -> None:
    """Raises CannotRun where a file of this folder, which is put beside programs, has the name of one that the
    toolchain itself puts there; OSError."""
    for path in _paths(opened, folder):
        name = path.removeprefix(folder + "/").partition("/")[0]
        if name in toolchain.own_files:
            raise CannotRun(f"{folder}: has a {name}; {toolchain.title} needs the name")


def read_folder(opened: Open, folder: str) -> list[File]:
    """All files below a folder of the package. Raises CannotGrade for more than SOURCES_BYTES, CannotRead, OSError."""
    files, left = [], SOURCES_BYTES
    for path in _paths(opened, folder):
        content = read(opened, path, left)
        left -= len(content)
        files.append(File(check_name(path.removeprefix(folder + "/")), content))
    return files


def _paths(opened: Open, path: str) -> Iterator[str]:
    """Of all files at and below `path`."""
    descriptor = opened(path)
    try:
        names = sorted(os.listdir(descriptor)) if stat.S_ISDIR(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)
    if names is None:
        yield path
    else:
        for name in names:
            yield from _paths(opened, f"{path}/{name}")


def read(opened: Open, path: str, most: int) -> bytes:
    """A file of the package. Raises CannotGrade for more than `most` bytes, OSError."""
    with open(opened(path), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise CannotGrade(f"{path}: more than {SOURCES_BYTES // MB} MB with the files beside it")
    return content
