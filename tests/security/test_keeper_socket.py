"""The keeper's socket: a closed vocabulary. A fuzzed, rude or dying peer never stops the keeper."""

import pwd
import random
import subprocess
import sys
import textwrap

import pytest

from tests.server import Server

PREAMBLE = """
import json, os, socket, sys
from daemon.sandbox import messages, wire
path = sys.argv[1]
def connect():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(path)  # waits for its turn; with a timeout a full backlog would be EAGAIN
    sock.settimeout(20)
    return sock
def hear(sock, *wanted):
    while True:
        received = wire.receive(sock)
        if received is None: return None
        fields = json.loads(received[0])
        if fields['type'] in wanted: return fields, received[1]
LIMITS = dict(memory_bytes=128 << 20, wall_ns=10**10, processes=64, cpu_ns=None, cpu_share_ms=500)
def memfd(text):
    fd = os.memfd_create('source'); os.write(fd, text); return fd
def say(sock, *descriptors, **fields):
    wire.send(sock, json.dumps(fields).encode(), descriptors)
def order(sock, code=b'print(6 * 7)', run=1, *beside, **changes):
    fields = dict(type='run', run=run, toolchain='python', step='run', limits=LIMITS, args=[], files=False, input=False, graded=False, held=False, sharing=1, leaves=[])
    say(sock, memfd(code), *beside, **{**fields, **changes})
"""


def as_peer(server: Server, script: str, user: str = "cellblock") -> str:
    """Run a script as the HTTP process's uid, which alone may connect; what it printed."""
    entry = pwd.getpwnam(user)
    done = subprocess.run(
        [sys.executable, "-P", "-c", PREAMBLE + textwrap.dedent(script), f"/run/cellblock/{server.instance}/keeper.sock"],
        user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], capture_output=True, text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_protocol_works_for_a_polite_peer(cellblock: Server) -> None:
    script = """
    sock = connect()
    order(sock)
    _, fds = hear(sock, 'started')
    outcome, _ = hear(sock, 'ended')
    print(os.read(fds[1], 100), outcome['wait_status'], outcome['killed_by'])
    """
    assert as_peer(cellblock, script) == r"b'42\n' 0 None"


def test_an_input_that_anybody_could_still_change_is_refused(cellblock: Server) -> None:
    """Or that the run would share an open description with, to which its maker can write, or that is none at all."""
    script = """
    from daemon.sandbox.descriptors import memfd as made, reopened
    sock, sealed = connect(), made('stdin', b'given', sealed=True)
    for given in ([reopened(sealed)], [sealed], [memfd(b'x')], [reopened(memfd(b'x'))], [os.pipe()[0]], [os.open('/dev/null', os.O_RDONLY)], []):
        order(sock, b'print(input())', 1, *given, input=True)
        told, fds = hear(sock, 'started', 'refused')
        print(os.read(fds[1], 100) if fds else told['reason'])
        if fds:
            hear(sock, 'ended')
    """
    refusal = "the input is not sealed, or can be written to"
    said = as_peer(cellblock, script).splitlines()
    assert said == [r"b'given\n'", *[refusal] * 5, "0 descriptors, the step takes 1"]


def test_a_held_program_goes_at_the_word_and_its_clock_starts_then(cellblock: Server) -> None:
    """Its neighbour's whole run, which has a wall limit of its own, lies between its start and its beginning."""
    script = """
    sock = connect()
    order(sock, held=True, limits=dict(LIMITS, wall_ns=10**9))
    _, fds = hear(sock, 'started')
    os.set_blocking(fds[1], False)
    order(sock, b'import time\\ntime.sleep(1.2)', run=2)
    print(hear(sock, 'ended')[0]['run'])
    try:
        print('went', os.read(fds[1], 100))
    except BlockingIOError:
        print('is held')
    for _ in range(3):
        say(sock, type='begin', run=1)
    say(sock, type='begin', run=2)
    outcome, _ = hear(sock, 'ended')
    print(os.read(fds[1], 100), outcome['run'], outcome['wait_status'], outcome['killed_by'])
    """
    assert as_peer(cellblock, script).splitlines() == ["2", "is held", r"b'42\n' 1 0 None"]


@pytest.mark.parametrize(
    "end", ["say(sock, type='kill', run=1, why='client'); print(hear(sock, 'refused')[0]['stage'])", "print('kill')"]
)
def test_a_held_program_that_nobody_wants_any_more_is_removed(cellblock: Server, end: str) -> None:
    """By a word, or by the end of its peer; posture finds what is left."""
    script = f"""
    sock = connect()
    order(sock, held=True)
    hear(sock, 'started')
    {end}
    """
    assert as_peer(cellblock, script) == "kill"


