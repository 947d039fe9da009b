"""The keeper itself: puts fleets, pools and peers together, makes jails for the pools, ends in order."""

import itertools
import logging
import os
import resource
import socket
import struct

from daemon.host.cgroup import Tree
from daemon.host.instance import Instance
from daemon.host.privileges import reap_orphans
from daemon.sandbox.model import KilledBy, Limits, Plan, StepPlan, Warm

from .baseline import Baseline
from .closing import Closer
from .fleet import Fleet
from .jail import Jail, Listener, Refused
from .loop import Loop, Timer
from .peers import Peer
from .pool import Pool
from .wardens import Warden, WardenSetup

log = logging.getLogger("cellblock.keeper")

STATS_S = 1.0
TELL_S = 0.05
PEERS_MAX = 16
SHUTDOWN_S = 5.0
NO_WARDEN = "no warden"


class Keeper:
    """Serves the peers that connect to `listener` with uid `peer_uid` until `stop`."""

    def __init__(
        self, loop: Loop, plan: Plan, instance: Instance, tree: Tree, setup: WardenSetup, versions: dict[str, str],
        listener: socket.socket, peer_uid: int,
    ) -> None:  # fmt: skip
        self._loop, self._plan, self._instance, self._tree, self._setup = loop, plan, instance, tree, setup
        self._versions, self._listener, self._peer_uid = versions, listener, peer_uid
        self._numbers = itertools.count(1)
        self._jails: dict[int, Jail] = {}
        self._peers: set[Peer] = set()
        self._fleets = {
            toolchain.id: Fleet(loop, plan, toolchain, instance, tree, setup, self._fleet_changed)
            for toolchain in plan.toolchains
        }
        self._pools = {
            (toolchain.id, step.id): Pool(loop, self, toolchain.id, step)
            for toolchain in plan.toolchains
            for step in toolchain.steps
        }
        self._stopping = False
        self._measuring: set[Pool] = set()
        self._telling: Timer | None = None
        self._memory: dict[str, int] = {}
        self.closer = Closer()
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept)
        for fleet in self._fleets.values():
            fleet.start()
        self._stats()

    def __repr__(self) -> str:
        return f"<Keeper {self._instance.name}: {len(self._jails)} jails, {len(self._peers)} peers>"

    # -- jails

    def pool(self, toolchain: str, step: str) -> Pool | None:
        return self._pools.get((toolchain, step))

    def make_jail(self, pool: Pool, limits: Limits) -> Jail:
        return self._make(self._fleets[pool.toolchain], pool.step, limits, pool, pool.step.warm, pool.baseline_bytes)

    def make_probe(self, fleet: Fleet, step: StepPlan, warm: Warm, listener: Baseline) -> Jail:
        return self._make(fleet, step, step.default, listener, warm, 0)

    def _make(
        self, fleet: Fleet, step: StepPlan, limits: Limits, listener: Listener, warm: Warm, baseline_bytes: int
    ) -> Jail:
        """A jail that is yet to be started. Raises Refused."""
        warden = fleet.choose()
        if warden is None:
            raise Refused(fleet.problem or NO_WARDEN)
        if len(self._jails) - self._parked_count() >= self._plan.jails_max:
            raise Refused(f"{self._plan.jails_max} jails are alive, the configured maximum")
        try:
            jail = Jail(
                self._loop, self._tree, warden, step, next(self._numbers), limits, listener, self._jail_removed, warm,
                baseline_bytes,
            )  # fmt: skip
        except OSError as error:
            log.error("cannot make a jail for %s/%s: %s", fleet.toolchain.id, step.id, error)
            raise Refused(str(error)) from error
        self._jails[jail.number] = jail
        fleet.jail_made(warden)
        return jail

    def _measure(self, fleet: Fleet, pool: Pool) -> None:
        Baseline(self._loop, lambda warm, on: self.make_probe(fleet, pool.step, warm, on), pool.step, pool.set_baseline)

    def lacks_warden(self, pool: Pool) -> str | None:
        fleet = self._fleets[pool.toolchain]
        return None if fleet.choose() is not None else fleet.problem or NO_WARDEN

    def parked(self) -> None:
        self._tell_state_soon()

    def may_park(self) -> bool:
        return sum(pool.parked_bytes for pool in self._pools.values()) < self._plan.parked_bytes_max

    def _parked_count(self) -> int:
        return sum(pool.parked_count for pool in self._pools.values())

    def _jail_removed(self, jail: Jail) -> None:
        self._jails.pop(jail.number, None)
        self._fleets[jail.warden.plan.id].jail_removed(jail.warden)
        self._tell_state_soon()
        self._finish_stop()

    def _fleet_changed(self, fleet: Fleet, lost: Warden | None) -> None:
        for pool in self._pools.values():
            if pool.toolchain == fleet.toolchain.id:
                if lost is not None:
                    pool.drop(lost)
                if pool.needs_baseline and fleet.choose() is not None and pool not in self._measuring:
                    self._measuring.add(pool)
                    self._measure(fleet, pool)
                pool.fill_anew()
        self._tell_state()
        self._finish_stop()

    # -- peers

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # it went away again
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", credentials)[1]
        if uid != self._peer_uid or len(self._peers) >= PEERS_MAX or self.closer.is_behind:
            log.warning("refused a peer of uid %d, %d are connected", uid, len(self._peers))
            self.closer.close([sock.detach()])
            return
        peer = Peer(self._loop, sock, self)
        self._peers.add(peer)
        peer.send({"type": "hello", **self._versions})
        peer.send(self._state())

    def peer_closed(self, peer: Peer) -> None:
        self._peers.discard(peer)

    def _stats(self) -> None:
        if self._stopping:
            return
        for fleet in self._fleets.values():
            fleet.look()
        self._memory = {"jails": self._tree.memory_bytes(), "keeper": _resident_bytes()}
        self._tell_state()
        reap_orphans()
        self._loop.after(STATS_S, self._stats)

    def _tell_state_soon(self) -> None:
        """Once for all that happens within a moment."""
        if self._telling is None and not self._stopping:
            self._telling = self._loop.after(TELL_S, self._tell_state)

    def _tell_state(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        state = self._state()
        for peer in list(self._peers):
            peer.send(state)

    def _state(self) -> dict[str, object]:
        parked = {
            f"{pool.toolchain}/{pool.step.id}": {"parked": pool.parked_count, "wanted": pool.step.parked}
            for pool in self._pools.values()
            if pool.step.parked
        }
        wardens = {name: fleet.problem or "ready" for name, fleet in self._fleets.items()}
        parked_bytes = sum(pool.parked_bytes for pool in self._pools.values())
        return {
            "type": "stats", "jails": len(self._jails), "wardens": wardens, "parked": parked,
            "parked_bytes": parked_bytes, "memory_bytes": self._memory,
        }  # fmt: skip

    # -- the end

    def stop(self) -> None:
        """Kill every run, end the wardens, remove the groups, then stop the loop."""
        if self._stopping:
            return
        self._stopping = True
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        for peer in list(self._peers):
            peer.close("the keeper stops")
        for pool in self._pools.values():
            pool.close()
        for jail in list(self._jails.values()):
            jail.kill(KilledBy.CLIENT)
        for fleet in self._fleets.values():
            fleet.stop()
        self._loop.after(SHUTDOWN_S, self._give_up)
        self._finish_stop()

    def _finish_stop(self) -> None:
        if self._stopping and not self._jails and all(fleet.gone for fleet in self._fleets.values()):
            self._loop.stop()

    def _give_up(self) -> None:
        log.error("did not end within %.0f s: %r", SHUTDOWN_S, [*self._jails.values(), *self._fleets.values()])
        os._exit(1)


def _resident_bytes() -> int:
    """Of this process (proc_pid_statm(5))."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
