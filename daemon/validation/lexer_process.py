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

from daemon.sandbox.helper import begin, log_the_end
from daemon.sandbox.linux import PR_SET_PDEATHSIG, prctl

from .matching import search

MEMORY_BYTES = 256 << 20  # a megabyte of the densest source takes 71 MB, and longer than any deadline
FILES_OPEN = 64


def main(parent: int, lexers: Sequence[str]) -> None:
    """Loads the lexers first, so that no source's deadline pays for it. It is killed when its parent (a pid) dies."""
    prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died before we asked, and no signal will come (prctl(2))
        return
    limits = {resource.RLIMIT_DATA: MEMORY_BYTES, resource.RLIMIT_NOFILE: FILES_OPEN, resource.RLIMIT_NPROC: 0}
    begin(limits)
    for lexer in lexers:
        search(lexer, "", ())
    _say(None)
    for line in sys.stdin:
        request = json.loads(line)
        found = search(request["lexer"], request["code"], request["rules"])
        _say(None if found is None else dataclasses.asdict(found))


def _say(answer: object) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    log_the_end("lexes sources")
    main(int(sys.argv[1]), sys.argv[2:])
