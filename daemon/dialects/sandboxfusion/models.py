"""The bodies of SandboxFusion, as its sandbox/server/sandbox_api.py declares them: numbers may be texts, and fields
that it does not know are passed over."""

import base64
import enum
from typing import Annotated

import pydantic
from pydantic_core import PydanticCustomError

from daemon.api import parcel
from daemon.api.models import FILES_MAX, LANGUAGE_MAX, Data, Text
from daemon.judge.files import NAME_BYTES
from daemon.sandbox.messages import LEAVES_MAX


def _content(text: object) -> bytes | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise PydanticCustomError("base64", "not base64: {reason}", {"reason": str(error)}) from None


Name = Annotated[Text, pydantic.Field(min_length=1, max_length=NAME_BYTES)]
Content = Annotated[bytes | None, pydantic.PlainValidator(_content)]
Timeout = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


class RunCodeRequest(pydantic.BaseModel):
    """A program. Times are seconds of wall time; a memory limit that is not above 0 is none."""

    model_config = pydantic.ConfigDict(frozen=True)

    code: Text
    language: Annotated[Text, pydantic.Field(max_length=LANGUAGE_MAX)]
    compile_timeout: Timeout = 10
    run_timeout: Timeout = 10
    memory_limit_MB: int = -1
    stdin: Data | None = None
    files: Annotated[dict[Name, Content], pydantic.Field(max_length=FILES_MAX)] = {}
    fetch_files: Annotated[list[Name], pydantic.Field(max_length=LEAVES_MAX)] = []


class CommandStatus(enum.StrEnum):
    """How a command ended."""

    FINISHED = "Finished"
    ERROR = "Error"
    TIME_LIMIT_EXCEEDED = "TimeLimitExceeded"


class Status(enum.StrEnum):
    """What became of all of it. SANDBOX_ERROR is our failure, and never the program's."""

    SUCCESS = "Success"
    FAILED = "Failed"
    SANDBOX_ERROR = "SandboxError"


class CommandResult(pydantic.BaseModel):
    """`execution_time` in seconds; `return_code` is -n for signal n, and None where a time limit ended the command."""

    status: CommandStatus
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeResponse(pydantic.BaseModel):
    """`files` in base64."""

    status: Status
    message: str = ""
    compile_result: CommandResult | None = None
    run_result: CommandResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = {}


parcel.know(RunCodeRequest)
