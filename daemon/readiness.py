"""Tells whoever started the HTTP process that its event loop turns, and when every toolchain has proven to work."""

import asyncio
import contextlib

from daemon.host.service_manager import Notifier
from daemon.judge.self_tests import SelfTests

READY_S = 60.0  # then it is ready without the toolchains that do not work
STATUS_S = 30.0  # between two reports, where nobody asks for more


async def keep_telling(self_tests: SelfTests, notifier: Notifier) -> None:
    """Until cancelled. A toolchain whose self-test fails is told in the status, and holds up the others for READY_S."""
    every_s = notifier.alive_s or STATUS_S
    proven = self_tests.all_proven
    deadline_s = asyncio.get_running_loop().time() + READY_S
    while not proven.is_set() and (left_s := deadline_s - asyncio.get_running_loop().time()) > 0:
        notifier.tell(STATUS=_status(self_tests))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(proven.wait(), min(every_s, left_s))
    while True:
        notifier.tell(READY=1, STATUS=_status(self_tests))
        await asyncio.sleep(every_s)


def _status(self_tests: SelfTests) -> str:
    problems = "; ".join(f"{name}: {problem}" for name, problem in self_tests.problems().items())
    return problems or "every language works"
