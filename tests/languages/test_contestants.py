"""What contestants write, in each language: how they read, recurse, fill memory, use threads, and end."""

import random

import pytest

from tests.server import Server

from .contest_programs import ARRAY, DEEP_THREADS, ENDS, READS, THREADS, WARNS
from .test_languages import graded

NUMBERS = 200_000
MEMORY_MB = 200
ARRAY_MB = {"c": 190, "cpp": 190, "go": 180, "java": 125, "javascript": 175, "pypy": 165, "python": 190}
MB_OF_INTS = (1 << 20) // 4


@pytest.mark.parametrize("program", READS)
def test_integers_are_read_in_every_usual_way(cellblock: Server, program: str) -> None:
    draw = random.Random(1)
    numbers = [draw.randrange(-(10**9), 10**9) for _ in range(NUMBERS)]
    lines = [" ".join(map(str, numbers[start : start + 10])) for start in range(0, NUMBERS, 10)]
    given = "\n".join([str(NUMBERS), *lines, ""])
    language, _, _ = program.partition(" ")
    test = graded(cellblock, language, READS[program], f"{sum(numbers)}\n", given=given)
    assert test["verdict"] == "AC", test


@pytest.mark.parametrize("language", DEEP_THREADS)
def test_a_thread_may_have_a_stack_as_large_as_it_asks_for(cellblock: Server, language: str) -> None:
    memory_mb = 1536 if language == "pypy" else 256
    test = graded(cellblock, language, DEEP_THREADS[language], "1000000\n", memory_mb=memory_mb, cpu_time=30)
    assert test["verdict"] == "AC", test


@pytest.mark.parametrize("language", ARRAY)
def test_an_array_may_take_what_the_runtime_leaves_of_the_memory_and_no_more(cellblock: Server, language: str) -> None:
    """A runtime needs some itself: docs/programs.md says how much."""
    for size_mb, expected in ((ARRAY_MB[language], "AC"), (MEMORY_MB + 10, "MLE")):
        length = size_mb * MB_OF_INTS
        code = ARRAY[language].replace("NUMBER", str(length))
        test = graded(cellblock, language, code, f"{length - 1}\n", memory_mb=MEMORY_MB, cpu_time=30)
        assert test["verdict"] == expected, (size_mb, test)


@pytest.mark.parametrize("language", THREADS)
def test_threads_run_and_are_counted(cellblock: Server, language: str) -> None:
    assert graded(cellblock, language, THREADS[language], "4000000\n")["verdict"] == "AC"


@pytest.mark.parametrize("program", ENDS)
def test_every_way_to_end_has_its_verdict(cellblock: Server, program: str) -> None:
    code, verdict, reason = ENDS[program]
    language, _, _ = program.partition(" ")
    test = graded(cellblock, language, code, "done\n")
    assert (test["verdict"], test["reason"]) == (verdict, reason), test


@pytest.mark.parametrize("language", WARNS)
def test_a_warning_stops_nobody(cellblock: Server, language: str) -> None:
    answer = cellblock.execute(language, WARNS[language])
    assert (answer["output"], answer["error"]) == ("done\n", None), answer


def test_a_language_that_is_not_here_is_named_with_those_that_are(cellblock: Server) -> None:
    answer = cellblock.post({"language": "kotlin", "code": 'fun main() { println("done") }'})
    assert (answer.status, answer.json["code"]) == (400, "unsupported_language")
    assert answer.json["detail"] == (
        "Unsupported language: kotlin. Supported: bash, c, cpp, go, java, javascript, pypy, python, rust, typescript"
    )
