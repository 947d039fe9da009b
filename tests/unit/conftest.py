"""Asynchronous unit tests run on the loop of the service: what is buffered where, and what comes first, depends on it."""

import asyncio
import collections.abc

import uvloop


def pytest_asyncio_loop_factories() -> collections.abc.Mapping[
    str, collections.abc.Callable[[], asyncio.AbstractEventLoop]
]:
    return {"uvloop": uvloop.new_event_loop}
