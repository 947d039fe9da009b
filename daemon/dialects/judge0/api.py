"""The endpoints: two flavours, which differ in their path, their version and their ids of languages."""

import contextlib
from collections.abc import AsyncIterator, Iterator

from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.api.allowance import within
from daemon.api.client import CLIENT
from daemon.api.endpoint import Endpoint
from daemon.api.errors import ApiProblem
from daemon.api.parts import Parts
from daemon.api.runs import Runs
from daemon.api.tokens import Scope
from daemon.toolchain.schema import StepLimits

from . import facts, shown
from .answers import RETRY_AFTER_S, json_answer, tell
from .callbacks import Callbacks
from .connection import Unusable
from .database import Capacity, file_below
from .job import Job
from .languages import FLAVOURS, Flavour, Languages
from .outcome import Status
from .store import Store
from .submissions import Submissions
from .wanted import default_bounds
from .work import Work

MB = 1 << 20
ANSWER_BYTES = MB  # at least, of a submission that has no answer yet: what a compiler may print
UNUSABLE = "Submissions cannot be stored or read right now"
TOKEN_HEADERS = ("X-Auth-Token", "X-Judge0-Token")


class Api:
    """A dialect.Dialect."""

    def __init__(self, parts: Parts, runs: Runs) -> None:
        settings = parts.settings
        self._parts, self._runs = parts, runs
        self._callbacks = Callbacks(settings.judge0_callback_hosts)
        self._capacity = Capacity(
            settings.judge0_queue, settings.judge0_submissions_max, settings.judge0_mb_max * MB, settings.judge0_keep_s,
            max(settings.output_bytes, ANSWER_BYTES),
        )  # fmt: skip
        self._doors = [_Door(flavour, parts, runs, self._callbacks, self._capacity) for flavour in FLAVOURS]

    def endpoints(self) -> Iterator[Endpoint]:
        """Of both flavours."""
        for door in self._doors:
            yield from door.endpoints()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What waits is run. While the store's file cannot be used, /health says so, and submissions are refused."""
        path = file_below(self._parts.settings.state)
        async with Store.opened(path, self._capacity) as store:
            self._parts.readiness.watch("judge0", lambda: store.wrong)
            work = Work(self._parts, self._runs, store, self._callbacks, self._language_of)
            for door in self._doors:
                door.open(store, work)
            async with work.background():
                yield

    def _language_of(self, job: Job) -> str:
        return self._doors[0].submissions.language_of(job)


def _told(handle: Handler) -> Handler:
    """An endpoint that answers 503 while the store cannot be used."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except Unusable:
            raise ApiProblem(503, "sandbox_unavailable", UNUSABLE, retry_after_s=RETRY_AFTER_S) from None

    return answer


class _Door:
    """One flavour."""

    def __init__(self, flavour: Flavour, parts: Parts, runs: Runs, callbacks: Callbacks, capacity: Capacity) -> None:
        self._flavour, self._parts = flavour, parts
        self._callbacks, self._capacity = callbacks, capacity
        self._languages = Languages(flavour, parts.toolchains, parts.versions)
        self.submissions = Submissions(parts, runs, self._languages, callbacks)
        self._store: Store | None = None

    def open(self, store: Store, work: Work) -> None:
        """From now on requests are answered."""
        self._store = store
        self.submissions.open(store, work)

    def endpoints(self) -> Iterator[Endpoint]:
        """What Judge0 answers. A fixed path stands before one with a name in it."""
        run, none, watch = Scope.RUN, None, Scope.WATCH
        for method, path, handle, scope in (
            ("POST", "/submissions", self.submissions.create, run),
            ("GET", "/submissions", self.submissions.page, run),
            ("POST", "/submissions/batch", self.submissions.create_batch, run),
            ("GET", "/submissions/batch", self.submissions.show_batch, run),
            ("GET", "/submissions/{token}", self.submissions.show, run),
            ("DELETE", "/submissions/{token}", self.submissions.delete, run),
            ("GET", "/languages", self._list_languages, none),
            ("GET", "/languages/all", self._all_languages, none),
            ("GET", "/languages/{id}", self._language, none),
            ("GET", "/statuses", self._statuses, none),
            ("GET", "/about", self._about, none),
            ("GET", "/version", self._version, none),
            ("GET", "/license", self._licence, none),
            ("GET", "/config_info", self._config, none),
            ("GET", "/system_info", self._system, watch),
            ("GET", "/workers", self._workers, watch),
        ):
            yield Endpoint(method, f"{self._flavour.prefix}{path}", _told(handle), tell, scope, TOKEN_HEADERS)

    async def _list_languages(self, _: web.Request) -> web.Response:
        return json_answer([self._languages.entry(number) for number in self._languages])

    async def _all_languages(self, _: web.Request) -> web.Response:
        return json_answer([self._languages.entry(number, with_archived=True) for number in self._languages])

    async def _language(self, request: web.Request) -> web.Response:
        """Raises ApiProblem 404."""
        text = request.match_info["id"]
        number = int(text) if text.isdecimal() and len(text) < 10 else None
        if number is None or self._languages.find(number) is None:
            raise ApiProblem(404, "not_found", f"language with id {text[:20]} doesn't exist")
        return json_answer(self._languages.details(number))

    async def _statuses(self, _: web.Request) -> web.Response:
        return json_answer([shown.status(status) for status in Status])

    async def _about(self, _: web.Request) -> web.Response:
        return json_answer(facts.about(self._flavour))

    async def _version(self, _: web.Request) -> web.Response:
        return web.Response(text=self._flavour.version)

    async def _licence(self, _: web.Request) -> web.Response:
        return web.Response(text=facts.licence())

    async def _system(self, _: web.Request) -> web.Response:
        return json_answer(facts.system())

    async def _config(self, request: web.Request) -> web.Response:
        settings, token = self._parts.settings, request[CLIENT].token
        stack_mb = min((one.steps[-1].limits.stack_mb for one in self._parts.toolchains), default=StepLimits().stack_mb)
        bounds = default_bounds(settings, stack_mb, lambda limits: within(token, limits))
        with_options = [toolchain.title for toolchain in self._parts.toolchains if toolchain.takes_options]
        has_callbacks = bool(self._callbacks.hosts)
        return json_answer(facts.config(settings, bounds, self._capacity, has_callbacks, with_options))

    async def _workers(self, _: web.Request) -> web.Response:
        """Of all HTTP processes together: a worker is a run that may be under way, whoever asked for it and in whose
        words; of other processes those of Judge0 are seen alone. Raises SandboxUnavailable."""
        assert self._store is not None
        admission, of_one = self._parts.admission, self._parts.settings.runs_at_once_of_one
        size, others = await self._store.waiting()
        size += admission.waiting + sum(max(0, held - of_one) for held in others)
        working = min(of_one, admission.running) + sum(min(of_one, held) for held in others)
        available = of_one * self._parts.settings.http_processes
        idle = max(0, available - working)
        queue = {"queue": self._flavour.version, "size": size, "available": available, "idle": idle}
        return json_answer([{**queue, "working": working, "paused": 0, "failed": 0}])
