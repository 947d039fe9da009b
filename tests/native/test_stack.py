"""The stack's limit comes with go, and is never higher than what the jail was made with."""

import pathlib

import pytest

from daemon.sandbox.messages import Go
from daemon.sandbox.plan import Warm
from tests.native import player

SHOW = "import resource; print(resource.getrlimit(resource.RLIMIT_STACK))"
COMMAND = player.step("run", ("/usr/bin/python3", "-c", SHOW), Warm.EXEC)


def send(jail: player.Jail, order: Go) -> None:
    player.wire.send(jail.channel, order.encode(), [])


@pytest.mark.parametrize(("asked", "found"), [(0, 8 << 20), (4 << 20, 4 << 20), (8 << 20, 8 << 20)])
def test_a_command_has_the_stack_that_go_says(package: pathlib.Path, asked: int, found: int) -> None:
    with player.Player(player.plan(COMMAND), package) as warden:
        jail = warden.ready().make("run", Warm.EXEC).park()
        send(jail, Go(False, False, False, COMMAND.argv, asked))
        assert jail.output() == (f"({found}, {found})\n".encode(), b"")


def test_a_stack_above_the_jails_is_refused(package: pathlib.Path) -> None:
    with player.Player(player.plan(COMMAND), package) as warden:
        jail = warden.ready().make("run", Warm.EXEC).park()
        send(jail, Go(False, False, False, COMMAND.argv, 9 << 20))
        failed = jail.failure()
        assert (failed.stage, failed.reason) == ("go", "prlimit64: Operation not permitted")
