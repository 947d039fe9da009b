"""SandboxFusion's words: a RunCodeRequest becomes a Submission, and a Report a RunCodeResponse. Pure."""

import base64
import dataclasses
import json
import pathlib
from typing import Any

import pydantic
import pytest

from daemon.api.errors import ApiProblem
from daemon.api.parsing import FieldError
from daemon.dialects.sandboxfusion import api, translation
from daemon.dialects.sandboxfusion.models import CommandStatus, RunCodeRequest, RunCodeResponse, Status
from daemon.judge.submission import Reason, Report, Submission
from daemon.settings import Settings
from daemon.toolchain import registry

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
TOOLCHAINS = registry.load([SHIPPED, SHIPPED / "languages"])
SETTINGS = Settings()
MB = 1 << 20
RAN = Report(Reason.EXITED, None, b"out", b"err", 0, None, 2 * 10**9, 1, 10**9, 1, False)


def request(language: str = "python", **fields: Any) -> RunCodeRequest:
    return RunCodeRequest.model_validate({"code": "", "language": language, **fields})


def submission(**fields: Any) -> Submission:
    wanted = request(**fields)
    toolchain = TOOLCHAINS.find(wanted.language)
    return translation.submission_of(wanted, toolchain, SETTINGS, SETTINGS.run_limits(), None)


def response(wanted: RunCodeRequest | None = None, **facts: Any) -> RunCodeResponse:
    wanted = wanted or request()
    report = dataclasses.replace(RAN, **facts)
    return translation.response(wanted, TOOLCHAINS.find(wanted.language), report, "pod")


@pytest.mark.parametrize("name", ["python", "cpp", "nodejs", "js", "go", "java", "bash", "typescript", "ts", "rust"])
def test_its_names_of_languages_are_known(name: str) -> None:
    assert TOOLCHAINS.find(name)


def test_limits_above_ours_are_lowered_and_none_is_the_most_that_we_have() -> None:
    assert submission().limits.wall_ns == 10e9
    assert submission(run_timeout="0.5").limits.wall_ns == 5e8
    assert submission(run_timeout=1e300).limits.wall_ns == 60e9
    assert submission(memory_limit_MB=64).limits.memory_bytes == 64 * MB
    assert {submission(memory_limit_MB=mb).limits.memory_bytes for mb in (-1, 0, 10**12)} == {1024 * MB}
    limits = submission(language="cpp", compile_timeout=3).compile_limits
    assert limits is not None and limits.wall_ns == 3e9


def test_files_come_in_base64_and_those_without_content_are_passed_over() -> None:
    files = {"./a/b": "eA==", "none": None, "x.IGNORE_THIS_FILE": "eA=="}
    assert [(file.name, file.content) for file in submission(files=files).files] == [("a/b", b"x")]
    with pytest.raises(pydantic.ValidationError, match="not base64"):
        request(files={"a": "=x"})


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../..", ".", "a\0b", "a\nb"])
@pytest.mark.parametrize("field", ["files", "fetch_files"])
def test_name_that_leads_elsewhere_is_refused(field: str, name: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        submission(**{field: {name: ""} if field == "files" else [name]})
    assert (caught.value.status, caught.value.errors[0].field) == (400, field)


def test_run_that_ends_by_itself_is_finished() -> None:
    made = response()
    assert (made.status, made.message, made.compile_result) == (Status.SUCCESS, "", None)
    assert made.run_result is not None
    assert made.run_result.model_dump(mode="json") == {
        "status": "Finished", "execution_time": 2.0, "return_code": 0, "stdout": "out", "stderr": "err",
    }  # fmt: skip
    failed = response(exit_code=3, error="err")
    assert failed.run_result is not None
    assert (failed.status, failed.message, failed.run_result.return_code) == (Status.FAILED, "", 3)


@pytest.mark.parametrize(
    ("facts", "status", "code"),
    [
        ({"reason": Reason.TIME_LIMIT}, "TimeLimitExceeded", None),
        ({"reason": Reason.CPU_LIMIT}, "TimeLimitExceeded", None),
        ({"reason": Reason.MEMORY_LIMIT}, "Finished", -9),
        ({"reason": Reason.OUTPUT_LIMIT}, "Finished", -9),
        ({"reason": Reason.SIGNAL, "signal": 11}, "Finished", -11),
    ],
)
def test_every_other_end_of_a_run_is_a_failure(facts: dict[str, Any], status: str, code: int | None) -> None:
    made = response(exit_code=None, error="why", **facts)
    assert made.run_result is not None
    assert (made.status, made.run_result.status, made.run_result.return_code) == (Status.FAILED, status, code)
    assert made.message == ("" if facts["reason"] is Reason.SIGNAL else "why")


@pytest.mark.parametrize(
    ("facts", "status", "code"),
    [
        ({"exit_code": 1}, CommandStatus.FINISHED, 1),
        ({"reason": Reason.SIGNAL, "exit_code": None, "signal": 11}, CommandStatus.FINISHED, -11),
        ({"exit_code": 0}, CommandStatus.FINISHED, 1),
        ({"reason": Reason.MEMORY_LIMIT, "exit_code": None}, CommandStatus.FINISHED, -9),
        ({"reason": Reason.TIME_LIMIT, "exit_code": None}, CommandStatus.TIME_LIMIT_EXCEEDED, None),
    ],
)
def test_program_that_does_not_compile_has_no_run_result(
    facts: dict[str, Any], status: CommandStatus, code: int | None
) -> None:
    said = dataclasses.replace(RAN, **facts)
    made = response(
        request("cpp"), reason=Reason.COMPILE_ERROR, exit_code=None, error="no", stderr=b"no", compilation=said
    )
    assert (made.status, made.run_result) == (Status.FAILED, None)
    assert made.compile_result is not None
    assert (made.compile_result.status, made.compile_result.return_code) == (status, code)


def test_files_have_the_names_by_which_they_were_asked_for() -> None:
    wanted = request(fetch_files=["./a", "none"])
    assert translation.names_left(wanted.fetch_files) == ("a", "none")
    assert response(wanted, left={"a": b"x"}).files == {"./a": base64.b64encode(b"x").decode()}


def test_errors_are_fastapis_and_a_sandbox_that_is_full_a_result_too() -> None:
    def told(problem: ApiProblem) -> tuple[int, Any, str | None]:
        answer = api.tell(problem)
        assert answer.text is not None
        return answer.status, json.loads(answer.text), answer.headers.get("Retry-After")

    wrong = ApiProblem(400, "invalid_request", "x", (FieldError("files.a", "not base64"),))
    detail = [{"type": "invalid_request", "loc": ["body", "files", "a"], "msg": "not base64"}]
    assert told(wrong) == (422, {"detail": detail}, None)
    status, body, retry = told(ApiProblem(503, "queue_full", "full", retry_after_s=1))
    assert (status, body["status"], body["message"], retry) == (503, "SandboxError", "full", "1")
    assert told(ApiProblem(401, "invalid_token", "no", challenge="Bearer"))[0] == 401


def test_one_file_is_fetched_by_one_spelling_of_its_name() -> None:
    """Eight spellings of a file of 16 MB would be an answer of 170 MB."""
    assert submission(fetch_files=["a", "./b", "a"]).leaves == ("a", "b")
    with pytest.raises(ApiProblem, match="two spellings"):
        submission(fetch_files=["a", "./a"])
