"""One run of chaos: a server of our own, honest clients, blows by a plan, and what was seen of it."""

import asyncio
import contextlib
import dataclasses
import pathlib
import time
from collections.abc import AsyncIterator, Callable

import psutil

from daemon.bench import observe
from daemon.bench.observe import Held, Served
from daemon.toolchain import registry
from daemon.toolchain.registry import Registry
from tests import posture
from tests.chaos import blows, clients, plan
from tests.chaos.clients import Client, Told
from tests.chaos.plan import Blow, Kind, Part, Step
from tests.chaos.requests import Requests
from tests.server import PREFIX, START_S, until
from tests.small_disk import SmallDisk

FOLDERS = (pathlib.Path(__file__).parents[2] / "toolchains", PREFIX / "languages")
CLIENTS = 4
QUIET = 5  # looks at how long it takes without a blow
SILENCE_S, START_OF_JAIL_S = 4.0, 10.0  # the watchdogs' times: of keeper and HTTP process, of warden and jail
HEAL_S = 2.0
STATE_MB = 16
WARM_S = 8.0  # each HTTP process has been asked for everything, and has what starts with its first use
SETTLE_S = 2.0
LEFT_S = 2.0  # what ends with another process is not gone at the same moment
PROBER = CLIENTS  # its number among the clients


