"""Refuses to listen where other machines could run programs here without a token, directly or through a proxy."""

import socket

from daemon import addresses
from daemon.sandbox.errors import OurFault
from daemon.settings import Settings


class TooOpen(OurFault):
    """Other machines would reach it, and no token is needed."""


def check(settings: Settings, listener: socket.socket) -> None:
    """Raises TooOpen for a socket that listens beyond loopback, and for every socket where a proxy is trusted, which
    others reach, unless tokens are needed or the settings allow it.

    The address of the socket itself counts, not the one that was asked for. A unix socket is local.
    """
    if settings.tokens_path is not None or settings.insecure_without_tokens:
        return
    if settings.trusted_proxies:
        raise _too_open("the proxy of trusted_proxies")
    if listener.family != socket.AF_UNIX and not addresses.is_loopback(address := listener.getsockname()[0]):
        raise _too_open(address)


def _too_open(reached: str) -> TooOpen:
    return TooOpen(
        f"without tokens anybody who reaches {reached} could run programs here: make a token with "
        "`cellblock token new` and set tokens_file, or allow it with insecure_without_tokens = true"
    )
