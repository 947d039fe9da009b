"""Composition root: puts the parts together, as the HTTP process and as the command line's own engine."""

import asyncio
import contextlib
import ctypes
import importlib.metadata
import os
import resource
import signal
import socket
import subprocess
from collections.abc import AsyncIterator

import uvloop

from daemon import launch, liveness, logs
from daemon.api import routes as api
from daemon.api import spans
from daemon.api.access import Access
from daemon.api.admission import Admission
from daemon.api.body import Bodies
from daemon.api.connections import Limits
from daemon.api.front import Front
from daemon.api.metrics import Metrics
from daemon.api.metrics_page import MetricsPage
from daemon.api.observer import Observer
from daemon.api.parser import Parser
from daemon.api.parts import Parts
from daemon.api.readiness import Readiness
from daemon.api.runs import Runs
from daemon.api.tokens import Tokens
from daemon.dialects import dialect
from daemon.dialects.dialect import Dialects
from daemon.grading.grader import Grader
from daemon.grading.packages.archive import ArchiveLimits
from daemon.grading.packages.reading import ReadingLimits
from daemon.grading.packages.store import Store
from daemon.host import instance, privileges
from daemon.host.service_manager import Notifier
from daemon.judge.artifacts import Artifacts
from daemon.judge.executor import Executor
from daemon.judge.self_tests import SelfTests
from daemon.judge.service import keep_services
from daemon.judge.versions import Versions
from daemon.places import ALONE, Place
from daemon.sandbox.client import Client
from daemon.sandbox.collector import keep_what_is_there
from daemon.settings import MB, Settings
from daemon.toolchain import identity
from daemon.toolchain.registry import Registry
from daemon.validation.constructs import Constructs

KEEPER_STOP_S = 10.0
LARGE_BLOCK_BYTES = 256 << 10
M_MMAP_THRESHOLD = -3  # malloc.h


def serve_http(
    settings: Settings, listeners: list[socket.socket], parent: int | None, notifier: Notifier, place: Place = ALONE
) -> None:
    """Be the HTTP process until SIGTERM, then until what has begun is answered or `drain_s` have passed.

    When `parent` (a pid) is no longer its parent, it ends. Raises CannotStart when it has any privilege left,
    registry.BadToolchain, BadTokens.
    """
    if parent is not None:
        privileges.die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            return
    if os.geteuid() == 0 or privileges.effective() != 0:
        raise launch.CannotStart("the HTTP process must not be root nor hold a capability")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    _give_back_large_blocks()
    logs.configure(settings)
    _keep_descriptors()
    uvloop.run(_serve_http(settings, listeners, notifier, place))


def _keep_descriptors() -> None:
    """No helper gets what we were given, the listening sockets: uvloop closes nothing in a new process."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the list's own is closed
                os.set_inheritable(int(name), False)


def _give_back_large_blocks() -> None:
    """Makes free(3) return blocks of LARGE_BLOCK_BYTES and more to the kernel, such as a program's input of 10 MB.

    Unless the threshold is set, glibc raises it to the size of the largest block that was freed (mallopt(3)), and
    from then on keeps freed blocks of up to that size.
    """
    if ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES) != 1:
        raise launch.CannotStart("mallopt(M_MMAP_THRESHOLD) failed")


async def _serve_http(settings: Settings, listeners: list[socket.socket], notifier: Notifier, place: Place) -> None:
    stopped, hurry = _stop_signals()
    access = Access(settings, None if settings.tokens_path is None else Tokens(settings.tokens_path))
    toolchains = launch.load_registry(settings)
    versions = Versions({toolchain.id: identity.digest(toolchain, settings.toolchain_root) for toolchain in toolchains})
    async with (
        Client(str(instance.socket_path(settings.instance)), settings.start_s) as client,
        Constructs(toolchains if settings.validation != "off" else (), settings.validation_s) as constructs,
        keep_services(client, toolchains if settings.services else (), settings.start_s) as services,
        _parser(settings) as parser,
        Artifacts(settings.artifact_memory_mb << 20, settings.artifact_disk_mb << 20, settings.state).opened() as kept,
    ):
        executor = Executor(client, services, kept, versions)
        store = _store_of_problems(settings)
        await store.start()
        self_tests = SelfTests(executor, toolchains, settings.run_limits(), settings.self_test_s)
        grader = Grader(executor, client, settings.tests_at_once)
        parts = Parts(
            settings, toolchains, client, executor, grader, store, constructs, self_tests, services, versions,
            _admission(settings, client), access,
            Bodies(parser, settings.body_bytes_max, settings.body_bytes_per_s_min),
            facts(), Metrics(toolchains.ids()), Readiness(client, self_tests),
        )  # fmt: skip
        async with _front(parts, place) as front:
            await front.open(listeners)
            keep_what_is_there()
            testing = asyncio.create_task(self_tests.run())
            telling = asyncio.create_task(liveness.keep_telling(self_tests, notifier))
            stopping = asyncio.create_task(stopped.wait())
            await asyncio.wait([testing, telling, stopping], return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in (testing, telling) if task.done()]
            testing.cancel()
            parts.readiness.drain()
            notifier.tell(STOPPING=1, EXTEND_TIMEOUT_USEC=int(launch.http_stop_s(settings) * 1e6))
            await front.drain(settings.drain_s, hurry)
            telling.cancel()
        for task in failed:
            task.result()  # a defect in them ends the process rather than its honesty


def _admission(settings: Settings, client: Client) -> Admission:
    return Admission(
        settings.runs_at_once_of_one, settings.queue, settings.client_share, settings.queue_crowded_of_one,
        settings.queue_wait_s, client.starting, settings.runs_spare_of_one,
    )  # fmt: skip


def _parser(settings: Settings) -> Parser:
    """Of large bodies, those of the dialects too."""
    places = settings.runs_at_once_of_one + settings.queue
    return Parser(settings.body_bytes_max, places, modules=dialect.models(settings.dialects))


@contextlib.asynccontextmanager
async def _front(parts: Parts, place: Place) -> AsyncIterator[Front]:
    """All of its requests are observed; at the end of the body the last of them are counted and told."""
    recorder = spans.from_environment(os.environ)
    observer = Observer(parts.metrics, recorder, parts.settings.access_log)
    dialects = Dialects(parts, Runs(parts))
    async with MetricsPage(parts, observer, place) as page, dialects.running():
        try:
            app = api.application(parts, observer, page, dialects.endpoints())
            limits = Limits.of(parts.settings)
            yield Front(app, observer, limits, parts.settings.trusted_proxies)
        finally:
            observer.count()
    if recorder is not None:
        await recorder.close()


def _stop_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first SIGTERM or SIGINT, and by the next."""
    stopped, hurry = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: (hurry if stopped.is_set() else stopped).set())
    return stopped, hurry


