"""Whatever a client of Piston sends is taken, or refused in one sentence that can be sent."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daemon.api import parsing
from daemon.api.error_codes import CODES
from daemon.api.errors import ApiProblem
from daemon.dialects.piston import models, orders, runtimes, telling
from daemon.judge.versions import Versions
from daemon.sandbox.model import Limits
from daemon.settings import Settings
from daemon.toolchain import registry
from tests.documents import ROOT
from tests.fuzz.values import JSON, NUMBERS, TEXT

SETTINGS = Settings()
RUNTIMES = runtimes.Runtimes(registry.load([ROOT / "toolchains"]), Versions({}))
FILES = st.lists(
    st.fixed_dictionaries(
        {"content": TEXT},
        optional={"name": TEXT | JSON, "encoding": st.sampled_from(["utf8", "hex", "base64"]) | JSON},
    ),
    max_size=4,
)
JOBS = st.fixed_dictionaries(
    {"language": st.sampled_from(["python", "rs", "ts"]) | TEXT, "version": st.sampled_from(["*", "3.x"]) | TEXT},
    optional={
        "files": FILES | JSON,
        "args": st.lists(TEXT, max_size=4) | JSON,
        "stdin": TEXT | JSON,
        **dict.fromkeys(models.LIMITS, NUMBERS | JSON),
    },
)


@given(JOBS | JSON)
def test_any_job_is_taken_within_the_limits_or_refused(given: Any) -> None:
    maximum = SETTINGS.run_limits().maximum
    try:
        job = parsing.parse(json.dumps(given).encode(), models.Job)
        toolchain = RUNTIMES.find(job.language, job.version).toolchain
        submission = orders.of_job(job, toolchain, SETTINGS, SETTINGS.run_limits(), None)
    except parsing.BadBody as error:
        problem = ApiProblem(400, "invalid_request", error.detail, error.errors)
        assert list(json.loads(telling.tell(problem).text or "")) == ["message"]
    except ApiProblem as problem:
        assert CODES[problem.code].status == problem.status
        assert list(json.loads(telling.tell(problem).text or "")) == ["message"]
    else:
        assert submission.limits.within(Limits(maximum.memory_bytes, maximum.wall_ns, maximum.processes)) is None
        assert submission.limits.cpu_ns is None or submission.limits.cpu_ns > 0


@given(TEXT, TEXT)
def test_any_selector_is_a_range_or_none(version: str, selector: str) -> None:
    assert runtimes.satisfies(runtimes.version_of(version), selector) in (True, False)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["init", "data", "signal"]) | JSON},
        optional={"data": TEXT | JSON, "stream": JSON, "signal": JSON, "files": FILES | JSON},
    )
)
def test_any_message_is_read_or_refused(given: Any) -> None:
    try:
        parsing.parse(json.dumps(given).encode(), models.Message)
    except parsing.BadBody as error:
        assert error.detail
