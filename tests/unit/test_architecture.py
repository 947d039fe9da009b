"""docs/architecture.md shows the life of a jail as a table: it is what the code decides.

`python -m tests.unit.test_architecture` prints the table.
"""

import pathlib

from daemon.keeper import jail_events as ev
from daemon.keeper import jail_state as js
from daemon.keeper.jail_state import Phase
from daemon.keeper.machine import TICK
from daemon.sandbox.model import KilledBy

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "architecture.md"
NOW = 100.0
GO = ev.GoSent(NOW, 5.0, None, 2)
PATHS = {
    Phase.MAKING: (),
    Phase.STARTING: (ev.Made(),),
    Phase.PARKED: (ev.Made(), ev.IsParked()),
    Phase.RUNNING: (ev.Made(), ev.IsParked(), GO),
    Phase.OVERDUE: (ev.Made(), ev.IsParked(), GO, ev.WallPassed(False)),
    Phase.ENDING: (ev.Made(), ev.IsParked(), GO, ev.Kill(KilledBy.OUTPUT)),
    Phase.REMOVING: (ev.Made(), ev.IsParked(), GO, ev.Kill(KilledBy.OUTPUT), ev.AllDead()),
}
EVENTS = {
    "the warden made it": ev.Made(),
    "the warden made none": ev.NotMade("x"),
    "it says that it is parked": ev.IsParked(),
    "go": GO,
    "its status, nothing else alive": ev.ProgramEnded(0, True),
    "its status, others alive": ev.ProgramEnded(0, False),
    "channel closed by an init": ev.ChannelClosed(False),
    "all of it is dead": ev.AllDead(),
    "kill": ev.Kill(KilledBy.CLIENT),
    "a failure of ours": ev.Fail("x", "y"),
    "its deadline passes": TICK,
    "no program alive at the wall limit": ev.WallPassed(False),
    "a program alive at the wall limit": ev.WallPassed(True),
    "its group is removed": ev.Removed(True),
    "its group is busy": ev.Removed(False),
}
WORDS = {
    ev.TellParked: "tell parked", ev.TellRefused: "refuse", ev.TellOutcome: "tell the outcome", ev.KillAll: "kill all",
    ev.BlameWarden: "end the warden", ev.AskIfAlive: "ask whether a program is alive", ev.LookAtCpu: "look at CPU time",
    ev.Release: "remove", ev.Log: "log", ev.TellGone: "tell that it is gone",
}  # fmt: skip


def table() -> str:
    """Rows are events, columns are phases; a cell is what is done and the phase after it, empty where nothing is."""
    lines = ["| event | " + " | ".join(PATHS) + " |", "|---|" + "---|" * len(PATHS)]
    for name, event in EVENTS.items():
        cells = []
        for path in PATHS.values():
            state = js.new(10.0, NOW)
            for step in path:
                state, _ = js.decide(state, step, NOW)
            has_deadline = js.due(state) is not None
            after, effects = js.decide(state, event, state.deadline_s if has_deadline else NOW)
            words = [WORDS[type(effect)] for effect in effects]
            if after.phase is not state.phase:
                words.append(f"→ {after.phase}")
            cells.append(", ".join(words))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_document_shows_what_the_code_decides() -> None:
    assert table() in DOCUMENT.read_text()


def test_every_effect_has_a_word() -> None:
    assert set(ev.Effect.__args__) == set(WORDS)


if __name__ == "__main__":
    print(table())
