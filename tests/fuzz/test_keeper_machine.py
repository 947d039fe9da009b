"""Whatever peers say to a real keeper, in whatever order: it lives, its wardens too, and an honest peer is served."""

import collections
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from daemon.sandbox import descriptors as fds
from daemon.sandbox import messages
from daemon.sandbox.model import KilledBy, Limits
from tests import posture
from tests.fuzz.keeper_peers import HEAR_S, Peer
from tests.fuzz.odd_descriptors import KINDS
from tests.fuzz.values import IS_LONG, JSON
from tests.server import Server, until

PEERS, RUNS = 5, 8  # at once: fewer than the keeper has room for
DESCRIPTORS_EACH = 16  # of a peer or a run: more than either ever has
KEEPER_BYTES_MAX = 128 << 20
LIMITS = Limits(memory_bytes=128 << 20, wall_ns=10**10, processes=64, cpu_ns=None, cpu_share_ms=500)
MESSAGE_BYTES = 100 << 10  # more than a message may have

A_PEER, A_NUMBER = st.integers(0, PEERS - 1), st.integers(0, 20)
PROGRAMS = st.sampled_from(
    [b"print(6 * 7)", b"while True: pass", b"import time; time.sleep(60)", b"import os; os._exit(3)", b"bytes(1 << 30)",
     b"import os\nwhile True: os.fork()", b"import os; os.kill(-1, 9)", b"while True: print(0)", b"(", b"\0", b""]
)  # fmt: skip
STEPS = st.sampled_from([("python", "run")] * 4 + [("rust", "compile"), ("rust", "run"), ("python", "x"), ("", "")])
WALL_NS = st.integers(1, 300).map(lambda ms: ms * 10**6)
MEMORY_BYTES = st.sampled_from([1, 8 << 20, 64 << 20, *[128 << 20] * 4, 1 << 40])
SOURCES = st.sampled_from([*["source"] * 4, *KINDS])
FOUR_SOURCES = st.lists(SOURCES, min_size=4, max_size=4)
FEW_SOURCES, MANY_SOURCES = st.lists(SOURCES, max_size=4), st.lists(SOURCES, max_size=12)
DATA = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


