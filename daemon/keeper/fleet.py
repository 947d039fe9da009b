"""The wardens of one toolchain: performs what fleet_state decides."""

import logging
from collections.abc import Callable

from daemon.host.cgroup import Tree
from daemon.host.instance import Instance, wardens_of_each
from daemon.sandbox.plan import Plan, ToolchainPlan

from . import fleet_state as states
from .loop import Loop
from .machine import Machine
from .nsjail import WardenSetup
from .warden import Warden

log = logging.getLogger("cellblock.keeper")


class Fleet:
    """`on_change(fleet, lost)` is told when there may be another warden to make jails, or one less."""

    def __init__(
        self, loop: Loop, plan: Plan, toolchain: ToolchainPlan, instance: Instance, tree: Tree, setup: WardenSetup,
        on_change: Callable[["Fleet", Warden | None], None],
    ) -> None:  # fmt: skip
        self.toolchain = toolchain
        self._loop, self._instance, self._tree, self._setup = loop, instance, tree, setup
        self._on_change = on_change
        self._wardens: dict[int, Warden] = {}
        deployment = plan.deployment
        wardens = min(deployment.wardens, wardens_of_each(len(plan.toolchains)))
        state = states.State(wardens, deployment.warden_runs_max, deployment.warden_age_max_s)
        guard = loop.guard(lambda error: None)  # the log has it; the state goes on from where it is
        self._machine = Machine(guard, state, states.decide, states.due, self._perform)

    def __repr__(self) -> str:
        return f"<Fleet {self.toolchain.id}: {list(self._wardens.values())}>"

    @property
    def problem(self) -> str | None:
        """Why no jail can be made, or None."""
        return self._machine.state.problem

    @property
    def is_starting(self) -> bool:
        """Neither ready nor known to have failed."""
        return self.problem == states.STARTING

    @property
    def is_gone(self) -> bool:
        """Nothing is left of any warden."""
        return self._machine.state.is_gone

    @property
    def counts(self) -> dict[str, int]:
        """What messages.Stats tells of it."""
        return states.counts(self._machine.state)

    def start(self) -> None:
        """Start the wardens."""
        self._machine.feed(states.Open())

    def stop(self) -> None:
        """End all of them."""
        self._machine.feed(states.Close())

    def choose(self) -> Warden | None:
        """The one that is to make the next jail, or None."""
        key = states.choose(self._machine.state)
        return None if key is None else self._wardens[key]

    def jail_made(self, warden: Warden) -> None:
        """The warden makes one jail more."""
        self._machine.feed(states.JailMade(warden.key))

    def jail_gone(self, warden: Warden) -> None:
        """Nothing is left of one of its jails."""
        self._machine.feed(states.JailGone(warden.key))

    # -- what the state decides

    def _perform(self, effect: states.Effect) -> None:
        match effect:
            case states.Start(key):
                self._start(key)
            case states.End(key, reason):
                if key in self._wardens:
                    self._wardens[key].close(reason)
            case states.TellPools(lost):
                warden = None if lost is None else self._wardens.get(lost)
                if warden is not None:
                    warden.is_retired = True
                self._on_change(self, warden)
            case states.Log(text):
                log.error("%s: %s", self.toolchain.id, text)

    def _start(self, key: int) -> None:
        try:
            with self._instance.slot() as slot:
                self._wardens[key] = Warden(
                    self._loop, self._tree, self._setup, self.toolchain, key, slot, self._instance.uid_base(slot),
                    self._on_ready, self._on_dead, self._on_gone,
                )  # fmt: skip
        except Exception as error:
            self._machine.feed(states.IsDead(key, f"cannot start nsjail: {error}"))
            self._machine.feed(states.IsGone(key))
            if not isinstance(error, OSError):
                raise

    def _on_ready(self, warden: Warden) -> None:
        self._machine.feed(states.IsReady(warden.key))

    def _on_dead(self, warden: Warden, reason: str) -> None:
        self._machine.feed(states.IsDead(warden.key, f"warden: {reason}"))

    def _on_gone(self, warden: Warden) -> None:
        self._wardens.pop(warden.key, None)
        self._instance.give_slot(warden.slot)
        self._machine.feed(states.IsGone(warden.key))
        self._on_change(self, None)
