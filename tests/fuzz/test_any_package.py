"""Any texts in a package's files make a problem that can be told and judged by, or a refusal; nothing else."""

import contextlib
import dataclasses
import json
import pathlib
import tempfile
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.grading import problems
from daemon.grading.packages import description, reader, reading, yaml_text
from daemon.grading.packages.description import Description
from daemon.grading.packages.expectations import matches
from daemon.grading.packages.metadata import PASSES_MAX
from daemon.grading.packages.reading import Package
from daemon.grading.packages.refusal import PackageRefused
from daemon.grading.packages.time_limit import LimitSource, TimeLimit, from_slowest
from daemon.grading.programs import CannotGrade
from daemon.settings import Settings
from daemon.toolchain import registry
from tests.fuzz.values import JSON
from tests.small_packages import LEGACY, NEW, directory, with_files, write

SETTINGS = Settings()
TOOLCHAINS = registry.load([pathlib.Path(__file__).parents[2] / "toolchains"])
BOUNDS = problems.Bounds(SETTINGS.run_limits().graded, 64 << 20, 64 << 20)
YAML_CPU_S = 2.0  # of a text, or a pattern, as long as one may be

PIECES = ["a", "b: ", ": ", "- ", "? ", "&a ", "*a", "<<: *a", "!!int ", "!<%C3> ", "|\n", ">2-\n", "'", '"', "\\uD800", "\\x00",
    "#", "{", "}", "[", "]", ",", "\n", "\n  ", "\t", "%YAML 1.3\n", "---\n", "...\n", "@", "`", "\x01", "\ufeff", "é", "~", "-.inf",
    "1e999", "٣", "0x1", "True", "name: ", "limits: "]  # fmt: skip
YAML = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
WORDS = st.sampled_from(
    ["", "0", "1", "2.5", "-1", "1e308", "1e-308", "5e-324", "inf", "-inf", "+.inf", "1e999", "nan", "٣", "true", "No", "default",
     "custom", "custom score", "custom interactive multi-pass", "scoring", "pass-fail", "interactive", "multi-pass", "break", "continue",
     "sum", "min", "unbounded", "worst_error", "grade", "max", "all", "python cpp", "0 1", "1 0", "-inf inf", "AC", "float_tolerance 1e-9",
     "case_sensitive x", "a\0b", "x" * 70, "9" * 64, "é", "{{a}}", "../..", "lower", "{a,b}*", "*/*"]
)  # fmt: skip
VALUES = st.recursive(
    WORDS | WORDS | st.none() | st.integers(-2, 1 << 70) | JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("value"), inner, max_size=3),
    max_leaves=5,
)


