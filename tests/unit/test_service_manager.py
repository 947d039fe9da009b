"""What systemd is told and what it hands over, on real sockets."""

import os
import pathlib
import socket

import pytest

from daemon.host import service_manager
from daemon.host.service_manager import Notifier


def test_a_message_has_all_that_was_said_before() -> None:
    """Every word is a state, so a datagram that is lost costs nothing."""
    ear, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    notifier = Notifier(mouth, silence_s=30)
    assert notifier.alive_s == 15
    notifier.tell(STATUS="two\nlines")
    notifier.tell(READY=1)
    assert ear.recv(4096) == b"WATCHDOG=1\nSTATUS=two lines"
    assert service_manager.heard(ear) == {"WATCHDOG": "1", "STATUS": "two lines", "READY": "1"}
    assert service_manager.heard(ear) is None


def test_a_manager_that_does_not_read_is_not_waited_for() -> None:
    ear, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    notifier = Notifier(mouth)
    for number in range(100_000):
        notifier.tell(STATUS=number)
    assert service_manager.heard(ear) is not None
    ear.close()
    notifier.tell(STATUS="nobody is there")


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_environment_names_the_socket_and_no_child_inherits_it(tmp_path: pathlib.Path, is_abstract: bool) -> None:
    path = f"@cellblock-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path.replace("@", "\0"))
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "X": "y"}
        notifier = service_manager.of_environment(environment)
        notifier.tell(READY=1)
        assert service_manager.heard(manager) == {"WATCHDOG": "1", "READY": "1"}
    assert (environment, notifier.alive_s) == ({"X": "y"}, 1.5)


def test_without_a_manager_nothing_is_said() -> None:
    notifier = service_manager.of_environment({})
    notifier.tell(READY=1)
    assert (notifier.alive_s, notifier.descriptor) == (None, None)


def test_the_watchdog_of_another_process_is_not_ours(tmp_path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
        assert service_manager.of_environment(environment).alive_s is None


def test_sockets_for_another_process_are_not_taken() -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x"}
    assert service_manager.listening_sockets(environment) == []
    assert environment == {}


def test_a_long_status_leaves_room_for_what_counts() -> None:
    """A message is cut at its end; without READY=1 systemd would kill and start it again and again."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with theirs:
        notifier = service_manager.Notifier(ours, 10.0)
        notifier.tell(STATUS="x" * 9000)
        notifier.tell(READY=1)
        told = theirs.recv(1 << 16), theirs.recv(1 << 16)
        assert b"READY=1\n" in told[1] and len(told[1]) <= 4096
        ours.close()
