"""The start of a language's runtime is charged, or it is not, as GET /languages says: never by whether a jail was parked."""

import json

import pytest

from tests.server import Server

HELLO = {
    "python": "print('hello')",
    "rust": 'fn main() { println!("hello"); }',
    "typescript": "console.log('hello');",
}
TESTS = 12
WITHIN_S = 0.002


def least_cpu_s(server: Server, language: str) -> float:
    """Of several graded runs: what else the machine does only adds to it."""
    fields = {"language": language, "code": HELLO[language], "tests": [{"expected": "hello"}] * TESTS}
    answer = server.request("POST", "/grade", json.dumps(fields).encode(), {"Content-Type": "application/json"}).json
    assert answer["verdict"] == "AC", answer
    return min(float(test["cpu_time"]) for test in answer["tests"])


@pytest.mark.threat("T7")
@pytest.mark.parametrize("language", ["python", "rust", pytest.param("typescript", marks=pytest.mark.slow)])
def test_a_warm_and_a_cold_run_are_charged_the_same_cpu_time(cellblock: Server, language: str) -> None:
    with Server(languages=[language], pools=False, services=False) as cold:
        assert abs(least_cpu_s(cellblock, language) - least_cpu_s(cold, language)) < WITHIN_S
