"""The keeper itself: accepts peers, keeps one warden per toolchain alive, makes jails, ends in order."""

import itertools
import logging
import os
import socket
import struct

from daemon.sandbox.model import Plan

from .cgroup import Tree
from .closing import Closer
from .instance import Instance
from .jail import Jail, Refused
from .loop import Loop
from .peers import Peer
from .privileges import reap_orphans
from .wardens import Warden, WardenSetup

log = logging.getLogger("cellblock.keeper")

STATS_S = 1.0
RESTART_S, RESTART_S_MAX = 0.05, 5.0
FIRST_JAIL_ID = 1000  # inside a warden's slice; 0 is the warden itself
LAST_JAIL_ID = 65000
REAP_S = 0.005
PEERS_MAX = 16
SHUTDOWN_S = 5.0


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
        self._uids = {
            toolchain.id: itertools.cycle(range(FIRST_JAIL_ID, LAST_JAIL_ID)) for toolchain in plan.toolchains
        }
        self._peers: set[Peer] = set()
        self._dying: list[Warden] = []
        self._wardens: dict[str, Warden] = {}
        self._problems: dict[str, str] = {}  # toolchain -> why it has no ready warden
        self._failures = [0] * len(plan.toolchains)
        self._stopping = False
        self.closer = Closer()
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept)
        for number in range(len(plan.toolchains)):
            self._start_warden(number)
        self._stats()

    def __repr__(self) -> str:
        return f"<Keeper {self._instance.name}: {len(self._jails)} jails, {len(self._peers)} peers>"

    # -- wardens

    def _start_warden(self, number: int) -> None:
        if self._stopping:
            return
        toolchain = self._plan.toolchains[number]
        self._problems[toolchain.id] = "its warden is starting"
        try:
            warden = Warden(
                self._loop, self._tree, self._setup, toolchain, self._instance.uid_base(number),
                lambda warden: self._warden_changed(number, warden),
            )  # fmt: skip
        except OSError as error:
            self._warden_failed(number, f"cannot start nsjail: {error}")
            self._start_warden_later(number)
            return
        if warden.dead is None:
            self._wardens[toolchain.id] = warden

    def _start_warden_later(self, number: int) -> None:
        """At once after a warden that was ready, ever more slowly after ones that never were."""
        delay_s = min(RESTART_S * 2 ** self._failures[number], RESTART_S_MAX)
        self._loop.after(delay_s, lambda: self._start_warden(number))

    def _warden_changed(self, number: int, warden: Warden) -> None:
        toolchain = self._plan.toolchains[number].id
        if warden.dead is None:
            self._problems.pop(toolchain, None)
            self._failures[number] = 0
        else:
            self._wardens.pop(toolchain, None)
            self._warden_failed(number, f"warden: {warden.dead}")
            self._dying.append(warden)
            self._reap(number, warden)
        self._tell_state()

    def _warden_failed(self, number: int, problem: str) -> None:
        toolchain = self._plan.toolchains[number].id
        self._problems[toolchain] = problem
        self._failures[number] += 1
        if not self._stopping:
            log.error("%s: %s", toolchain, problem)

    def _reap(self, number: int, warden: Warden) -> None:
        """A new warden only when all of the old one is gone: they share the slice of uids and the group's name."""
        if not warden.reap():
            self._loop.after(REAP_S, lambda: self._reap(number, warden))
            return
        self._dying.remove(warden)
        self._start_warden_later(number)
        self._finish_stop()

    # -- jails

    def make_jail(self, toolchain_id: str, step_id: str, run: int, peer: Peer) -> Jail:
        """A jail that is yet to be started. Raises Refused."""
        toolchain = self._plan.toolchain(toolchain_id)
        step = toolchain.step(step_id) if toolchain is not None else None
        if step is None:
            raise Refused(f"no step {toolchain_id}/{step_id}")
        warden = self._wardens.get(toolchain_id)
        if warden is None or not warden.ready:
            raise Refused(self._problems.get(toolchain_id, "no warden"))
        if len(self._jails) >= self._plan.jails_max:
            raise Refused(f"{self._plan.jails_max} jails are alive, the configured maximum")
        number = next(self._numbers)
        uid = next(self._uids[toolchain_id])
        try:
            jail = Jail(self._loop, self._tree, warden, step, number, uid, run, peer)
        except OSError as error:
            log.error("cannot make a jail for %s/%s: %s", toolchain_id, step_id, error)
            raise Refused(str(error)) from error
        self._jails[number] = jail
        return jail

    def jail_removed(self, jail: Jail) -> None:
        self._jails.pop(jail.number, None)
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
        self._tell_state()
        reap_orphans()
        self._loop.after(STATS_S, self._stats)

    def _tell_state(self) -> None:
        state = self._state()
        for peer in list(self._peers):
            peer.send(state)

    def _state(self) -> dict[str, object]:
        wardens = {toolchain.id: self._problems.get(toolchain.id, "ready") for toolchain in self._plan.toolchains}
        return {"type": "stats", "jails": len(self._jails), "wardens": wardens}

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
        for warden in list(self._wardens.values()):
            warden.close("the keeper stops")
        self._loop.after(SHUTDOWN_S, self._give_up)
        self._finish_stop()

    def _finish_stop(self) -> None:
        if self._stopping and not self._jails and not self._dying and not self._wardens:
            self._loop.stop()

    def _give_up(self) -> None:
        log.error("did not end within %.0f s: %r", SHUTDOWN_S, list(self._jails.values()) + list(self._dying))
        os._exit(1)
