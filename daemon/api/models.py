"""The wire models of the base contract, and how every wire model describes its fields.

The served document (document.py) is made from these models. A description has the unit; bounds stand in the words of
JSON Schema. What begins with `$` is a figure of this deployment (figures.py), in text and in place of a number.
`x-unbounded` says why a value has no bound of its own.
"""

import base64
from typing import Annotated, Any, Literal

import pydantic
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from daemon.judge.files import NAME_BYTES, check_name
from daemon.sandbox.fields import MAX_ARGS_BYTES

ITEMS_MAX = 1024  # of any list of a request
FILES_MAX = 100
LANGUAGE_MAX = 64


def _is_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a lone surrogate at {error.start} is not text") from None
    return text


def _utf8(text: object) -> bytes:
    if not isinstance(text, str):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    return _is_unicode(text).encode()


def _integer(value: object) -> object:
    """128.0 is the integer 128 (JSON Schema, "type"): JSON has numbers only, and some clients write them so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def field(description: str, default: Any = ..., **schema: object) -> Any:
    """A field with its description. `schema` is told in the document and not checked by pydantic: the settings decide,
    or what makes the answer."""
    return pydantic.Field(default, description=description, json_schema_extra=schema)  # type: ignore[arg-type]


def told(**schema: object) -> Any:
    """The same of a type that several fields have."""
    return pydantic.Field(json_schema_extra=schema)  # type: ignore[arg-type]


LEAST_S = 1e-9  # times are counted in nanoseconds

Integer = Annotated[int, pydantic.BeforeValidator(_integer)]
Text = Annotated[str, pydantic.AfterValidator(_is_unicode)]
Data = Annotated[bytes, pydantic.PlainValidator(_utf8, json_schema_input_type=str)]  # a text that may be long, in UTF-8
Seconds = Annotated[float, pydantic.Field(allow_inf_nan=False, json_schema_extra={"minimum": LEAST_S})]
Code = Annotated[Text, told(maxLength="$code_bytes_max")]
LanguageName = Annotated[Text, pydantic.Field(max_length=LANGUAGE_MAX, json_schema_extra={"enum": "$languages"})]
Argument = Annotated[Text, told(maxLength=MAX_ARGS_BYTES - 1, pattern="^[^\\u0000]*$")]
Arguments = Annotated[list[Argument], pydantic.Field(max_length=ITEMS_MAX), pydantic.FailFast()]

Measured = Annotated[
    float, told(minimum=0, **{"x-unbounded": "measured; a limit of the run or of the compiler ends it"})
]
MemoryBytes = Annotated[int, told(minimum=0, **{"x-unbounded": "measured; the memory limit of the run ends it"})]
Count = Annotated[int, told(minimum=0, **{"x-unbounded": "a count"})]
Word = Annotated[str, told(maxLength=100)]
Version = Annotated[str, told(**{"x-unbounded": "the first line that the toolchain says of itself"})]
Diagnostics = Annotated[str, told(**{"x-unbounded": "bounded by the output limits of the program and of the compiler"})]
Sentence = Annotated[str, told(**{"x-unbounded": "a sentence or a few"})]
RequestId = Annotated[str, told(minLength=1, maxLength=128, pattern="^[A-Za-z0-9._-]+$")]


class Strict(pydantic.BaseModel):
    """A request's: no unknown field, no other type than the one that it says."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


_BASE64: JsonDict = {
    "if": {"properties": {"encoding": {"const": "base64"}}, "required": ["encoding"]},
    "then": {
        "properties": {"content": {"pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"}},
    },
}


def _content(text: object, info: pydantic.ValidationInfo) -> bytes:
    content = _utf8(text)
    if info.data.get("encoding") != "base64":
        return content
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise PydanticCustomError("base64", "not base64: {reason}", {"reason": str(error)}) from None


class FileEntry(Strict):
    """A file beside the source."""

    model_config = pydantic.ConfigDict(json_schema_extra=_BASE64)

    name: Annotated[Text, pydantic.AfterValidator(check_name)] = field(
        f"Path relative to the source's folder, in UTF-8 at most {NAME_BYTES} bytes, 255 in each of at most 16 parts;"
        " no two files have the same, and none has a name that the language uses itself, such as the source's.",
        minLength=1,
        maxLength=NAME_BYTES,
        pattern=r"^(?!\.{0,2}(/|$))[^\u0000-\u001f\u007f\\/]{1,255}(/(?!\.{0,2}(/|$))[^\u0000-\u001f\u007f\\/]{1,255}){0,15}$",
    )
    encoding: Literal["utf-8", "base64"] = field("How `content` is written.", "utf-8")
    content: Annotated[bytes, pydantic.PlainValidator(_content, json_schema_input_type=str)] = field(
        "The content, as text or in base64.", maxLength="$body_bytes_max"
    )


