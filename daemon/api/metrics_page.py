"""GET /metrics: everything that is counted, of all HTTP processes, in a format that Prometheus reads."""

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from daemon.places import Place

from . import state_metrics
from .access import watches
from .client import CLIENT, FORWARDED, UNIX, is_local
from .errors import ApiProblem
from .metrics import PREFIX
from .observer import Observer
from .parts import Parts
from .siblings import Siblings, together

SPOKEN_FOR = (*FORWARDED, "X-Real-IP")  # a header of a proxy that asks for somebody else


class MetricsPage:
    """`async with MetricsPage(parts, observer, place) as page`: `get` is the endpoint's handler.

    Who may read it is the setting `metrics`: `local` answers unix and loopback peers that no proxy speaks for,
    and whoever has a token that may watch.
    """

    def __init__(self, parts: Parts, observer: Observer, place: Place) -> None:
        self._parts, self._observer = parts, observer
        self._siblings = Siblings(place, self._collect)

    async def __aenter__(self) -> "MetricsPage":
        await self._siblings.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._siblings.__aexit__()

    def _collect(self) -> Iterable[Metric]:
        self._observer.count()
        yield from self._parts.metrics.registry.collect()
        yield from state_metrics.of_process(self._parts)

    async def get(self, request: web.Request) -> web.Response:
        """The page. Raises ApiProblem 403 where the setting does not allow this peer to read it."""
        if self._parts.settings.metrics != "all" and not _is_local(request) and not watches(request[CLIENT]):
            raise ApiProblem(403, "forbidden", "Metrics are told to this host, and to tokens that may watch")
        processes = await self._siblings.ask()
        silent = GaugeMetricFamily(
            f"{PREFIX}processes_silent",
            "HTTP processes whose counts are missing here",
            self._siblings.count - len(processes),
        )
        registry = CollectorRegistry()
        registry.register(_Collected([silent, *state_metrics.of_keeper(self._parts), *together(processes)]))
        encode, content_type = _encoder(request.headers.get("Accept", ""))
        page = await asyncio.to_thread(encode, registry)  # some milliseconds, in which others are answered
        return web.Response(body=page, headers={"Content-Type": content_type})


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """For a header that the library does not understand the plain text, which whoever asks for metrics can read."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _is_local(request: web.Request) -> bool:
    """The peer is on this host, and no proxy's header says that it asks for somebody else."""
    return is_local(request.remote or UNIX) and not any(name in request.headers for name in SPOKEN_FOR)
