"""Work that blocks, in a thread, such that whoever is cancelled knows what it did."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def to_the_end(function: Callable[..., _T], *arguments: Any, undo: Callable[[_T], object] | None = None) -> _T:
    """Runs it in a thread. Cancelled, it waits until the thread has come to its end and undoes what it did."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if undo is not None and task.exception() is None:
        undo(task.result())
    raise cancelled
