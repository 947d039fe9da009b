"""From what is stored to the fields of an answer, by Judge0's names: which there are, and how each is written."""

import base64
import datetime
from collections.abc import Iterable, Sequence

from .database import Stored
from .outcome import Status

DEFAULT = ("stdout", "time", "memory", "stderr", "token", "compile_output", "message", "status")
ALL = (
    "source_code", "language_id", "stdin", "expected_output", "stdout", "status_id", "created_at", "finished_at",
    "time", "memory", "stderr", "token", "number_of_runs", "cpu_time_limit", "cpu_extra_time", "wall_time_limit",
    "memory_limit", "stack_limit", "max_processes_and_or_threads", "enable_per_process_and_thread_time_limit",
    "enable_per_process_and_thread_memory_limit", "max_file_size", "compile_output", "exit_code", "exit_signal",
    "message", "wall_time", "compiler_options", "command_line_arguments", "redirect_stderr_to_stdout", "callback_url",
    "additional_files", "enable_network", "status", "language",
)  # fmt: skip
UNIVERSAL = "*"
FIELDS_MAX, NAME_MAX = 100, 50  # of a request; and of what an error quotes
PARTS = {
    "source_code": "source", "stdin": "stdin", "expected_output": "expected", "additional_files": "archive",
    "stdout": "stdout", "stderr": "stderr", "compile_output": "compile_output",
}  # fmt: skip
LINE = 60  # characters of a line of base64 as Ruby writes it (Base64.encode64)
NEVER = ("enable_per_process_and_thread_time_limit", "enable_per_process_and_thread_memory_limit", "enable_network")


class NotText(Exception):
    """A field has bytes that are not UTF-8, and no base64 was asked for."""


class BadFields(ValueError):
    """The text names fields that there are not."""


def wanted(text: str | None) -> tuple[str, ...]:
    """The fields that `?fields=` asks for. Raises BadFields."""
    names = tuple(dict.fromkeys(name for name in (text or "").split(",")[:FIELDS_MAX] if name))
    unknown = [name[:NAME_MAX] for name in names if name != UNIVERSAL and name not in ALL]
    if unknown:
        raise BadFields(f"invalid fields: [{', '.join(unknown)}]")
    return ALL if UNIVERSAL in names else names or DEFAULT


def blobs(names: Iterable[str]) -> tuple[str, ...]:
    """Which large parts of a submission these fields need."""
    return tuple(PARTS[name] for name in names if name in PARTS)


def fields(found: Stored, names: Sequence[str], language: str, is_base64: bool) -> dict[str, object]:
    """The fields of a submission whose language is called `language`. Raises NotText."""
    return {name: _value(found, name, language, is_base64) for name in names}


def _value(found: Stored, name: str, language: str, is_base64: bool) -> object:
    job, outcome = found.job, found.outcome
    match name:
        case "additional_files":
            return encoded(job.archive)
        case "source_code" | "stdin" | "expected_output" | "stdout" | "stderr" | "compile_output":
            part = PARTS[name]
            return _text(getattr(outcome if hasattr(outcome, part) else job, part), is_base64)
        case "message":
            message = outcome.facts.message
            return message if message is None else _text(message.encode("utf-8", "replace"), is_base64)
        case "time" | "wall_time":
            return _decimal(getattr(outcome.facts, name))
        case "memory" | "exit_code" | "exit_signal":
            return getattr(outcome.facts, name)
        case "status":
            return status(outcome.status)
        case "status_id":
            return int(outcome.status)
        case "language":
            return {"id": job.language_id, "name": language}
        case "language_id":
            return job.language_id
        case "token":
            return found.token
        case "created_at":
            return _moment(found.created)
        case "finished_at":
            return _moment(found.finished)
        case _ if name in NEVER:
            return False
    value = getattr(job.options, name)
    return _decimal(value) if isinstance(value, float) else value


def status(which: Status) -> dict[str, object]:
    """As GET /statuses lists it."""
    return {"id": int(which), "description": which.description}


def encoded(data: bytes | None) -> str | None:
    """Base64 in lines, each with its end."""
    if data is None:
        return None
    text = base64.b64encode(data).decode()
    return "".join(f"{text[start : start + LINE]}\n" for start in range(0, len(text), LINE))


def _text(data: bytes | None, is_base64: bool) -> str | None:
    if data is None or is_base64:
        return encoded(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotText from None


def _decimal(value: float | None) -> str | None:
    """Rails writes its decimals as texts, with a digit after the point at least."""
    if value is None:
        return None
    text = f"{value:.6f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _moment(seconds: float | None) -> str | None:
    """RFC 3339, with milliseconds."""
    if seconds is None:
        return None
    return (
        datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
