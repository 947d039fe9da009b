"""Whether the API knows its clients by tokens. Where it does not, a bearer token is whatever its sender made up."""

import asyncio
import time

from cellblock_client import ApiError, AsyncClient, ClientError

ASK_S = 10.0
KEPT_S = 60.0  # an API that is started anew may have tokens, or none


class Unanswered(Exception):
    """The API did not say."""


class Doorway:
    """Asks the API without a token, once for all who want to know, and keeps what it said for KEPT_S."""

    def __init__(self, api: AsyncClient) -> None:
        self._api = api
        self._asking: asyncio.Task[bool] | None = None
        self._until_s = 0.0

    async def wants_tokens(self) -> bool:
        """Raises Unanswered; whoever comes next asks again."""
        asked = self._asking
        if asked is None or (asked.done() and (time.monotonic() >= self._until_s or asked.exception() is not None)):
            asked = self._asking = asyncio.create_task(self._ask())
            self._until_s = time.monotonic() + KEPT_S
        return await asyncio.shield(asked)  # one who hangs up ends it for none of the others

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(ASK_S):
                await self._api.languages()
        except ApiError as error:
            if error.status == 401:
                return True
            raise Unanswered(error.detail) from error
        except (ClientError, TimeoutError) as error:
            raise Unanswered(str(error)) from error
        return False
