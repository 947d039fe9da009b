"""`cellblock serve` starts anew whatever of it no longer responds, as systemd's watchdog does for the units."""

import pytest

from tests.server import START_S, Server, until

SILENCE_S = 2.0


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The server is its own."""


def test_a_stopped_process_is_replaced() -> None:
    with Server(languages=["python"], silence_s=SILENCE_S) as server:
        stopped = {server.keeper, server.http}
        for process in stopped:
            process.suspend()
        until(lambda: not any(process.is_running() for process in stopped), SILENCE_S + 3, "both were killed")
        server.wait_healthy(START_S)
        assert server.execute("python", "print(6 * 7)")["output"] == "42\n"
        assert not stopped & {server.keeper, server.http}
    assert server.log.count("was silent for 2 s; killing it") == 2
