"""Piston's words, turned into ours and back: its own error texts, selectors of versions, limits, statuses."""

import dataclasses
import json
import os
import pathlib
import signal
from typing import Any

import pytest

from daemon.api import parcel, parsing
from daemon.api.errors import ApiProblem
from daemon.dialects.piston import answers, models, orders, runtimes, telling
from daemon.judge.report import of_diagnostics
from daemon.judge.submission import Reason, Report, Submission
from daemon.judge.versions import Versions
from daemon.settings import Settings
from daemon.toolchain import registry

FOLDER = pathlib.Path(__file__).parents[2] / "toolchains"
SETTINGS = Settings()
VERSIONS = Versions({})
for _name, _text in {"python": "Python 3.11.2", "rust": "rustc 1.95.0 (f 2026-03-20)"}.items():
    VERSIONS.note(_name, _text)
RUNTIMES = runtimes.Runtimes(registry.load([FOLDER]), VERSIONS)
JOB: dict[str, Any] = {"language": "python", "version": "*", "files": [{"content": "print(1)"}]}
RAN = Report(
    reason=Reason.EXITED, error=None, stdout=b"", stderr=b"", exit_code=0, signal=None, wall_ns=1_600_000,
    cpu_ns=1_400_000, compile_ns=0, memory_bytes=7, truncated=False,
)  # fmt: skip


def job(**fields: Any) -> models.Job:
    return parsing.parse(json.dumps({**JOB, **fields}).encode(), models.Job)


def submission(**fields: Any) -> Submission:
    wanted = job(**fields)
    toolchain = RUNTIMES.find(wanted.language, wanted.version).toolchain
    return orders.of_job(wanted, toolchain, SETTINGS, SETTINGS.run_limits(), None)


def refusal(**fields: Any) -> str:
    """The sentence that a client reads."""
    try:
        submission(**fields)
    except parsing.NotTheModel as error:
        return telling.sentence(ApiProblem(400, "invalid_request", error.detail, error.errors))
    except ApiProblem as problem:
        assert problem.status == 400
        return telling.sentence(problem)
    raise AssertionError("it was taken")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"language": None}, "language is required as a string"),
        ({"version": ""}, "version is required as a string"),
        ({"version": 3}, "version is required as a string"),
        ({"files": {}}, "files is required as an array"),
        ({"files": [{"content": "1"}, {"name": "a"}]}, "files[1].content is required as a string"),
        ({"files": []}, "files must include at least one utf8 encoded file"),
        ({"files": [{"content": "00", "encoding": "hex"}]}, "files must include at least one utf8 encoded file"),
        ({"language": "html", "version": "5.0.0"}, "html-5.0.0 runtime is unknown"),
        ({"version": "3.10.x"}, "python-3.10.x runtime is unknown"),
        ({"run_timeout": "1"}, "If specified, run_timeout must be a number"),
        ({"run_timeout": 60_001}, "run_timeout cannot exceed the configured limit of 60000"),
        ({"run_timeout": -1}, "run_timeout must be non-negative"),
        ({"run_memory_limit": 1 << 31}, "run_memory_limit cannot exceed the configured limit of 1073741824"),
        ({"run_memory_limit": -2}, "run_memory_limit must be non-negative"),
        ({"run_cpu_time": -3}, "run_cpu_time must be non-negative"),
        (
            {"language": "rust", "compile_cpu_time": 15_001},
            "compile_cpu_time cannot exceed the configured limit of 15000",
        ),
        ({"args": "a"}, "args must be an array of at most 1024 strings"),
        ({"args": ["\0"]}, "args: arguments cannot hold NUL"),
        ({"stdin": 5}, "stdin must be a string"),
        (
            {"files": [*JOB["files"], {"name": "a/../../b", "content": ""}]},
            'File path "a/../../b" tries to escape parent directory: ../b',
        ),
        ({"files": [*JOB["files"], {"name": "main.py", "content": ""}]}, "files: main.py is there already"),
        (
            {"files": [*JOB["files"], {"name": "a\ud800", "content": ""}]},
            "files[1].name has a lone surrogate, which is no text",
        ),
        ({"files": [*JOB["files"], {"content": "0", "encoding": "hex"}]}, "files[1].content is not hex"),
        ({"files": [*JOB["files"], {"content": "!", "encoding": "base64"}]}, "files[1].content is not base64"),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_the_original(fields: dict[str, Any], text: str) -> None:
    """Where it has some: its order is kept too, so that the first thing wrong is told."""
    assert refusal(**fields) == text


