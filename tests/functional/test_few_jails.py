"""With few jails for many tests each waits for its turn: nothing of it is a failure."""

import concurrent.futures

import pytest

from tests.functional.test_grade_command import YAML
from tests.functional.test_problems import grade, put
from tests.server import Server

CLIENTS, TESTS = 4, 3
ANSWERS = "import sys\nsys.exit(42 if input() == 'right' else 43)\n"
SLEEPS = (
    "import time\ntime.sleep(0.6)\nprint('right')\n"  # all of them together longer than a broken keeper is waited for
)


@pytest.mark.slow
def test_interactive_tests_of_many_clients_wait_for_the_two_jails_that_there_are() -> None:
    """Each takes both, so no two of them may have one each and wait for the other's."""
    package: dict[str, str | bytes] = {
        "problem.yaml": YAML + "validation: custom interactive\n", ".timelimit": "2\n",
        "output_validators/judge.py": ANSWERS,
    }  # fmt: skip
    for number in range(TESTS):
        package |= {f"data/secret/{number}.in": "", f"data/secret/{number}.ans": ""}
    with Server(languages=["python"], jails_max=2, pools=False, runs_at_once=CLIENTS) as server:
        answer = put(server, "talk", package)
        assert answer.status == 201, answer.text
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            results = list(pool.map(lambda _: grade(server, "talk", SLEEPS), range(CLIENTS)))
        assert [[test["verdict"] for test in one["tests"]] for one in results] == [["AC"] * TESTS] * CLIENTS, results
