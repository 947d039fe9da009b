"""From a problem package to a task: its tests, limits, validator and groups as the grader takes them.

A package is what somebody uploaded: what it says is checked here against what this deployment allows.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import AsyncIterator, Sequence

from daemon.judge.submission import Submission
from daemon.sandbox import fields
from daemon.sandbox.descriptors import copy, sealed_copy
from daemon.sandbox.errors import CallersFault
from daemon.sandbox.model import Limits
from daemon.sandbox.threads import to_the_end
from daemon.toolchain.plan import JUDGE_LIMITS, own_limits
from daemon.toolchain.registry import Registry, UnknownLanguage
from daemon.toolchain.schema import Toolchain

from . import task as tasks
from .checking import arguments_of
from .group_scoring import group_tree
from .legacy_scoring import legacy_tree
from .packages.problem import Case, Group, LegacyRules, Problem, Program
from .programs import (
    DEFAULT_OUTPUT_BYTES,
    MB,
    CannotGrade,
    CannotRun,
    Open,
    check_beside,
    codes_of,
    main_of,
    program_of,
    read_folder,
    with_includes,
)
from .schedules import Grouped, Legacy, Schedule
from .tokens import TokenOptions

DEFAULT_MEMORY_BYTES = 2048 * MB  # "limits" of both formats, as Kattis runs them
INPUT_FILE_BYTES_MAX = 64 * MB  # of each test that runs
READ_BYTES = MB


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """What is allowed: the maximum of a graded run, of its output, of the files of a test that a program which judges
    it is given, and of such a program's run."""

    maximum: Limits
    output_bytes: int
    judge_bytes: int
    judging: Limits = dataclasses.field(default_factory=lambda: own_limits(JUDGE_LIMITS))


def limits_of(problem: Problem, cpu_s: float, bounds: Bounds) -> tuple[Limits, int]:
    """Of each test, and the bytes that it may print. A package that wants more than the deployment allows has the most,
    and of CPU time so much that wall time, which has a most too, remains the backstop.

    `cpu_s`: the time limit, which the package says or which was computed from its accepted submissions.
    """
    most = bounds.maximum
    cpu_s = min(cpu_s, tasks.cpu_s_max(most.wall_ns))
    memory_bytes = min(problem.limits.memory_bytes or DEFAULT_MEMORY_BYTES, most.memory_bytes)
    wall_ns = tasks.wall_ns(cpu_s, most.wall_ns)
    output_bytes = min(problem.limits.output_bytes or DEFAULT_OUTPUT_BYTES, bounds.output_bytes)
    return Limits(memory_bytes, wall_ns, most.processes, max(1, int(cpu_s * 1e9))), output_bytes


def _judge_limits(problem: Problem, bounds: Bounds) -> Limits:
    """Of an output validator: those of the package, at most what every judge has. Its time is CPU time, since waiting
    for the submission is not its own (2025-09, "limits")."""
    limits, given = bounds.judging, problem.limits
    memory_bytes = min(given.validation_memory_bytes or limits.memory_bytes, limits.memory_bytes)
    cpu_ns = None if given.validation_s is None else min(max(1, int(given.validation_s * 1e9)), limits.wall_ns)
    return dataclasses.replace(limits, memory_bytes=memory_bytes, cpu_ns=cpu_ns)


def cuts_of(problem: Problem, cpu_s: float, bounds: Bounds) -> tuple[str, ...]:
    """A sentence for each limit that the package has and the deployment does not allow."""
    limits, output_bytes = limits_of(problem, cpu_s, bounds)
    assert limits.cpu_ns is not None
    memory_bytes = problem.limits.memory_bytes or DEFAULT_MEMORY_BYTES
    most, judge = bounds.judging, problem.limits
    wanted = (
        ("time limit", cpu_s, limits.cpu_ns / 1e9, "s"),
        ("memory", memory_bytes / MB, limits.memory_bytes / MB, "MB"),
        ("output", (problem.limits.output_bytes or DEFAULT_OUTPUT_BYTES) / MB, output_bytes / MB, "MB"),
        ("validation time", judge.validation_s or 0.0, most.wall_ns / 1e9, "s"),
        ("validation memory", (judge.validation_memory_bytes or 0) / MB, most.memory_bytes / MB, "MB"),
    )
    return tuple(
        f"limits: {name}: {value:g} {unit} is more than is allowed here; it is {granted:g} {unit}"
        for name, value, granted, unit in wanted
        if value > granted * (1 + 1e-6)  # a part of a nanosecond is no cut
    )


def task_of(
    problem: Problem, opened: Open, submission: Submission, toolchains: Registry, bounds: Bounds,
    stop_on_failure: bool = False,
) -> tasks.Task:  # fmt: skip
    """The task; `opened` is asked for a test's data when that runs, and must work until the grading ends.

    It blocks for as long as the disk does. Raises CannotGrade, CannotRead, OSError.
    """
    checker, grader, tests, schedule = _judging(problem, opened, toolchains, bounds, stop_on_failure)
    for folder in _folders(problem):
        check_beside(opened, folder, submission.toolchain)
    return tasks.Task(
        with_includes(problem, opened, submission), tests, checker, schedule, is_interactive=problem.is_interactive,
        passes_max=problem.limits.passes_max if problem.is_multi_pass else 1, group_grader=grader,
    )  # fmt: skip


def check(problem: Problem, opened: Open, toolchains: Registry, bounds: Bounds) -> tuple[Submission, ...]:
    """The programs of a package that judge, by which submissions can be graded. Raises and blocks as task_of, and meets
    now what a grading would meet on its way."""
    checker, grader, _, _ = _judging(problem, opened, toolchains, bounds, False)
    for folder in (*_folders(problem), *(include.folder for include in problem.includes)):
        read_folder(opened, folder)
    judges = tuple(one.submission for one in tasks.programs_of(checker))
    return judges if grader is None else (*judges, grader)


