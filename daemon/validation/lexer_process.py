"""The process that lexes sources by Pygments, one after the other, until its input ends (constructs.py starts it).

A request is a line of JSON: `lexer`, `code`, `rules` (matching.Rules). The answer is one too: a Finding's fields, or
null. A null that nobody asked for comes first: it has loaded what it needs.
"""

import dataclasses
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence

from daemon.sandbox.linux import no_core_dumps, prctl

from .matching import search

MEMORY_BYTES = 256 << 20  # a megabyte of the densest source takes 71 MB, and longer than any deadline
FILES_OPEN = 64
PR_SET_PDEATHSIG = 1


def main(parent: int, lexers: Sequence[str]) -> None:
    """Loads the lexers first, so that no source's deadline pays for it. It is killed when its parent (a pid) dies."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they mean the HTTP process, which still answers what has begun
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died before we asked, and no signal will come (prctl(2))
        return
    limits = {resource.RLIMIT_DATA: MEMORY_BYTES, resource.RLIMIT_NOFILE: FILES_OPEN, resource.RLIMIT_NPROC: 0}
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    no_core_dumps()
    for lexer in lexers:
        search(lexer, "", ())
    _say(None)
    for line in sys.stdin:
        request = json.loads(line)
        found = search(request["lexer"], request["code"], request["rules"])
        _say(None if found is None else dataclasses.asdict(found))


def _say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


def _log(_: type[BaseException], error: BaseException, __: object) -> None:
    """One line of JSON, as the HTTP process logs, and without the error's words, which may quote the source."""
    line = {"event": "what lexes sources ends", "level": "critical", "error": type(error).__name__}
    print(json.dumps(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.excepthook = _log
    main(int(sys.argv[1]), sys.argv[2:])
