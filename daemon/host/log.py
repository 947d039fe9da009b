"""Lines of the log: one JSON object each on stderr, and nobody who writes one ever waits for whoever reads them.

A reader that stands still (a pipe that is full, a terminal after Ctrl-S, a journal that hangs) costs lines, which are
counted and told of, and no request, no restart and no run. What logs by the standard library does it by `to_stderr`.
"""

import datetime
import fcntl
import json
import logging
import os
import select
import socket
import stat
import threading

STDERR = 2


class Lines:
    """Writes lines whole to stderr, from any thread. What finds no room is dropped and counted; the next one that finds
    some has one before it that tells how many were.

    It gives this process, and all that it starts, an open file description of a pipe or a terminal of their own, which
    does not wait: O_NONBLOCK on the one that was inherited would change it for everybody who has it (open(2)).
    """

    def __init__(self) -> None:
        self._rest = b""  # of a line that is longer than PIPE_BUF (pipe(7)), of which a part found room
        self._dropped = 0
        self._socket: socket.socket | None = None
        self._poll: select.poll | None = None
        self._turn = threading.Lock()
        try:
            self._prepare(os.fstat(STDERR).st_mode)
        except OSError:  # there is no stderr: all is dropped
            return

    def __repr__(self) -> str:
        return f"<Lines: {self._dropped} dropped>"

    def _prepare(self, mode: int) -> None:
        """Raises OSError."""
        if stat.S_ISSOCK(mode):  # systemd's journal: it cannot be opened anew, and need not
            self._socket = socket.socket(fileno=os.dup(STDERR))
        elif (stat.S_ISFIFO(mode) or os.isatty(STDERR)) and not fcntl.fcntl(STDERR, fcntl.F_GETFL) & os.O_NONBLOCK:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            try:
                own = os.open(f"/proc/self/fd/{STDERR}", flags)
            except PermissionError:  # another user's: ask for room first, though a neighbour may take that meanwhile
                self._poll = select.poll()
                self._poll.register(STDERR, select.POLLOUT)
                return
            os.dup2(own, STDERR)
            os.close(own)

    def write(self, line: str) -> None:
        """Write a line, without its end, as far as there is room for it now. Raises nothing of the system's."""
        with self._turn:
            self._rest = self._rest[self._send(self._rest) :]
            if self._dropped and not self._rest and self._put(_told(self._dropped)):
                self._dropped = 0
            if self._dropped or self._rest or not self._put(line):
                self._dropped += 1

    def _put(self, line: str) -> bool:
        """False when there is no room for any of it; the rest of one that has begun goes before the next."""
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        sent = self._send(data)
        if sent == 0:
            return False
        self._rest = data[sent:]
        return True

    def _send(self, data: bytes) -> int:
        """How many bytes of it were written. A disk that is full has no room, either."""
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT) if data else 0
            if self._poll is not None:
                data = data[: select.PIPE_BUF] if self._poll.poll(0) else b""
            return os.write(STDERR, data) if data else 0
        except OSError:
            return 0


def _told(dropped: int) -> str:
    moment = _as_text(datetime.datetime.now(datetime.UTC))
    event = "lines were dropped, as nobody read the log"
    return json.dumps({"event": event, "lines": dropped, "level": "warning", "timestamp": moment})


def _as_text(moment: datetime.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """`logger`, `level`, `timestamp` (UTC, ISO 8601), `event`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message has in it."""
        fields = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": _as_text(datetime.datetime.fromtimestamp(record.created, datetime.UTC)),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def line(logger: str, event: str, error: BaseException | None = None, level: int = logging.CRITICAL) -> str:
    """One line, for who logs nothing else; with the traceback of `error`."""
    exception = None if error is None else (type(error), error, error.__traceback__)
    return JsonFormatter().format(logging.LogRecord(logger, level, "", 0, event, None, exception))


class _ToLines(logging.Handler):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.write(self.format(record))


def to_stderr(level: int) -> None:
    """All that is logged in this process from `level` on."""
    handler = _ToLines(Lines())
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler])