def _folders(problem: Problem) -> set[str]:
    """What is put beside a submission on some test."""
    return {case.files for case in problem.cases if case.files is not None}


def _judging(
    problem: Problem, opened: Open, toolchains: Registry, bounds: Bounds, stop_on_failure: bool
) -> tuple[tasks.Checker, Submission | None, tuple[tasks.Test, ...], Schedule]:
    checker = _checker(problem, opened, toolchains, bounds)
    tests = tuple(_test(case, opened, tasks.programs_of(checker), bounds) for case in problem.cases)
    try:
        schedule = schedule_of(problem, stop_on_failure)
    except ValueError as error:
        raise CannotGrade(str(error)) from error
    return checker, _group_grader(problem, opened, toolchains, bounds), tests, schedule


def _checker(problem: Problem, opened: Open, toolchains: Registry, bounds: Bounds) -> tasks.Checker:
    programs = problem.validator.programs
    if len(programs) > 1 and (problem.is_interactive or problem.is_multi_pass):
        raise CannotGrade("more than one output validator, of which each would have to talk with the submission")
    limits = _judge_limits(problem, bounds)
    checkers = tuple(
        tasks.Custom(_judge(one, opened, toolchains, limits), tasks.Protocol.ICPC) for one in programs
    )  # fmt: skip
    if not checkers:
        return TokenOptions()
    return checkers[0] if len(checkers) == 1 else tasks.AllOf(checkers)


def _group_grader(problem: Problem, opened: Open, toolchains: Registry, bounds: Bounds) -> Submission | None:
    """The program in graders/, where a group asks for it (legacy, "Graders")."""
    if not any(isinstance(group.rules, LegacyRules) and group.rules.grading == "custom" for group in problem.groups):
        return None
    if problem.grader is None:
        raise CannotGrade("testdata.yaml says grading: custom, but graders/ has no program")
    for group in problem.groups:
        if isinstance(group.rules, LegacyRules):
            _check_args(f"{group.name or 'data'}: grader_flags", group.rules.grader_flags)
    return _judge(problem.grader, opened, toolchains, bounds.judging)


def _judge(program: Program, opened: Open, toolchains: Registry, limits: Limits) -> Submission:
    """Without a program that judges, nothing of the package can be graded."""
    try:
        return dataclasses.replace(program_of(program, opened, toolchains), limits=limits)
    except (CannotRun, UnknownLanguage) as error:
        raise CannotGrade(str(error)) from error


def not_run_here(problem: Problem, toolchains: Registry) -> tuple[str, ...]:
    """A sentence for each program of the package that this deployment has no toolchain for."""
    sentences = []
    for program in _programs(problem):
        try:
            main_of(program, toolchains)
        except CallersFault as error:
            sentences.append(str(error))
    return tuple(sentences)


def _programs(problem: Problem) -> tuple[Program, ...]:
    graders = () if problem.grader is None else (problem.grader,)
    return (*problem.validator.programs, *graders, *(one.program for one in problem.submissions))


def check_language(problem: Problem, toolchain: Toolchain) -> None:
    """Raises UnknownLanguage where the package's `languages` (2025-09) do not have this one."""
    allowed = problem.languages
    if allowed is not None and codes_of(toolchain).isdisjoint(allowed):
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


def _test(case: Case, opened: Open, validators: tuple[tasks.Custom, ...], bounds: Bounds) -> tasks.Test:
    _check_args(f"{case.name}: args", case.args)
    data = functools.partial(_data, case, opened)
    if validators:
        if case.input_bytes + case.answer_bytes > bounds.judge_bytes:
            most = f"{bounds.judge_bytes / MB:g} MB"
            raise CannotGrade(f"{case.name}: input and answer are larger than the {most} that a validator may be given")
        for one in validators:
            given = arguments_of(dataclasses.replace(one, flags=case.validator_args))
            _check_args(f"{case.name}: flags of the output validator", given)
        return tasks.Test(case.name, data, case.args, None, case.validator_args)
    try:
        return tasks.Test(case.name, data, case.args, TokenOptions.of_flags(case.validator_args))
    except ValueError as error:
        raise CannotGrade(f"{case.name}: {error}") from error


def _check_args(what: str, args: Sequence[str]) -> None:
    try:
        fields.arguments(args)
    except ValueError as error:
        raise CannotGrade(f"{what}: {error}") from None


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
        given = input_of(opened, case.input)
        stack.callback(os.close, given)
        answer = opened(case.answer)
        stack.callback(os.close, answer)
        _into_page_cache(answer)
        files = () if case.files is None else tuple(read_folder(opened, case.files))
        stack.pop_all()
        return tasks.Data(given, answer, files)


def input_of(opened: Open, path: str) -> int:
    """A test's input as one run has it, in a sealed memfd, so that runs share no lock, time or inode of it.

    One above INPUT_FILE_BYTES_MAX, for whose copies there is no memory, is the file itself, in the page cache. The
    caller closes it. It blocks for as long as the disk does. Raises OSError.
    """
    found = opened(path)
    try:
        if os.fstat(found).st_size <= INPUT_FILE_BYTES_MAX:
            return sealed_copy(found, name="stdin")
        _into_page_cache(found)
        return copy(found)
    finally:
        os.close(found)


def _close_data(data: tasks.Data) -> None:
    os.close(data.input)
    os.close(data.answer)


def _into_page_cache(descriptor: int) -> None:
    buffer, offset = bytearray(min(READ_BYTES, os.fstat(descriptor).st_size)), 0
    while buffer and (count := os.preadv(descriptor, [buffer], offset)):
        offset += count
