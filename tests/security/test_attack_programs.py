"""The programs of `cellblock doctor --attack`, sent to a server: what they try is shut there, too."""

import base64
import concurrent.futures
import json
from typing import Any

import pytest

from daemon.attack import bait, probe
from daemon.attack.probe import GOOD_END, Probe
from daemon.judge.submission import Reason
from daemon.settings import Settings
from tests.server import IS_EMULATED, Server

AT_ONCE = 2
PROCESSES = 64
TRYING = [one for one in probe.load() if one.end is None or one.end.reason is Reason.EXITED]


@pytest.mark.threat(
    "D9", "D11", "F4", "F5", "F6", "K1", "K2", "K3", "M6", "M9", "P3", "P5", "P6", "T4", "T5", "U2", "U7", "U8"
)  # fmt: skip
@pytest.mark.vm
def test_what_programs_try_is_refused_unless_it_is_known_and_accepted(cellblock: Server) -> None:
    """The secret that they look for is in the environment of each process of the server."""
    with (
        bait.bait(Settings().first_uid, cellblock.secret) as told,
        concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        stdin = json.dumps({**told, "processes": PROCESSES})
        for one, answer in zip(TRYING, pool.map(lambda one: run(cellblock, one, stdin), TRYING), strict=True):
            end = one.end or GOOD_END
            assert (answer["reason"], answer["exit_code"]) == (end.reason, end.exit_code), (one.name, answer)
            attempts = [json.loads(line) for line in answer["stdout"].splitlines()]
            assert attempts or one.end is not None, one.name
            assert one.accepted is not None or not [each for each in attempts if each["open"]], one.name


def run(cellblock: Server, one: Probe, stdin: str) -> dict[str, Any]:
    shared = {
        "name": probe.SHARED.name,
        "encoding": "base64",
        "content": base64.b64encode(probe.SHARED.read_bytes()).decode(),
    }
    return cellblock.execute(
        "python", one.code.decode(), stdin=stdin, files=[shared], timeout=60 if IS_EMULATED else 10
    )
