"""Nothing passes from one run to another, and nothing of a run into the log."""

import concurrent.futures
import hashlib
import json
import uuid

import pytest

from tests.server import Server

RUNS = 10_000
SEARCH = """
import hashlib
first, digest = b"FIRST", "DIGEST"
found = searched = 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, rights = line.split()[:2]
        if "r" not in rights:
            continue
        low, high = (int(end, 16) for end in span.split("-"))
        try:
            memory.seek(low)
            held = memory.read(high - low)
        except (OSError, ValueError, OverflowError):
            continue  # vvar, vsyscall
        searched += len(held)
        at = held.find(first)
        while at >= 0:
            found += hashlib.sha256(held[at : at + 32]).hexdigest() == digest
            at = held.find(first, at + 1)
print(found, searched)
"""
READ_ALL = """
import hashlib, os
first, digest = b"FIRST", "DIGEST"
found = searched = 0
for top, folders, files in os.walk("/"):
    if top in ("/usr", "/dev") or top.startswith("/proc/self"):
        folders[:] = []
        continue
    for path in (os.path.join(top, name) for name in files):
        if path == "/work/main.py" or os.path.basename(path) in ("mem", "pagemap", "clear_refs"):
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            held = os.read(descriptor, 1 << 20)
            os.close(descriptor)
        except OSError:
            continue
        searched += 1
        at = held.find(first)
        found += at >= 0 and hashlib.sha256(held[at : at + 32]).hexdigest() == digest
print(found, searched)
"""


def search_for(nonce: str, search: str = SEARCH) -> str:
    """A program that looks for a nonce of which it has no copy."""
    return search.replace("FIRST", nonce[:16]).replace("DIGEST", hashlib.sha256(nonce.encode()).hexdigest())


@pytest.mark.threat("D2")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thousands_of_nonces_are_never_mixed_up(cellblock: Server) -> None:
    def one(_: int) -> bool:
        nonce = uuid.uuid4().hex
        return bool(cellblock.execute("python", "print(input())", stdin=nonce)["output"] == f"{nonce}\n")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(RUNS))) == RUNS


@pytest.mark.threat("D3")
def test_no_earlier_source_is_in_the_memory_of_a_fresh_jail(cellblock: Server) -> None:
    """Not of those that were parked while it ran, nor of those made after."""
    nonces = [uuid.uuid4().hex for _ in range(10)]
    for nonce in nonces:
        assert cellblock.execute("python", f"kept = '{nonce}' * 1000", stdin=nonce)["success"]
    for nonce in nonces:
        found, searched = map(int, cellblock.execute("python", search_for(nonce))["output"].split())
        assert found == 0
        assert searched > 10 << 20
    own = uuid.uuid4().hex
    found, _ = map(int, cellblock.execute("python", f"kept = '{own}'\n" + search_for(own))["output"].split())
    assert found > 0, "the search finds what is there"


@pytest.mark.threat("D10")
def test_the_log_is_one_json_object_per_line_and_has_nothing_of_a_run() -> None:
    secret = uuid.uuid4().hex
    with Server(languages=["python"], log_level="debug") as server:
        for wild in ("line\nbreak", "\x1b[31mred", "%s%n%d", '"}\n{"level": "error"}', "\x00\u2028"):
            server.post({"language": wild, "code": secret})
            server.post({"language": "python", "code": f"print('{secret}')", "args": [wild, secret], wild: secret})
            much = f"print('{secret}' * 10**6)"
            server.post({"language": "python", "code": much, "files": [{"name": wild, "content": secret}]})
        fails = f"import sys\nprint('{secret}'); sys.exit(input())"
        server.post({"language": "python", "code": fails, "stdin": secret})
        server.request("GET", f"/{secret}", headers={"X-Secret": secret, "Authorization": f"Bearer {secret}"})
    assert '"logger": "cellblock.keeper"' in server.log
    assert secret not in server.log
    for line in server.log.splitlines():
        assert isinstance(json.loads(line), dict), line
        assert line.isprintable()


@pytest.mark.threat("D9")
def test_no_program_finds_a_secret_of_the_daemon_or_of_a_neighbour(cellblock: Server) -> None:
    """Neither in files, /proc among them, nor in memory. The first is in the environment of each process of the daemon."""
    for process in (cellblock.http, cellblock.keeper):
        assert process.environ()["SECRET_OF_THE_HOST"] == cellblock.secret
    neighbours = uuid.uuid4().hex
    plant = (
        "import os, sys, time\nsecret = input()\n"
        "for folder in ('/work', '/tmp', '/dev/shm'): open(folder + '/secret', 'w').write(secret)\n"
        "os.posix_spawn('/bin/sleep', ['sleep', '60', secret], {'SECRET': secret})\n"
        "print('planted', flush=True)\ntime.sleep(60)"
    )
    with cellblock.running("python", plant, stdin=neighbours):
        for secret in (cellblock.secret, neighbours):
            for search, least in ((SEARCH, 10 << 20), (READ_ALL, 20)):
                found, searched = map(int, cellblock.execute("python", search_for(secret, search))["output"].split())
                assert (found, searched >= least) == (0, True), (search, searched)
    own = uuid.uuid4().hex
    told = cellblock.execute("python", search_for(own, READ_ALL), files=[{"name": "own", "content": own}])["output"]
    assert told.startswith("1 "), "the search finds what is there"
