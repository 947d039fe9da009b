"""Two programs that talk: a submission and an interactor, each in a jail, joined by two pipes that this process moves
bytes between."""

import asyncio
import contextlib
import dataclasses
import functools

from daemon.sandbox.client import Client
from daemon.sandbox.descriptors import close_all
from daemon.sandbox.model import KilledBy
from daemon.sandbox.order import Finished, Order
from daemon.sandbox.pumps import Bridge, Drain
from daemon.sandbox.running import Running

from .run_facts import facts_of
from .verdicts import RunFacts

TALK_BYTES = 64 << 20  # that an interactor may say to a submission; none of it is kept here


@dataclasses.dataclass(slots=True)
class Talk:
    """How both ended. `facts`: the submission's. `judge` None: the submission failed before the interactor had said its
    last word, so that does not count, and nobody waited for it."""

    program: Finished
    facts: RunFacts
    judge: Finished | None


async def talk(client: Client, program: Order, judge: Order) -> Talk:
    """Run both until both have ended. `output_bytes` of the program bounds what it says, TALK_BYTES the interactor.

    Once one has ended, the other meets the end of its input, and what it still says is thrown away: neither meets a
    broken pipe, whichever is quicker. A submission that is ended because it said too much to nobody has no failure for
    that. The submission goes first, because it may wait for a core, and the other's clock runs. Raises
    SandboxUnavailable.
    """
    judge = outlasting(judge, program)
    async with client.started(program) as one, client.started(judge) as other:
        loop = asyncio.get_running_loop()
        over: list[Running] = []
        silent: list[Running] = []  # in the order in which they fell silent
        with contextlib.ExitStack() as stack:
            drain, bridges = Drain(loop, {other.stderr: "stderr"}, judge.output_bytes, lambda: None, None), []
            stack.callback(drain.close)
            stack.callback(Drain(loop, {one.stderr: "stderr"}, 0, lambda: None, None).close)
            for source, target, room in ((one, other, program.output_bytes), (other, one, TALK_BYTES)):
                bridge = Bridge(
                    loop, source.stdout, target.stdin, room,
                    functools.partial(_over, source, over), functools.partial(silent.append, source),
                )  # fmt: skip
                stack.callback(bridge.close)
                bridges.append(bridge)
            outcome, left = await one.ended()
            close_all(left.values())
            finished = Finished(outcome, b"", b"", one in over, {})
            facts = facts_of(finished, program.limits)
            if one in over and bridges[0].is_unheard:
                facts = dataclasses.replace(facts, output=False, exit_code=0)
            is_judge_first = bool(silent) and silent[0] is other
            if not (facts.clean or is_judge_first or other in over):
                return Talk(finished, facts, None)
            outcome, left = await other.ended(drain)
    return Talk(finished, facts, Finished(outcome, b"", drain.content("stderr"), other in over, left))


def outlasting(judge: Order, program: Order) -> Order:
    """With all of its own wall time even after a submission that takes all of its."""
    wall_ns = judge.limits.wall_ns + program.limits.wall_ns
    return dataclasses.replace(judge, limits=dataclasses.replace(judge.limits, wall_ns=wall_ns))


def _over(running: Running, over: list[Running]) -> None:
    over.append(running)
    running.kill(KilledBy.OUTPUT)
