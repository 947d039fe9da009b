"""The wardens of one toolchain: as many as configured, replaced when they die, age or have forked enough."""

import logging
import time
from collections.abc import Callable

from daemon.host.cgroup import Tree
from daemon.host.instance import Instance
from daemon.sandbox.model import Plan, ToolchainPlan

from .loop import Loop
from .wardens import Warden, WardenSetup

log = logging.getLogger("cellblock.keeper")

RESTART_S, RESTART_S_MAX = 0.05, 5.0
REAP_S = 0.005


class Fleet:
    """`on_change(fleet, dead)` is told when a warden became ready, or which one died or is to be left."""

    def __init__(
        self, loop: Loop, plan: Plan, toolchain: ToolchainPlan, instance: Instance, tree: Tree, setup: WardenSetup,
        on_change: Callable[["Fleet", Warden | None], None],
    ) -> None:  # fmt: skip
        self.toolchain = toolchain
        self.problem: str | None = "its warden is starting"
        self._loop, self._plan, self._instance, self._tree, self._setup = loop, plan, instance, tree, setup
        self._on_change = on_change
        self._wardens: list[Warden] = []
        self._dying: list[Warden] = []
        self._failures = 0
        self._due = 0  # wardens that a timer will start
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Fleet {self.toolchain.id}: {self._wardens}, {len(self._dying)} dying>"

    def start(self) -> None:
        for _ in range(self._plan.wardens):
            self._start()

    def choose(self) -> Warden | None:
        """The ready warden with the fewest live jails, or None."""
        ready = [warden for warden in self._wardens if warden.ready and not warden.retired]
        return min(ready, key=lambda warden: warden.live, default=None)

    def jail_made(self, warden: Warden) -> None:
        warden.made += 1
        warden.live += 1

    def jail_removed(self, warden: Warden) -> None:
        warden.live -= 1
        self._close_if_left(warden)

    def look(self) -> None:
        """Once a second: forks share a hash seed and an address layout, so a warden serves for a time only."""
        for warden in [warden for warden in self._wardens if warden.ready and not warden.retired]:
            age_s = time.monotonic() - warden.started_s
            if age_s > self._plan.warden_age_max_s or warden.made >= self._plan.warden_runs_max:
                starting = sum(not other.ready for other in self._wardens) + self._due
                ready = sum(other.ready and not other.retired for other in self._wardens)
                if ready > self._plan.wardens:
                    warden.retired = True
                    self._on_change(self, warden)
                    self._close_if_left(warden)
                elif not starting:
                    self._start()

    def stop(self) -> None:
        self._stopping = True
        for warden in list(self._wardens):
            warden.close("the keeper stops")

    @property
    def gone(self) -> bool:
        return not self._wardens and not self._dying

    def _start(self) -> None:
        if self._stopping:
            return
        try:
            with self._instance.slot() as slot:
                uid_base = self._instance.uid_base(slot)
                warden = Warden(self._loop, self._tree, self._setup, self.toolchain, slot, uid_base, self._changed)
        except OSError as error:
            self._failed(f"cannot start nsjail: {error}")
            self._start_later()
            return
        if warden.dead is None:
            self._wardens.append(warden)

    def _start_later(self) -> None:
        """At once after a warden that was ready, ever more slowly after ones that never were."""

        def start() -> None:
            self._due -= 1
            self._start()

        self._due += 1
        self._loop.after(min(RESTART_S * 2**self._failures, RESTART_S_MAX), start)

    def _changed(self, warden: Warden) -> None:
        if warden.dead is None:
            self.problem, self._failures = None, 0
            self._on_change(self, None)
            return
        if warden in self._wardens:
            self._wardens.remove(warden)
        if self.choose() is None:
            self._failed(f"warden: {warden.dead}")
        if len(self._wardens) + self._due < self._plan.wardens:
            self._start_later()
        self._dying.append(warden)
        self._on_change(self, warden)
        self._reap(warden)

    def _failed(self, problem: str) -> None:
        self.problem = problem
        self._failures += 1
        if not self._stopping:
            log.error("%s: %s", self.toolchain.id, problem)

    def _close_if_left(self, warden: Warden) -> None:
        if warden.retired and not warden.live and warden.dead is None:
            warden.close("replaced")

    def _reap(self, warden: Warden) -> None:
        if not warden.reap():
            self._loop.after(REAP_S, lambda: self._reap(warden))
            return
        self._dying.remove(warden)
        self._instance.give_slot(warden.slot)
        self._on_change(self, warden)
