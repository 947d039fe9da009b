"""Where a server is, as httpx takes it."""

import contextlib
import importlib.metadata
from typing import TypedDict

import httpx

UNIX = "unix:"


class Settings(TypedDict):
    """Of httpx.Client and httpx.AsyncClient alike."""

    base_url: str
    headers: dict[str, str]
    timeout: httpx.Timeout


def _version() -> str:
    """Its own; cellblock's where it came with cellblock."""
    for name in ("cellblock-client", "cellblock"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown"


def uds_of(url: str) -> str | None:
    """The path of `unix:/PATH`; None for a URL of HTTP. Raises ValueError for what is neither."""
    if url.startswith(UNIX):
        return url.removeprefix(UNIX)
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is neither http://…, https://… nor unix:/PATH")
    try:
        has_host = bool(httpx.URL(url).host)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no URL: {error}") from error
    if not has_host:
        raise ValueError(f"{url!r} names no host")
    return None


def settings(url: str, connect_s: float, read_s: float | None) -> Settings:
    """Raises ValueError. A pool waits for as long as it takes: how many ask at once is the caller's to say."""
    return Settings(
        base_url="http://localhost" if uds_of(url) is not None else url,
        headers={"User-Agent": f"cellblock-client/{_version()}"},
        timeout=httpx.Timeout(read_s, connect=connect_s, pool=None),
    )
