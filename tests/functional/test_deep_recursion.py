"""The stack of a graded run may take all of its memory, in every language but V8's; another run's is its toolchain's."""

import json
from typing import Any

import pytest

from tests.server import Server

DEPTH = 1_000_000
RUST = """
#[inline(never)]
fn deep(n: u64) -> u64 {
    let kept = std::hint::black_box([n; 8]);
    if n == LAST { 0 } else { deep(n + 1) + std::hint::black_box(kept[3]) - n + 1 }
}
fn main() { println!("{}", deep(0)); }
"""
PYTHON = """
import functools, sys
sys.setrecursionlimit(2_000_000)
@functools.lru_cache(None)
def deep(n):
    return 0 if n == LAST else deep(n + 1) + 1
print(deep(0))
"""
PROGRAMS = {
    "rust": (RUST, DEPTH),
    "python": (PYTHON, 200_000),
}  # each call by way of C takes half a KB of CPython's stack


def graded(server: Server, language: str, code: str, memory_mb: int, expected: str = "") -> dict[str, Any]:
    body = {
        "code": code, "language": language, "tests": [{"expected": expected}],
        "limits": {"cpu_time": 20, "wall_time": 60, "memory_mb": memory_mb},
    }  # fmt: skip
    answer = server.request("POST", "/grade", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert answer.status == 200, answer.text
    (test,) = answer.json["tests"]
    found: dict[str, Any] = test
    return found


@pytest.mark.parametrize("language", PROGRAMS)
def test_deep_recursion_is_legal(cellblock: Server, language: str) -> None:
    code, depth = PROGRAMS[language]
    test = graded(cellblock, language, code.replace("LAST", str(depth)), 512, f"{depth}\n")
    assert test["verdict"] == "AC", test


@pytest.mark.threat("M1")
@pytest.mark.vm
def test_a_recursion_without_end_is_a_memory_limit(cellblock: Server) -> None:
    """The memory limit is met first, because the rest of the jail counts for it too."""
    for memory_mb in (16, 128):
        test = graded(cellblock, "rust", RUST.replace("LAST", "u64::MAX"), memory_mb)
        assert (test["verdict"], test["reason"]) == ("MLE", "memory"), test


def test_a_stack_that_is_smaller_than_the_memory_overflows(cellblock: Server) -> None:
    """Of a run that is not graded: Rust's own guard speaks, as on a host."""
    answer = cellblock.execute("rust", RUST.replace("LAST", "u64::MAX"))
    assert (answer["reason"], answer["signal"]) == ("signal", "SIGABRT"), answer
    assert "has overflowed its stack" in answer["stderr"]


def test_threads_of_a_graded_run_have_room(cellblock: Server) -> None:
    """glibc makes a thread's stack as large as the limit (pthread_create(3)); only what is used of it counts."""
    code = "import threading\nfor _ in range(8): threading.Thread(target=lambda: print(end='')).start()\nprint('all')"
    assert graded(cellblock, "python", code, 64, "all\n")["verdict"] == "AC"
