"""From a problem package to a task: its tests, limits, validator and groups as the grader takes them.

A package is what somebody uploaded: what it says is checked here against what this deployment allows.
"""

import contextlib
import dataclasses
import functools
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator

from daemon.judge.files import File, check_name
from daemon.judge.submission import Submission
from daemon.sandbox.errors import CallersFault
from daemon.sandbox.model import Limits
from daemon.toolchain.plan import JUDGE_LIMITS, own_limits
from daemon.toolchain.registry import Registry, UnknownLanguage
from daemon.toolchain.schema import Toolchain

from . import task as tasks
from .group_scoring import group_tree
from .legacy_scoring import legacy_tree
from .packages.languages import of_file
from .packages.problem import Case, Group, LegacyRules, Problem, Program
from .packages.threads import to_the_end
from .schedules import Grouped, Legacy, Schedule
from .tokens import TokenOptions

MB = 1 << 20
DEFAULT_MEMORY_BYTES, DEFAULT_OUTPUT_BYTES = 2048 * MB, 8 * MB  # "limits" of both formats, as Kattis runs them
SOURCES_BYTES = 4 * MB  # of a program of the package, and of the files beside a submission on one test
READ_BYTES = MB

Open = Callable[[str], int]  # a descriptor of a file or folder of the package, the caller's to close; raises OSError


class CannotGrade(CallersFault):
    """The package asks for what this deployment cannot do; the text says what."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """What the deployment allows: the maximum of a graded run, and of its output."""

    maximum: Limits
    output_bytes: int


def limits_of(problem: Problem, cpu_s: float, bounds: Bounds) -> tuple[Limits, int]:
    """Of each test, and the bytes that it may print. A package that wants more than the deployment allows has the most.

    `cpu_s`: the time limit, which the package says or which was computed from its accepted submissions.
    """
    most = bounds.maximum
    cpu_s = min(cpu_s, most.wall_ns / 1e9)
    memory_bytes = min(problem.limits.memory_bytes or DEFAULT_MEMORY_BYTES, most.memory_bytes)
    wall_ns = tasks.wall_ns(cpu_s, most.wall_ns)
    output_bytes = min(problem.limits.output_bytes or DEFAULT_OUTPUT_BYTES, bounds.output_bytes)
    return Limits(memory_bytes, wall_ns, most.processes, max(1, int(cpu_s * 1e9))), output_bytes


def task_of(
    problem: Problem, opened: Open, submission: Submission, toolchains: Registry, stop_on_failure: bool = False
) -> tasks.Task:
    """The task; `opened` is asked for a test's data when that runs, and must work until the grading ends.

    It blocks for as long as the disk does. Raises CannotGrade, CannotRead, OSError.
    """
    checker, tests, schedule = _judging(problem, opened, toolchains, stop_on_failure)
    submission = _with_included(problem, opened, submission)
    return tasks.Task(
        submission, tests, checker, schedule, is_interactive=problem.is_interactive,
        passes_max=problem.limits.passes_max if problem.is_multi_pass else 1,
    )  # fmt: skip


def check(problem: Problem, opened: Open, toolchains: Registry) -> tasks.Checker:
    """The checker of a package by which submissions can be graded. Raises and blocks as task_of, and meets now what a
    grading would meet on its way."""
    checker, _, _ = _judging(problem, opened, toolchains, False)
    folders = {case.files for case in problem.cases if case.files is not None}
    for folder in (*folders, *(include.folder for include in problem.includes)):
        _folder(opened, folder)
    return checker


def _judging(
    problem: Problem, opened: Open, toolchains: Registry, stop_on_failure: bool
) -> tuple[tasks.Checker, tuple[tasks.Test, ...], Schedule]:
    if problem.grader is not None:
        raise CannotGrade("a grader of its own")
    checker = _checker(problem, opened, toolchains)
    tests = tuple(_test(case, opened, isinstance(checker, tasks.Custom)) for case in problem.cases)
    try:
        return checker, tests, schedule_of(problem, stop_on_failure)
    except ValueError as error:
        raise CannotGrade(str(error)) from error


def _checker(problem: Problem, opened: Open, toolchains: Registry) -> tasks.Checker:
    if len(problem.validator.programs) > 1:
        raise CannotGrade("more than one output validator")
    for program in problem.validator.programs:
        try:
            return tasks.Custom(program_of(program, opened, toolchains), tasks.Protocol.ICPC)
        except UnknownLanguage as error:
            raise CannotGrade(str(error)) from error
    return TokenOptions()


def _with_included(problem: Problem, opened: Open, submission: Submission) -> Submission:
    """With the files that the package puts beside submissions in this language, over their own (both formats,
    "Included Files"). Raises CannotGrade where one would take the place of the source."""
    toolchain = submission.toolchain
    folders = {include.language: include.folder for include in problem.includes}
    codes = [code for extension in toolchain.extensions if (code := of_file(f"main.{extension}")) in folders]
    folder = folders.get(codes[0] if codes else "default")
    if folder is None:
        return submission
    files = {file.name: file for file in (*submission.files, *_folder(opened, folder))}
    if toolchain.source in files:
        raise CannotGrade(f"{folder}/{toolchain.source}: would take the place of the submission")
    return dataclasses.replace(submission, files=tuple(files.values()))


def not_run_here(problem: Problem, toolchains: Registry) -> tuple[str, ...]:
    """A sentence for each program of the package that this deployment has no toolchain for."""
    sentences = []
    for program in (*problem.validator.programs, *(one.program for one in problem.submissions)):
        try:
            main_of(program, toolchains)
        except CallersFault as error:
            sentences.append(str(error))
    return tuple(sentences)


def check_language(problem: Problem, toolchain: Toolchain) -> None:
    """Raises UnknownLanguage where the package's `languages` (2025-09) do not have this one."""
    allowed = problem.languages
    if allowed is not None and not any(of_file(f"main.{extension}") in allowed for extension in toolchain.extensions):
        raise UnknownLanguage(f"This problem is not to be solved in {toolchain.title}, but in {', '.join(allowed)}")


