"""What clients of other servers may send: any body becomes a Submission that can be run, or is refused as documented."""

import dataclasses
import json
import pathlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daemon.api import parsing
from daemon.api.errors import ApiProblem
from daemon.dialects.jobe import translation as jobe
from daemon.dialects.jobe.languages import Languages
from daemon.dialects.jobe.models import JobeRun
from daemon.dialects.sandboxfusion import translation as sandboxfusion
from daemon.dialects.sandboxfusion.models import RunCodeRequest
from daemon.judge.submission import Submission
from daemon.sandbox import fields, messages
from daemon.settings import Settings
from daemon.toolchain import registry
from daemon.toolchain.plan import run_limits
from tests.fuzz.values import JSON

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
TOOLCHAINS = registry.load([SHIPPED, SHIPPED / "languages"])
LANGUAGES = Languages(TOOLCHAINS)
SETTINGS = Settings()
NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["5", "x", "", "1e400", True, None])
)
NAMES = st.sampled_from(
    ["a", "a/b", "./a", "..", "a/../b", "a..b", "/a", "", "main.py", "a\0", "\ud800", "x" * 300]
) | st.text(max_size=9)
SPECS = st.fixed_dictionaries(
    {"sourcecode": st.text(max_size=9), "language_id": st.sampled_from(["python3", "C", "java", "rust", "none"])},
    optional={
        "input": st.text(max_size=9), "sourcefilename": NAMES, "file_list": st.lists(st.lists(NAMES | JSON, max_size=3), max_size=3),
        "parameters": JSON | st.fixed_dictionaries({}, optional={
            "cputime": NUMBERS, "memorylimit": NUMBERS, "numprocs": NUMBERS, "streamsize": NUMBERS,
            "runargs": st.lists(st.text(max_size=9), max_size=3), "compileargs": st.lists(NAMES, max_size=2),
        }),
    },
)  # fmt: skip
REQUESTS = st.fixed_dictionaries(
    {"code": st.text(max_size=9), "language": st.sampled_from(["python", "cpp", "java"])},
    optional={
        "compile_timeout": NUMBERS, "run_timeout": NUMBERS, "memory_limit_MB": NUMBERS, "stdin": st.none() | st.text(max_size=9),
        "files": st.dictionaries(NAMES, st.sampled_from(["", "eA==", "=", None]) | JSON, max_size=3),
        "fetch_files": st.lists(NAMES, max_size=9),
    },
)  # fmt: skip


def demand_it_can_run(submission: Submission) -> None:
    """As the keeper checks it (messages.py, kinds.py)."""
    _, maximum = run_limits(submission.toolchain, SETTINGS.run_limits())
    assert submission.limits.within(maximum) is None
    assert 0 < submission.output_bytes <= SETTINGS.output_bytes
    order = messages.Run(1, "x", "run", submission.limits, submission.args, leaves=submission.leaves)
    assert messages.decode(order.encode(), 0, messages.TO_KEEPER) == order
    if submission.compile_limits is not None:
        assert fields.limits(dataclasses.asdict(submission.compile_limits)) == submission.compile_limits


@given(SPECS | JSON)
def test_any_run_spec_is_run_or_refused(spec: Any) -> None:
    try:
        run = parsing.parse(json.dumps({"run_spec": spec}).encode(), JobeRun)
        wanted = jobe.wanted_of(run, LANGUAGES)
        contents = dict.fromkeys(wanted.files.values(), b"x")
        submission = jobe.submission_of(wanted, contents, SETTINGS, SETTINGS.run_limits(), None)
    except parsing.BadBody:
        return
    except ApiProblem as problem:
        assert problem.status in (400, 413)
        return
    demand_it_can_run(submission)


@given(REQUESTS | JSON)
def test_any_run_code_request_is_run_or_refused(body: Any) -> None:
    try:
        wanted = parsing.parse(json.dumps(body).encode(), RunCodeRequest)
        toolchain = TOOLCHAINS.find(wanted.language)
        submission = sandboxfusion.submission_of(wanted, toolchain, SETTINGS, SETTINGS.run_limits(), None)
    except parsing.BadBody:
        return
    except ApiProblem as problem:
        assert problem.status in (400, 413)
        return
    demand_it_can_run(submission)
