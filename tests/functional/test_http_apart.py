"""`cellblock http` beside a keeper that somebody else started, as under systemd."""

import collections.abc
import contextlib
import os
import signal
import socket
import subprocess

import psutil
import pytest

from tests.server import COMMAND, START_S, Server, until


@contextlib.contextmanager
def http_apart(server: Server, port: int, **settings: str) -> collections.abc.Iterator[subprocess.Popen[bytes]]:
    environment = {**server.environment, "CELLBLOCK_PORT": str(port), **settings}
    as_user = ["setpriv", "--reuid=cellblock", "--regid=cellblock", "--clear-groups", "--bounding-set=-all"]
    with subprocess.Popen([*as_user, COMMAND, "http"], env=environment) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.slow
def test_several_of_them_have_a_supervisor() -> None:
    with Server(languages=["python"]) as server:
        port = free_port()
        with http_apart(server, port, CELLBLOCK_HTTP_PROCESSES="2") as process:
            own, server.port = server.port, port
            server.wait_healthy(START_S)
            assert server.execute("python", "print(6 * 7)")["output"] == "42\n"
            supervisor = psutil.Process(process.pid)
            until(lambda: len(supervisor.children()) == 2, START_S, "two HTTP processes")
            children = supervisor.children()
            assert all(0 not in child.uids() for child in (supervisor, *children))
            children[0].kill()
            until(lambda: len(set(supervisor.children()) - {children[0]}) == 2, START_S, "two again")
            server.wait_healthy(START_S)
            server.port = own
        assert not any(child.is_running() for child in children)
        assert server.execute("python", f"print({os.getpid()})")["success"] is True