@dataclasses.dataclass(frozen=True, slots=True)
class Healing:
    """`took_s` is from the step's first moment until a new program of each language ran; None: it never did.
    `due_s`: when it should have, at the latest: so much later than without a blow."""

    step: Step
    took_s: float | None
    due_s: float

    @property
    def is_late(self) -> bool:
        return self.took_s is None or self.took_s > self.due_s


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What a run showed; `before` and `after` are at rest, `left` is in words what was there when the server was gone."""

    told: Told
    healings: tuple[Healing, ...]
    quiet_s: tuple[float, ...]
    before: Held
    after: Held
    zombies: tuple[str, ...]  # of `after`, each in words
    left: tuple[str, ...]
    log: str

    def healed_s(self, kind: Kind) -> list[float]:
        """In ascending order, of steps with one blow, of this kind."""
        return sorted(
            healing.took_s
            for healing in self.healings
            if healing.took_s is not None and [blow.kind for blow in healing.step.blows] == [kind]
        )


async def run(seed: int, languages: list[str] | None, seconds: float, say: Callable[[str], None]) -> Seen:
    """Steps of this seed until the time is over. Raises AssertionError where the server does not start or come to rest."""
    told, healings = Told(), list[Healing]()
    toolchains = registry.load(FOLDERS, languages)
    names = [toolchain.id for toolchain in toolchains]
    mounts = posture.mounts()
    server = SmallDisk(
        STATE_MB, languages=names, http_processes=2, runs_at_once=16, silence_s=SILENCE_S, start_s=START_OF_JAIL_S,
        artifact_memory_mb=1, artifact_disk_mb=4,
    )  # fmt: skip
    async with _started(server):
        served = Served(f"http://127.0.0.1:{server.port}", server.process.pid, server.instance)
        async with _client(server.port, told) as prober:
            probes = Requests(toolchains, seed, PROBER)
            async with _load(server.port, told, toolchains, seed):
                await _all_ran_s(prober, probes, names)
                await asyncio.sleep(min(WARM_S, seconds / 2))
            before = await _at_rest(server, served)
            async with _load(server.port, told, toolchains, seed):
                quiet_s = [await _quiet_s(prober, probes, names) for _ in range(QUIET)]
                say(f"without a blow a new program of each language ran within {max(quiet_s):.2f} s")
                end_s = time.monotonic() + seconds
                for step in plan.steps(seed, max(1, int(seconds * 4))):
                    if time.monotonic() >= end_s:
                        break
                    healings.append(await _step(server, step, max(quiet_s), prober, probes, names, say))
            after = await _at_rest(server, served)
            zombies = _zombies(server)
        children = _family(server)
    left = _left(server, children, mounts)
    return Seen(told, tuple(healings), tuple(quiet_s), before, after, tuple(zombies), tuple(left), server.log)


@contextlib.asynccontextmanager
async def _started(server: SmallDisk) -> AsyncIterator[None]:
    await asyncio.to_thread(server.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(server.stop)


@contextlib.asynccontextmanager
async def _client(port: int, told: Told) -> AsyncIterator[Client]:
    client = Client(port, told)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _load(port: int, told: Told, toolchains: Registry, seed: int) -> AsyncIterator[None]:
    """Clients for as long as the block lasts; then they hang up, whatever they wait for."""
    async with contextlib.AsyncExitStack() as stack:
        going = []
        for number in range(CLIENTS):
            client = await stack.enter_async_context(_client(port, told))
            going.append(asyncio.create_task(clients.go_on(client, Requests(toolchains, seed, number))))
        try:
            yield
        finally:
            for task in going:
                task.cancel()
            for done in await asyncio.gather(*going, return_exceptions=True):
                if isinstance(done, Exception):
                    raise done


async def _step(
    server: SmallDisk, step: Step, quiet_s: float, prober: Client, probes: Requests, languages: list[str],
    say: Callable[[str], None],
) -> Healing:  # fmt: skip
    """Deal its blows for the longest time that one of them says, see how soon each language runs, and rest.

    The time counts from a signal, and from the end of everything else: parked jails would answer at once meanwhile.
    """
    hold_s = max(blow.hold_s for blow in step.blows)
    with contextlib.ExitStack() as stack:
        done = [await asyncio.to_thread(stack.enter_context, blows.dealt(server, blow)) for blow in step.blows]
        if any(blow.part is None for blow in step.blows):
            await asyncio.sleep(hold_s)
            await asyncio.to_thread(stack.close)
            hold_s = 0.0
        since_s = time.monotonic()

        async def undo() -> None:
            await asyncio.sleep(hold_s)
            await asyncio.to_thread(stack.close)

        ran_s, _ = await asyncio.gather(_all_ran_s(prober, probes, languages), undo())
    took_s = None if ran_s is None else ran_s - since_s
    healing = Healing(step, took_s, quiet_s + HEAL_S + max(_watched_s(blow) for blow in step.blows))
    told = "never healed" if took_s is None else f"healed in {took_s:.2f} s"
    say(f"{step}: {'; '.join(word or 'nobody there' for word in done)}; {told}{', LATE' if healing.is_late else ''}")
    await asyncio.sleep(step.rest_s)
    return healing


def _watched_s(blow: Blow) -> float:
    """How long a stopped process may keep others waiting until it goes on or is given up."""
    if blow.kind is not Kind.STOP:
        return 0.0
    return min(blow.hold_s, SILENCE_S if blow.part in (Part.KEEPER, Part.HTTP) else START_OF_JAIL_S)


async def _quiet_s(prober: Client, probes: Requests, languages: list[str]) -> float:
    began_s = time.monotonic()
    ran_s = await _all_ran_s(prober, probes, languages)
    assert ran_s is not None, "no blow was dealt, and programs do not run"
    return ran_s - began_s


async def _all_ran_s(prober: Client, probes: Requests, languages: list[str]) -> float | None:
    """When the last of them ran."""
    ran_s = await asyncio.gather(*(clients.until_right(prober, probes, language) for language in languages))
    known = [one for one in ran_s if one is not None]
    return max(known) if len(known) == len(ran_s) else None


async def _at_rest(server: SmallDisk, served: Served) -> Held:
    await asyncio.to_thread(
        until, lambda: _is_at_rest(server), START_S, "every pool is full, and no other jail is there"
    )
    await asyncio.sleep(SETTLE_S)
    return observe.held(served)


def _is_at_rest(server: SmallDisk) -> bool:
    try:
        return posture.is_at_rest(server)
    except (OSError, KeyError):  # an HTTP process that has just begun knows no jails yet
        return False


def _family(server: SmallDisk) -> list[tuple[psutil.Process, str]]:
    """Each process of the server with its command."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found.append((process, " ".join(process.cmdline())))
    return found


def _zombies(server: SmallDisk) -> list[str]:
    """Each with its parent, who should have waited for it."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE and (parent := process.parent()):
                found.append(f"{process.pid} {process.name()}, child of {parent.pid} {' '.join(parent.cmdline())}")
    return found


def _left(server: SmallDisk, processes: list[tuple[psutil.Process, str]], mounts: str) -> list[str]:
    """What the server should have taken with it."""
    psutil.wait_procs([process for process, _ in processes], LEFT_S)
    found = [f"process {command}" for process, command in processes if process.is_running()]
    found += [f"group {group}" for group in posture.instance_groups(server.instance)]
    found += [f"in /run: {path}" for path in posture.run_directories() if server.instance in path.name]
    found += [f"mount {line}" for line in set(posture.mounts().splitlines()) - set(mounts.splitlines())]
    return found
