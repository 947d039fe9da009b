"""cellblock behind a real nginx with the files of nginx/: what it keeps away, and what must pass it unharmed."""

import collections
import collections.abc
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import re
import signal
import socket
import ssl
import threading
import time
from typing import Any

import pytest

from tests import nginx, small_packages
from tests.nginx import Connection, Nginx
from tests.server import START_S, Answer, Server, until

JSON = {"Content-Type": "application/json"}
PROBLEM_KEYS = ["type", "title", "status", "detail", "code"]
SLOTS, PLACES = 2, 2
AT_ONCE, BURST, RATE = 64, 200, 100  # of nginx/site.conf
SOON_S = 5.0  # far less than the programs here would run
FOREVER = "import time\nprint('begun', flush=True)\ntime.sleep(60)"


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The server is its own."""


@pytest.fixture(scope="module")
def behind() -> collections.abc.Iterator[Server]:
    with nginx.shared_folder() as folder:
        server = Server(
            languages=("python",), runs_at_once=SLOTS, queue=PLACES, http_processes=1,
            unix_socket=f"{folder}/http.sock", unix_socket_group="www-data", trusted_proxies=("unix",),
            insecure_without_tokens=True, requests_per_minute_of_address=600,
        )  # fmt: skip
        with server:
            yield server


@pytest.fixture(scope="module")
def front(behind: Server) -> collections.abc.Iterator[Nginx]:
    with Nginx(f"unix:{behind.environment['CELLBLOCK_UNIX_SOCKET']}") as running:
        yield running
    assert not re.search(r"\[(alert|emerg|crit)\]", running.errors)


def body(code: str, **fields: Any) -> bytes:
    return json.dumps({"language": "python", "code": code, **fields}).encode()


def execute(front: Nginx, code: str, address: str | None = None, **fields: Any) -> Answer:
    return front.request("POST", "/execute", body(code, **fields), JSON, address)


def demand_problem(answer: Answer, status: int, code: str) -> None:
    """In the form of cellblock's own, whoever says it."""
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert list(answer.json) == PROBLEM_KEYS
    assert (answer.json["status"], answer.json["code"]) == (status, code)
    assert answer.json["type"] == f"urn:cellblock:problem:{code}"


def said(front: Nginx, data: bytes) -> Answer:
    """To these bytes."""
    with contextlib.closing(Connection(front)) as connection:
        connection.connect()
        connection.sock.sendall(data)
        return next_answer(connection)


def next_answer(connection: Connection) -> Answer:
    """To what was written to the connection's socket itself."""
    response = http.client.HTTPResponse(connection.sock)
    response.begin()
    return Answer(response)


def queue(behind: Server) -> tuple[int, int]:
    """Running and waiting, as the server itself says, without nginx."""
    counts = behind.request("GET", "/health").json["queue"]
    return counts["running"], counts["waiting"]


def connections_of(behind: Server) -> int:
    """How many nginx has to cellblock's socket."""
    path = behind.environment["CELLBLOCK_UNIX_SOCKET"]
    return sum(str(one.laddr) == path and one.status != "LISTEN" for one in behind.http.net_connections("unix"))


# -- TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def test_a_program_runs_over_tls(front: Nginx, version: ssl.TLSVersion) -> None:
    with contextlib.closing(Connection(front)) as connection:
        connection.trust = ssl.create_default_context(cafile=front.certificate)
        connection.trust.minimum_version = connection.trust.maximum_version = version
        connection.request("POST", "/execute", body("print(6 * 7)"), JSON)
        answer = Answer(connection.getresponse())
        assert (answer.status, answer.json["output"]) == (200, "42\n")
        assert answer.headers["Server"] == "nginx"
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_the_page_for_browsers_is_reached(front: Nginx) -> None:
    """It names its files, and what it asks, relative to itself."""
    page = front.request("GET", "/", headers={"Accept": "text/html"})
    assert (page.status, page.headers["Vary"]) == (200, "Accept, Origin")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert front.request("GET", "/playground/page.js").status == 200
    assert not re.search('(?:src|href)="/', page.text)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_1_1_is_refused(front: Nginx) -> None:
    with contextlib.closing(Connection(front)) as connection, pytest.raises((ssl.SSLError, ConnectionError)):
        connection.trust = ssl.create_default_context(cafile=front.certificate)
        connection.trust.set_ciphers("DEFAULT:@SECLEVEL=0")
        connection.trust.minimum_version = connection.trust.maximum_version = ssl.TLSVersion.TLSv1_1
        connection.connect()


