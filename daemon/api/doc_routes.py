"""GET /openapi.json and GET /docs: made once, when they are first asked for, and kept as bytes."""

import asyncio
import json

from aiohttp import web

from daemon.settings import Settings
from daemon.toolchain.registry import Registry

from .docs_page import page
from .document import document
from .figures import figures_of
from .kept import Kept, kept


class Documents:
    """The two, of one deployment."""

    def __init__(self, settings: Settings, toolchains: Registry) -> None:
        self._settings, self._toolchains = settings, toolchains
        self._making = asyncio.Lock()
        self._kept: tuple[Kept, Kept] | None = None

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The routes."""
        router.add_get("/openapi.json", self.openapi)
        router.add_get("/docs", self.docs)

    async def openapi(self, request: web.Request) -> web.Response:
        """The document, OpenAPI 3.1."""
        return (await self._both())[0].answer(request)

    async def docs(self, request: web.Request) -> web.Response:
        """The document as a page."""
        return (await self._both())[1].answer(request)

    async def _both(self) -> tuple[Kept, Kept]:
        async with self._making:  # it takes a tenth of a second, in a thread
            if self._kept is None:
                self._kept = await asyncio.to_thread(self._make)
            return self._kept

    def _make(self) -> tuple[Kept, Kept]:
        found = document(figures_of(self._settings, self._toolchains))
        html, policy = page(found)
        data = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        return kept(data.encode(), "application/json"), kept(html.encode(), "text/html; charset=utf-8", policy)
