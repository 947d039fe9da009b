"""The trial program that shows which pages a start writes to: it cannot hang a warden, and nothing of it stays."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from daemon.sandbox import wire
from daemon.sandbox.messages import REPLY_HEAD, REPLY_PARKED
from daemon.warden import prefault

DEADLINE_S = 0.2


class Fakes:
    """A zygote and a maker whose jails are processes that do nothing but what `behave` says on the channel."""

    def __init__(self, parks: bool) -> None:
        self.pid = os.getpid()
        self._parks = parks
        self.made: list[int] = []

    def _sleeper(self) -> int:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        return pid

    def make_init(self, network: int) -> int:
        pid = self._sleeper()
        self.made.append(pid)
        return os.pidfd_open(pid)

    def fork(self, uid: int, channel: int, init: int, groups: object) -> tuple[int, int]:
        pid = self._sleeper()
        if self._parks:
            reader, writer = os.pipe()
            with socket.socket(fileno=os.dup(channel)) as copy:
                wire.send(copy, REPLY_HEAD.pack(REPLY_PARKED, 0, 0, 0), [writer, reader, reader])
            self._kept = writer  # its stderr never ends
            os.close(reader)
        return pid, os.pidfd_open(pid)


@pytest.fixture
def no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("parks", [False, True], ids=["never parks", "never says hello"])
def test_trial_program_that_hangs_is_given_up_and_killed(parks: bool, no_descriptor_is_left: None) -> None:
    """Defect 16: it was waited for without end."""
    fakes = Fakes(parks)
    with pytest.raises(TimeoutError):
        prefault.written_pages(fakes, fakes, DEADLINE_S)  # type: ignore[arg-type]
    (init,) = fakes.made
    assert os.waitpid(init, 0) == (init, signal.SIGKILL)
    if parks:
        os.close(fakes._kept)


def test_neighbouring_pages_are_one_range() -> None:
    assert prefault._ranges({0x3000, 0x1000, 0x2000, 0x8000}) == [(0x1000, 0x3000), (0x8000, 0x1000)]
