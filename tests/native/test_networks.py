"""A network namespace and a uid are lent to one jail after the other, and hold nothing of the one before."""

import contextlib
import json
import os
import pathlib
import select
import signal
from collections.abc import Iterator

import pytest

from daemon.sandbox.plan import Warm
from tests.server import until

from . import player
from .player import Jail, Player

PYTHON = "/usr/bin/python3"
EXEC = player.step("exec", (PYTHON,), Warm.EXEC, source_name="main.py")
PATIENCE_MS = 10_000
NETWORK = b"import os, socket, sys\nprint(os.readlink('/proc/self/ns/net'), flush=True)\n"
BIND = NETWORK + b"one = socket.socket(socket.AF_UNIX); one.bind('\\0name'); one.listen(); print('bound', flush=True)\n"
CONNECT = (
    NETWORK
    + b"""
try:
    socket.socket(socket.AF_UNIX).connect('\\0name')
except ConnectionRefusedError:
    print('nobody', flush=True)
"""
)
STAYS = b"sys.stdin.read()\n"


@pytest.fixture(scope="module")
def commands(package: pathlib.Path) -> Iterator[Player]:
    with Player(player.plan(EXEC), package) as running:
        yield running.ready()


def start(warden: Player, network: int, source: bytes, uid: int | None = None) -> Jail:
    """A program that runs."""
    if warden.plan.forked is None:
        jail = warden.make("exec", Warm.EXEC, network=network, uid=uid).park()
        jail.go(PYTHON, "main.py", source=source)
    else:
        jail = warden.make("fork", Warm.FORK, network=network, uid=uid).park()
        jail.go(source=source)
    return jail


def said(jail: Jail, lines: int) -> list[str]:
    """The first lines that a program writes."""
    with os.fdopen(os.dup(jail.pipes[1]), "rb", buffering=0) as stdout:
        return [stdout.readline().decode().strip() for _ in range(lines)]


def end(warden: Player, jail: Jail) -> None:
    """All of it, as the keeper does before it lends what it had."""
    for pidfd in jail.pidfds:
        with contextlib.suppress(ProcessLookupError):  # it has ended with its init, and was waited for
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    poll = select.poll()
    for pidfd in jail.pidfds:
        poll.register(pidfd, select.POLLIN)
    for pidfd in jail.pidfds:
        assert poll.poll(PATIENCE_MS)
        poll.unregister(pidfd)
    if warden.plan.forked is not None:
        warden.fork_ended()
    jail.close()


@pytest.fixture(params=["a command", "a fork"])
def warden(request: pytest.FixtureRequest, commands: Player, forks: Player) -> Player:
    return commands if request.param == "a command" else forks


@pytest.mark.threat("F5")
def test_a_name_does_not_outlive_its_jail_in_a_network_that_is_lent_again(warden: Player) -> None:
    first = start(warden, 1, BIND + STAYS)
    network, bound = said(first, 2)
    assert bound == "bound"
    end(warden, first)
    second = start(warden, 1, CONNECT + STAYS)
    assert said(second, 2) == [network, "nobody"]
    end(warden, second)


@pytest.mark.threat("F5")
def test_a_network_with_a_socket_in_it_is_not_lent(warden: Player) -> None:
    """Whatever the keeper says: here it lends one to two live jails."""
    first = start(warden, 2, BIND + STAYS)
    network, _ = said(first, 2)
    second = start(warden, 2, CONNECT + STAYS)
    other, answer = said(second, 2)
    assert other != network
    assert answer == "nobody"
    end(warden, first)
    end(warden, second)


def test_jails_with_different_numbers_or_none_are_in_different_networks(warden: Player) -> None:
    jails = [start(warden, number, NETWORK + STAYS) for number in (3, 4, 0, 0)]
    networks = {said(jail, 1)[0] for jail in jails}
    assert len(networks) == len(jails)
    assert os.readlink("/proc/self/ns/net") not in networks
    for jail in jails:
        end(warden, jail)


