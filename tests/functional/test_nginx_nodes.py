"""nginx before three nodes: who gets what, and what becomes of requests when a node dies. They die in the tests' order."""

import collections
import collections.abc
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import signal
import socket
import threading
import time

import psutil
import pytest

from daemon.host import instance
from tests import small_packages
from tests.nginx import Connection, Nginx
from tests.server import START_S, Answer, Server, until

NODES, CLIENTS = 3, 6
ENOUGH = 60
SLOTS = CLIENTS  # of each node, which has no places to wait
JSON = {"Content-Type": "application/json"}
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """The servers are their own, and one of them is killed."""


@pytest.fixture(scope="module")
def nodes() -> collections.abc.Iterator[list[Server]]:
    servers = [
        Server(
            languages=("python",),
            first_uid=1879048192 + number * (64 << 16),
            trusted_proxies=("127.0.0.0/8",),
            insecure_without_tokens=True,
            http_processes=1,
            runs_at_once=SLOTS,
            queue=0,
        )
        for number in range(NODES)
    ]
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor() as pool:
        for server in servers:
            stack.callback(instance.clean_up, server.instance)  # of what was killed
            stack.callback(server.stop)
        for started in [pool.submit(server.__enter__) for server in servers]:
            started.result()
        yield servers


@pytest.fixture(scope="module")
def front(nodes: list[Server]) -> collections.abc.Iterator[Nginx]:
    with Nginx(nodes=tuple(f"127.0.0.1:{node.port}" for node in nodes)) as running:
        yield running


def execute(connection: Connection, code: str) -> Answer:
    connection.request("POST", "/execute", json.dumps({"language": "python", "code": code}).encode(), JSON)
    return Answer(connection.getresponse())