@pytest.mark.threat("D4")
def test_only_the_http_processs_uid_may_connect(cellblock: Server) -> None:
    script = """
    try:
        print(hear(connect(), 'hello'))
    except (PermissionError, ConnectionError) as error:
        print('refused')
    """
    assert as_peer(cellblock, script, "nobody") == "refused"
    assert as_peer(cellblock, script, "root") in ("None", "refused")


@pytest.mark.threat("D4")
@pytest.mark.vm
@pytest.mark.parametrize(
    "change", ["memory_bytes=2 << 30", "wall_ns=10**12", "processes=10**6", "cpu_share_ms=None", "cpu_share_ms=1000"]
)
def test_no_limit_can_be_raised_past_its_maximum(cellblock: Server, change: str) -> None:
    script = f"""
    sock = connect()
    order(sock, limits=dict(LIMITS, {change}))
    message, _ = hear(sock, 'started', 'ended', 'refused')
    print(message['type'], message['stage'], message['reason'])
    """
    assert as_peer(cellblock, script) == f"refused go limit {change.split('=')[0]} is out of range"


@pytest.mark.threat("D4")
@pytest.mark.parametrize(
    ("toolchain", "step"), [("../python", "run"), ("python", "/bin/sh"), ("python", "../run"), ("", "")]
)
def test_only_declared_steps_exist(cellblock: Server, toolchain: str, step: str) -> None:
    script = f"""
    sock = connect()
    order(sock, toolchain={toolchain!r}, step={step!r})
    message, _ = hear(sock, 'refused')
    print(message['type'], message['stage'])
    """
    assert as_peer(cellblock, script) == "refused acquire"


def test_an_artefact_that_is_not_sealed_is_refused(cellblock: Server) -> None:
    script = """
    sock = connect()
    order(sock, b'#!/usr/bin/env x', toolchain='rust')
    message, _ = hear(sock, 'started', 'ended', 'refused')
    print(message['type'], message['stage'], message['reason'])
    """
    assert as_peer(cellblock, script) == "refused go the artefact is not sealed"


def test_a_wrong_number_of_descriptors_is_refused(cellblock: Server) -> None:
    script = """
    sock = connect()
    order(sock, files=True)
    message, _ = hear(sock, 'started', 'ended', 'refused')
    print(message['type'], message['stage'], message['reason'])
    """
    assert as_peer(cellblock, script) == "refused go 1 descriptors, the step takes 2"


def test_files_that_are_not_packed_are_our_failure_and_no_more(cellblock: Server) -> None:
    script = """
    sock = connect()
    fields = dict(type='run', run=1, toolchain='python', step='run', limits=LIMITS, args=[], files=True, input=False, graded=False, held=False, sharing=1, leaves=[])
    say(sock, memfd(b'print(1)'), memfd(b'rubbish'), **fields)
    message, _ = hear(sock, 'ended', 'refused')
    print(message['type'], message['killed_by'])
    """
    assert as_peer(cellblock, script) == "ended lost"


@pytest.mark.vm
def test_a_peer_that_goes_away_takes_its_runs_with_it(cellblock: Server) -> None:
    """The posture that follows demands that nothing of them is left."""
    script = """
    sock = connect()
    for run in range(1, 5):
        order(sock, b'while True: pass', run=run)
        hear(sock, 'started')
    print('gone')
    """
    assert as_peer(cellblock, script) == "gone"


def test_a_run_that_is_killed_before_it_has_a_jail_is_refused_and_one_that_runs_is_ended(cellblock: Server) -> None:
    script = """
    sock = connect()
    order(sock, b'while True: pass')
    hear(sock, 'started')
    say(sock, type='kill', run=1, why='client')
    ended, _ = hear(sock, 'ended')
    for run in range(2, 40): order(sock, b'while True: pass', run=run)
    for run in range(2, 40): say(sock, type='kill', run=run, why='client')
    kinds = [hear(sock, 'ended', 'refused')[0]['type'] for run in range(2, 40)]
    print(ended['killed_by'], len(kinds), set(kinds) <= {'ended', 'refused'})
    """
    assert as_peer(cellblock, script) == "client 38 True"