def test_a_client_that_comes_back_resumes_its_session(front: Nginx) -> None:
    context = ssl.create_default_context(cafile=front.certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose handshake ends with the session known
    session = None
    for was_here in (False, True):
        with contextlib.closing(Connection(front)) as connection:
            raw = socket.create_connection((connection.host, connection.port), START_S)
            connection.sock = context.wrap_socket(raw, server_hostname=nginx.NAME, session=session)
            assert connection.sock.session_reused is was_here
            session = connection.sock.session


# -- nginx's own answers

LARGE = "A" * 10_000  # above 8 KB, and within one record of TLS
REFUSED = {
    "not HTTP": (b"GARBAGE\r\n\r\n", 400, "invalid_request"),
    "a large header": (f"GET / HTTP/1.1\r\nHost: x\r\nX: {LARGE}\r\n\r\n".encode(), 431, "headers_too_large"),
    "a long path": (f"GET /{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 414, "uri_too_long"),
    "two lengths": (
        b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "invalid_request",
    ),
    "a large body": (
        b"POST /execute HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 26214401\r\n\r\n", 413, "body_too_large",
    ),
    "a large package": (
        b"PUT /problems/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 269484033\r\n\r\n", 413, "body_too_large",
    ),
    "a large program for a stored problem": (
        b"POST /problems/a/grade HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 26214401\r\n\r\n", 413, "body_too_large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_nginx_refuses_is_a_problem(front: Nginx, case: str) -> None:
    data, status, code = REFUSED[case]
    answer = said(front, data)
    demand_problem(answer, status, code)
    assert front.upstreams_of(answer) == ["-"], "cellblock was not asked"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "//metrics",
        "/metrics/",
        "/%6detrics",
        "/./metrics",
        "/a/../metrics",
        "/a/%2e%2e%2fmetrics",
        "/metrics?x",
    ],
)
def test_metrics_are_not_reached_from_outside(front: Nginx, path: str) -> None:
    answer = front.request("GET", path)
    demand_problem(answer, 404, "not_found")
    assert front.upstreams_of(answer) == ["-"], "cellblock was not asked"


def test_what_is_sent_without_tls_is_refused(front: Nginx) -> None:
    """Not sent on to https: who sent a token in clear must notice."""
    for port, status, code in ((front.plain_port, 403, "https_only"), (front.port, 400, "invalid_request")):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)) as connection:
            connection.request("POST", "/execute", body("print(1)"), JSON)
            demand_problem(Answer(connection.getresponse()), status, code)


def test_a_cellblock_that_is_away_is_502() -> None:
    with Nginx("unix:/nonexistent/http.sock") as alone:
        answer = execute(alone, "print(1)")
    demand_problem(answer, 502, "no_answer")
    assert answer.headers["Retry-After"] == "1"


def test_cellblocks_own_errors_pass_unchanged(front: Nginx) -> None:
    answer = front.request("POST", "/execute", b'{"language": "cobol", "code": ""}', JSON)
    assert (answer.status, answer.json["code"]) == (400, "unsupported_language")
    assert answer.json["errors"]


# -- bodies


def test_a_body_that_does_not_fit_into_nginxs_memory_arrives(front: Nginx) -> None:
    answer = execute(front, "import sys\nprint(len(sys.stdin.read()))", stdin="x" * (2 << 20))
    assert answer.json["output"] == f"{2 << 20}\n"


def test_a_package_arrives_and_is_graded(front: Nginx) -> None:
    zipped = small_packages.zip_bytes({**small_packages.LEGACY, ".timelimit": "1\n"})
    answer = front.request("PUT", "/problems/sum", zipped, {"Content-Type": "application/zip"})
    assert answer.status == 201, answer.text
    code = "print(sum(map(int, input().split())))"
    graded = front.request("POST", "/problems/sum/grade", body(code), JSON)
    assert graded.json["verdict"] == "AC"
    assert front.request("DELETE", "/problems/sum").status == 204


def test_a_package_is_refused_before_it_is_sent(front: Nginx) -> None:
    """Nothing of its 100 MB has come."""
    head = b"PUT /problems/a HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 104857600\r\n\r\n"
    demand_problem(said(front, head), 415, "unsupported_media_type")


