"""What every test may use: a real server on a real socket, and the two checks that follow every functional test."""

import collections.abc
import pathlib

import pytest

from tests import posture, server


@pytest.fixture(scope="session")
def cellblock() -> collections.abc.Iterator[server.Server]:
    """One server for the whole session, with default settings."""
    with server.Server() as running:
        running.post({"language": "python", "code": "import socket"})  # starts the validation's worker process
        yield running


@pytest.fixture
def leaves_nothing(cellblock: server.Server) -> collections.abc.Iterator[None]:
    """Posture and canary: after the test nothing of its jails is left, and the next program answers as always."""
    before = posture.take(cellblock)
    yield
    posture.demand(cellblock, before)
    answer = cellblock.execute("python", "print('canary', 6 * 7)")
    assert (answer["output"], answer["error"], answer["reason"]) == ("canary 42\n", None, "exited")


@pytest.fixture(scope="session")
def repository() -> pathlib.Path:
    return pathlib.Path(__file__).parent.parent