def test_a_body_that_is_no_object_is_told_so() -> None:
    with pytest.raises(parsing.NotTheModel, match="the body must be an object"):
        parsing.parse(b"[]", models.Job)


@pytest.mark.parametrize(
    ("selector", "is_met"),
    [
        ("*", True), ("3", True), ("3.x", True), ("3.11", True), ("3.11.2", True), ("=3.11.2", True), ("v3.11.2", True),
        (">=3.10", True), (">= 3.10 < 4", True), ("^3.10.0", True), ("~3.11", True), ("2.x || 3.x", True),
        ("3.9 - 3.12", True), ("3.11.3", False), ("<3", False), ("^4", False), ("latest", False), ("x" * 300, False),
    ],
)  # fmt: skip
def test_a_version_is_selected_by_the_ranges_of_npm(selector: str, is_met: bool) -> None:
    assert runtimes.satisfies("3.11.2", selector) is is_met


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Python 3.11.2", "3.11.2"), ("rustc 1.95.0 (59807616e 2026-04-14)", "1.95.0"), ("javac 17", "17.0.0"),
        ("gcc (Debian 12.2.0-14) 12.2.0", "12.2.0"), ("GNU bash, version 5.2.15(1)-release", "5.2.15"), ("", "0.0.0"),
    ],
)  # fmt: skip
def test_what_a_toolchain_says_of_itself_becomes_a_version(text: str, version: str) -> None:
    assert runtimes.version_of(text) == version


def test_a_toolchain_that_has_not_told_its_version_yet_is_any() -> None:
    """A server that starts must not tell clients that their language is unknown."""
    assert RUNTIMES.find("ts", "5.0.3").version == "0.0.0"


def test_languages_have_the_names_of_the_original() -> None:
    found = {one.toolchain.id: one for one in runtimes.Runtimes(registry.load([FOLDER / "languages"]), VERSIONS).all()}
    assert {one.language for one in found.values()} == {"bash", "c", "c++", "go", "java", "javascript", "pypy"}
    assert {"cpp", "g++"} <= set(found["cpp"].aliases)
    assert (found["javascript"].runtime, found["go"].runtime) == ("node", None)
    assert RUNTIMES.find("PY3", "*").language == "python"


def test_the_first_text_is_the_source_and_the_others_lie_beside_it() -> None:
    given = submission(
        files=[
            {"name": "data/a.bin", "content": "AP8", "encoding": "base64"},
            {"name": "code.py", "content": "print(1)", "encoding": "anything"},
            {"content": "fF00", "encoding": "hex"},
            {"name": "/x//y.txt", "content": "é"},
        ],
        stdin="1",
        args=["a b"],
    )
    beside = [(file.name, file.content) for file in given.files]
    assert given.code == b"print(1)"
    assert beside == [("data/a.bin", b"\x00\xff"), ("file2.code", b"\xff\x00"), ("x/y.txt", "é".encode())]
    assert (given.stdin, given.args, submission().stdin) == (b"1\n", ("a b",), b"\n")


def test_limits_are_milliseconds_and_bytes() -> None:
    given = submission(language="rust", run_timeout=1500.5, run_cpu_time=100, run_memory_limit=64 << 20)
    assert (given.limits.wall_ns, given.limits.cpu_ns, given.limits.memory_bytes) == (1_500_500_000, 10**8, 64 << 20)
    given = submission(language="rust", compile_timeout=2000, compile_cpu_time=500, compile_memory_limit=300 << 20)
    assert given.compile_limits is not None
    assert given.compile_limits.wall_ns == 2 * 10**9
    assert (given.compile_limits.cpu_ns, given.compile_limits.memory_bytes) == (5 * 10**8, 300 << 20)


def test_no_limit_of_memory_is_as_much_as_may_be_had_and_0_is_what_is_usual() -> None:
    assert submission(run_memory_limit=-1, compile_memory_limit=-1).limits.memory_bytes == 1 << 30
    usual = submission().limits
    assert submission(run_timeout=0, run_memory_limit=None, run_cpu_time=False).limits == usual
    assert submission(run_cpu_time=1e308).limits.cpu_ns == 10**15


