"""Refuses to listen where other machines could run programs here without a token."""

import socket

from daemon import addresses
from daemon.sandbox.errors import OurFault
from daemon.settings import Settings


class TooOpen(OurFault):
    """It would listen beyond loopback, and no token is needed."""


def check(settings: Settings, listener: socket.socket) -> None:
    """Raises TooOpen for a socket that listens beyond loopback, unless tokens are needed or the settings allow it.

    The address of the socket itself counts, not the one that was asked for. A unix socket is local.
    """
    if settings.tokens_path is not None or settings.insecure_without_tokens or listener.family == socket.AF_UNIX:
        return
    address = listener.getsockname()[0]
    if not addresses.is_loopback(address):
        raise TooOpen(
            f"without tokens anybody who reaches {address} could run programs here: make a token with "
            "`cellblock token new` and set tokens_file, or allow it with insecure_without_tokens = true"
        )
