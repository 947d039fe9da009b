"""The least rate at which a body must come: whoever stays below it holds a connection, and room, for nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from .errors import ApiProblem

GRACE_S = 10.0  # in which nothing need come: a lost packet is sent again within seconds (RFC 6298)


@contextlib.asynccontextmanager
async def at_least(bytes_per_s: int) -> AsyncIterator[Callable[[int], None]]:
    """What is to be called with the size of all that has come so far, each time when more has.

    Raises ApiProblem 408, in place of whatever the body of the `async with` waits for, when less has come than
    `bytes_per_s` since GRACE_S after the beginning.
    """
    loop = asyncio.get_running_loop()
    grace_end_s = loop.time() + GRACE_S
    try:
        async with asyncio.timeout_at(grace_end_s) as deadline:
            yield lambda size: deadline.reschedule(grace_end_s + size / bytes_per_s)
    except TimeoutError:
        detail = f"The body came too slowly: less than {bytes_per_s} bytes in a second, over {GRACE_S:g} s and more"
        raise ApiProblem(408, "request_timeout", detail) from None
