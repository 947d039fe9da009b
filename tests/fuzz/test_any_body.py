"""Any body is a request that keeps its promises, or a clear answer that it is not."""

import json
import os
import pathlib
import time
import types
from typing import Any

import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.api import errors, grading, parcel, parsing, submissions
from daemon.api.client import Client
from daemon.api.grade_models import GradeRequest
from daemon.api.models import ExecuteRequest
from daemon.api.parsing import BadBody
from daemon.api.problem_models import ProblemGradeRequest
from daemon.judge.files import NAME_BYTES, File
from daemon.sandbox.descriptors import memfd
from daemon.sandbox.fields import MAX_ARGS_BYTES
from daemon.settings import Settings
from daemon.toolchain import registry
from tests.fuzz.values import JSON, TEXT

SETTINGS = Settings()
TOOLCHAINS = registry.load([pathlib.Path(__file__).parents[2] / "toolchains"])
PARTS: Any = types.SimpleNamespace(settings=SETTINGS, toolchains=TOOLCHAINS)  # all that it reads of the real ones
CLIENT = Client("address 192.0.2.1")
PROBLEM_BYTES_MAX = 64 << 10  # of an answer that says what is wrong
PARSE_CPU_S = 1.0  # of a body as large as a small one may be; 5 ms on a machine without others

NAMES = st.text("ab./\\\0\x7fé", max_size=8) | TEXT | st.sampled_from(["main.py", "a/b", "a" * 256, "é/" * 16 + "x"])
FILES = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "content": TEXT | st.sampled_from(["AAEC", "AAE=", "A"])},
        optional={"encoding": st.sampled_from(["utf-8", "base64"])},
    ),
    max_size=4,
)
SECONDS = st.sampled_from([0, 1, 0.5, 1e-9, 5e-324, 60, 61, 1e308, 10**400, True]) | st.floats()
COUNTS = st.sampled_from([0, 1, -1, 128, 128.0, 1.5, 1e308, 1 << 60, 10**400, True])
ARGS = st.lists(TEXT, max_size=3) | st.sampled_from([["\x01" * 11_000], ["é" * 17_000]])
PROGRAM = {"code": TEXT, "language": st.sampled_from(["python", "PYTHON", "rust", "cobol"])}
CHECKERS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["exact", "lines", "tokens", "custom", "else"])},
    optional={"float_tolerance": SECONDS, "case_sensitive": st.booleans(), "flags": ARGS, "files": FILES, **PROGRAM},
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={"cpu_time": SECONDS, "wall_time": SECONDS, "memory_mb": COUNTS, "output_kb": COUNTS, "processes": COUNTS},
)
TESTS = st.lists(
    st.fixed_dictionaries({}, optional={"id": TEXT, "input": TEXT, "expected": TEXT, "args": ARGS}), max_size=3
)
EXECUTE = {"stdin": TEXT, "timeout": SECONDS, "memory_limit_mb": COUNTS, "cpu_time_limit": SECONDS, "args": ARGS,
    "files": FILES, "check": st.booleans(), "binary": st.booleans()}  # fmt: skip
GRADE = {"checker": CHECKERS, "limits": LIMITS, "files": FILES, "stop_on_failure": st.booleans()}


