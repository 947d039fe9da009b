"""The sockets that the HTTP processes accept from: systemd's, or our own on a port and on a path."""

import contextlib
import grp
import logging
import os
import pathlib
import socket
import stat

from daemon import reach
from daemon.host import log, service_manager
from daemon.sandbox.errors import OurFault
from daemon.settings import Settings

BACKLOG = 1024
ADDRESS = ("host", "port", "unix_socket", "unix_socket_mode", "unix_socket_group")  # settings of our own sockets


class CannotListen(OurFault):
    """The address is taken, not ours, or no address; the text names it."""


def of_service(settings: Settings) -> list[list[socket.socket]]:
    """For each HTTP process its sockets: those that systemd handed over, which all share, else `own`.

    Settings that would choose others are said in the log to mean nothing. Raises CannotListen, reach.TooOpen.
    """
    try:
        inherited = service_manager.listening_sockets(os.environ)
    except (OSError, ValueError) as error:
        raise CannotListen(f"socket activation: {error}") from error
    for listener in inherited:
        reach.check(settings, listener)
    changed = [name for name in ADDRESS if getattr(settings, name) != Settings.model_fields[name].default]
    if inherited and changed:
        event = f"of no effect here: {', '.join(changed)}. systemd holds the sockets: systemctl edit cellblock.socket"
        log.Lines().write(log.line("cellblock.listeners", event, level=logging.WARNING))
    return [inherited] * settings.http_processes if inherited else own(settings)


def own(settings: Settings) -> list[list[socket.socket]]:
    """For each HTTP process its sockets: one on the port for each, and the same one on the path for all.

    Raises CannotListen, reach.TooOpen.
    """
    shared = [] if settings.unix_socket is None else [_on_path(settings.unix_socket, settings)]
    return [[listener, *shared] for listener in _on_port(settings)]


def _on_port(settings: Settings) -> list[socket.socket]:
    """All on one port: the kernel deals connections out to them (SO_REUSEPORT).

    The supervisor holds them, so connections to a process that is being replaced wait for it.
    """
    several = settings.http_processes > 1
    address = settings.host, settings.port
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        if several:
            socket.create_server(address, family=family).close()  # with SO_REUSEPORT a taken address is no error
        listeners = []
        for _ in range(settings.http_processes):
            listeners.append(socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=several))
            address = settings.host, listeners[0].getsockname()[1]
    except OSError as error:
        raise CannotListen(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error
    for listener in listeners:
        reach.check(settings, listener)
    return listeners


def _on_path(path: pathlib.Path, settings: Settings) -> socket.socket:
    """Nobody can connect before mode and group are set."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        previous = os.umask(0o777)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        if settings.unix_socket_group is not None:
            os.chown(path, -1, grp.getgrnam(settings.unix_socket_group).gr_gid)
        os.chmod(path, int(settings.unix_socket_mode, 8))
        listener.listen(BACKLOG)
    except KeyError:
        raise CannotListen(f"unix_socket_group: there is no group {settings.unix_socket_group!r}") from None
    except OSError as error:
        raise CannotListen(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


def _remove_stale(path: pathlib.Path) -> None:
    """What an earlier process listened on. Raises OSError where somebody listens still, or it is no socket."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError("there is something else of that name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a full queue is somebody who listens
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
            except BlockingIOError:
                pass
        raise OSError("somebody listens there")
