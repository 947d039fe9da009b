"""What commands that talk to a server have in common: its token, and its refusals as failures of ours."""

import contextlib
import pathlib
from collections.abc import Iterator

from cellblock_client import ApiError, ClientError

from daemon.sandbox.errors import OurFault

TOKEN_BYTES_MAX = 4096


class NotServed(OurFault):
    """The server did not carry the request out, or cannot be asked."""


def token_of(path: pathlib.Path | None) -> str | None:
    """The one line of a file; None without a file. Raises NotServed."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            token = file.read(TOKEN_BYTES_MAX).decode("ascii").strip()
    except OSError as error:
        raise NotServed(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        token = ""
    if not token.isprintable() or " " in token or not token:
        raise NotServed(f"{path}: must hold a token in one line, as `cellblock token new` prints it")
    return token


@contextlib.contextmanager
def refusals(url: str) -> Iterator[None]:
    """Raises NotServed for what a client of `url` raises."""
    try:
        yield
    except ApiError as error:
        raise NotServed(error.detail) from error
    except ClientError as error:
        raise NotServed(f"{url}: {error}") from error
