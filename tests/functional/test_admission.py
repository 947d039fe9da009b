"""Admission: a request takes room for what it really sends, and whoever is slow makes nobody else slow or refused."""

import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import socket
import time

import pytest

from tests.server import START_S, Server, until

HEAD = "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
JSON = {"Content-Type": "application/json"}
BODY_MAX = 24 << 20
CHECKER_DEADLINE_S = 2.0  # toolchains/typescript.toml
REFUSED = "import socket; socket.create_connection(('x', 1))"
SLOW_TO_LEX = REFUSED + "\nx = " + "[" * 65_000


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """These servers are their own."""


def open_request(server: Server, headers: str, body: bytes = b"") -> socket.socket:
    """A connection on which a request has begun."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    client.sendall(f"{HEAD}{headers}\r\n\r\n".encode() + body)
    return client


@pytest.mark.slow
def test_a_chunked_body_takes_no_more_room_than_it_has_bytes() -> None:
    """Fourteen at once, each of some bytes: their greatest allowed sizes together would be too much."""
    body = json.dumps({"language": "python", "code": "import time; time.sleep(0.5)"}).encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with Server(languages=["python"]) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_request(server, "Transfer-Encoding: chunked", chunked)) for _ in range(14)]
        first_lines = [client.recv(300).split(b"\r\n")[0] for client in clients]
        assert first_lines == [b"HTTP/1.1 200 OK"] * 14


@pytest.mark.slow
def test_who_declares_much_and_sends_nothing_keeps_nobody_out() -> None:
    with Server(languages=["python"]) as server, contextlib.ExitStack() as stack:
        for size in (*[BODY_MAX] * 10, (256 << 20) - 10 * BODY_MAX):
            stack.enter_context(open_request(server, f"Content-Length: {size}"))
        assert server.execute("python", "print(1)")["output"] == "1\n"
        long_input = server.execute("python", "print(len(input()))", stdin="x" * 1_000_000)
        assert long_input["output"] == "1000000\n"


@pytest.mark.threat("U4")
@pytest.mark.slow
def test_a_body_of_millions_of_fields_is_refused_and_stops_nobody() -> None:
    """Parsed where others are answered, it stopped them for 21 s and took 2 GB."""
    fields = ",".join(f'"{number:x}":0' for number in range(1_000_000))
    body = f'{{"code":"","language":"python","files":[{{{fields}}}]}}'.encode()
    with Server(languages=["python"]) as server, concurrent.futures.ThreadPoolExecutor() as pool:
        memory_bytes = [server.http.memory_info().rss]
        attacks = [pool.submit(server.request, "POST", "/execute", body, JSON) for _ in range(2)]
        while not all(attack.done() for attack in attacks):
            assert server.execute("python", "print(1)")["output"] == "1\n"
            memory_bytes.append(server.http.memory_info().rss)
        refused = [attack.result() for attack in attacks]
        assert {(answer.status, answer.json["errors"][0]["field"]) for answer in refused} == {(400, "body")}
        assert max(memory_bytes) - memory_bytes[0] < 64 << 20
        content = os.urandom(11 << 20)
        files = [{"name": "a", "content": base64.b64encode(content).decode(), "encoding": "base64"}]
        code = "import hashlib; print(hashlib.sha256(open('a', 'rb').read()).hexdigest())"
        sent = server.execute("python", code, files=files)
        assert sent["output"].strip() == hashlib.sha256(content).hexdigest()


@pytest.mark.slow
def test_a_chunked_body_that_is_too_long_is_refused_while_it_comes() -> None:
    with Server(languages=["python"], body_bytes_max=200_000) as server:
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with open_request(server, "Transfer-Encoding: chunked", chunk * 4) as client:
            assert client.recv(300).startswith(b"HTTP/1.1 413 ")


@pytest.mark.slow
def test_a_full_queue_is_told_before_the_body_is_read() -> None:
    with (
        Server(languages=["python"], runs_at_once=1, queue=0) as server,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        running = pool.submit(server.execute, "python", "import time; time.sleep(2)")
        until(lambda: server.request("GET", "/health").json["queue"]["running"] == 1, START_S)
        with open_request(server, f"Content-Length: {BODY_MAX}") as client:
            assert client.recv(300).startswith(b"HTTP/1.1 503 ")
        running.result()


@pytest.mark.slow
def test_while_more_come_than_can_run_a_grading_may_wait_and_a_single_run_is_told_at_once() -> None:
    busy = {"language": "python", "code": "import time; time.sleep(0.3)"}
    tests = [{"input": "1 2", "expected": "3"}]
    grading = {"language": "python", "code": "print(sum(map(int, input().split())))", "tests": tests}
    with (
        Server(languages=["python"], runs_at_once=1, queue=4) as server,
        concurrent.futures.ThreadPoolExecutor(6) as pool,
    ):
        waiting = lambda: server.request("GET", "/health").json["queue"]["waiting"]  # noqa: E731
        running = [pool.submit(server.post, busy) for _ in range(5)]
        until(lambda: waiting() == 4, START_S)
        assert server.post(busy).json["detail"] == "All 1 slots are busy and 4 requests wait; try again"
        until(lambda: waiting() == 3, START_S)
        graded = pool.submit(
            server.request, "POST", "/grade", json.dumps(grading).encode(), {"Content-Type": "application/json"}
        )
        refused = server.post(busy)
        assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (503, "queue_full", "1")
        assert refused.json["detail"] == "More requests come than can run; try again"
        assert "cellblock_queue_crowded{" in server.request("GET", "/metrics").text
        assert graded.result().json["verdict"] == "AC"
        assert {one.result().status for one in running} == {200}
        assert server.post(busy).status == 200, "two were served since somebody was refused"


@pytest.mark.threat("U5")
def test_input_validation_has_no_queue_of_its_own() -> None:
    """Whoever is slow to lex waits in the one queue, and when that is full he is told so."""
    with (
        Server(languages=["python"], runs_at_once=1, queue=1) as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        fields = {"language": "python", "code": SLOW_TO_LEX}
        answers = list(pool.map(server.post, [fields] * 8))
        codes = [answer.json.get("code") for answer in answers]
        assert "queue_full" in codes, codes
        until(
            lambda: server.post({"language": "python", "code": REFUSED}).status == 400,
            START_S,
            "the lexer is there again",
        )


def test_what_is_forbidden_is_told_before_a_stream_begins() -> None:
    with Server(languages=["python"]) as server:
        answer = server.post({"language": "python", "code": REFUSED}, Accept="text/event-stream")
        assert (answer.status, answer.json["code"]) == (400, "dangerous_operation")


def slow_to_check(number: int) -> str:
    """About as much work for a type checker as its deadline allows."""
    grow = "type Grow<T extends any[], N extends number> = T['length'] extends N ? T : Grow<[...T, 1], N>;\n"
    sizes = ((index, 600 + (index * 7 + number) % 390) for index in range(60))
    return grow + "".join(f"const w{index}: Grow<[], {size}>['length'] = {size};\n" for index, size in sizes)


@pytest.mark.threat("U5")
@pytest.mark.slow
def test_a_program_that_is_slow_to_check_does_not_hold_up_the_next() -> None:
    """The next one waits a tenth of a second for the type checker, then it is compiled in a jail of its own."""
    with Server(languages=["typescript"]) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        ready = lambda: server.request("GET", "/health").json["sandbox"]["services"] == {"typescript": "ready"}  # noqa: E731
        until(ready, START_S)
        compile_alone_s = server.execute("typescript", "console.log(0);", args=[])["compile_time"]
        slow = pool.submit(server.execute, "typescript", slow_to_check(time.time_ns()))
        time.sleep(0.2)  # the checker has begun with it; nothing tells when
        began = time.monotonic()
        answer = server.execute("typescript", f"console.log({time.time_ns()});")
        took_s = time.monotonic() - began
        slow.result()
        assert answer["success"] and not answer["cached"]
        print(f"alone {compile_alone_s:.3f} s, beside a slow one {took_s:.3f} s, told {answer['compile_time']:.3f} s")
        assert took_s < CHECKER_DEADLINE_S, "it waited until the checker had given up the slow one"
