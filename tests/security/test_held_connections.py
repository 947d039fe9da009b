"""Attacks on the HTTP process with connections alone: whoever else asks is answered, and memory stays bounded."""

import contextlib
import json
import socket
import threading

import pytest

from tests.server import Server, until

HEAD = b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MEMORY_MAX = 400 << 20
CONNECTIONS = 2100  # above connections_max


def attack(server: Server, data: bytes, stack: contextlib.ExitStack, address: str = "127.0.0.1") -> socket.socket:
    """A connection that has sent `data`; its kernel takes almost nothing of the answer."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind((address, 0))
    client.connect(("127.0.0.1", server.port))
    client.sendall(data)
    return client


def request(fields: dict[str, object]) -> bytes:
    body = json.dumps(fields).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.threat("U3")
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(HEAD, id="half"),
        pytest.param(b"", id="nothing", marks=pytest.mark.slow),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="idle", marks=pytest.mark.slow),
    ],
)
def test_more_connections_than_there_may_be_keep_nobody_out(cellblock: Server, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        before = cellblock.http.num_fds()
        for _ in range(CONNECTIONS):
            attack(cellblock, sent, stack)
        assert cellblock.execute("python", "print(1)")["output"] == "1\n"
        assert cellblock.http.num_fds() - before < CONNECTIONS
    until(lambda: cellblock.http.num_fds() <= before + 5, 10, "they are gone")


@pytest.mark.threat("U3")
def test_announced_bodies_that_do_not_come_keep_no_large_body_out(cellblock: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            attack(cellblock, HEAD + b"Content-Length: 25000000\r\n\r\n", stack)
        answer = cellblock.execute("python", "print(len(input()))", stdin="x" * 1_000_000)
        assert answer["output"] == "1000000\n"


@pytest.mark.threat("U3")
@pytest.mark.slow
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_answers_that_nobody_reads_are_bounded_in_bytes_and_time(accept: str) -> None:
    """Sixty of 13 MB each, of one client; another client waits no longer than for his turn."""
    fields = {"language": "python", "code": "import os\nos.write(1, bytes(1 << 20))", "binary": True}
    data = request(fields).replace(b"Host: localhost\r\n", b"Host: localhost\r\nAccept: %b\r\n" % accept.encode())
    with Server(languages=["python"], unread_s=5) as server, contextlib.ExitStack() as stack:
        at_rest = server.http.num_fds()
        for _ in range(60):
            attack(server, data, stack, "127.0.0.2")
        most, done = 0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.01):
                most = max(most, server.http.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            answers = [server.execute_timed("python", "print(1)") for _ in range(20)]
            until(lambda: server.error_text().count("answer_unread") >= 60, 60, "all of them are cut")
        finally:
            done.set()
            watching.join()
        print(f"memory {most >> 20} MB, the other client {max(seconds for _, seconds in answers):.2f} s at most")
        assert most < MEMORY_MAX
        until(lambda: server.http.num_fds() <= at_rest + 5, 10, "they are gone")
