"""What is written to the log: one JSON object per line on stderr, and nothing of a request's source, input or output.
Nobody waits for it to be read (host/log.py).

Our own lines carry the ids of the request that they are logged for: its own, and its trace's where it has one.
Lines of libraries carry none of their words, because a library quotes what it could not read; they say which library,
which line of it, and which class of error.
"""

import logging
import pathlib
import time
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

from daemon.host.log import Lines
from daemon.settings import Settings

IDS: ContextVar[Mapping[str, str]] = ContextVar("ids", default={})  # noqa: B039 (nobody changes it)
LIBRARY_LINES_MAX = 10  # in a second, of all libraries together
FRAMES_MAX = 12


class Seldom:
    """Lets at most `most` of something happen in a second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._since_s, self._passed, self._held_back = 0.0, 0, 0

    def __repr__(self) -> str:
        return f"<Seldom: {self._passed}/{self._most} in this second, {self._held_back} held back>"

    def take(self, now_s: float) -> int | None:
        """None when it may not happen now; else how many were held back since one last happened."""
        if now_s - self._since_s >= 1.0:
            self._since_s, self._passed = now_s, 0
        if self._passed >= self._most:
            self._held_back += 1
            return None
        self._passed += 1
        held_back, self._held_back = self._held_back, 0
        return held_back


class OfLibraries(logging.Handler):
    """Takes what libraries log by the standard library's `logging`."""

    def __init__(self) -> None:
        super().__init__()
        self._seldom = Seldom(LIBRARY_LINES_MAX)
        self._log = structlog.get_logger("cellblock.libraries")

    def emit(self, record: logging.LogRecord) -> None:
        """One line without the record's words; nothing where there were too many in this second."""
        held_back = self._seldom.take(time.monotonic())
        if held_back is None:
            return
        error = record.exc_info[1] if record.exc_info else None
        facts: dict[str, object] = {"library": record.name, "where": f"{record.filename}:{record.lineno}"}
        if held_back:
            facts["held_back"] = held_back
        if error is not None:
            facts.update(error=type(error).__name__, frames=_frames(error))
        self._log.log(record.levelno, "a library complains", **facts)


def _frames(error: BaseException) -> list[str]:
    """Where it was raised, innermost last; no line of source."""
    found = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    return [f"{pathlib.PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in found]


class _ToLines:
    """What structlog hands a line to, by the name of its level."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def msg(self, line: str) -> None:
        self._lines.write(line)

    debug = info = warning = error = critical = exception = log = msg


def _add_ids(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**IDS.get(), **line}


def configure(settings: Settings) -> None:
    """From now on all lines of this process look like this, its libraries' too."""
    lines = Lines()
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            _add_ids,
            structlog.processors.add_log_level,
            structlog.processors.MaybeTimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _ToLines(lines),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[OfLibraries()], force=True)