def maps(*keys: str, **inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Of these keys; those of `inner` have such values, at times."""
    known = st.dictionaries(st.sampled_from(keys), VALUES, max_size=4)
    nested = st.fixed_dictionaries({}, optional=inner)
    return st.builds(lambda one, other: {**one, **other}, known, nested)


def texts(found: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """JSON is YAML."""
    return found.map(json.dumps) | found.map(json.dumps) | YAML


LIMITS = maps("time_limit", "time_multiplier", "time_safety_margin", "time_resolution", "memory", "output", "code", "validation_time",
    "validation_memory", "validation_passes", time_multipliers=maps("ac_to_time_limit", "time_limit_to_tle"))  # fmt: skip
METADATA = maps("problem_format_version", "type", "validation", "validator_flags", "uuid", "languages", "allow_file_writing", "constants",
    "name", name=st.just("Sum") | VALUES, limits=LIMITS, type=st.sampled_from(["scoring", "pass-fail", ["scoring", "multi-pass"]]),
    grading=maps("objective", "accept_score", "reject_score", "range", "on_reject"),
    problem_format_version=st.sampled_from(["2025-09", "2023-07-draft", "legacy"]),
    constants=st.dictionaries(st.sampled_from("abc"), VALUES))  # fmt: skip
GROUP = maps("on_reject", "grading", "grader_flags", "accept_score", "reject_score", "range", "output_validator_flags", "args",
    "output_validator_args", "max_score", "score_aggregation", "require_pass", "full_feedback")  # fmt: skip
RULES = maps("permitted", "required", "score", "message", "use_for_time_limit", "language", "entrypoint")
DECLARED = st.dictionaries(
    st.sampled_from(["accepted", "accepted/*", "*", "{accepted,x}/sum.py", "wrong_answer"]), RULES
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "problem.yaml": texts(METADATA), ".timelimit": WORDS, "domjudge-problem.ini": WORDS.map("timelimit={}".format),
        "data/testdata.yaml": texts(GROUP), "data/secret/testdata.yaml": texts(GROUP), "data/secret/test_group.yaml": texts(GROUP),
        "data/secret/a/1.in": WORDS, "data/secret/a/1.ans": WORDS, "data/secret/a/test_group.yaml": texts(GROUP),
        "data/secret/01.yaml": texts(GROUP), "data/secret/01.args": WORDS, "submissions/submissions.yaml": texts(DECLARED),
        "submissions/mixed/x.py": WORDS.map("# @EXPECTED_RESULTS@: {}".format) | WORDS.map("# @EXPECTED_SCORE@: {}".format),
        "problem_statement/problem.tex": WORDS.map("\\problemname{{{}}}".format), "output_validators/check/run": WORDS,
        "output_validator/check.py": WORDS, "graders/grade.py": WORDS, "include/python3/more.py": WORDS, "data/sample/1.ans": st.none(),
    },
)  # fmt: skip


@pytest.mark.threat("D8")
@given(YAML.map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_any_text_is_lists_maps_and_texts_or_is_refused(content: bytes) -> None:
    with contextlib.suppress(PackageRefused):
        found = [yaml_text.parse("problem.yaml", content)]
        while found:
            match found.pop():
                case dict() as inner:
                    assert all(isinstance(key, str) for key in inner)
                    found += inner.values()
                case list() as inner:
                    found += inner
                case other:
                    assert other is None or isinstance(other, str)


MANY_KEYS = ", ".join(f"{number}: 1" for number in range(12_000))
SHORT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)


@given(
    st.sampled_from(["", "{a: 1, ", "a: &a b\nb: ["]),
    SHORT,
    st.sampled_from([1, 1000, yaml_text.BYTES_MAX]),
    st.sampled_from(["", "]}"]),
)
@example(f"{{{MANY_KEYS}, <<: [", "{}, ", 24_000, "]}")
def test_any_text_that_repeats_is_read_in_bounded_time(start: str, piece: str, times: int, end: str) -> None:
    times = min(times, (yaml_text.BYTES_MAX - len(start + end)) // len(piece.encode()))
    started_s = time.process_time()
    with contextlib.suppress(PackageRefused):
        yaml_text.parse("problem.yaml", (start + piece * times + end).encode())
    assert time.process_time() - started_s < YAML_CPU_S


@given(st.lists(st.sampled_from(["{a}", "{a,b}", "{", "}", "*", "x", "/", "{,}"]), min_size=1, max_size=12).map("".join),
       st.sampled_from([1, 10, 1000]), st.sampled_from(["", "{a,b}" * 10]))  # fmt: skip
@example("{a,b}", 10, "")
@example("{a}", 2000, "{a,b}" * 10)
@example("*x", 30_000, "")
def test_any_pattern_of_submissions_matches_or_not_in_bounded_time(piece: str, times: int, start: str) -> None:
    started_s = time.process_time()
    for path in ("accepted/a.py", "x" * 255):
        matches(start + piece * times, path)
    assert time.process_time() - started_s < YAML_CPU_S


@given(st.sampled_from([LEGACY, NEW]), CHANGES)
@example(NEW, {"problem.yaml": "problem_format_version: 2025-09\nname: x\nlimits: {validation_passes: 1e308}"})
def test_any_texts_in_its_files_make_a_problem_or_a_refusal(
    files: dict[str, str | bytes], changes: dict[str, str | bytes | None]
) -> None:
    """The problem comes whole out of the process that reads it, and out of the store; what cannot be judged is told."""
    with tempfile.TemporaryDirectory() as root:
        changed = {name: None if text is None else str(text).encode() for name, text in changes.items()}
        folder = write(pathlib.Path(root), with_files(files, changed))
        try:
            found = reader.read(folder)
        except PackageRefused as refusal:
            assert str(refusal)
            return
        answer = json.dumps({"problem": dataclasses.asdict(found)}).encode()
        assert reading._checked(answer, 0) == found
        assert found.limits.passes_max <= PASSES_MAX
        limit = TimeLimit(from_slowest(found.timing, 0.1), LimitSource.COMPUTED)
        kept = Description(found, limit)
        assert description.from_json(description.to_json(kept)) == kept
        wanted, output_bytes = problems.limits_of(found, found.timing.limit_s or limit.seconds, BOUNDS)
        assert wanted.within(BOUNDS.maximum) is None and 0 < output_bytes <= BOUNDS.output_bytes
        assert all(problems.cuts_of(found, found.timing.limit_s or limit.seconds, BOUNDS))
        with directory(folder) as opened, contextlib.suppress(CannotGrade):
            problems.check(found, Package(found, opened).open, TOOLCHAINS, BOUNDS)
