"""What clients of Piston send, in the words of its own errors; and what they are answered."""

import base64
import binascii
import re
from typing import Any, NoReturn, Self

import pydantic
from pydantic_core import PydanticCustomError

from daemon.api import parcel
from daemon.api.models import FILES_MAX, ITEMS_MAX
from daemon.api.parsing import NAMED_MAX

LIMITS = tuple(f"{stage}_{kind}" for kind in ("memory_limit", "timeout", "cpu_time") for stage in ("compile", "run"))
ENCODINGS = ("utf8", "base64", "hex")  # any other is taken for the first
OPTIONAL = ("compile",)  # of an answer
_BLANKS = re.compile(r"\s+")


class _Frozen(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)


class File(_Frozen):
    """`is_text`: it was sent as UTF-8, so that it may be a source."""

    name: str | None
    content: bytes
    is_text: bool


class Job(_Frozen):
    """The body of POST /execute, and the message `init`. What is not known in it is ignored.

    `limits` are milliseconds and bytes, by the name of their field; those that are absent, null or 0 are not there.
    """

    language: str
    version: str
    files: tuple[File, ...]
    stdin: bytes
    args: tuple[str, ...]
    limits: dict[str, int | float]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return _job(given)


class Message(_Frozen):
    """What a client says on the WebSocket. `job` is there where `type` is "init"; `data` in UTF-8."""

    type: Any
    job: Job | None = None
    stream: Any = None
    data: bytes = b""
    signal: Any = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            _refuse("a message must be an object")
        match given.get("type"):
            case "init":
                return {"type": "init", "job": Job.model_construct(**_job(given))}
            case "data":
                data = _bytes("data", _text("data", given.get("data")))
                return {"type": "data", "stream": given.get("stream"), "data": data}
            case other:
                return {"type": other, "signal": given.get("signal")}


class Stage(pydantic.BaseModel):
    """What became of compiling, or of the program. Times are milliseconds, `memory` is bytes; null is unknown."""

    signal: str | None
    stdout: str
    stderr: str
    code: int | None
    output: str
    memory: int | None
    message: str | None
    status: str | None
    cpu_time: int | None
    wall_time: int | None


class Answer(pydantic.BaseModel):
    """Of POST /execute. Where nothing was run, `run` says what became of compiling, too."""

    compile: Stage | None
    run: Stage
    language: str
    version: str


class Refusal(pydantic.BaseModel):
    """Every answer that is no 200."""

    message: str

    @classmethod
    def of(cls, text: str) -> Self:
        """What an error quotes may hold lone surrogates, which no JSON has: they stand as their escapes."""
        return cls(message=text.encode(errors="backslashreplace").decode())


def _job(given: Any) -> dict[str, Any]:
    """The fields of a job. Raises PydanticCustomError: one sentence, in the order in which Piston looks."""
    if not isinstance(given, dict):
        _refuse("the body must be an object")
    for name in ("language", "version"):
        if not isinstance(given.get(name), str) or not given[name]:
            _refuse(f"{name} is required as a string")
    files = given.get("files")
    if not isinstance(files, list):
        _refuse("files is required as an array")
    if len(files) > FILES_MAX:
        _refuse(f"files cannot have more than {FILES_MAX} entries")
    args = [] if given.get("args") is None else given["args"]
    if not isinstance(args, list) or len(args) > ITEMS_MAX or not all(isinstance(one, str) for one in args):
        _refuse(f"args must be an array of at most {ITEMS_MAX} strings")
    stdin = _text("stdin", "" if given.get("stdin") is None else given["stdin"])
    limits = {name: given[name] for name in LIMITS if given.get(name)}
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            _refuse(f"If specified, {name} must be a number")
    return {
        "language": given["language"], "version": given["version"], "limits": limits, "args": tuple(args),
        "files": tuple(_file(number, file) for number, file in enumerate(files)),
        "stdin": _bytes("stdin", stdin if stdin.endswith("\n") else stdin + "\n"),
    }  # fmt: skip


def _file(number: int, given: Any) -> File:
    where = f"files[{number}]"
    if not isinstance(given, dict) or not isinstance(given.get("content"), str):
        _refuse(f"{where}.content is required as a string")
    name, encoding, content = given.get("name") or None, given.get("encoding"), given["content"]
    if name is not None and not isinstance(name, str):
        _refuse(f"{where}.name must be a string")
    _bytes(f"{where}.name", name or "")
    if encoding not in ENCODINGS:
        encoding = ENCODINGS[0]
    return File(name=name, content=_decoded(f"{where}.content", content, encoding), is_text=encoding == ENCODINGS[0])


def _decoded(where: str, content: str, encoding: str) -> bytes:
    try:
        if encoding == "base64":  # of both alphabets and with or without its padding, as Node reads it
            plain = _BLANKS.sub("", content).translate(str.maketrans("-_", "+/")).rstrip("=")
            return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        if encoding == "hex":
            return binascii.unhexlify(content)
    except ValueError:
        _refuse(f"{where} is not {encoding}")
    return _bytes(where, content)


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        _refuse(f"{where} must be a string")
    return str(value)


def _bytes(where: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        _refuse(f"{where} has a lone surrogate, which is no text")


def _refuse(text: str) -> NoReturn:
    raise PydanticCustomError("piston", "{text}", {"text": text[: 2 * NAMED_MAX]})


parcel.know(Job, Message, parts=[File])
