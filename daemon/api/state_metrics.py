"""What is read for Prometheus at the moment when it asks: the state of this HTTP process, and of the keeper.

It costs nothing while nobody asks, and there is no second count of anything that is counted already.
"""

import platform
import time
from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .metrics import PREFIX
from .parts import VERSION, Parts


def of_process(parts: Parts) -> Iterable[Metric]:
    """Of this HTTP process alone."""
    admission, artifacts = parts.admission, parts.executor.artifacts
    yield _gauge("slots_taken", "Requests that have a slot now", admission.running)
    yield _gauge("slots", "Requests that may have a slot at once", parts.settings.runs_at_once_of_one)
    yield _gauge("queue_waiting", "Requests that wait for a slot now", admission.waiting)
    yield _gauge("queue_places", "Requests that may wait for a slot", parts.settings.queue)
    yield _gauge("queue_crowded", "1 while more requests come than can run", int(admission.is_crowded))
    yield _gauge("body_bytes", "Room that bodies of requests take now", admission.body_bytes)
    yield _gauge(
        "tokens_stale", "1 while the file of tokens is wrong or away, and older tokens are valid",
        int(parts.access.has_stale_tokens),
    )  # fmt: skip
    found = {result: artifacts.counts[result] for result in ("memory", "disk", "missed")}
    yield _counter("artifacts", "Searches for a compiled program: where it was kept, or missed", "result", found)
    skipped = {cause: parts.constructs.counts[cause] for cause in ("busy", "late")}
    yield _counter("validation_skipped", "Sources allowed unread, as the lexer was busy or late", "cause", skipped)
    starts = {name: service.starts for name, service in parts.services.items()}
    yield _counter("service_starts", "How often a long-lived compiler has started", "language", starts)
    ready = {name: int(service.ready) for name, service in parts.services.items()}
    yield _labelled("service_ready", "1 where the long-lived compiler answers", "language", ready)
    problems = parts.readiness.of_sandbox()
    healthy = {name: int(name not in problems) for name in parts.toolchains.ids()}
    yield _labelled("toolchain_healthy", "1 where a program ran within two periods of self-tests", "language", healthy)
    yield _gauge("ready", "1 while GET /health/ready is 200", int(not parts.readiness.problems()))


def of_keeper(parts: Parts) -> Iterable[Metric]:
    """Of what all HTTP processes share. Of the keeper only that it is away, while it is."""
    build = GaugeMetricFamily(
        f"{PREFIX}build_info", "1; the labels say what runs here", labels=("version", "nsjail", "python")
    )
    build.add_metric((VERSION, parts.facts["nsjail"], platform.python_version()), 1)
    yield build
    state = parts.client.state
    yield _gauge("keeper_up", "1 while the HTTP process that was asked has its keeper", int(state is not None))
    if state is None:
        return
    yield _gauge("jails", "Jails that exist now, parked ones included", state.jails)
    for name, text in POOLS.items():
        counts = {pool: counts[name] for pool, counts in state.parked.items()}
        yield _labelled(f"pool_{name}", text, "pool", counts)
    yield _gauge("parked_bytes", "Memory of the parked jails", state.parked_bytes)
    yield _labelled("memory_bytes", "Memory of the keeper and of all jails together", "of", state.memory_bytes)
    yield _counter(
        "jails_failed", "Jails that could not be made, for want of a control group", None, state.failures["jail"]
    )
    fleets = state.fleets.items()
    started, lost = ({name: counts[key] for name, counts in fleets} for key in ("started", "lost"))
    yield _counter("warden_starts", "Wardens started so far", "language", started)
    yield _counter("warden_losses", "Wardens that ended unasked, or did not start", "language", lost)
    now_s = time.monotonic()
    ages = {name: max(0.0, now_s - counts["since_s"]) for name, counts in fleets if "since_s" in counts}
    yield _labelled("warden_age_seconds", "Of the oldest warden that makes jails, where one does", "language", ages)


POOLS = {
    "parked": "Jails that wait for a source",
    "wanted": "Jails that are to wait for a source",
    "starting": "Jails that are being made for nobody in particular",
    "running": "Jails that were given a source, and are not removed yet",
    "waiting": "Runs that wait for a jail",
}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _counter(name: str, text: str, label: str | None, values: Mapping[str, int] | int) -> Metric:
    if isinstance(values, int):
        return CounterMetricFamily(PREFIX + name, text, values)
    family = CounterMetricFamily(PREFIX + name, text, labels=(label or "",))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
