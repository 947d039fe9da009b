"""The wire models of the base contract."""

from typing import Annotated, Any, Literal

import pydantic

from daemon.judge.files import check_name


def _is_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a lone surrogate at {error.start} is not text") from None
    return text


Text = Annotated[str, pydantic.AfterValidator(_is_unicode)]
Seconds = Annotated[float, pydantic.Field(allow_inf_nan=False)]


class Strict(pydantic.BaseModel):
    """A request's: no unknown field, no other type than the one that it says."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class FileEntry(Strict):
    """A file beside the source. `name` is relative to /work."""

    name: Annotated[Text, pydantic.AfterValidator(check_name)]
    content: Text
    encoding: Literal["utf-8", "base64"] = "utf-8"


class ExecuteRequest(Strict):
    """POST /execute. A caller may lower a limit, never raise it above the configured maximum."""

    code: Text
    language: Text
    timeout: Seconds | None = pydantic.Field(None, description="seconds of wall time; null is the default")
    stdin: Text = ""
    args: list[Text] = []
    memory_limit_mb: int | None = None
    cpu_time_limit: Seconds | None = pydantic.Field(None, description="seconds of CPU time, children included")
    check: bool = True
    files: list[FileEntry] = pydantic.Field([], max_length=100)
    binary: bool = pydantic.Field(False, description="also answer output_base64 and stderr_base64")


class ForbiddenConstruct(pydantic.BaseModel):
    """A construct found by input validation, in `report` mode."""

    line: int
    found: str
    reason: str


class ExecuteResponse(pydantic.BaseModel):
    """What became of a program. Times in seconds."""

    output: str
    error: str | None
    execution_time: float
    success: bool
    stdout: str
    stderr: str
    exit_code: int | None
    signal: str | None
    reason: Literal["exited", "time_limit", "cpu_limit", "memory_limit", "output_limit", "signal", "compile_error"]
    cpu_time: float | None
    wall_time: float
    compile_time: float
    memory_bytes: int | None
    truncated: bool
    cached: bool
    language: str
    version: str | None
    request_id: str
    output_base64: str | None = None
    stderr_base64: str | None = None
    warnings: list[ForbiddenConstruct] | None = None


class Language(pydantic.BaseModel):
    """GET /languages: one of them. Limits in MB and seconds.

    `start_charged`: whether the start of the runtime counts as CPU time of a run.
    """

    id: str
    title: str
    aliases: list[str]
    extensions: list[str]
    version: str | None
    compiles: bool
    start_charged: bool
    default_limits: dict[str, Any]
