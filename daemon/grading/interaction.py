"""Two programs that talk: a submission and an interactor, each in a jail, joined by two pipes that this process moves
bytes between."""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator

from daemon.sandbox.client import Client
from daemon.sandbox.descriptors import close_all
from daemon.sandbox.model import KilledBy
from daemon.sandbox.order import Finished, Order
from daemon.sandbox.pumps import Bridge, Drain
from daemon.sandbox.running import Running

from .checking import CheckerHangs
from .run_facts import facts_of
from .verdicts import RunFacts

TALK_BYTES = 64 << 20  # that an interactor may say to a submission; none of it is kept here
SILENT_S = 0.5  # after a program's last word, for its end to be told before the other side hears of that word


@dataclasses.dataclass(slots=True)
class Talk:
    """How both ended. `facts`: the submission's. `judge` None: the submission failed before the interactor had ended,
    so what that says does not count, and nobody waited for it."""

    program: Finished
    facts: RunFacts
    judge: Finished | None


async def talk(client: Client, program: Order, judge: Order) -> Talk:
    """Run both until both have ended. `output_bytes` of the program bounds what it says, TALK_BYTES the interactor.

    Once one has ended, the other meets the end of its input, and what it still says is thrown away: neither meets a
    broken pipe, whichever is quicker. A submission that is ended because it said too much to nobody has no failure for
    that. Raises SandboxUnavailable, and CheckerHangs for an interactor that has not ended when the submission has been
    gone for as long as `judge.limits` say.
    """
    async with _both(client, program, outlasting(judge, program)) as (one, other):
        ended, over = list[Running](), list[Running]()
        for running in (one, other):
            running.on_end(functools.partial(ended.append, running))
        with contextlib.ExitStack() as stack:
            loop = asyncio.get_running_loop()
            drain = Drain(loop, {other.stderr: "stderr"}, judge.output_bytes, lambda: None, None)
            stack.callback(drain.close)
            stack.callback(Drain(loop, {one.stderr: "stderr"}, 0, lambda: None, None).close)
            said = _joined(stack, one, other, program.output_bytes, over)
            _joined(stack, other, one, TALK_BYTES, over)
            outcome, left = await one.ended()
            close_all(left.values())
            finished = Finished(outcome, b"", b"", one in over, {})
            facts = facts_of(finished, program.limits)
            if one in over and said.is_unheard:
                facts = dataclasses.replace(facts, output=False, exit_code=0)
            if not (facts.clean or ended[0] is other or other in over):
                return Talk(finished, facts, None)
            patience_s = judge.limits.wall_ns / 1e9
            try:
                async with asyncio.timeout(patience_s):
                    outcome, left = await other.ended(drain)
            except TimeoutError:
                raise CheckerHangs(f"the interactor did not end within {patience_s:g} s of the submission") from None
    return Talk(finished, facts, Finished(outcome, b"", drain.content("stderr"), other in over, left))


@contextlib.asynccontextmanager
async def _both(client: Client, program: Order, judge: Order) -> AsyncIterator[tuple[Running, Running]]:
    """The two, each with pipes that are the caller's to close. The interactor's jail is ready before the submission
    asks for its core, and the interactor goes when that goes: the clock of neither counts the making of the other."""
    async with client.started(dataclasses.replace(judge, held=True)) as other:
        with contextlib.ExitStack() as unclaimed:
            unclaimed.callback(close_all, (other.stdin, other.stdout, other.stderr))
            async with client.started(program) as one:
                unclaimed.callback(close_all, (one.stdin, one.stdout, one.stderr))
                other.begin()
                unclaimed.pop_all()
                yield one, other


def _joined(stack: contextlib.ExitStack, source: Running, target: Running, room: int, over: list[Running]) -> Bridge:
    """Moves what `source` says into the input of `target` until the stack is closed.

    The end of what it says is passed on when its own end has been told: so what the other does for that, which may be
    to fail, comes later, and who ended first is no matter of how fast news travel. One that falls silent and goes on
    is believed after SILENT_S.
    """
    loop = asyncio.get_running_loop()

    def fall_silent() -> None:
        source.on_end(bridge.close)
        stack.callback(loop.call_later(SILENT_S, bridge.close).cancel)

    def flood() -> None:
        over.append(source)
        source.kill(KilledBy.OUTPUT)

    bridge = Bridge(loop, source.stdout, target.stdin, room, flood, fall_silent)
    stack.callback(bridge.close)
    return bridge


def outlasting(judge: Order, program: Order) -> Order:
    """With all of its own wall time even after a submission that takes all of its."""
    wall_ns = judge.limits.wall_ns + program.limits.wall_ns
    return dataclasses.replace(judge, limits=dataclasses.replace(judge.limits, wall_ns=wall_ns))
