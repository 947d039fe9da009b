"""The comparison of a program's two ends, of tests/corpus, and which files it takes for programs."""

import collections
import pathlib

import pytest

from tests.corpus import prepare, programs
from tests.corpus.compare import MB, Ending, Kind, Limits, Verdict, judge
from tests.corpus.served import ending

LIMITS = Limits(wall_s=10.0, memory_bytes=128 * MB, output_bytes=MB)
DONE = Ending(Kind.EXITED, 0, stdout="42\n")
FAILED = Ending(Kind.EXITED, 1, stdout="4", stderr="Traceback: /work/main.py")
CRASHED = Ending(Kind.SIGNAL, signal="SIGSEGV")
REFUSED = Ending(Kind.REFUSED, detail="no network")


def ended(kind: Kind, **facts: float) -> Ending:
    return Ending(kind, wall_s=facts.get("wall_s", 0.1), memory_bytes=int(facts.get("memory_bytes", MB)))


@pytest.mark.parametrize(
    ("bare", "again", "served", "verdict"),
    [
        (DONE, None, DONE, Verdict.ALIKE),
        (FAILED, None, Ending(Kind.EXITED, 1, stdout="4", stderr="Traceback: elsewhere"), Verdict.ALIKE),
        (DONE, DONE, Ending(Kind.EXITED, 0, stdout="43\n"), Verdict.DIFFERENT),
        (FAILED, FAILED, Ending(Kind.EXITED, 2, stdout="4"), Verdict.DIFFERENT),
        (CRASHED, CRASHED, Ending(Kind.EXITED, 139), Verdict.DIFFERENT),
        (CRASHED, None, CRASHED, Verdict.ALIKE),
        (Ending(Kind.COMPILE_ERROR, stdout="/a"), None, Ending(Kind.COMPILE_ERROR, stderr="/b"), Verdict.ALIKE),
        (Ending(Kind.COMPILE_ERROR, stdout="/a"), None, Ending(Kind.COMPILE_ERROR), Verdict.DIFFERENT),
        (ended(Kind.TIME_LIMIT), None, Ending(Kind.TIME_LIMIT, stdout="half"), Verdict.ALIKE),
        (DONE, DONE, REFUSED, Verdict.REFUSED),
        (FAILED, FAILED, REFUSED, Verdict.REFUSED_FAILING),
        (DONE, DONE, Ending(Kind.NO_ANSWER), Verdict.NO_ANSWER),
    ],
)
def test_ends_are_alike_in_class_code_and_output(
    bare: Ending, again: Ending | None, served: Ending, verdict: Verdict
) -> None:
    """Of stderr only that a compile error has one; of a limit's victim no output."""
    assert judge(bare, again, served, LIMITS) is verdict


@pytest.mark.parametrize(
    ("bare", "served", "verdict"),
    [
        (ended(Kind.EXITED, memory_bytes=129 * MB), ended(Kind.MEMORY_LIMIT), Verdict.BEYOND),
        (ended(Kind.EXITED, memory_bytes=60 * MB), ended(Kind.MEMORY_LIMIT), Verdict.DIFFERENT),
        (ended(Kind.EXITED, wall_s=6), ended(Kind.TIME_LIMIT), Verdict.BEYOND),
        (ended(Kind.EXITED, wall_s=1), ended(Kind.TIME_LIMIT), Verdict.DIFFERENT),
        (ended(Kind.EXITED), ended(Kind.TOO_LONG), Verdict.BEYOND),
        (ended(Kind.EXITED), ended(Kind.OUTPUT_LIMIT), Verdict.DIFFERENT),
    ],
)
def test_a_limit_explains_a_difference_only_where_the_bare_program_needs_as_much(
    bare: Ending, served: Ending, verdict: Verdict
) -> None:
    assert judge(bare, bare, served, LIMITS) is verdict


def test_a_program_that_differs_from_itself_is_nondeterministic_but_its_end_still_counts() -> None:
    clock, later = (Ending(Kind.EXITED, 0, stdout=text) for text in ("10:00", "10:01"))
    assert judge(clock, later, Ending(Kind.EXITED, 0, stdout="10:02"), LIMITS) is Verdict.NONDETERMINISTIC
    assert judge(clock, FAILED, CRASHED, LIMITS) is Verdict.NONDETERMINISTIC
    assert judge(clock, later, CRASHED, LIMITS) is Verdict.DIFFERENT


def test_answers_become_endings() -> None:
    body = {
        "reason": "signal", "exit_code": None, "signal": "SIGABRT", "stdout": "", "stderr": "x", "error": "Killed",
        "wall_time": 0.1, "memory_bytes": None,
    }  # fmt: skip
    assert ending(200, body).end == (Kind.SIGNAL, None, "SIGABRT")
    assert ending(400, {"code": "dangerous_operation", "detail": "line 3"}).kind is Kind.REFUSED
    assert ending(413, {"code": "code_too_long"}).kind is Kind.TOO_LONG
    assert ending(400, {"code": "invalid_request"}).kind is Kind.NO_ANSWER


@pytest.mark.parametrize(
    ("language", "code", "standalone"),
    [
        ("python", "import os", True),
        ("python", "from .neighbour import a", False),
        ("typescript", 'import fs from "node:fs"', True),
        ("typescript", 'import {\n  a,\n} from "./neighbour"', False),
        ("typescript", "const a = require('../neighbour')", False),
        ("rust", "fn main() {}", True),
        ("rust", "fn solution() {}", False),
        ("rust", "mod neighbour;\nfn main() {}", False),
        ("rust", "mod inner { }\nfn main() {}", True),
    ],
)
def test_a_program_stands_alone(language: str, code: str, standalone: bool) -> None:
    assert programs.is_standalone(language, code) is standalone


def test_what_is_passed_over_is_counted(tmp_path: pathlib.Path) -> None:
    for name, text in {
        "a.py": "1",
        "b.py": "1",
        "c.py": "from . import x",
        "d.py": "2",
        "e.txt": "",
        "f.d.ts": "",
    }.items():
        (tmp_path / name).write_text(text)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    found = programs.find([tmp_path], frozenset({"python", "typescript"}))
    assert [program.path.name for program in programs.load(found, ["*/d.py"], counts)] == ["a.py"]
    assert counts == {("python", "seen already"): 1, ("python", "not standalone"): 1, ("python", "excluded"): 1}


def test_rust_tests_become_a_main() -> None:
    """Those that must panic are left out; a test in a module is called by its path."""
    works = "#[test]\nfn works() {\n}\n"
    panics = "#[test]\n#[should_panic]\nfn panics() {\n}\n"
    code = f"#[cfg(test)]\nmod tests {{\n{works}{panics}}}"
    made = prepare.rust_tests(code)
    assert "let _ = tests::works();" in made
    assert "tests::panics" not in made
    assert "pub mod tests {" in made
