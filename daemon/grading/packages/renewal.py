"""Writes the descriptions in a store anew when another release wrote them, so that an upgrade loses no problem."""

import asyncio
import os

import structlog

from daemon.sandbox.errors import CellblockError, OurFault

from .description import Description, form, from_json, limit_of, to_json
from .reading import ReadingLimits, read_package
from .shelf import PACKAGE, Shelf

log = structlog.get_logger("cellblock.problems")


async def renew(shelf: Shelf, limits: ReadingLimits) -> None:
    """Reads those packages again, from what was unpacked; their time limits stay as they were.

    A version that cannot be read stays as it is, and the log tells of it; where that is our failure, all is tried again
    at the next start. Nothing is done where this release wrote the
    store last. Raises OSError for the store as a whole.
    """
    if await asyncio.to_thread(shelf.form) == form():
        return
    is_done = True
    for version in await asyncio.to_thread(shelf.versions):
        try:
            await _renew(shelf, version, limits)
        except (CellblockError, ValueError, OSError) as error:
            log.error("a stored problem is not as this release writes it", version=version, reason=type(error).__name__)
            is_done &= not isinstance(error, (OurFault, OSError))
    if is_done:
        await asyncio.to_thread(shelf.set_form, form())


async def _renew(shelf: Shelf, version: str, limits: ReadingLimits) -> None:
    """Raises PackageRefused, CannotRead, ValueError, OSError."""
    held = await asyncio.to_thread(shelf.hold, version)
    if held is None:
        return
    try:
        text = await asyncio.to_thread(shelf.description, version)
        if text is None or await asyncio.to_thread(_is_of_this_release, text):
            return
        directory = os.open(PACKAGE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
        try:
            found = await read_package(None, directory, limits)
        finally:
            os.close(directory)
        await asyncio.to_thread(shelf.describe, version, to_json(Description(found, limit_of(text))))
    finally:
        os.close(held)


def _is_of_this_release(text: bytes) -> bool:
    try:
        from_json(text)
    except ValueError:
        return False
    return True
