"""`cellblock bench` where it takes long: `sudo ./bootstrap test-slow`."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from tests.server import COMMAND, Server


@pytest.mark.threat("T6")
@pytest.mark.slow
def test_fairness_compares_the_cpu_time_of_graded_runs_alone_and_beside_neighbours(
    cellblock: Server, tmp_path: pathlib.Path
) -> None:
    """Whether they are fair enough is not for this test: three runs on a machine that others use do not tell."""
    done = subprocess.run(
        [COMMAND, "bench", "--fairness", "--url", f"http://127.0.0.1:{cellblock.port}", "--language", "python",
         "--runs", "3", "--json", tmp_path / "f.json"],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    found = json.loads((tmp_path / "f.json").read_text())["spreads"]
    assert done.returncode == (
        0 if all(spread["is_fair"] for spread in found if spread["beside"] != "bare command") else 1
    ), done.stderr
    conditions = {"bare command", "alone", "its own kind", "memory bandwidth", "fork bomb", "files", "output flood"}
    assert {(spread["program"], spread["beside"]) for spread in found} == {
        (program, condition) for program in ("work", "short") for condition in conditions
    }
    assert all(len(spread["cpu_ms"]) == 3 and min(spread["cpu_ms"]) > 0 for spread in found)
    for words in ("fork bomb", "p50 x alone", "of 12 lines are fair"):
        assert words in done.stdout


@pytest.mark.slow
def test_a_soak_shows_what_is_held_before_and_after() -> None:
    done = subprocess.run(
        [COMMAND, "bench", "--language", "python", "--soak", "0.05"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    held = {line.split("│")[1].strip(): line.split("│")[2:4] for line in done.stdout.splitlines() if "│" in line}
    for name in ("processes", "zombies", "groups", "mounts"):
        before, after = map(int, held[name])
        assert before == after, name
    assert int(held["groups"][0]) > 7


@pytest.mark.slow
def test_attacks_are_measured_beside_an_honest_client() -> None:
    """Whether it is fast enough is not for this test; that it is answered rightly, and what is left, are."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.performance.attacks", "--rounds", "1", "--seconds", "1", "--only", "wall limit"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    head, line, *verdicts = done.stdout.splitlines()[1:]
    names = re.split(r"\s{2,}", head)
    assert names[0] == "attack" and line.startswith("wall limit ") and line.endswith("-, -"), done.stdout + done.stderr
    attempts, _, answers, wrong = map(int, line.removesuffix("  -, -").split()[-4:])
    assert attempts > 3 and answers > 0 and wrong == 0
    assert [verdict.split()[1:3] for verdict in verdicts] == [["wall", "limit:"]]
