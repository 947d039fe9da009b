"""From a problem package to a task: its tests, limits, validator and groups as the grader takes them.

A package is what somebody uploaded: what it says is checked here against what this deployment allows.
"""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Callable

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
from .packages.problem import Case, Group, LegacyRules, Problem, Program
from .schedules import Grouped, Legacy, Schedule
from .tokens import TokenOptions

MB = 1 << 20
DEFAULT_MEMORY_BYTES, DEFAULT_OUTPUT_BYTES = 2048 * MB, 8 * MB  # "limits" of both formats, as Kattis runs them
SOURCES_BYTES = 4 * MB  # of a program of the package

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
    memory_bytes = min(problem.limits.memory_bytes or DEFAULT_MEMORY_BYTES, most.memory_bytes)
    wall_ns = tasks.wall_ns(cpu_s, most.wall_ns)
    output_bytes = min(problem.limits.output_bytes or DEFAULT_OUTPUT_BYTES, bounds.output_bytes)
    return Limits(memory_bytes, wall_ns, most.processes, max(1, int(cpu_s * 1e9))), output_bytes


def task_of(
    problem: Problem, opened: Open, submission: Submission, toolchains: Registry, stack: contextlib.ExitStack,
    stop_on_failure: bool = False,
) -> tasks.Task:  # fmt: skip
    """The task; descriptors of its tests are closed with the stack. Raises CannotGrade, UnknownLanguage, OSError."""
    if len(problem.validator.programs) > 1:
        raise CannotGrade("more than one output validator")
    if problem.grader is not None:
        raise CannotGrade("a grader of its own")
    checker: tasks.Checker = TokenOptions()
    for program in problem.validator.programs:
        checker = tasks.Custom(program_of(program, opened, toolchains), tasks.Protocol.ICPC)
    tests = tuple(_test(case, opened, isinstance(checker, tasks.Custom), stack) for case in problem.cases)
    try:
        schedule = schedule_of(problem, stop_on_failure)
    except ValueError as error:
        raise CannotGrade(str(error)) from error
    return tasks.Task(
        submission, tests, checker, schedule, is_interactive=problem.is_interactive,
        passes_max=problem.limits.passes_max if problem.is_multi_pass else 1,
    )  # fmt: skip


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


def _test(case: Case, opened: Open, is_custom: bool, stack: contextlib.ExitStack) -> tasks.Test:
    descriptors = []
    for path in (case.input, case.answer):
        descriptors.append(opened(path))
        stack.callback(os.close, descriptors[-1])
    try:
        options = None if is_custom else TokenOptions.of_flags(case.validator_args)
    except ValueError as error:
        raise CannotGrade(f"{case.name}: {error}") from error
    files = () if case.files is None else tuple(_folder(opened, case.files))
    return tasks.Test(
        case.name, descriptors[0], descriptors[1], case.args, options, case.validator_args if is_custom else None, files
    )


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
    """All files below a folder of the package. Raises OSError."""
    descriptor = opened(folder)
    try:
        names = sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)
    files = []
    for name in names:
        path = f"{folder}/{name}"
        inner = opened(path)
        try:
            is_folder = stat.S_ISDIR(os.fstat(inner).st_mode)
            content = b"" if is_folder else _read_all(inner, SOURCES_BYTES, path)
        finally:
            os.close(inner)
        if is_folder:
            files += [dataclasses.replace(file, name=f"{name}/{file.name}") for file in _folder(opened, path)]
        else:
            files.append(File(check_name(name), content))
    return files


def _read(opened: Open, path: str, most: int) -> bytes:
    descriptor = opened(path)
    try:
        return _read_all(descriptor, most, path)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, most: int, path: str) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise CannotGrade(f"{path}: more than {SOURCES_BYTES // MB} MB of sources")
    return content
