"""What a new package must pass before the store takes it: it can be graded by, here, and has a time limit."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

from daemon.judge.submission import Submission
from daemon.sandbox.threads import to_the_end
from daemon.toolchain.registry import Registry

from .checking import CheckerFailed
from .examples import Admitted, Examples
from .grader import Grader
from .packages.reading import Package
from .packages.refusal import PackageRefused
from .packages.time_limit import TimeLimit
from .problems import Bounds, check
from .programs import CannotGrade


class Reception:
    """Runs one submission at a time, of all packages together.

    `timing_s`: for the accepted submissions of one package.
    """

    def __init__(self, grader: Grader, toolchains: Registry, timing_s: float) -> None:
        self._grader, self._toolchains, self._timing_s = grader, toolchains, timing_s
        self._turn = asyncio.Lock()

    async def time_limit(self, package: Package, bounds: Bounds, admitted: Admitted, client: str) -> TimeLimit:
        """What the package says, or what follows from its accepted submissions on this host, which run within `bounds`
        and inside of what `admitted` gives, and are those of `client` (turns/line.py).

        Raises CannotGrade where no submission could be graded by it here; PackageRefused where an accepted submission
        is not accepted and no file says the limit, because a limit without it may be too short; and what `admitted`
        and the sandbox raise.
        """
        for judge in await to_the_end(check, package.problem, package.open, self._toolchains, bounds):
            await self._build(judge, admitted, client)
        one_of_all = functools.partial(self._one_of_all, admitted)
        examples = Examples(package, self._grader, self._toolchains, bounds, admitted=one_of_all, client=client)
        timing = await examples.timing(self._timing_s)
        if timing.failed:
            raise PackageRefused(f"no time limit can be computed: {timing.failed[0]}; say it in problem.yaml")
        return timing.limit

    async def _build(self, judge: Submission, admitted: Admitted, client: str) -> None:
        try:
            async with self._one_of_all(admitted):
                await self._grader.check(judge, client)
        except CheckerFailed as error:
            raise CannotGrade(str(error)) from error

    @contextlib.asynccontextmanager
    async def _one_of_all(self, admitted: Admitted) -> AsyncIterator[None]:
        async with self._turn, admitted():
            yield
