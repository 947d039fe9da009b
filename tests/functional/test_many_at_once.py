"""Many mixed requests at once: no mix-up, nothing left, no growth."""

import concurrent.futures
import contextlib
import json
import socket
import uuid

import pytest

from tests.server import START_S, Server, until


def python(nonce: str) -> tuple[str, str, str]:
    return "python", f"print('{nonce}')", "exited"


def typescript(nonce: str) -> tuple[str, str, str]:
    return "typescript", f"const s: string = '{nonce}';\nconsole.log(s);", "exited"


def rust(nonce: str) -> tuple[str, str, str]:
    return "rust", f'fn main() {{ println!("{nonce}"); }}', "exited"


def failing(nonce: str) -> tuple[str, str, str]:
    return "python", f"print('{nonce}')\nraise SystemExit(5)", "exited"


def killed(nonce: str) -> tuple[str, str, str]:
    return "python", f"import os\nprint('{nonce}', flush=True)\nos.kill(os.getpid(), 9)", "signal"


KINDS = [python, typescript, python, rust, python, failing, killed, python]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_mixed_requests_at_concurrency_eight(cellblock: Server) -> None:
    def one(number: int) -> None:
        nonce = uuid.uuid4().hex
        language, code, reason = KINDS[number % len(KINDS)](nonce)
        answer = cellblock.execute(language, code)
        assert (answer["output"], answer["reason"]) == (nonce + "\n", reason), answer

    def round_of(count: int) -> tuple[int, int]:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(one, number) for number in range(count)]:
                future.result()
        return cellblock.http.memory_info().rss, cellblock.keeper.memory_info().rss

    http_before, keeper_before = round_of(40)
    http_after, keeper_after = round_of(200)
    assert http_after - http_before < 12 << 20
    assert keeper_after - keeper_before < 4 << 20


@pytest.mark.threat("D2")
@pytest.mark.vm
def test_twenty_at_once_are_not_mixed_up(cellblock: Server) -> None:
    def one(number: int) -> str:
        return str(
            cellblock.execute("python", f"import sys; print(sys.stdin.read() + '-{number}')", stdin=str(number))[
                "output"
            ]
        )

    with concurrent.futures.ThreadPoolExecutor(10 if START_S <= 30 else 3) as pool:
        assert list(pool.map(one, range(20))) == [f"{number}-{number}\n" for number in range(20)]


@pytest.mark.threat("D7")
def test_clients_that_hang_up_at_any_moment_leave_nothing(cellblock: Server) -> None:
    """At every stage of a run: queued, acquiring, running, ending. Posture counts descriptors afterwards."""
    body = json.dumps({"language": "python", "code": "print('x' * 5000)", "stdin": "y" * 200_000}).encode()
    head = f"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

    def hang_up(number: int) -> None:
        with socket.create_connection(("127.0.0.1", cellblock.port)) as client:
            client.sendall(head.encode() + body)
            client.settimeout(0.0005 * (number % 80) + 0.0001)
            with contextlib.suppress(TimeoutError):
                client.recv(1)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(hang_up, range(240)))
    until(lambda: cellblock.request("GET", "/health").json["queue"] == {"running": 0, "waiting": 0}, 5)