def test_a_large_job_crosses_from_the_process_that_parses_it() -> None:
    file, wanted = os.memfd_create("parcel"), job(files=[*JOB["files"], {"content": "x" * (1 << 17)}])
    try:
        parcel.write(file, wanted)
        assert parcel.read(file, 1 << 18) == wanted
    finally:
        os.close(file)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0, None, None, None)),
        ({"exit_code": 3}, (3, None, "RE", "Exited with error status 3")),
        ({"reason": Reason.SIGNAL, "exit_code": None, "signal": 11}, (None, "SIGSEGV", "SG", "Caught fatal signal 11")),
        ({"reason": Reason.TIME_LIMIT}, (None, "SIGKILL", "TO", "Time limit exceeded (wall clock)")),
        ({"reason": Reason.CPU_LIMIT}, (None, "SIGKILL", "TO", "Time limit exceeded")),
        ({"reason": Reason.MEMORY_LIMIT, "error": "m"}, (None, "SIGKILL", "SG", "m")),
        ({"reason": Reason.OUTPUT_LIMIT, "stdout": b"o"}, (None, "SIGKILL", "OL", "stdout length exceeded")),
        ({"reason": Reason.OUTPUT_LIMIT, "stderr": b"e"}, (None, "SIGKILL", "EL", "stderr length exceeded")),
    ],
)
def test_an_end_is_told_as_isolate_tells_it(changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert answers.ending(dataclasses.replace(RAN, **changes)) == expected


def test_output_is_in_the_order_in_which_it_came_and_no_character_is_cut() -> None:
    two = "é".encode()
    pieces = (("stdout", b"a" + two[:1]), ("stderr", b"b"), ("stdout", two[1:]), ("stderr", b"\xff"))
    assert answers.interleaved(pieces) == "abé\ufffd"


def test_a_compiled_program_has_two_stages() -> None:
    rust, python = RUNTIMES.find("rust", "*"), RUNTIMES.find("python", "*")
    assert answers.of_report(RAN, python).compile is None
    kept = answers.of_report(RAN, rust)
    assert kept.compile is not None and (kept.compile.code, kept.compile.output, kept.compile.memory) == (0, "", 0)
    assert (kept.run.cpu_time, kept.run.wall_time, kept.run.memory, kept.version) == (1, 2, 7, "1.95.0")


def test_where_nothing_was_run_the_stage_run_says_what_the_compiler_said() -> None:
    """As the original does for clients that know of one stage alone."""
    answer = answers.of_report(of_diagnostics("main.rs: no\n", 5_000_000), RUNTIMES.find("rust", "*"))
    assert answer.compile == answer.run
    assert (answer.run.code, answer.run.stderr, answer.run.output) == (1, "main.rs: no\n", "main.rs: no\n")


def test_a_compiler_that_says_that_all_is_well_and_leaves_nothing_has_failed() -> None:
    report = dataclasses.replace(RAN, reason=Reason.COMPILE_ERROR, error="Compilation left no program", compilation=RAN)
    stage = answers.of_compilation(report)
    assert (stage.code, stage.message) == (1, "Compilation left no program")


def test_signals_have_their_names_of_linux() -> None:
    assert len(answers.SIGNALS) == 62  # 32 and 33 are the C library's (signal(7))
    assert answers.SIGNALS["SIGTERM"] == signal.SIGTERM
    names = {"SIGIO", "SIGSTKFLT", "SIGRTMIN", "SIGRTMIN+15", "SIGRTMAX-14", "SIGRTMAX"}
    assert {answers.SIGNALS[name] for name in names} == {29, 16, 34, 49, 50, 64}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "data", "stream": "stdin", "data": "é"}, ("data", "stdin", "é".encode(), None)),
        ({"type": "signal", "signal": "SIGINT"}, ("signal", None, b"", "SIGINT")),
        ({"type": "news"}, ("news", None, b"", None)),
    ],
)
def test_a_message_is_what_its_type_says(said: dict[str, Any], expected: tuple[Any, ...]) -> None:
    message = parsing.parse(json.dumps(said).encode(), models.Message)
    assert (message.type, message.stream, message.data, message.signal) == expected


def test_the_message_init_has_a_job() -> None:
    message = parsing.parse(json.dumps({"type": "init", **JOB}).encode(), models.Message)
    assert message.job == job()
    with pytest.raises(parsing.NotTheModel, match="data must be a string"):
        parsing.parse(b'{"type": "data"}', models.Message)


def test_what_an_error_quotes_can_be_sent() -> None:
    assert json.loads(telling.tell(ApiProblem(400, "invalid_request", "\ud800")).text or "") == {"message": "\\ud800"}
