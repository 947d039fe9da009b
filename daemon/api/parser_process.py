"""The process that parses large bodies, one after the other, until its socket is closed (parser.py starts it).

A message is the name of a model with two descriptors: the body, and an empty file for what was found in it.
"""

import contextlib
import importlib
import mmap
import os
import resource
import socket
import sys

import pydantic

from daemon.sandbox import wire
from daemon.sandbox.helper import begin, log_the_end

from . import parcel, parsing

OWN_BYTES = 128 << 20  # of the interpreter, pydantic and the models
FILES_OPEN = 32
OOM_SCORE = "900"  # where memory is short, the kernel ends it before the HTTP process (proc(5), oom_score_adj)
NICE = 5  # a quarter of a processor that it shares with the HTTP process (sched(7))
TIMES = 16  # a text with one character beyond U+FFFF takes four bytes for each, as JSON and once more as a value


def main(sock: socket.socket, bytes_max: int) -> None:
    """`bytes_max`: of a body. Returns when the other side is gone."""
    os.nice(NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(OOM_SCORE)
    limits = {
        resource.RLIMIT_DATA: OWN_BYTES + TIMES * bytes_max, resource.RLIMIT_FSIZE: parcel.bytes_max(bytes_max),
        resource.RLIMIT_NOFILE: FILES_OPEN, resource.RLIMIT_NPROC: 0,
    }  # fmt: skip
    begin(limits)
    sock.send(b"r")
    while (message := wire.receive(sock)) is not None:
        name, (body, answer) = message
        try:
            parcel.write(answer, _found(body, name.decode()))
        finally:
            os.close(body)
            os.close(answer)
        sock.send(b"p")


def _found(body: int, name: str) -> pydantic.BaseModel | parsing.BadBody:
    try:
        with mmap.mmap(body, 0, prot=mmap.PROT_READ) as data:
            parsing.check_shape(data)
            return parsing.parse(data, parcel.REQUESTS[name])
    except parsing.BadBody as error:
        return error
    except MemoryError:
        return parsing.NotTheModel("body: it needs too much memory to be parsed")


if __name__ == "__main__":
    log_the_end("parses large bodies")
    for module in sys.argv[3:]:
        importlib.import_module(module)
    main(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