def test_slow_clients_take_nothing_of_cellblock(front: Nginx, behind: Server) -> None:
    """As many as one address may have, half of them in the middle of a header, half in the middle of a body."""
    address, before, program = "203.0.113.1", connections_of(behind), body("print(1)")
    head = f"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(program)}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(contextlib.closing(Connection(front, address))) for _ in range(AT_ONCE)]
        for number, connection in enumerate(slow):
            connection.connect()
            connection.sock.sendall(head + program[:-1] if number % 2 else head[:40])
        assert execute(front, "print(2)").json["output"] == "2\n"
        assert connections_of(behind) <= before + 1
        assert queue(behind) == (0, 0)
        slow[1].sock.sendall(program[-1:])  # and it is answered once it has sent all
        assert next_answer(slow[1]).json["output"] == "1\n"


# -- ids of requests


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "f" * 128])
def test_a_request_keeps_the_id_that_it_came_with(front: Nginx, given: str) -> None:
    answer = front.request("POST", "/execute", body("print(1)"), {**JSON, "X-Request-Id": given})
    assert answer.headers.get_all("X-Request-Id") == [given]
    assert answer.json["request_id"] == given, "cellblock has it too"


@pytest.mark.parametrize("given", ["", "two words", "f" * 129, "a/b", '"', "ü"])
def test_an_id_that_could_mislead_is_replaced(front: Nginx, given: str) -> None:
    answer = front.request("POST", "/execute", body("print(1)"), {**JSON, "X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]


# -- several nodes (test_nginx_nodes.py has more)


def test_what_is_for_a_stored_problem_goes_to_its_node_or_nowhere(front: Nginx, behind: Server) -> None:
    """Two of three nodes are away, longer than it takes nginx to give up a node."""
    with contextlib.ExitStack() as stack:
        away = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(2)]
        for one in away:
            one.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        nodes = [f"127.0.0.1:{port}" for port in (away[0].getsockname()[1], behind.port, away[1].getsockname()[1])]
        several = stack.enter_context(Nginx(nodes=tuple(nodes)))
        expected = {"PUT": 415, "GET": 404, "DELETE": 404, "POST": 404}  # of the one that is there
        statuses = collections.Counter[int]()
        for number in range(40):  # which node a number belongs to depends on the ports
            asked = []
            for method, status in expected.items():
                path = f"/problems/p{number}" + ("/grade" if method == "POST" else "")
                answer = several.request(method, path, None if method == "GET" else body("print(1)"), JSON)
                (node,) = several.upstreams_of(answer)
                asked.append(node)
                assert answer.status == (status if node == nodes[1] else 502), answer.text
                statuses[answer.status] += 1
            assert len(set(asked)) == 1
    assert statuses[502] and statuses[415]


# -- limits for each client


def flood(front: Nginx, address: str, count: int) -> list[tuple[int, str]]:
    """So many requests on one connection, each sent before the one before it is answered: statuses and headers."""
    one = b"GET /languages HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.%d\r\nForwarded: for=198.51.100.%d\r\n"
    data = b"".join(one % (number % 256, number % 256) + b"\r\n" for number in range(count - 1))
    heard = front.raw(data + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", address).decode()
    heads = re.findall(r"HTTP/1\.1 (\d+) .*?\r\n(.*?\r\n)\r\n", heard, re.DOTALL)
    return [(int(status), headers) for status, headers in heads]


def test_a_flood_of_requests_is_answered_with_429(front: Nginx) -> None:
    """An address of loopback, which cellblock itself does not limit."""
    answers = flood(front, "127.0.0.9", 3 * BURST)
    assert [status for status, _ in answers[:BURST]] == [200] * BURST
    refused = [headers for status, headers in answers if status == 429]
    assert refused
    assert all("Retry-After: 1\r\n" in headers and "application/problem+json" in headers for headers in refused)
    answer = front.request("GET", "/languages", address="127.0.0.10")
    assert answer.status == 200, "another address has its own burst"


def test_addresses_of_one_ipv6_network_are_one_client(front: Nginx) -> None:
    begun_s = []

    def is_used_up() -> bool:
        begun_s.append(time.monotonic())
        return flood(front, "2001:db8:0:1::1", 2 * BURST)[-1][0] == 429

    def taken(address: str) -> int:
        return sum("RateLimit" in headers for _, headers in flood(front, address, BURST))  # cellblock heard of them

    until(is_used_up, START_S, "its burst is used up")
    assert taken("2001:db8:0:1:ffff::2") <= RATE * (time.monotonic() - begun_s[-1]) + 2, (
        "what its burst has gained since"
    )
    assert taken("2001:db8:0:2::1") >= BURST - 2


def test_one_address_has_so_many_requests_at_once(front: Nginx) -> None:
    address = "203.0.113.2"
    head = b"POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            connection = stack.enter_context(contextlib.closing(Connection(front, address)))
            connection.connect()
            connection.sock.sendall(head)
        refused = front.request("GET", "/languages", address=address)
        demand_problem(refused, 429, "rate_limited")
        assert refused.headers["Retry-After"] == "1"
        assert front.request("GET", "/languages").status == 200


def test_cellblock_counts_the_clients_own_address(front: Nginx) -> None:
    """Each request of `flood` says to come from somewhere else; all are counted to the one that nginx saw."""
    count = 50
    remaining = [
        int(left) for _, headers in flood(front, "203.0.113.3", count) for left in re.findall(r"r=(\d+)", headers)
    ]
    assert len(remaining) == count - 1  # of GET / there is no limit
    assert remaining[0] == 599
    assert remaining[-1] < 590


def test_a_full_cellblock_says_itself_when_to_come_again(front: Nginx, behind: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(SLOTS + PLACES):
            connection = stack.enter_context(contextlib.closing(Connection(front)))
            connection.request("POST", "/execute", body(FOREVER, timeout=30), JSON)
        until(lambda: queue(behind) == (SLOTS, PLACES), START_S, "all slots and places are taken")
        answer = execute(front, "print(1)")
        demand_problem(answer, 503, "queue_full")
        assert answer.headers.get_all("Retry-After") == ["1"]
    until(lambda: queue(behind) == (0, 0), SOON_S, "whoever hung up waits no more, and runs no more")


# -- event streams, hanging up, restarts


def test_events_pass_as_they_happen_and_a_hang_up_ends_the_run(front: Nginx, behind: Server) -> None:
    """The program's word is here while the program goes on."""
    with contextlib.closing(Connection(front, timeout_s=SOON_S)) as connection:
        connection.request("POST", "/execute", body(FOREVER, timeout=30), {**JSON, "Accept": "text/event-stream"})
        response = connection.getresponse()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        seen = b""
        while b"begun" not in seen:
            seen += response.readline()
        assert queue(behind) == (1, 0)
        response.close()
    until(lambda: queue(behind) == (0, 0), SOON_S, "the run ended")


def test_a_hang_up_before_the_answer_ends_the_run(front: Nginx, behind: Server) -> None:
    with contextlib.closing(Connection(front)) as connection:
        connection.request("POST", "/execute", body(FOREVER, timeout=30), JSON)
        until(lambda: queue(behind) == (1, 0), SOON_S, "it runs")
    until(lambda: queue(behind) == (0, 0), SOON_S, "the run ended")


def test_a_restart_behind_it_loses_nothing(front: Nginx, behind: Server) -> None:
    """The HTTP process is ended and started again while requests come, on new connections and on kept ones."""
    answers: list[tuple[int, str]] = []
    enough = threading.Event()

    def ask(number: int) -> None:
        connection = Connection(front, f"127.0.1.{number}")
        with contextlib.closing(connection):
            while not enough.is_set():
                connection.request("POST", "/execute", body(f"print({number})"), JSON)
                answer = Answer(connection.getresponse())
                answers.append((answer.status, answer.text if answer.status != 200 else answer.json["output"]))
                if number % 2:
                    connection.close()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask, number) for number in range(SLOTS + PLACES)]
        try:
            until(lambda: len(answers) > 10, START_S, "some answers")
            old = behind.http.pid
            behind.http.send_signal(signal.SIGTERM)
            until(lambda: old not in [one.pid for one in behind.processes("http")], START_S, "it ended")
            before = len(answers)
            until(lambda: len(answers) > before + 10, START_S, "answers of its successor")
        finally:
            enough.set()
        concurrent.futures.wait(asking)
        for one in asking:
            one.result()
    assert {status for status, _ in answers} == {200}, answers
    assert pathlib.Path(behind.environment["CELLBLOCK_UNIX_SOCKET"]).is_socket()
