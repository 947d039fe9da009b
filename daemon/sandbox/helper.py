"""How a helper process of the HTTP process begins, before it reads what came from outside, and tells of its end."""

import json
import resource
import signal
import sys
from collections.abc import Mapping

from .linux import no_core_dumps


def log_the_end(what: str) -> None:
    """An exception that ends it is one line of JSON, as the HTTP process logs: `what` it does, and the error's class
    alone, because its words may quote what came from outside."""

    def log(_: type[BaseException], error: BaseException, __: object) -> None:
        line = {"event": f"what {what} ends", "level": "critical", "error": type(error).__name__}
        print(json.dumps(line), file=sys.stderr, flush=True)

    sys.excepthook = log


def begin(limits: Mapping[int, int]) -> None:
    """Set limits (getrlimit(2)) that it cannot raise, leave no core, and go on at signals that mean the HTTP process,
    which still answers what has begun. Raises OSError, ValueError."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    no_core_dumps()
