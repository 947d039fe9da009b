"""What a dialect is, and how those that the settings name are loaded."""

import contextlib
import importlib
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from daemon.api.endpoint import Endpoint, Endpoints
from daemon.api.parts import Parts
from daemon.api.runs import Runs


class Dialect(Protocol):
    """One API. `daemon.dialects.NAME.api.Api(parts, runs)` makes one; nothing is opened before `running`."""

    def endpoints(self) -> Iterable[Endpoint]:
        """What it answers."""

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """What lives as long as the server serves: stores, tasks."""


class Dialects:
    """Those of the settings. Raises ImportError for one that needs a package that is not installed."""

    def __init__(self, parts: Parts, runs: Runs) -> None:
        self._all: list[Dialect] = [
            importlib.import_module(f"daemon.dialects.{name}.api").Api(parts, runs) for name in parts.settings.dialects
        ]

    def endpoints(self) -> Endpoints:
        """Of all of them."""
        return Endpoints(endpoint for one in self._all for endpoint in one.endpoints())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All of them run as long as this lasts."""
        async with contextlib.AsyncExitStack() as stack:
            for one in self._all:
                await stack.enter_async_context(one.running())
            yield


def models(names: Iterable[str]) -> list[str]:
    """The modules that tell parcel.py what the bodies of these dialects are."""
    return [f"daemon.dialects.{name}.models" for name in names]
