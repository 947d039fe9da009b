"""Log lines of what uses the standard library alone: one JSON object each on stderr, as those of the HTTP process."""

import datetime
import json
import logging


class JsonFormatter(logging.Formatter):
    """`logger`, `level`, `timestamp` (UTC, ISO 8601), `event`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message has in it."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        fields = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": moment.isoformat().replace("+00:00", "Z"),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def line(logger: str, event: str, error: BaseException | None = None) -> str:
    """One line at level critical, for who logs nothing else; with the traceback of `error`."""
    exception = None if error is None else (type(error), error, error.__traceback__)
    return JsonFormatter().format(logging.LogRecord(logger, logging.CRITICAL, "", 0, event, None, exception))


def to_stderr(level: int) -> None:
    """All that is logged in this process from `level` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler])
