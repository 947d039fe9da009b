"""`cellblock http` on sockets that somebody else listens on, as under systemd: a restart under load loses nothing."""

import collections.abc
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import threading

import psutil
import pytest

from daemon.host import service_manager
from tests.server import COMMAND, START_S, Server, until

PROGRAM = json.dumps({"language": "python", "code": "print(6 * 7)"})
ACTIVATED = 'export LISTEN_FDS=2 LISTEN_PID=$$; exec 3<&%d 4<&%d; exec setpriv "$@"'
ENOUGH = 40
Answer = tuple[int, str]
AS_USER = ["--reuid=cellblock", "--regid=cellblock", "--clear-groups", "--bounding-set=-all"]


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The server is its own."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; `host` is its path."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.host)


class Manager:
    """systemd's part: it listens, hands the sockets over, and hears when the service is ready."""

    def __init__(self, server: Server, folder: pathlib.Path) -> None:
        self._server = server
        self.tcp = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.path = str(folder / "http.sock")
        self.unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.unix.bind(self.path)
        self.unix.listen(1024)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(f"\0{server.instance}")

    @contextlib.contextmanager
    def service(self) -> collections.abc.Iterator[subprocess.Popen[bytes]]:
        """Two HTTP processes, from READY=1 until they have ended."""
        descriptors = (self.tcp.fileno(), self.unix.fileno())
        environment = {
            **self._server.environment, "CELLBLOCK_HTTP_PROCESSES": "2", "NOTIFY_SOCKET": f"@{self._server.instance}",
            "CELLBLOCK_PORT": "1", "CELLBLOCK_DRAIN_S": "30",
        }  # fmt: skip
        argv = ["bash", "-c", ACTIVATED % descriptors, "bash", *AS_USER, COMMAND, "http"]
        with subprocess.Popen(argv, env=environment, pass_fds=descriptors) as process:
            try:
                service_manager.heard(self.ear)  # of the process before
                while b"READY=1" not in self.ear.recv(4096):
                    pass
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
        assert process.returncode == 0

    def connections(self) -> list[http.client.HTTPConnection]:
        tcp = http.client.HTTPConnection("127.0.0.1", self.tcp.getsockname()[1], timeout=60)
        return [tcp, UnixConnection(self.path)]

    def close(self) -> None:
        for sock in (self.tcp, self.unix, self.ear):
            sock.close()


def ask(connection: http.client.HTTPConnection) -> Answer:
    connection.request("POST", "/execute", PROGRAM, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()).get("output")


def ask_until(stop: threading.Event, connection: http.client.HTTPConnection, keeps: bool, heard: list[Answer]) -> None:
    """One request after the other; each opens a connection, or the client keeps it until it is told that it ends."""
    while not stop.is_set():
        heard.append(ask(connection))
        if not keeps:
            connection.close()
    connection.close()


@pytest.mark.slow
def test_a_restart_under_load_loses_no_request(tmp_path: pathlib.Path) -> None:
    """Of clients that keep their connections and of those that do not, over TCP and over a unix socket."""
    stop, heard = threading.Event(), list[Answer]()
    with (
        Server(languages=["python"]) as server,
        contextlib.closing(Manager(server, tmp_path)) as manager,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(stop.set)
        with manager.service() as process:
            assert len(psutil.Process(process.pid).children()) == 2
            clients = [
                pool.submit(ask_until, stop, connection, keeps, heard)
                for keeps in (True, False)
                for connection in manager.connections()
            ]
            until(lambda: len(heard) >= ENOUGH, START_S)
        before = len(heard)
        with manager.service():
            until(lambda: len(heard) >= before + ENOUGH, START_S)
            stop.set()
            for client in clients:
                client.result()
    assert set(heard) == {(200, "42\n")}
    print(f"{len(heard)} requests, one restart")


@pytest.mark.slow
@pytest.mark.threat("U11")
def test_our_own_path_is_for_its_group_and_taken_from_nobody(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "http.sock"
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(path))
    stale.close()  # the name stays, as after a SIGKILL
    settings = {"unix_socket": path, "unix_socket_group": "www-data", "unix_socket_mode": "660"}
    with Server(languages=["python"], **settings) as server:
        assert ask(UnixConnection(str(path))) == ask(http.client.HTTPConnection("127.0.0.1", server.port))
        assert (path.stat().st_mode & 0o777, path.group()) == (0o660, "www-data")
        environment = {**server.environment, "CELLBLOCK_INSTANCE": f"{server.instance}-2", "CELLBLOCK_PORT": "0"}
        second = subprocess.run([COMMAND, "serve"], env=environment, capture_output=True, text=True, check=False)
        assert (second.returncode, "somebody listens there" in second.stderr) == (125, True)
