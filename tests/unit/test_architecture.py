"""docs/architecture.md shows the life of a jail as a table: it is what the code decides.

`python -m tests.unit.test_architecture` prints the table.
"""

import pathlib

from daemon.keeper import jail_state as js
from daemon.keeper.jail_state import Phase
from daemon.keeper.machine import TICK
from daemon.sandbox.model import KilledBy

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "architecture.md"
NOW = 100.0
GO = js.Went(5.0, None, 2)
PATHS = {
    Phase.MAKING: (),
    Phase.STARTING: (js.Made(),),
    Phase.PARKED: (js.Made(), js.IsParked()),
    Phase.RUNNING: (js.Made(), js.IsParked(), GO),
    Phase.UNTOLD: (js.Made(), js.IsParked(), GO, js.WallPassed(True)),
    Phase.ENDING: (js.Made(), js.IsParked(), GO, js.Kill(KilledBy.OUTPUT)),
    Phase.REMOVING: (js.Made(), js.IsParked(), GO, js.Kill(KilledBy.OUTPUT), js.AllDead()),
}
EVENTS = {
    "the warden made it": js.Made(),
    "the warden made none": js.NotMade("x"),
    "it says that it is parked": js.IsParked(),
    "go": GO,
    "its status, nothing else alive": js.ProgramEnded(0, True),
    "its status, others alive": js.ProgramEnded(0, False),
    "channel closed by an init": js.ChannelClosed(False),
    "all of it is dead": js.AllDead(),
    "kill": js.Kill(KilledBy.CLIENT),
    "a failure of ours": js.Fail("x", "y"),
    "its deadline passes": TICK,
    "dead at the wall limit": js.WallPassed(True),
    "alive at the wall limit": js.WallPassed(False),
    "its group is removed": js.Removed(True),
    "its group is busy": js.Removed(False),
}
WORDS = {
    js.TellParked: "tell parked", js.TellRefused: "refuse", js.TellOutcome: "tell the outcome", js.KillAll: "kill all",
    js.BlameWarden: "end the warden", js.AskIfDead: "ask whether it is dead", js.LookAtCpu: "look at CPU time",
    js.Release: "remove", js.Log: "log", js.Forget: "forget",
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
            due = js.due(state)
            after, effects = js.decide(state, event, NOW if due is None else due)
            words = [WORDS[type(effect)] for effect in effects]
            if after.phase is not state.phase:
                words.append(f"→ {after.phase}")
            cells.append(", ".join(words))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_document_shows_what_the_code_decides() -> None:
    assert table() in DOCUMENT.read_text()


def test_every_effect_has_a_word() -> None:
    assert set(js.Effect.__args__) == set(WORDS)


if __name__ == "__main__":
    print(table())
