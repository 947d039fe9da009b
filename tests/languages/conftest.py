"""A server that has every language there is; every test is followed by posture and canary."""

import collections.abc

import pytest

from tests import posture, server

from .programs import LANGUAGES


@pytest.fixture(scope="session")
def cellblock() -> collections.abc.Iterator[server.Server]:
    with server.Server(languages=[*server.LANGUAGES, *LANGUAGES]) as running:
        posture.warm_up(running)
        yield running


@pytest.fixture(scope="session")
def baseline(cellblock: server.Server) -> posture.Posture:
    server.until(lambda: posture.is_at_rest(cellblock), server.START_S, "the first pools are full")
    return posture.take(cellblock)


@pytest.fixture(autouse=True)
def _leaves_nothing(leaves_nothing: None) -> None:
    return leaves_nothing
