"""From how a probe ended to one row of the doctor's answer. Pure."""

import dataclasses
import enum
import json

from daemon.judge.submission import Reason, Report
from daemon.sandbox.model import Limits

from .probe import GOOD_END, End, Probe

SHARE_SLACK_NS = 200_000_000  # of CPU time: a core is stopped at its next tick only, in each period
A_DEFECT = "This is a defect of cellblock: report it."
NEEDS_ROOM = "Give this command the limits of a default configuration, such as CELLBLOCK_MEMORY_MB=128."
SHOWN = 3  # attempts that are told of one row


class State(enum.StrEnum):
    """SHUT: all was refused. ACCEPTED: open, and known. NOT_TRIED: this host or configuration has no such thing.
    FAILED: the probe itself went wrong, so nothing is shown."""

    SHUT = "shut"
    OPEN = "open"
    ACCEPTED = "accepted"
    NOT_TRIED = "not tried"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One threat of docs/threats.md, what was tried, and what came of it. `why` is empty where it is shut."""

    threat: str
    tried: str
    state: State
    why: str = ""
    remedy: str = ""

    @property
    def is_bad(self) -> bool:
        """A promise that is not kept, or not shown to be."""
        return self.state in (State.OPEN, State.FAILED)


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """One run of a probe: in which kind of jail, within which limits, and after how many seconds its end was known."""

    kind: str
    limits: Limits
    output_bytes: int
    report: Report
    took_s: float

    @property
    def late_s(self) -> float:
        """From its time limit to its end; negative where it ended before."""
        return self.took_s - self.limits.wall_ns / 1e9


def judge(probe: Probe, trials: list[Trial]) -> Row:
    """What all runs of a probe show together: what one of them found open is open, whatever became of the others."""
    worked, broken = _attempts_that_worked(trials), _promises_broken_by(probe, trials)
    if broken or (worked and probe.accepted is None):
        told = [*broken, *(f"{what}: {answer}" for what, answer in worked.items())]
        more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        return Row(probe.threat, probe.tried, State.OPEN, "; ".join(told[:SHOWN]) + more, probe.remedy)
    for trial in trials:
        why = _failure(probe, trial)
        if why is not None:
            is_cut = trial.report.reason not in (Reason.EXITED, Reason.SIGNAL)
            return Row(probe.threat, probe.tried, State.FAILED, why, NEEDS_ROOM if is_cut else A_DEFECT)
    if worked:
        why = f"{', '.join(worked)}. Known and accepted (jail_configs/README.md): {probe.accepted} …"
        return Row(probe.threat, probe.tried, State.ACCEPTED, why)
    return Row(probe.threat, probe.tried, State.SHUT)


def is_late(probe: Probe, trial: Trial) -> bool:
    """True where its end came later than it promises. On a busy host that happens: it is to be tried again."""
    return probe.late_s is not None and trial.late_s > probe.late_s


def _end_of(report: Report) -> End:
    return End(report.reason, report.exit_code)


def _failure(probe: Probe, trial: Trial) -> str | None:
    """Why this run shows nothing: a program that went wrong, or that tried nothing."""
    end, report = _end_of(trial.report), trial.report
    if probe.end is None and end != GOOD_END:
        lines = report.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"{probe.name} ended with {end} ({trial.kind}): {lines[-1] if lines else report.error}"
    if probe.end is None and not _attempts(report):
        return f"{probe.name} tried nothing ({trial.kind})"
    return None


def _attempts(report: Report) -> list[dict[str, object]]:
    """Lines that attempts.py printed; a last one that was cut is none."""
    found = []
    for line in report.stdout.splitlines():
        try:
            attempt = json.loads(line)
        except ValueError:
            continue
        if isinstance(attempt, dict) and {"tried", "open", "answer"} <= attempt.keys():
            found.append(attempt)
    return found


def _attempts_that_worked(trials: list[Trial]) -> dict[str, str]:
    """What was tried -> the first answer; where not all kinds of jails let it, with the kind that does."""
    kinds: dict[str, set[str]] = {}
    answers: dict[str, str] = {}
    for trial in trials:
        for one in _attempts(trial.report):
            if one["open"]:
                kinds.setdefault(str(one["tried"]), set()).add(trial.kind)
                answers.setdefault(str(one["tried"]), str(one["answer"]))
    everywhere = {trial.kind for trial in trials}
    return {
        what: answer if kinds[what] == everywhere else f"{answer}, in {' and '.join(sorted(kinds[what]))}"
        for what, answer in answers.items()
    }


def _promises_broken_by(probe: Probe, trials: list[Trial]) -> list[str]:
    return [f"{text}, in {trial.kind}" for trial in trials for text in _promises_broken(probe, trial)]


def _promises_broken(probe: Probe, trial: Trial) -> list[str]:
    """Each limit counts for each run, whatever it tried."""
    report, limits, broken = trial.report, trial.limits, []
    end = _end_of(report)
    if probe.end is not None and end != probe.end:
        broken.append(f"it ended with {end} instead of {probe.end}")
    if is_late(probe, trial):
        broken.append(f"its end was known {trial.late_s:.2f} s after its time limit, again and again")
    size = len(report.stdout) + len(report.stderr)
    if size > trial.output_bytes or (report.reason is Reason.OUTPUT_LIMIT and size != trial.output_bytes):
        broken.append(f"{size} bytes of output at a limit of {trial.output_bytes}")
    most_ns = _cpu_ns_max(limits, report.wall_ns)
    if most_ns is not None and (report.cpu_ns is None or report.cpu_ns > most_ns):
        used = "unknown" if report.cpu_ns is None else f"{report.cpu_ns / 1e9:.2f} s"
        broken.append(f"{used} of processor time in {report.wall_ns / 1e9:.2f} s")
    return broken


def _cpu_ns_max(limits: Limits, wall_ns: int) -> int | None:
    """The most that a run may use in `wall_ns`: its share of each period of a second that it touches."""
    if limits.cpu_share_ms is None:
        return None
    periods = wall_ns // 1_000_000_000 + 2
    return periods * limits.cpu_share_ms * 1_000_000 + SHARE_SLACK_NS