@pytest.mark.threat("U9")
def test_rude_messages_close_their_connection_and_nothing_else(cellblock: Server) -> None:
    keeper = cellblock.keeper.pid
    script = """
    good = dict(type='run', run=1, toolchain='python', step='run', limits=LIMITS, args=[], files=False, input=False, graded=False, held=False, sharing=1, leaves=[])
    rude = [
        {'type': 'run'}, {**good, 'run': -1}, {**good, 'run': 'x'}, {**good, 'run': True}, {**good, 'run': 1 << 53},
        {**good, 'toolchain': ['python']}, {**good, 'limits': 5}, {**good, 'limits': {'memory_bytes': 1}},
        {**good, 'limits': dict(LIMITS, extra=1)}, {**good, 'limits': dict(LIMITS, memory_bytes=-1)},
        {**good, 'limits': dict(LIMITS, wall_ns=True)}, {**good, 'limits': dict(LIMITS, memory_bytes='1')},
        {**good, 'limits': dict(LIMITS, cpu_ns=10**400)}, {**good, 'limits': dict(LIMITS, memory_bytes=1.5)},
        {**good, 'args': 'x'}, {**good, 'args': [1]}, {**good, 'args': ['\\0']}, {**good, 'args': ['x' * 40000]},
        {**good, 'files': 1}, {**good, 'extra': 1}, {**good, 'step': '\\ud800'},
        {**good, 'leaves': 'x'}, {**good, 'leaves': ['/x']}, {**good, 'leaves': ['a/../b']}, {**good, 'leaves': ['x'] * 9},
        {'type': 'exec', 'run': 1}, {'type': 'kill', 'run': 1, 'why': 'memory'}, {'type': 'kill', 'run': 1}, [], 'run',
    ]
    sock = connect()
    wire.send(sock, json.dumps(good).encode(), [memfd(b'print(1)')])
    assert hear(sock, 'started', 'refused') is not None, 'only what differs from it is rude'
    for message in rude:
        sock = connect()
        wire.send(sock, json.dumps(message).encode(), [memfd(b'print(1)')])
        assert hear(sock, 'started', 'refused', 'ended') is None, message
    sock = connect(); order(sock, b'while True: pass'); order(sock)
    assert hear(sock, 'ended', 'refused') is None, 'the same run twice'
    print('all closed')
    """
    assert as_peer(cellblock, script) == "all closed"
    assert cellblock.keeper.pid == keeper


@pytest.mark.threat("U9")
def test_fuzzed_bytes_and_descriptors_never_stop_the_keeper(cellblock: Server) -> None:
    keeper, seed = cellblock.keeper.pid, random.randrange(1 << 30)
    script = f"""
    import random
    rng = random.Random({seed})
    words = [b'{{', b'}}', b'"type"', b':', b'"run"', b'"limits"', b'"kill"', b'1', b'null', b'[', b',', b'"run"', bytes([0, 255])]
    for _ in range(300):
        sock = connect()
        try:
            for _ in range(rng.randrange(1, 5)):
                data = b''.join(rng.choice(words) for _ in range(rng.randrange(1, 30)))
                socket.send_fds(sock, [data], [0, 1, 2][: rng.randrange(4)])
        except (BrokenPipeError, ConnectionResetError):
            pass
        sock.close()
    print('fuzzed')
    """
    assert as_peer(cellblock, script) == "fuzzed", f"seed {seed}"
    assert cellblock.keeper.pid == keeper


@pytest.mark.threat("U9")
def test_descriptors_that_are_slow_to_close_make_nobody_wait(cellblock: Server) -> None:
    """close(2) of a TCP socket with SO_LINGER and unsent data waits: it must not be the keeper's loop that does."""
    script = """
    import struct, threading, time
    listener = socket.create_server(('127.0.0.1', 0))
    def lingering():
        sock = socket.create_connection(listener.getsockname())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 30))
        sock.setblocking(False)
        try:
            while True: sock.send(bytes(1 << 20))
        except BlockingIOError:
            return sock
    def hostile(count, message, then_read):
        peer, sockets = connect(), [lingering() for _ in range(count)]
        socket.send_fds(peer, [message], [sock.fileno() for sock in sockets])
        for sock in sockets:  # whoever closes last waits, perhaps this thread
            threading.Thread(target=sock.close, daemon=True).start()
        if then_read: hear(peer, 'never')
        return peer
    unknown = b'{"type": "kill", "run": 77, "why": "client"}'
    kept = [hostile(1, b'rubbish', True), hostile(9, unknown, True), hostile(1, unknown, False)]
    hostile(1, b'rubbish', False).close()
    started = time.monotonic()
    sock = connect()
    order(sock)
    message, fds = hear(sock, 'started')
    print(message['type'], time.monotonic() - started < 5, flush=True)
    os._exit(0)
    """
    assert as_peer(cellblock, script) == "started True"


@pytest.mark.threat("U9")
def test_a_peer_that_does_not_read_is_closed_and_others_are_served(cellblock: Server) -> None:
    script = """
    sock = connect()
    try:
        for run in range(100_000):
            order(sock, run=run, toolchain='none', step='x' * 2000)
        print('never closed')
    except (BrokenPipeError, ConnectionResetError):
        print('closed')
    """
    assert as_peer(cellblock, script) == "closed"