def kill(node: Server) -> None:
    """All of its processes as one: stopped first, so that none sees another's end and says a last word."""
    parent = psutil.Process(node.process.pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    node.process.wait(START_S)


def runs(node: Server) -> int:
    running: int = node.request("GET", "/health").json["queue"]["running"]
    return running


def test_a_stored_problem_is_found_where_it_was_put(front: Nginx, nodes: list[Server]) -> None:
    """Its id decides which node has it; different ids are on different nodes."""
    zipped = small_packages.zip_bytes({**small_packages.LEGACY, ".timelimit": "1\n"})
    fields = json.dumps({"language": "python", "code": "print(sum(map(int, input().split())))"}).encode()
    for number in range(8):
        path = f"/problems/p{number}"
        assert front.request("PUT", path, zipped, {"Content-Type": "application/zip"}).status == 201
        assert front.request("POST", f"{path}/grade", fields, JSON).json["verdict"] == "AC"
    stored = [len(node.request("GET", "/problems").json["problems"]) for node in nodes]
    assert sum(stored) == 8
    assert max(stored) < 8


def test_a_request_that_one_node_refuses_with_503_is_run_by_another(front: Nginx, nodes: list[Server]) -> None:
    """One of three is full, and nginx does not know of what."""
    sleeping = json.dumps({"language": "python", "code": "import time\ntime.sleep(60)", "timeout": 60}).encode()
    full = nodes[1]
    with contextlib.ExitStack() as stack:
        for _ in range(SLOTS):
            connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", full.port)))
            connection.request("POST", "/execute", sleeping, JSON)
        until(lambda: runs(full) == SLOTS, START_S, "a node is full")
        assert full.post({"language": "python", "code": ""}).status == 503
        with contextlib.closing(Connection(front)) as connection:
            answers = [execute(connection, f"print({number})") for number in range(NODES)]
    assert [answer.status for answer in answers] == [200] * NODES
    refused = [had for had in map(front.upstreams_of, answers) if f"127.0.0.1:{full.port}" in had]
    assert [len(had) for had in refused] == [2], "its turn came once, and another ran it"
    until(lambda: runs(full) == 0, START_S, "it is free again")


def test_a_client_that_floods_keeps_no_other_from_a_node(front: Nginx, nodes: list[Server]) -> None:
    """It has all slots, and what it asks besides is refused by one node after another. None of them counts as failed for
    that, so who has nothing yet gets a spare slot (docs/access.md)."""
    flooding, honest = "198.51.100.1", "198.51.100.2"
    sleeping = json.dumps({"language": "python", "code": "import time\ntime.sleep(60)", "timeout": 60}).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(NODES * SLOTS):
            connection = stack.enter_context(contextlib.closing(Connection(front, flooding)))
            connection.request("POST", "/execute", sleeping, JSON)
        until(lambda: [runs(node) for node in nodes] == [SLOTS] * NODES, START_S, "it has all slots")
        again = stack.enter_context(contextlib.closing(Connection(front, flooding)))
        refused = [execute(again, "print(1)") for _ in range(ENOUGH)]
        other = stack.enter_context(contextlib.closing(Connection(front, honest)))
        answers = [execute(other, "print(2)") for _ in range(NODES)]
    assert {(answer.status, answer.json["code"]) for answer in refused} == {(503, "queue_full")}
    assert [answer.status for answer in answers] == [200] * NODES, [answer.text for answer in answers]
    until(lambda: not any(map(runs, nodes)), START_S, "what it left is gone")


def test_a_node_whose_host_is_gone_costs_half_a_second(nodes: list[Server]) -> None:
    """What is sent to it has no answer: here, because nobody accepts its connections and no more may wait."""
    with contextlib.ExitStack() as stack:
        gone = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        stack.enter_context(socket.create_connection(gone.getsockname()))
        address = f"127.0.0.1:{gone.getsockname()[1]}"
        near = stack.enter_context(Nginx(nodes=(address, *(f"127.0.0.1:{node.port}" for node in nodes[1:]))))
        connection = stack.enter_context(contextlib.closing(Connection(near)))
        began_s = time.monotonic()
        answers = [execute(connection, "print(1)") for _ in range(NODES)]
        took_s = time.monotonic() - began_s
        had = [near.upstreams_of(answer) for answer in answers]
    assert [answer.status for answer in answers] == [200] * NODES, [answer.text for answer in answers]
    asked = sum(address in one for one in had)
    print(f"{asked} of {NODES} requests came to it; {took_s:.2f} s for all")
    assert asked > 0
    assert 0.5 * asked <= took_s < 0.5 * asked + 1, "the other node answered at once"


def test_a_node_that_is_killed_under_load_loses_no_request(front: Nginx, nodes: list[Server]) -> None:
    """What it had not begun, and what it had: of that nobody has heard, so another node runs it. All are answered 200."""
    answers: list[tuple[int, str, str]] = []
    enough = threading.Event()
    numbers = itertools.count()

    def ask(client: int) -> None:
        with contextlib.closing(Connection(front, f"127.0.1.{client}")) as connection:
            while not enough.is_set():
                number = str(next(numbers))
                answer = execute(connection, f"import time\ntime.sleep(0.1)\nprint({number})")
                answers.append((answer.status, answer.text, number))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask, client) for client in range(CLIENTS)]
        try:
            until(lambda: len(answers) > ENOUGH, START_S, "answers of three nodes")
            until(lambda: runs(nodes[0]) > 0, START_S, "a run on the node that dies")
            heard = len(front.upstreams())
            kill(nodes[0])
            before = len(answers)
            until(lambda: len(answers) > before + ENOUGH, START_S, "answers of the other two")
        finally:
            enough.set()
    for one in asking:
        one.result()
    statuses = collections.Counter(status for status, _, _ in answers)
    since = front.upstreams()[heard:]
    repeated = sum(len(had) > 1 for had in since)
    asked = sum(f"127.0.0.1:{nodes[0].port}" in had for had in since)
    print(f"{dict(statuses)}, {repeated} of them by a second node")
    assert statuses.keys() == {200}, answers
    assert all(json.loads(text)["output"] == f"{number}\n" for _, text, number in answers)
    assert 0 < repeated <= asked


def test_what_had_begun_and_was_heard_of_is_not_run_again(front: Nginx, nodes: list[Server]) -> None:
    """An event stream ends in its middle, without a result, and its client sees that."""
    fields = {"language": "python", "code": "import time\nprint('begun', flush=True)\ntime.sleep(5)"}
    alive = nodes[1:]
    with contextlib.closing(Connection(front)) as connection:
        connection.request("POST", "/execute", json.dumps(fields).encode(), {**JSON, "Accept": "text/event-stream"})
        response = connection.getresponse()
        seen = b""
        while b"begun" not in seen:
            seen += response.readline()
        (node,) = (one for one in alive if runs(one))
        logged = len(front.upstreams())
        kill(node)
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    until(lambda: len(front.upstreams()) > logged, START_S, "it is logged")
    assert front.upstreams()[-1][-1] == f"127.0.0.1:{node.port}", "nobody had it afterwards"


def test_when_no_node_is_there_a_request_gets_502(front: Nginx, nodes: list[Server]) -> None:
    for node in nodes:
        if node.process.poll() is None:
            kill(node)
    with contextlib.closing(Connection(front)) as connection:
        answer = execute(connection, "print(1)")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (502, "no_answer", "1")