class KeeperMachine(RuleBasedStateMachine):
    """Peers of the keeper of `server`, which at rest is as `rest` says. `seen` counts what became of their runs."""

    server: Server
    rest: posture.Posture
    seen: ClassVar[collections.Counter[str]] = collections.Counter()

    @initialize()
    def begin(self) -> None:
        self.seen["examples"] += 1
        self.path = f"/run/cellblock/{self.server.instance}/keeper.sock"
        self.keeper, self.nsjails = self.server.keeper, sorted(one.pid for one in self.server.nsjails())
        self.peers = [Peer(self.path) for _ in range(PEERS)]
        self.next_number = 1

    @contextlib.contextmanager
    def given(self, kinds: list[str]) -> Iterator[list[int]]:
        made = [KINDS[kind]() for kind in kinds]
        try:
            yield made
        finally:
            fds.close_all(made)

    def order(self, peer: int, toolchain: str, step: str, limits: Limits, *more: Any) -> messages.Run:
        """Of the next number. The peer has ended its runs first where all together have RUNS."""
        for one in self.peers:
            one.hear_all()
        if sum(len(one.runs) for one in self.peers) >= RUNS:
            self.wait_for_its_runs(peer)
        self.next_number += 1
        return messages.Run(self.next_number, toolchain, step, limits, *more)

    @rule(
        peer=A_PEER, code=PROGRAMS, wall_ns=WALL_NS, memory_bytes=MEMORY_BYTES, graded=st.booleans(),
        held=st.booleans(), then=st.sampled_from(["say more", "hear that it begins", "hear its end"]),
    )  # fmt: skip
    def run_python(
        self, peer: int, code: bytes, wall_ns: int, memory_bytes: int, graded: bool, held: bool, then: str
    ) -> None:
        limits = Limits(memory_bytes, wall_ns, 4, None, 500)
        order = self.order(peer, "python", "run", limits, (), False, False, graded, held)
        source = fds.memfd("source", code)
        self.peers[peer].say(order.encode(), [source])
        os.close(source)
        if then == "hear that it begins":
            self.peers[peer].hear_until_begun_or_over(order.run)
        elif then == "hear its end":
            self.wait_for_its_runs(peer)

    @rule(
        peer=A_PEER, step=STEPS, kinds=FOUR_SOURCES, is_right_number=st.booleans(), wall_ns=WALL_NS,
        flags=st.tuples(*[st.booleans()] * 4), args=st.lists(st.text(max_size=5), max_size=3), waits=st.booleans(),
    )  # fmt: skip
    def run_anything(
        self, peer: int, step: tuple[str, str], kinds: list[str], is_right_number: bool, wall_ns: int,
        flags: tuple[bool, ...], args: list[str], waits: bool,
    ) -> None:  # fmt: skip
        """A step with whatever descriptors, of which most are not what it takes. Its first two flags add one each."""
        order = self.order(peer, *step, Limits(64 << 20, wall_ns, 8, None, 500), tuple(args), *flags)
        with self.given(kinds[: 1 + order.files + order.input] if is_right_number else kinds) as given:
            self.peers[peer].say(order.encode(), given)
        if waits:
            self.wait_for_its_runs(peer)

    def own_run(self, peer: int, number: int) -> int:
        """One of the peer's runs, if it has any, else the number: of nobody's run, or of another's."""
        own = sorted(self.peers[peer].runs)
        return own[number % len(own)] if own else number

    @rule(peer=A_PEER, number=A_NUMBER, why=st.sampled_from([KilledBy.CLIENT, KilledBy.OUTPUT]), is_own=st.booleans())
    def kill(self, peer: int, number: int, why: KilledBy, is_own: bool) -> None:
        run = self.own_run(peer, number) if is_own else number
        self.peers[peer].say(messages.Kill(run, why).encode(), [])

    @rule(peer=A_PEER, number=A_NUMBER, which=st.integers(1, messages.SIGNAL_MAX), is_own=st.booleans())
    def signal(self, peer: int, number: int, which: int, is_own: bool) -> None:
        run = self.own_run(peer, number) if is_own else number
        self.peers[peer].say(messages.Signal(run, which).encode(), [])

    @rule(peer=A_PEER, number=A_NUMBER)
    def have_it_go(self, peer: int, number: int) -> None:
        self.peers[peer].say(messages.Begin(self.own_run(peer, number)).encode(), [])

    @rule(peer=A_PEER)
    def order_again_what_is_held(self, peer: int) -> None:
        """Of another run nobody could tell whether it has ended a moment ago, and its number is free."""
        for number in self.peers[peer].held[:1]:
            with self.given(["source"]) as given:
                self.peers[peer].say(messages.Run(number, "python", "run", LIMITS).encode(), given)

    @rule(peer=A_PEER, field=st.sampled_from([*messages.Run.FIELDS, "type", "more"]), value=JSON, kinds=FEW_SOURCES)
    def order_with_another_field(self, peer: int, field: str, value: Any, kinds: list[str]) -> None:
        fields = json.loads(self.order(peer, "python", "run", LIMITS).encode())
        with self.given(kinds) as given:
            self.peers[peer].say(json.dumps({**fields, field: value}).encode()[:MESSAGE_BYTES], given)

    @rule(peer=A_PEER, data=DATA, times=st.sampled_from([1, 1, 1, 500]), kinds=MANY_SOURCES, waits=st.booleans())
    def say_anything(self, peer: int, data: bytes, times: int, kinds: list[str], waits: bool) -> None:
        with self.given(kinds) as given:
            self.peers[peer].say((data * times)[:MESSAGE_BYTES], given, waits)

    @rule(peer=A_PEER, other=A_PEER)
    def send_a_socket_of_its_own(self, peer: int, other: int) -> None:
        """Sockets that hold themselves unread are collected by the kernel (unix(7))."""
        self.peers[peer].say(messages.Kill(0, KilledBy.CLIENT).encode(), [self.peers[other].sock.fileno()])

    @rule(peer=A_PEER, how=st.sampled_from([None, socket.SHUT_RD, socket.SHUT_WR]))
    def vanish(self, peer: int, how: int | None) -> None:
        if how is not None:
            self.peers[peer].sock.shutdown(how)
        self.peers[peer].vanish()

    @rule(peer=A_PEER)
    def wait_for_its_runs(self, peer: int) -> None:
        """Each that it has go ends, by itself or at its limit; none is forgotten."""
        for number in list(self.peers[peer].runs):
            self.peers[peer].hear_until_begun_or_over(number)
            self.peers[peer].say(messages.Begin(number).encode(), [])
        self.peers[peer].hear_until_over()

    @rule()
    def an_honest_peer_is_served(self) -> None:
        honest = Peer(self.path)
        with self.given(["source"]) as given:
            honest.say(messages.Run(1, "python", "run", LIMITS).encode(), given)
        honest.hear_until_begun_or_over(1)
        assert 1 in honest.runs, honest.over
        said = os.read(honest.runs[1].pipes[1], 100)
        honest.hear_until_over()
        outcome = honest.over[1]
        honest.close()
        assert isinstance(outcome, messages.Ended) and outcome.outcome.wait_status == 0, outcome
        assert said == b"1\n"

    @invariant()
    def keeper_lives_and_holds_little(self) -> None:
        self.seen["steps"] += 1
        for peer in self.peers:
            peer.hear_all()
            for number in list(peer.over):
                self.seen[_words(peer.over.pop(number))] += 1
        most = sum(self.rest.keeper_descriptors.values()) + DESCRIPTORS_EACH * (PEERS + 2 * RUNS)
        assert self.keeper.num_fds() <= most
        assert self.keeper.memory_info().rss < KEEPER_BYTES_MAX

    def teardown(self) -> None:
        for peer in self.peers:
            peer.close()
        self.an_honest_peer_is_served()
        most = sum(self.rest.keeper_descriptors.values())
        until(lambda: self.keeper.num_fds() <= most, HEAR_S, "the keeper holds nothing for peers that are gone")
        assert self.server.keeper.pid == self.keeper.pid
        assert sorted(one.pid for one in self.server.nsjails()) == self.nsjails, "no warden was replaced"


def _words(message: messages.Ended | messages.Refused) -> str:
    match message:
        case messages.Refused(_, stage):
            return f"refused: {stage}"
        case messages.Ended():
            return f"ended: {message.killed_by or message.wait_status}"


@pytest.mark.threat("U9", "D4")
@pytest.mark.slow
def test_no_sequence_of_peers_harms_the_keeper_or_another_peer() -> None:
    """What shrinks an example repeats it, and how fast a run ends is never the same: the first one found is told."""
    examples = settings(max_examples=150 if IS_LONG else 8, stateful_step_count=40, phases=[Phase.generate])
    with Server(languages=["python", "rust"], warden_runs_max=60_000, warden_age_max_s=10**6) as server:
        posture.warm_up(server)
        KeeperMachine.server, KeeperMachine.rest = server, posture.take(server)
        run_state_machine_as_test(KeeperMachine, settings=examples)
        posture.demand(server, KeeperMachine.rest)
        print(f"{KeeperMachine.seen['examples']} passing examples:", dict(sorted(KeeperMachine.seen.items())))
