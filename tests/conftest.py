"""What every test may use: a real server on a real socket, and the two checks that follow every functional test."""

import collections.abc
import os
import pathlib

import pytest
from hypothesis import HealthCheck, settings

from tests import posture, server

# Of property tests: few examples and always the same ones, or many and others each time (tests/fuzz/__main__.py).
FUZZ = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("suite", derandomize=True, max_examples=25, **FUZZ)
settings.register_profile("long", max_examples=500, **FUZZ)
settings.load_profile(os.environ.get("CELLBLOCK_TEST_FUZZ", "suite"))


@pytest.fixture(scope="session")
def cellblock() -> collections.abc.Iterator[server.Server]:
    """One server for the whole session, with default settings."""
    with server.Server() as running:
        posture.warm_up(running)
        yield running


@pytest.fixture(scope="session")
def baseline(cellblock: server.Server) -> posture.Posture:
    """What the session's server holds at rest; one for all tests, so that what grows in many small steps is seen."""
    server.until(lambda: posture.is_at_rest(cellblock), server.START_S, "the first pools are full")
    return posture.take(cellblock)


@pytest.fixture
def leaves_nothing(cellblock: server.Server, baseline: posture.Posture) -> collections.abc.Iterator[None]:
    """Posture and canary: after the test nothing of its jails is left, and the next program answers as always."""
    yield
    posture.demand(cellblock, baseline)
    answer = cellblock.execute("python", "print('canary', 6 * 7)")
    assert (answer["output"], answer["error"], answer["reason"]) == ("canary 42\n", None, "exited")


@pytest.fixture(scope="session")
def repository() -> pathlib.Path:
    return pathlib.Path(__file__).parent.parent
