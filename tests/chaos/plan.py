"""What is done to a server, and when: a function of the seed alone, so that a run can be repeated."""

import dataclasses
import enum
import random


class Kind(enum.StrEnum):
    KILL = "kill"  # SIGKILL
    STOP = "stop"  # SIGSTOP, and SIGCONT when it is over
    DISK = "disk full"  # the file system that holds the state
    PROCESSES = "no process more"  # pids.max of the instance's own group is what it has
    MEMORY = "no memory more"  # and so is its limit of memory
    NAMES = "names of groups taken"  # the next jails' groups are there already
    REMOVED = "groups removed"  # each group of a jail is removed at a moment at which nothing is in it


class Part(enum.StrEnum):
    """Whose process it is. A running program is none of them: SIGKILL by root is told of it as any signal is."""

    KEEPER = "keeper"
    HTTP = "HTTP process"
    HTTP_HELPER = "HTTP process's helper"  # parser, lexers, package reader
    NSJAIL = "nsjail"
    WARDEN = "warden"
    WARDEN_HELPER = "maker or zygote"
    PARKED_INIT = "parked jail's init"
    RUNNING_INIT = "running jail's init"
    WAITING = "parked program or service"


@dataclasses.dataclass(frozen=True, slots=True)
class Blow:
    """`pick`, from 0 to 1, chooses among the processes of the part. What is not a kill lasts `hold_s` seconds."""

    kind: Kind
    part: Part | None = None
    pick: float = 0.0
    hold_s: float = 0.0

    def __str__(self) -> str:
        whom = "" if self.part is None else f" {self.part} at {self.pick:.2f}"
        return f"{self.kind}{whom}" + (f" for {self.hold_s:.1f} s" if self.hold_s else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Blows at the same moment; then, when all is healed, nothing for `rest_s` seconds."""

    number: int
    blows: tuple[Blow, ...]
    rest_s: float

    def __str__(self) -> str:
        return f"{self.number:4} {' and '.join(map(str, self.blows))}, then rest {self.rest_s:.1f} s"


HOLDS_S = (0.3, 1.0, 6.0)  # the last is longer than what watches a process waits
REST_S_MAX = 0.5
TWO = 0.2  # of the steps have two blows


def steps(seed: int, count: int) -> list[Step]:
    """The first `count` steps of this seed: each part is killed and stopped, each other blow done, in random order."""
    chance = random.Random(seed)
    every = [(Kind.KILL, part) for part in Part] + [(Kind.STOP, part) for part in Part]
    others = [(kind, None) for kind in Kind if kind not in (Kind.KILL, Kind.STOP)]
    drawn: list[tuple[Kind, Part | None]] = []
    found = []

    def blow() -> Blow:
        if not drawn:  # a round has all of them once, so that a short run misses none for long
            drawn.extend([*every, *others])
            chance.shuffle(drawn)
        kind, part = drawn.pop()
        return Blow(kind, part, chance.random(), 0.0 if kind is Kind.KILL else chance.choice(HOLDS_S))

    for number in range(1, count + 1):
        blows = tuple(blow() for _ in range(2 if chance.random() < TWO else 1))
        found.append(Step(number, blows, chance.uniform(0, REST_S_MAX)))
    return found
