"""Whether this process should be sent requests: what GET /health/live and GET /health/ready say, and a part of /health.

live   the event loop turns; a supervisor restarts a process that does not say so.
ready  every language was seen to work lately, the keeper speaks and the process does not stop; a load balancer sends
       requests where it is.
"""

import time
from collections.abc import Callable

from aiohttp import web

from daemon.judge.self_tests import SelfTests
from daemon.sandbox.client import Client

from .errors import RETRY_AFTER_S, ApiProblem

KEEPER_SILENT_S = 3.0  # its figures come once a second


class Readiness:
    """`drain` is called once, when the process begins to stop."""

    def __init__(self, client: Client, self_tests: SelfTests) -> None:
        self._client, self._self_tests = client, self_tests
        self._is_draining = False
        self._others: dict[str, Callable[[], str | None]] = {}

    def __repr__(self) -> str:
        return f"<Readiness: {self.problems() or 'ready'}>"

    def drain(self) -> None:
        """No new requests are wanted from now on."""
        self._is_draining = True

    def watch(self, name: str, problem: Callable[[], str | None]) -> None:
        """`problem` says what keeps a part from working that programs run without; None: nothing."""
        self._others[name] = problem

    def of_all(self) -> dict[str, str]:
        """What is wrong: with the sandbox, and with parts that programs run without."""
        others = {name: problem() for name, problem in self._others.items()}
        return {**self.of_sandbox(), **{name: why for name, why in others.items() if why is not None}}

    def of_sandbox(self) -> dict[str, str]:
        """What keeps programs from running, by toolchain id, and `keeper`."""
        wardens = {name: why for name, why in self._client.wardens().items() if why != "ready"}
        wrong = {**self._self_tests.problems(), **wardens}
        if self._client.state is None:
            wrong["keeper"] = "not connected"
        elif time.monotonic() - self._client.state_s > KEEPER_SILENT_S:
            wrong["keeper"] = f"said nothing for {KEEPER_SILENT_S:g} s"
        return wrong

    def problems(self) -> dict[str, str]:
        """That, and `server` while it stops; empty: ready."""
        stopping = {"server": "it is being stopped"} if self._is_draining else {}
        return {**self.of_sandbox(), **stopping}

    async def live(self, _: web.Request) -> web.Response:
        """200, always: it is an answer."""
        return web.json_response({"status": "live"})

    async def ready(self, _: web.Request) -> web.Response:
        """200, or a problem that names what is wrong; /health tells more. Raises ApiProblem 503 `not_ready`."""
        if problems := self.problems():
            raise ApiProblem(503, "not_ready", f"Not ready: {', '.join(problems)}", retry_after_s=RETRY_AFTER_S)
        return web.json_response({"status": "ready"})