def _store_of_problems(settings: Settings) -> Store:
    archive = ArchiveLimits(
        entries_max=settings.package_files_max, total_bytes_max=settings.package_unpacked_mb_max * MB
    )
    limits = ReadingLimits(archive, deadline_s=settings.package_read_s)
    return Store(settings.state / "problems", settings.problems_max, settings.problems_disk_mb * MB, limits)


def facts() -> dict[str, str]:
    """Names and versions of what the sandbox is made of, for /health."""
    return {"nsjail": launch.NSJAIL_VERSION, "seccomp": importlib.metadata.version("pyseccomp")}


@contextlib.asynccontextmanager
async def own_engine(settings: Settings) -> AsyncIterator[tuple[Executor, Client, Registry]]:
    """An executor and its client, on a keeper of its own that ends with it. For the command line, in a delegated group.

    It knows no versions and keeps no artefacts. Raises CannotStart, registry.BadToolchain, instance.Busy.
    """
    settings = settings.model_copy(update={"pools": False, "wardens": 1})  # it lives for a run or two
    toolchains = launch.load_registry(settings)
    with instance.run_slot() as name:
        async with _own_keeper(settings, toolchains, name) as client:
            yield Executor(client, {}, Artifacts(0, 0, None), Versions({})), client, toolchains


@contextlib.asynccontextmanager
async def _own_keeper(settings: Settings, toolchains: Registry, name: str) -> AsyncIterator[Client]:
    """A client of a keeper that is ready and lives as long as the body. Raises CannotStart, registry.BadToolchain."""
    path = instance.socket_path(name)
    plan_fd = launch.plan_descriptor(settings, toolchains)
    listener = launch.listen_unix(path, os.geteuid())
    argv = launch.keeper_argv(settings, name, listener.fileno(), plan_fd, os.geteuid())
    argv += ["--parent", str(os.getpid())]
    keeper = subprocess.Popen(argv, pass_fds=[listener.fileno(), plan_fd])  # noqa: ASYNC220 (before any other task)
    listener.close()
    os.close(plan_fd)
    try:
        async with Client(str(path), settings.start_s) as client:
            await _until_ready(client, keeper, toolchains.ids(), 1.5 * settings.start_s)  # its own wardens have 1
            yield client
    finally:
        keeper.send_signal(signal.SIGTERM)
        await asyncio.to_thread(keeper.wait, KEEPER_STOP_S)


async def _until_ready(client: Client, keeper: subprocess.Popen[bytes], toolchains: list[str], seconds: float) -> None:
    """Until the warden of each toolchain is ready. Raises CannotStart when the keeper ends or time is up before."""

    async def all_ready() -> None:
        for toolchain in toolchains:
            await client.wait_ready(toolchain)

    loop = asyncio.get_running_loop()
    pidfd = os.pidfd_open(keeper.pid)
    ended = loop.create_future()

    def on_end() -> None:
        loop.remove_reader(pidfd)
        ended.set_result(None)

    loop.add_reader(pidfd, on_end)
    ready = asyncio.create_task(all_ready())
    try:
        await asyncio.wait([ready, ended], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        is_ready = ready.done()
        ready.cancel()
        await asyncio.wait([ready])
    if not is_ready:
        problems = "; ".join(f"{name}: {text}" for name, text in client.wardens().items())
        raise launch.CannotStart(f"the keeper did not start: {problems or 'its message is above'}")