Files = Annotated[
    list[FileEntry],
    pydantic.Field(max_length=FILES_MAX, json_schema_extra={"uniqueItems": True}),
    pydantic.FailFast(),
]


class ExecuteRequest(Strict):
    """A program and its limits. A caller may lower a limit, never raise it above the maximum."""

    code: Code = field("The source, in UTF-8 at most $code_bytes_max bytes.")
    language: LanguageName = field("Id or alias of the language, in any case; `GET /languages` lists them.")
    timeout: Seconds | None = field(
        "Seconds of wall time for the program; null stands for the default of $timeout_s s. Compiling has a limit of"
        " its own.",
        None,
        maximum="$timeout_s_max",
    )
    stdin: Data = field(
        "What the program reads from standard input, in UTF-8 at most $stdin_bytes_max bytes.",
        b"",
        maxLength="$stdin_bytes_max",
    )
    args: Arguments = field(
        f"The program's arguments, in UTF-8 at most {MAX_ARGS_BYTES} bytes with a NUL after each.", []
    )
    memory_limit_mb: Integer | None = field(
        "Megabytes (2^20 bytes) of memory for the program; null stands for the default of $memory_mb MB.",
        None,
        minimum=1,
        maximum="$memory_mb_max",
    )
    cpu_time_limit: Seconds | None = field(
        "Seconds of CPU time, children included; null is no limit of its own.", None, maximum="$timeout_s_max"
    )
    check: bool = field("Whether types are checked, in a language whose compiler can leave that out.", True)
    files: Files = field("Files beside the source, of at most $files_bytes_max bytes together.", [])
    binary: bool = field("Whether the answer has `output_base64` and `stderr_base64` too.", False)


class ForbiddenConstruct(pydantic.BaseModel):
    """A construct that input validation found, where it only reports."""

    line: int = field("Line of the source, from 1.", minimum=1, maximum="$code_bytes_max")
    found: str = field("The pattern that was found.", maxLength=1000)
    reason: str = field("Why it cannot work in a jail.", maxLength=1000)


Reason = Literal["exited", "time_limit", "cpu_limit", "memory_limit", "output_limit", "signal", "compile_error"]


class ExecuteResponse(pydantic.BaseModel):
    """What became of a program."""

    output: str = field(
        "Standard output, on failure too. Bytes that are not UTF-8 stand as U+FFFD.", maxLength="$output_bytes"
    )
    error: Diagnostics | None = field(
        "Null on success; else what a person needs first: the compiler's diagnostics, the program's stderr, or one"
        " sentence such as `Execution timed out after 10 seconds`."
    )
    execution_time: Measured = field("Seconds of compiling and running together; waiting for a place does not count.")
    success: bool = field("Whether the program was built, ran within its limits and exited with 0.")
    stdout: str = field("The same as `output`.", maxLength="$output_bytes")
    stderr: Diagnostics = field("Standard error of the program, or of the compiler where it failed.")
    exit_code: int | None = field(
        "The program's exit code; null where a signal or a limit ended it, or it was not built.", minimum=0, maximum=255
    )
    signal: Word | None = field("Name of the signal that ended the program, such as `SIGSEGV`; else null.")
    reason: Reason = field(
        "Why the run ended. Where several limits were reached, the first of memory, output, CPU and wall time."
    )
    cpu_time: Measured | None = field("Seconds of CPU time of the program with its children; null where unknown.")
    wall_time: Measured = field("Seconds that the program ran; 0 where it was not built.")
    compile_time: Measured = field("Seconds that compiling took; 0 where nothing was compiled.")
    memory_bytes: MemoryBytes | None = field("The most bytes of memory that were used at once; null where unknown.")
    truncated: bool = field("Whether output was cut at the output limit.")
    cached: bool = field("Whether the program had been compiled before, and was kept.")
    language: Word = field("Id of the language.")
    version: Version | None = field("Version of the compiler or interpreter; null while it is not known yet.")
    request_id: RequestId = field(
        "Names this answer: the request's `X-Request-Id` where it has a valid one, else 32 digits of our own."
    )
    output_base64: str | None = field(
        "The exact bytes of standard output, in base64; only where `binary` asks for it.", None, maxLength="$base64_max"
    )
    stderr_base64: Diagnostics | None = field("The exact bytes of standard error, likewise.", None)
    warnings: Annotated[list[ForbiddenConstruct], told(maxItems=1)] | None = field(
        "What input validation found, where this deployment reports and does not refuse; else absent.", None
    )


class StageEvent(pydantic.BaseModel):
    """Data of the event `stage`: a step of the language begins."""

    stage: Word = field("Id of the step, such as `compile` or `run`.")


class OutputEvent(pydantic.BaseModel):
    """Data of the events `stdout` and `stderr`: the next piece of output."""

    text: str = field("The piece. A character is never cut in two.", maxLength="$output_bytes")