EVERYTHING = (
    NETWORK
    + b"""
import json
found = {}
for name in sorted(os.listdir('/proc/self/net')):
    try:
        found[name] = open('/proc/self/net/' + name).read()
    except OSError as error:
        found[name] = str(error)
print(json.dumps(found), flush=True)
"""
)
HOST_WIDE = (
    "protocols",
    "softnet_stat",
)  # counters of all namespaces, which jail_configs/README.md has among what is known


@pytest.mark.threat("F5")
def test_a_network_shows_the_same_at_its_hundredth_use_as_at_its_first(commands: Player) -> None:
    """In each file below /proc/self/net. In between its jails have sockets."""
    shown = []
    for use in range(100):
        jail = start(commands, 5, (BIND if use % 33 else EVERYTHING) + STAYS)
        network, text = said(jail, 2)
        if not use % 33:
            files = {name: text for name, text in json.loads(text).items() if name not in HOST_WIDE}
            files["sockstat"] = files["sockstat"].splitlines()[0]  # its other lines are counters of the host
            shown.append((network, files))
        end(commands, jail)
    assert len(shown[0][1]) > 5
    assert shown == shown[:1] * len(shown)


TAKES_ALL = (
    NETWORK
    + b"""
import ctypes, fcntl, json, signal, struct
FILE = os.open('/usr/lib/os-release', os.O_RDONLY)  # one that all share
LOCK, FOLDERS = struct.Struct('hhqqi4x'), ('/work', '/tmp', '/dev/shm')

def until_refused(take):
    try:
        for times in range(100_000):
            take()
    except OSError as error:
        return times, error.strerror

def queue_a_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, [40])
    about = struct.pack('iiiiii104x', 40, 0, -1, 0, os.getpid(), os.getuid())
    if libc.syscall(129, os.getpid(), 40, about):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def pipe_with_room():
    pipes.append(os.pipe())
    fcntl.fcntl(pipes[-1][1], 1031, 1 << 20)

libc, pipes, pair = ctypes.CDLL(None, use_errno=True), [], socket.socketpair()
pair[0].setblocking(False)
found = {
    'lock of a range': LOCK.unpack(fcntl.fcntl(FILE, fcntl.F_GETLK, LOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0)))[0],
    'lock of the file': fcntl.flock(FILE, fcntl.LOCK_EX | fcntl.LOCK_NB),
    'descriptors': sorted(os.listdir('/proc/self/fd')),
    'files': [sorted(os.listdir(folder)) for folder in FOLDERS],
    'pipes': until_refused(pipe_with_room),
    'signals': until_refused(queue_a_signal),
    'nice': os.nice(5),
    'name': os.uname().nodename,
}
for pipe in pipes:
    os.close(pipe[0])
found['descriptors on their way'] = until_refused(lambda: socket.send_fds(pair[0], [b'x'], [0, pair[1].fileno()]))
fcntl.fcntl(FILE, fcntl.F_SETLK, LOCK.pack(fcntl.F_RDLCK, 0, 0, 0, 0))
for folder in FOLDERS:
    open(folder + '/left', 'w').close()
print(json.dumps(found), flush=True)
"""
)


def taken(warden: Player) -> str:
    jail = start(warden, 6, TAKES_ALL + STAYS, uid=30_000)
    _, text = said(jail, 2)
    end(warden, jail)
    return text


@pytest.mark.threat("F5", "M4")
def test_a_uid_that_is_used_again_has_all_that_the_first_had(warden: Player) -> None:
    """Each takes all that the kernel gives one user of pipes, signals and descriptors in sockets, and leaves locks and files.
    What is on its way in a circle of sockets the kernel takes back a moment after the processes are gone."""
    first = taken(warden)
    for _ in range(2):
        until(lambda: taken(warden) == first, PATIENCE_MS / 1000, first)
