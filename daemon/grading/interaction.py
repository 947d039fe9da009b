"""Two programs that talk: a submission and an interactor, each in a jail, joined by two pipes that this process moves
bytes between."""

import asyncio
import contextlib
import dataclasses
import functools

from daemon.sandbox.client import Client
from daemon.sandbox.model import KilledBy
from daemon.sandbox.order import Finished, Order
from daemon.sandbox.pumps import Bridge, Drain
from daemon.sandbox.running import Running

TALK_BYTES = 64 << 20  # that an interactor may say to a submission; none of it is kept here
GRACE_S = 5.0  # for the interactor to come to its verdict once the submission has ended


@dataclasses.dataclass(slots=True)
class Talk:
    """How both ended. `judge_first`: the interactor said its last word before the submission did. `judge_flooded`: it
    was ended because it said too much. `unheard`: the submission was ended because it said too much to an interactor
    that did not read any more."""

    program: Finished
    judge: Finished
    judge_first: bool
    judge_flooded: bool
    unheard: bool


async def talk(client: Client, program: Order, judge: Order) -> Talk:
    """Run both until both have ended. `output_bytes` of the program bounds what it says, TALK_BYTES the interactor.

    Once one has ended, the other meets the end of its input, and what it still says is thrown away: neither meets a
    broken pipe, whichever is quicker. The interactor has GRACE_S after the submission's end. The submission goes first,
    because it may wait for a core, and the other's clock runs. Raises SandboxUnavailable.
    """
    async with client.started(program) as one, client.started(judge) as other:
        loop = asyncio.get_running_loop()
        over: list[Running] = []
        silent: list[Running] = []  # in the order in which they fell silent
        with contextlib.ExitStack() as stack:
            drains, bridges = [], []
            for running, order in ((one, program), (other, judge)):
                drain = Drain(loop, {running.stderr: "stderr"}, order.output_bytes, lambda: None, None)
                stack.callback(drain.close)
                drains.append(drain)
            for source, target, room in ((one, other, program.output_bytes), (other, one, TALK_BYTES)):
                bridge = Bridge(
                    loop, source.stdout, target.stdin, room,
                    functools.partial(_over, source, over), functools.partial(silent.append, source),
                )  # fmt: skip
                stack.callback(bridge.close)
                bridges.append(bridge)
            outcome, left = await one.ended()
            is_judge_first = bool(silent) and silent[0] is other
            is_flood = other in over
            judging = asyncio.ensure_future(other.ended())
            await asyncio.wait([judging], timeout=GRACE_S)
            if not judging.done():
                _over(other, over)
            judge_outcome, judge_left = await judging
            for drain in drains:
                await drain.ended()
        said = [drain.content("stderr") for drain in drains]
    return Talk(
        Finished(outcome, b"", said[0], one in over, left),
        Finished(judge_outcome, b"", said[1], other in over, judge_left),
        is_judge_first,
        is_flood,
        one in over and bridges[0].is_unheard,
    )


def _over(running: Running, over: list[Running]) -> None:
    over.append(running)
    running.kill(KilledBy.OUTPUT)
