"""Graded runs have the cores that the administrator names, and no others."""

import json
import os

import pytest

from tests.server import START_S, Server, until

WHERE = "import os\nprint(sorted(os.sched_getaffinity(0)))"


def test_graded_runs_have_the_named_core_and_others_all() -> None:
    usable = sorted(os.sched_getaffinity(0))
    last = usable[-1]
    with Server(languages=["python"], grade_cores=str(last)) as server:
        tests = [{"expected": f"[{last}]"} for _ in range(6)]
        fields = {"language": "python", "code": WHERE, "tests": tests}
        body = json.dumps(fields).encode()
        answer = server.request("POST", "/grade", body, {"Content-Type": "application/json"})
        assert answer.json["verdict"] == "AC", answer.text
        assert server.execute("python", WHERE)["output"] == f"{usable}\n"


@pytest.mark.slow
def test_a_core_that_is_not_there_stops_the_keeper_with_its_name() -> None:
    with Server(healthy=False, languages=["python"], grade_cores="8000") as server:
        until(lambda: "grade_cores: 8000 cannot be used; there are: " in server.error_text(), START_S)
        assert server.request("GET", "/health").status == 503
