"""The keeper itself: puts fleets, pools and peers together, makes jails for the pools, ends in order."""

import collections
import contextlib
import itertools
import logging
import os
import resource
import socket
import struct

from daemon.host.cgroup import Tree
from daemon.host.cores import to_grade_on
from daemon.host.instance import Instance
from daemon.host.privileges import reap_orphans
from daemon.host.service_manager import Notifier
from daemon.sandbox import messages
from daemon.sandbox.model import KilledBy, Limits
from daemon.sandbox.plan import Plan, StepPlan, Warm

from .baseline import Baseline
from .closing import Closer
from .cores import Cores
from .fleet import Fleet
from .jail import Jail
from .loop import Loop, Timer
from .nsjail import WardenSetup
from .peers import Peer
from .pool import Owner, Pool, Refused
from .readiness import Readiness
from .warden import Warden

log = logging.getLogger("cellblock.keeper")

STATS_S = 1.0
TELL_S = 0.05
PEERS_MAX = 16
ACCEPT_AGAIN_S = 0.1
PROBLEM_CHARACTERS = 200  # of each toolchain, in what peers are told
SHUTDOWN_S = 5.0
NO_WARDEN = "no warden"


class Keeper:
    """Serves the peers that connect to `listener` with uid `peer_uid` until `stop`."""

    def __init__(
        self, loop: Loop, plan: Plan, instance: Instance, tree: Tree, setup: WardenSetup, listener: socket.socket,
        peer_uid: int, notifier: Notifier,
    ) -> None:  # fmt: skip
        self._loop, self._plan, self._instance, self._tree = loop, plan, instance, tree
        self._listener, self._peer_uid = listener, peer_uid
        self._guard = loop.guard(lambda error: None)  # the log has it
        self._numbers = itertools.count(1)
        self._jails: dict[int, Jail] = {}
        self._peers: set[Peer] = set()
        self._fleets = {
            toolchain.id: Fleet(loop, plan, toolchain, instance, tree, setup, self._fleet_changed)
            for toolchain in plan.toolchains
        }
        self._pools = {
            (toolchain.id, step.id): Pool(
                loop, toolchain.id, step, setup.start_s, self._make_parked, self._pool_changed
            )
            for toolchain in plan.toolchains
            for step in toolchain.steps
        }
        chosen = to_grade_on(tree.cores, plan.deployment.grade_cores)
        self._cores = Cores(chosen or range(os.cpu_count() or 1), pins=bool(chosen))
        self._stopping = False
        self._measuring: set[Pool] = set()
        self._telling: Timer | None = None
        self._told_of_room = False
        self._memory: dict[str, int] = {}
        self._jails_not_made = 0
        self._closer = Closer()
        self._readiness = Readiness(self._guard, notifier)
        listener.setblocking(False)
        self._guard.watch(listener.fileno(), self._accept)
        for fleet in self._fleets.values():
            fleet.start()
        self._stats()

    def __repr__(self) -> str:
        return f"<Keeper {self._instance.name}: {len(self._jails)} jails, {len(self._peers)} peers>"

    # -- jails

    def _make_parked(self, pool: Pool, limits: Limits, owner: Owner) -> Jail:
        fleet = self._fleets[pool.toolchain]
        return self._make(fleet, pool.step, limits, pool.step.warm, pool.baseline_bytes, owner)

    def _make(
        self, fleet: Fleet, step: StepPlan, limits: Limits, warm: Warm, baseline_bytes: int, owner: Owner
    ) -> Jail:
        """A jail that is yet to be started. Raises Refused."""
        warden = fleet.choose()
        if warden is None:
            raise Refused(fleet.problem or NO_WARDEN)
        parked = sum(pool.parked_count for pool in self._pools.values())
        if len(self._jails) - parked >= self._plan.deployment.jails_max:
            raise Refused(f"{self._plan.deployment.jails_max} jails are alive, the maximum", messages.FULL)
        try:
            made = Jail(
                self._loop, self._tree, warden, step, next(self._numbers), limits, warm, baseline_bytes, owner,
                self._jail_gone,
            )  # fmt: skip
        except OSError as error:
            self._jails_not_made += 1
            log.error("cannot make a jail for %s/%s: %s", fleet.toolchain.id, step.id, error)
            raise Refused(str(error)) from error
        self._jails[made.number] = made
        fleet.jail_made(warden)
        return made

    def _jail_gone(self, gone: Jail) -> None:
        self._jails.pop(gone.number, None)
        gone.warden.lender.give(gone.lent)
        self._fleets[gone.warden.toolchain].jail_gone(gone.warden)
        self._pool_changed()
        self._finish_stop()

    def _pool_changed(self) -> None:
        self._share_room()
        if self._telling is None:  # many changes come together
            self._telling = self._guard.after(TELL_S, self._tell_state)

    def _share_room(self) -> None:
        used_bytes, bytes_max = self._parked_bytes(), self._plan.deployment.parked_bytes_max
        has_room = used_bytes < bytes_max
        for pool in self._pools.values():
            pool.set_room(has_room)
        if has_room or bytes_max == 0 or self._told_of_room:
            return
        short = [f"{pool.toolchain}/{pool.step.id}" for pool in self._pools.values() if pool.is_short]
        if short:
            self._told_of_room = True  # once: with each run there is room, and then none
            log.warning(
                "parked jails hold %d MB, as many as parked_mb_max allows: %s have fewer than they want, and runs wait",
                used_bytes >> 20, ", ".join(short),
            )  # fmt: skip

    def _parked_bytes(self) -> int:
        return sum(pool.parked_bytes for pool in self._pools.values())

    def _fleet_changed(self, fleet: Fleet, lost: Warden | None) -> None:
        has_warden = fleet.choose() is not None
        for pool in self._pools.values():
            if pool.toolchain == fleet.toolchain.id:
                pool.wardens_changed(None if has_warden else fleet.problem or NO_WARDEN, lost)
                if pool.needs_baseline and has_warden and pool not in self._measuring:
                    self._measuring.add(pool)
                    self._measure(fleet, pool)
        starting = any(fleet.is_starting for fleet in self._fleets.values())
        self._readiness.wardens_are({name: fleet.problem for name, fleet in self._fleets.items()}, starting)
        self._tell_state()
        self._finish_stop()

    def _measure(self, fleet: Fleet, pool: Pool) -> None:
        def make(warm: Warm, owner: Owner) -> Jail:
            return self._make(fleet, pool.step, pool.step.default, warm, 0, owner)

        Baseline(self._loop, make, pool.step, pool.set_baseline).start()

    # -- peers

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return  # it went away again
        except OSError as error:  # no descriptor is left: it waits, and would be told of at once, for ever
            log.warning("cannot accept a peer now: %s", error)
            self._guard.unwatch(self._listener.fileno())
            self._guard.after(ACCEPT_AGAIN_S, self._listen)
            return
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", credentials)[1]
        if uid != self._peer_uid or len(self._peers) >= PEERS_MAX or self._closer.is_behind:
            log.warning("refused a peer of uid %d, %d are connected", uid, len(self._peers))
            self._closer.close([sock.detach()])
            return
        peer = Peer(self._loop, sock, self._find_pool, self._cores, self._closer, self._peers.discard)
        self._peers.add(peer)
        peer.say(messages.Hello(f"v{self._tree.version}", self._cores.numbers, self._cores.pins))
        peer.say(self._state())

    def _listen(self) -> None:
        if not self._stopping:
            self._guard.watch(self._listener.fileno(), self._accept)

    def _find_pool(self, toolchain: str, step: str) -> Pool | None:
        return self._pools.get((toolchain, step))

    def _stats(self) -> None:
        """Once a second: figures that nothing announces, and children that nobody waits for."""
        self._guard.after(STATS_S, self._stats)  # first: a figure that cannot be read now may be another time
        reap_orphans()
        self._share_room()  # a jail that was given away has left some
        self._memory = {"keeper": _resident_bytes(), "jails": self._tree.memory_bytes()}
        self._tell_state()

    def _tell_state(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        state = self._state()
        for peer in list(self._peers):
            peer.say(state)

    def _state(self) -> messages.Stats:
        alive = collections.Counter((jail.warden.toolchain, jail.step.id) for jail in self._jails.values())
        parked = {
            f"{pool.toolchain}/{pool.step.id}": pool.counts(alive[key])
            for key, pool in self._pools.items()
            if pool.step.parked or alive[key]
        }
        wardens = {name: (fleet.problem or "ready")[:PROBLEM_CHARACTERS] for name, fleet in self._fleets.items()}
        fleets = {name: fleet.counts for name, fleet in self._fleets.items()}
        failures = {"jail": self._jails_not_made}
        return messages.Stats(
            len(self._jails), wardens, parked, self._parked_bytes(), self._memory, fleets, failures
        )  # fmt: skip

    # -- the end

    def stop(self) -> None:
        """Kill every run, end the wardens, remove the groups, then stop the loop."""
        if self._stopping:
            return
        self._stopping = True
        self._readiness.stops()
        self._guard.after(SHUTDOWN_S, self._give_up)
        with contextlib.suppress(KeyError):  # it may be unwatched for a moment
            self._guard.unwatch(self._listener.fileno())
        self._listener.close()
        for peer in list(self._peers):
            peer.close("the keeper stops")
        for pool in self._pools.values():
            pool.close()
        for jail in list(self._jails.values()):
            jail.kill(KilledBy.CLIENT)
        for fleet in self._fleets.values():
            fleet.stop()
        self._finish_stop()

    def _finish_stop(self) -> None:
        if self._stopping and not self._jails and all(fleet.is_gone for fleet in self._fleets.values()):
            self._loop.stop()

    def _give_up(self) -> None:
        log.error("did not end within %.0f s: %r", SHUTDOWN_S, [*self._jails.values(), *self._fleets.values()])
        os._exit(1)


def _resident_bytes() -> int:
    """Of this process (proc_pid_statm(5))."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