def schedule_of(problem: Problem, stop_on_failure: bool) -> Schedule:
    """By the rules of its groups: testdata.yaml or test_group.yaml. Raises ValueError for what they do not allow."""
    names = [case.name for case in problem.cases]
    if all(isinstance(group.rules, LegacyRules) for group in problem.groups):
        return Legacy(legacy_tree(names, {group.name: _legacy(group) for group in problem.groups}, problem.is_scoring))
    configured = {
        group.name: _grouped(group) for group in problem.groups if group.name.startswith(("sample", "secret"))
    }
    return Grouped(group_tree(names, configured, problem.is_scoring), stop_on_failure)


def _legacy(group: Group) -> dict[str, object]:
    """What its own testdata.yaml says; what it inherits, the tree knows."""
    rules = group.rules
    assert isinstance(rules, LegacyRules)
    values: dict[str, object] = {
        "on_reject": rules.on_reject.value, "grading": rules.grading, "grader_flags": " ".join(rules.grader_flags),
        "accept_score": rules.accept_score, "reject_score": rules.reject_score,
        "range": f"{rules.range_low} {rules.range_high}",
    }  # fmt: skip
    return {key: value for key, value in values.items() if key in group.declared}


def _grouped(group: Group) -> dict[str, object]:
    rules = group.rules
    assert not isinstance(rules, LegacyRules)
    values: dict[str, object] = {
        "max_score": "unbounded" if rules.max_score is None else rules.max_score,
        "score_aggregation": rules.score_aggregation.value, "require_pass": list(rules.require_pass),
    }  # fmt: skip
    return {key: value for key, value in values.items() if key in group.declared}


def _test(case: Case, opened: Open, is_custom: bool) -> tasks.Test:
    try:
        options = None if is_custom else TokenOptions.of_flags(case.validator_args)
    except ValueError as error:
        raise CannotGrade(f"{case.name}: {error}") from error
    data = functools.partial(_data, case, opened)
    return tasks.Test(case.name, data, case.args, options, case.validator_args if is_custom else None)


@contextlib.asynccontextmanager
async def _data(case: Case, opened: Open) -> AsyncIterator[tasks.Data]:
    """Opened and read once in a thread, so that the event loop finds it in memory and does not wait for the disk."""
    data = await to_the_end(_open_data, case, opened, undo=_close_data)
    try:
        yield data
    finally:
        _close_data(data)


def _open_data(case: Case, opened: Open) -> tasks.Data:
    with contextlib.ExitStack() as stack:
        descriptors = []
        for path in (case.input, case.answer):
            descriptors.append(opened(path))
            stack.callback(os.close, descriptors[-1])
            _into_page_cache(descriptors[-1])
        files = () if case.files is None else tuple(_folder(opened, case.files))
        stack.pop_all()
        return tasks.Data(descriptors[0], descriptors[1], files)


def _close_data(data: tasks.Data) -> None:
    os.close(data.input)
    os.close(data.answer)


def _into_page_cache(descriptor: int) -> None:
    buffer, offset = bytearray(min(READ_BYTES, os.fstat(descriptor).st_size)), 0
    while buffer and (count := os.preadv(descriptor, [buffer], offset)):
        offset += count


def program_of(program: Program, opened: Open, toolchains: Registry) -> Submission:
    """A program of the package with limits of a judge's. Raises CannotGrade, UnknownLanguage, OSError."""
    if program.build or program.run:
        raise CannotGrade(f"{program.path} has scripts of its own to build or run it")
    toolchain, main = main_of(program, toolchains)
    code, files = b"", []
    left = SOURCES_BYTES
    for path in program.files:
        content = _read(opened, path, left)
        left -= len(content)
        if path == main:
            code = content
        else:
            files.append(File(check_name(path.removeprefix(program.path + "/")), content))
    return Submission(toolchain, code, own_limits(JUDGE_LIMITS), DEFAULT_OUTPUT_BYTES, files=tuple(files))


def main_of(program: Program, toolchains: Registry) -> tuple[Toolchain, str]:
    """Its language here, and which of its files is the main one. Raises UnknownLanguage, CannotGrade."""
    if program.language == "python2":
        raise UnknownLanguage(f"{program.path}: no toolchain for python2")
    known: list[tuple[str, Toolchain]] = []
    for path in program.files:
        with contextlib.suppress(UnknownLanguage):
            known.append((path, toolchains.find_by_file(path)))
    if not known:
        raise UnknownLanguage(f"{program.path}: no toolchain for {program.language or 'its files'}")
    if len(known) == 1:
        return known[0][1], known[0][0]
    entry = program.entry_point
    for path, toolchain in known:
        name = path.rpartition("/")[2]
        if name == entry or name == toolchain.source or (entry is None and name.rpartition(".")[0] == "__main__"):
            return toolchain, path
    raise CannotGrade(f"{program.path}: several files, and none of them is {known[0][1].source}")


def _folder(opened: Open, folder: str) -> list[File]:
    """All files below a folder of the package. Raises CannotGrade for more than SOURCES_BYTES, CannotRead, OSError."""
    files, left = [], SOURCES_BYTES
    for path in _paths(opened, folder):
        content = _read(opened, path, left)
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


def _read(opened: Open, path: str, most: int) -> bytes:
    with open(opened(path), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise CannotGrade(f"{path}: more than {SOURCES_BYTES // MB} MB with the files beside it")
    return content
