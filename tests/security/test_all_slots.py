"""One client has a program in every slot, for a minute or with all processors: another's go as if there were no more than one."""

import contextlib
import http.client
import json
import pathlib
import re

import pytest

from tests import posture
from tests.server import Server, until

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def slots(cellblock: Server) -> int:
    found = re.search(r"^cellblock_slots(?:{.*})? (.*)$", cellblock.request("GET", "/metrics").text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def execute_as(cellblock: Server, address: str, code: str) -> tuple[int, dict[str, object]]:
    """Of a client with this address."""
    made = http.client.HTTPConnection("127.0.0.1", cellblock.port, 20, source_address=(address, 0))
    with contextlib.closing(made):
        body = json.dumps({"language": "python", "code": code})
        made.request("POST", "/execute", body, {"Content-Type": "application/json"})
        answer = made.getresponse()
        return answer.status, json.loads(answer.read())


def weights(cellblock: Server) -> list[int]:
    """Of the processors, of each jail's group: of 1024 (v1) or 100 (v2)."""
    found = []
    for group in posture.jail_groups(cellblock):
        for name in ("cpu.shares", "cpu.weight"):
            with contextlib.suppress(OSError):
                found.append(int(pathlib.Path(group, name).read_text()))
    return found


@pytest.mark.threat("U12")
def test_a_client_that_has_every_slot_keeps_nobody_waiting(cellblock: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(slots(cellblock)):
            asleep = "import time\nprint(1, flush=True)\ntime.sleep(60)"
            stack.enter_context(cellblock.running("python", asleep, timeout=60))
        until(lambda: cellblock.request("GET", "/health").json["queue"]["running"] == slots(cellblock), 5, "all run")
        status, answer = execute_as(cellblock, "127.0.0.2", "print(2)")
        assert (status, answer["output"]) == (200, "2\n"), answer


@pytest.mark.threat("U12", "T6")
def test_the_programs_of_one_client_share_one_programs_part_of_the_processors(cellblock: Server) -> None:
    """Each has the part that its client's share allowed when it began: a half for the second, a third for the third."""
    usual = max(weights(cellblock))
    with contextlib.ExitStack() as stack:
        for number in range(1, 4):
            asleep = "import time\nprint(1, flush=True)\ntime.sleep(60)"
            stack.enter_context(cellblock.running("python", asleep, timeout=60))
            assert weights(cellblock).count(usual // number) >= 1
