"""What nginx costs a request: `sudo ./bootstrap test tests/performance/test_through_nginx.py`, on an idle machine."""

import collections.abc
import contextlib
import http.client
import json
import statistics
import time

from tests import nginx
from tests.nginx import Connection, Nginx
from tests.performance.conftest import Record
from tests.server import Server

TIMES, BLOCK = 400, 20
PAUSE_S = 0.01  # 100 requests a second is what the site allows one address in the long run
PROGRAM = json.dumps({"language": "python", "code": "print(6 * 7)"})


def took_s(connection: http.client.HTTPConnection) -> float:
    began_s = time.monotonic()
    connection.request("POST", "/execute", PROGRAM, {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["output"]) == (200, "42\n")
    return time.monotonic() - began_s


def many(connection: http.client.HTTPConnection) -> collections.abc.Iterator[float]:
    for _ in range(BLOCK):
        yield took_s(connection)
        time.sleep(PAUSE_S)


def test_a_program_through_nginx_and_directly(record: Record) -> None:
    """Over kept connections, TLS to nginx and none to cellblock, in turns, so that the machine's moods meet both."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(nginx.shared_folder())
        path = f"{folder}/http.sock"
        server = stack.enter_context(
            Server(
                languages=("python",),
                unix_socket=path,
                unix_socket_group="www-data",
                trusted_proxies=("unix",),
                insecure_without_tokens=True,
            )
        )
        front = stack.enter_context(Nginx(f"unix:{path}"))
        straight = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)))
        through = stack.enter_context(contextlib.closing(Connection(front)))
        direct, proxied = [], []
        for _ in range(TIMES // BLOCK):
            direct += many(straight)
            proxied += many(through)
    for name, seconds in (("directly", direct), ("through nginx", proxied)):
        record(f"Python hello {name}, median", statistics.median(seconds) * 1e3, "ms")
        record(f"Python hello {name}, 95 %", statistics.quantiles(seconds, n=20)[-1] * 1e3, "ms")
    record("Python hello, median through nginx / directly", statistics.median(proxied) / statistics.median(direct), "")
