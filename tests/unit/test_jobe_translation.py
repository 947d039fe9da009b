"""Jobe's words: a run_spec becomes a Submission, and a Report its result. Pure, without a server."""

import dataclasses
import pathlib
from typing import Any

import pytest

from daemon.api.errors import ApiProblem
from daemon.dialects.jobe import translation
from daemon.dialects.jobe.languages import Languages, table
from daemon.dialects.jobe.models import JobeResult, JobeRun
from daemon.judge.submission import Reason, Report, Submission
from daemon.settings import Settings
from daemon.toolchain import registry

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
TOOLCHAINS = registry.load([SHIPPED, SHIPPED / "languages"])
LANGUAGES = Languages(TOOLCHAINS)
SETTINGS = Settings()
MB = 1 << 20
SYNTAX_ERROR = "  File \"/work/main.py\", line 1\n    print(\n         ^\nSyntaxError: '(' was never closed\n"
RAN = Report(Reason.EXITED, None, b"", b"", 0, None, 1, 1, 0, 1, False)


def submission(language: str = "python3", contents: dict[str, bytes] | None = None, **spec: Any) -> Submission:
    run = JobeRun.model_validate({"run_spec": {"language_id": language, "sourcecode": "", **spec}})
    wanted = translation.wanted_of(run, LANGUAGES)
    return translation.submission_of(wanted, contents or {}, SETTINGS, SETTINGS.run_limits(), None)


def refusal(**spec: Any) -> str:
    with pytest.raises(ApiProblem) as caught:
        submission(**spec)
    assert caught.value.status == 400
    return caught.value.detail


def result(language: str = "python3", **facts: Any) -> JobeResult:
    found = LANGUAGES.find(language)
    assert found is not None
    return translation.result(dataclasses.replace(RAN, **facts), found[0], "id")


def test_languages_have_jobes_names_and_others_their_ids() -> None:
    names = {name: toolchain.id for name, toolchain in LANGUAGES}
    assert {"python3": "python", "nodejs": "javascript", "c": "c", "rust": "rust"}.items() <= names.items()
    assert "python" not in names
    assert set(names) <= {*table(), *TOOLCHAINS.ids()}


def test_limits_are_jobes_unless_asked_for_and_never_above_ours() -> None:
    limits = submission("c").limits
    assert (limits.cpu_ns, limits.wall_ns, limits.memory_bytes, limits.processes) == (5e9, 10e9, 400 * MB, 30)
    limits = submission("c", parameters={"cputime": "40", "memorylimit": 200000, "numprocs": 1e9}).limits
    assert (limits.cpu_ns, limits.wall_ns, limits.memory_bytes, limits.processes) == (40e9, 60e9, 1024 * MB, 64)
    assert submission("python3").limits.memory_bytes == 1000 * MB
    assert submission("java").limits.memory_bytes == 1024 * MB  # Jobe gives Java all
    assert submission("java", parameters={"numprocs": 1}).limits.processes == 48  # what its toolchain needs
    assert submission("c", parameters={"streamsize": 0.5}).output_bytes == MB // 2
    assert submission("c", parameters={"streamsize": 100}).output_bytes == SETTINGS.output_bytes


@pytest.mark.parametrize("value", ["x", None, True, [], {}, 1e400, 0, ""])
def test_parameter_that_is_no_number_is_as_if_it_were_not_there(value: object) -> None:
    limits = submission("c", parameters={"cputime": value, "numprocs": value}).limits
    assert 0 < (limits.cpu_ns or 0) <= 5e9
    assert 0 < limits.processes <= 30


@pytest.mark.parametrize("field", ["cputime", "memorylimit", "numprocs", "streamsize", "disklimit"])
@pytest.mark.parametrize("value", [-1, "-1", -0.001])
def test_a_limit_below_nothing_is_refused(field: str, value: object) -> None:
    assert refusal(parameters={field: value}) == f"The parameter {field} cannot be negative"


def test_parameters_may_be_phps_empty_list() -> None:
    assert submission("c", parameters=[]).limits.cpu_ns == 5e9


