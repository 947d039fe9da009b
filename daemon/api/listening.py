"""aiohttp's server with three changes: the observer hears of every request's end, what is no HTTP gets a problem, and
no body is decompressed.

aiohttp itself would log a traceback for each request that it cannot read, with what was in it, and answer plain text.
Of two fields Content-Encoding it obeys the last, whatever the first says.
"""

from typing import Any

from aiohttp import web

from . import errors
from . import note as notes
from .errors import ApiProblem
from .observer import Observer


class Runner(web.AppRunner):
    """An AppRunner whose connections are observed."""

    def __init__(self, app: web.Application, observer: Observer, **options: Any) -> None:
        super().__init__(app, access_log=None, auto_decompress=False, **options)
        self._observer = observer

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, self._observer)


class _Server(web.Server):
    """As the one that it is made from."""

    def __init__(self, made: web.Server, observer: Observer) -> None:
        super().__init__(
            made.request_handler, request_factory=made.request_factory, handler_cancellation=made.handler_cancellation,
            loop=made._loop, **made._kwargs,
        )  # fmt: skip
        self._observer = observer

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._observer, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_observer",)

    def __init__(self, server: web.Server, observer: Observer, **options: Any) -> None:
        super().__init__(server, **options)
        self._observer = observer

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to bytes that are no HTTP request, and to a defect outside of every middleware. It closes the
        connection. Raises ConnectionError where an answer has begun."""
        note = self._observer.note_of(request)
        if request.writer.output_size > 0:
            self._observer.end(request, note, None)
            raise ConnectionError("an answer has begun already")
        if status >= 500 and isinstance(exc, Exception):
            problem = errors.of(exc, request)
        else:
            what = type(exc).__name__ if exc is not None else "unreadable"  # its text quotes the request
            problem = ApiProblem(status, "bad_http", f"This is not a readable HTTP request ({what})")
            note.code = problem.code
        answer = errors.response(problem)
        answer.headers[notes.REQUEST_ID] = note.request_id
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send what is left of the answer; then the request is over, sent or not."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._observer.end(request, self._observer.note_of(request), resp)