def bodies(needed: dict[str, Any], more: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Requests that are right but for some values, those with any field changed, and what is no request at all."""
    right = st.fixed_dictionaries(needed, optional=more)
    changed = st.builds(
        lambda body, name, value: {**body, name: value}, right, st.sampled_from([*needed, *more]) | TEXT, JSON
    )
    text = (right | right | changed | JSON).map(json.dumps)
    cut = st.builds(lambda text, end, more: text[:end] + more, text, st.integers(0, 200), TEXT)
    return (text | text | cut).map(lambda body: body.encode(errors="surrogatepass")) | st.binary(max_size=50)


def found_in(body: bytes, model: type[pydantic.BaseModel]) -> Any:
    """The request, or the BadBody that is answered. Nothing else is raised."""
    started_s = time.process_time()
    try:
        found: Any = parsing.parse(body, model)
    except BadBody as error:
        found = error
    assert time.process_time() - started_s < PARSE_CPU_S
    return found


def demand_clear(problem: errors.ApiProblem) -> None:
    """It is the caller's fault, told in a few kilobytes of JSON."""
    assert 400 <= problem.status < 500 and problem.detail
    text = errors.body(problem)
    assert len(text.encode()) < PROBLEM_BYTES_MAX and json.loads(text)["detail"]


def demand_files(files: tuple[File, ...]) -> None:
    """Each would be made below /work, and none in the place of another."""
    names = [pathlib.PurePosixPath(file.name) for file in files]
    for file, path in zip(files, names, strict=True):
        assert str(path) == file.name and not path.is_absolute() and ".." not in path.parts
        assert not any(ord(one) < 32 for one in file.name)
        assert len(file.name.encode()) <= NAME_BYTES
    assert not any(one == other or one in other.parents for one in names for other in names if one is not other)


def refused(body: BadBody) -> errors.ApiProblem:
    """As a request's handler answers it."""
    return errors.ApiProblem(400, "invalid_request", body.detail, body.errors)


@pytest.mark.threat("D8", "F3")
@given(bodies(PROGRAM, EXECUTE))
@example(b'{"\\ud800": 1, "\\ud800": 2}')
def test_any_body_is_a_program_within_its_limits_or_is_refused(body: bytes) -> None:
    found = found_in(body, ExecuteRequest)
    if isinstance(found, BadBody):
        demand_clear(refused(found))
        return
    toolchain, run = TOOLCHAINS.find("python"), SETTINGS.run_limits()
    try:
        made = submissions.of_request(found, toolchain, SETTINGS, run, None)
    except errors.ApiProblem as problem:
        demand_clear(problem)
        return
    assert made.limits.within(run.maximum) is None
    assert len(made.code) <= SETTINGS.code_bytes_max and len(made.stdin) <= SETTINGS.stdin_bytes_max
    assert sum(len(argument.encode()) + 1 for argument in made.args) <= MAX_ARGS_BYTES
    demand_files(made.files)


@pytest.mark.threat("D8")
@given(bodies({**PROGRAM, "tests": TESTS}, GRADE))
def test_any_body_is_a_grading_within_its_limits_or_is_refused(body: bytes) -> None:
    found = found_in(body, GradeRequest)
    if isinstance(found, BadBody):
        demand_clear(refused(found))
        return
    try:
        task = grading.of_request(found, TOOLCHAINS.find(found.language), PARTS, CLIENT)
    except registry.UnknownLanguage:
        return
    except errors.ApiProblem as problem:
        demand_clear(problem)
        return
    assert task.submission.limits.within(SETTINGS.run_limits().graded) is None
    assert 0 < task.submission.output_bytes <= SETTINGS.grade_output_mb_max << 20
    assert len({test.id for test in task.tests}) == len(task.tests) > 0
    demand_files(task.submission.files)


@given(
    bodies(PROGRAM, EXECUTE) | bodies({**PROGRAM, "tests": TESTS}, GRADE), st.sampled_from([*parcel.REQUESTS.values()])
)
def test_what_was_found_in_any_body_comes_back_the_same_from_another_process(
    body: bytes, model: type[pydantic.BaseModel]
) -> None:
    found = found_in(body, model)
    file = memfd("answer", b"")
    try:
        parcel.write(file, found)
        assert os.fstat(file).st_size <= parcel.bytes_max(len(body))
        back = parcel.read(file, len(body))
    finally:
        os.close(file)
    if isinstance(found, BadBody):
        assert isinstance(back, BadBody) and (back.detail, back.errors) == (found.detail, found.errors)
    else:
        assert back == found and back.model_fields_set == found.model_fields_set


@given(bodies(PROGRAM, {"name": NAMES, "files": FILES, "stop_on_failure": JSON}))
def test_any_body_is_a_submission_to_a_problem_or_is_refused(body: bytes) -> None:
    found = found_in(body, ProblemGradeRequest)
    if isinstance(found, BadBody):
        demand_clear(refused(found))
    elif found.name is not None:
        assert found.name.isascii() and "/" not in found.name and found.name[0] not in "-."