def test_arguments_are_split_as_a_shell_would() -> None:
    assert submission(parameters={"runargs": ["one two", "'three four'", "$HOME"]}).args == (
        "one", "two", "three four", "$HOME",
    )  # fmt: skip
    assert refusal(parameters={"runargs": ["'"]}).startswith("runargs: ")


def test_options_that_change_nothing_are_taken_and_others_refused() -> None:
    submission("c", parameters={"compileargs": ["-Wall", "-std=c99"], "linkargs": ["-lm"]})
    taken = submission("c", parameters={"compileargs": ["-std=c89", "-x c"], "linkargs": ["-lm"]})
    assert taken.compiler_options == ("-std=c89", "-lm")
    assert "compileargs cannot have '-o'" in refusal(language="c", parameters={"compileargs": ["-o"]})
    assert "main_class" in refusal(language="java", parameters={"main_class": "A"})


def test_what_is_wrong_is_told_in_jobes_words() -> None:
    assert refusal(language="cobol") == "Language 'cobol' is not known"
    assert refusal(sourcecode=None) == "run_spec is missing the required attribute 'sourcecode'"
    assert refusal(sourcefilename="../x") == "The sourcefilename for the run_spec is illegal"
    assert refusal(parameters={"cputime": 61}) == "cputime exceeds maximum allowed on this Jobe server (60 secs)"
    with pytest.raises(ApiProblem, match="No run_spec"):
        translation.wanted_of(JobeRun(), LANGUAGES)
    for entry in (
        ["short", "a"],
        ["long4enough", "a/b"],
        ["long4enough", "..."],
        ["long-enough", "a"],
        ["long4enough"],
    ):
        assert refusal(file_list=[entry]).startswith("Invalid file specifier"), entry


def test_files_are_put_under_their_names() -> None:
    made = submission(contents={"long4enough": b"x"}, file_list=[["long4enough", "a.txt"], ["long4enough", "b", True]])
    assert [(file.name, file.content) for file in made.files] == [("a.txt", b"x"), ("b", b"x")]
    assert "main.py" in refusal(contents={"long4enough": b""}, file_list=[["long4enough", "main.py"]])


def test_outcome_is_jobes() -> None:
    assert result(stdout=b"out") == JobeResult(run_id="id", outcome=15, stdout="out")
    assert result(exit_code=3).outcome == 15  # Jobe does not look at it
    assert result(stderr=b"warned").outcome == 12
    assert result(reason=Reason.SIGNAL, error="Killed by signal 11 (SIGSEGV)").stderr == "Killed by signal 11 (SIGSEGV)"
    assert result(reason=Reason.SIGNAL).outcome == 12
    assert result(reason=Reason.CPU_LIMIT, stderr=b"x") == JobeResult(run_id="id", outcome=13)
    assert result(reason=Reason.TIME_LIMIT).outcome == result(reason=Reason.OUTPUT_LIMIT).outcome == 13
    assert result(reason=Reason.MEMORY_LIMIT, error="Memory limit").outcome == 17
    assert result(reason=Reason.COMPILE_ERROR, error="main.c:1: no").cmpinfo == "main.c:1: no"


def test_source_that_cannot_be_parsed_is_a_compile_error_where_nothing_compiles() -> None:
    failed = {"exit_code": 1, "stderr": SYNTAX_ERROR.encode()}
    assert result(**failed) == JobeResult(run_id="id", outcome=11, cmpinfo=SYNTAX_ERROR)
    assert result(**failed, stdout=b"it ran").outcome == 12
    assert result(exit_code=1, stderr=b"Traceback (most recent call last):\n" + SYNTAX_ERROR.encode()).outcome == 12
    assert result("nodejs", **failed).outcome == 12


def test_output_that_is_no_utf8_is_shown_by_its_bytes() -> None:
    assert result(stdout=b"a\n\x01\xc0").stdout == "a\n\\x01\\xc0"
    assert result(stdout="ü\x01".encode()).stdout == "ü\x01"
