"""Scores and verdicts of test groups in the legacy problem package format: testdata.yaml and the default grader.

Sources: problem package format `legacy`, "Test data groups" and "Graders"; where it is silent, the behaviour of
problemtools (support/default_grader and problemtools/judge). Packages of the draft 2023-07 that have testdata.yaml with
`on_reject` or `grader_flags` are judged by the same rules there. Pure: no clock, no descriptor, no task.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from .scoring import ROOT, Directory, GraderCall, Progress, Result, directory_tree, number, one_of
from .verdicts import Verdict

_SCORES = ("sum", "avg", "min", "max")
_VERDICTS = {
    "worst_error": "worst_error",
    "no_errors": "worst_error",  # an old name, which problemtools still takes
    "first_error": "first_error",
    "always_accept": "always_accept",
}
_WORST_FIRST = (Verdict.IE, Verdict.CE, Verdict.RE, Verdict.MLE, Verdict.TLE, Verdict.OLE, Verdict.WA)


@dataclasses.dataclass(frozen=True, slots=True)
class GroupSettings:
    """testdata.yaml of one group, with what it inherits. The section "Test data groups" has the defaults."""

    break_on_reject: bool = True
    custom: bool = False
    flags: tuple[str, ...] = ()  # the words of grader_flags
    accept_score: float = 1.0
    reject_score: float = 0.0
    lowest: float = -math.inf
    highest: float = math.inf

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """From the keys of testdata.yaml; keys that have nothing to do with scores are ignored.

        Raises ValueError for a value that the format does not allow.
        """
        flags = values.get("grader_flags", "") or ""
        if not isinstance(flags, str):
            raise ValueError(f"grader_flags must be a string, not {flags!r}")
        words = str(values.get("range", "-inf +inf")).split()
        try:
            lowest, highest = map(float, words)
        except ValueError:
            raise ValueError(f"range must be two numbers, not {' '.join(words)!r}") from None
        if not lowest <= highest:
            raise ValueError(f"range begins above its end: {' '.join(words)}")
        return cls(
            break_on_reject=one_of(values, "on_reject", ("break", "continue"), "break") == "break",
            custom=one_of(values, "grading", ("default", "custom"), "default") == "custom",
            flags=tuple(flags.split()),
            accept_score=number(values, "accept_score", 1.0),
            reject_score=number(values, "reject_score", 0.0),
            lowest=lowest,
            highest=highest,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class LegacyTree:
    """The test data of a package. `settings` has every directory of `root`. `scoring`: the problem's type is scoring;
    in pass-fail problems no result has a score."""

    root: Directory
    settings: Mapping[str, GroupSettings]
    scoring: bool


def inherited(testdata: Mapping[str, Mapping[str, object]], directory: str) -> dict[str, object]:
    """All keys that hold in `directory`: each from the nearest directory above it, or itself, that has it.

    `testdata` maps names of directories, ROOT among them, to the content of their testdata.yaml.
    """
    merged = dict(testdata.get(ROOT, {}))
    parts = directory.split("/") if directory else []
    for depth in range(len(parts)):
        merged.update(testdata.get("/".join(parts[: depth + 1]), {}))
    return merged


def legacy_tree(cases: Iterable[str], testdata: Mapping[str, Mapping[str, object]], scoring: bool) -> LegacyTree:
    """The tree of all `cases`, with settings from the parsed testdata.yaml of each directory that has one.

    Raises ValueError, with the directory's name, for data that is neither in sample nor in secret, for a value that the
    format does not allow, and where a directory asks for `ignore_sample`, which is for the root alone; where
    it only inherits it, the flag is not applied.
    """
    root = directory_tree(cases)
    for child in root.children:
        name = child if isinstance(child, str) else child.name
        if isinstance(child, str) or name not in ("sample", "secret"):
            raise ValueError(f"{name}: test data belongs in sample or secret")
    settings: dict[str, GroupSettings] = {}
    for directory in _directories(root):
        try:
            found = GroupSettings.of(inherited(testdata, directory.name))
        except ValueError as error:
            raise ValueError(f"{directory.name or 'data'}: {error}") from error
        if directory.name and not found.custom and "ignore_sample" in found.flags:
            if "ignore_sample" in str(testdata.get(directory.name, {}).get("grader_flags", "")).split():
                raise ValueError(f"{directory.name}: ignore_sample is for the root only")
            flags = tuple(flag for flag in found.flags if flag != "ignore_sample")
            found = dataclasses.replace(found, flags=flags)
        settings[directory.name] = found
    return LegacyTree(root, settings, scoring)


def _directories(directory: Directory) -> Iterable[Directory]:
    yield directory
    for child in directory.children:
        if not isinstance(child, str):
            yield from _directories(child)


def default_grader(flags: Sequence[str], results: Sequence[Result]) -> Result:
    """What the default grader says ("Default grader specification"). Words it does not know are ignored, as there; of
    conflicting modes the last one is used. A result without score counts as 0. AC with 0 for no results at all.

    `worst_error` has the order JE, IF, RTE, MLE, TLE, OLE, WA. `ignore_sample` takes the last result alone: with
    `on_reject: break` a rejected sample is the last one, and stands.
    """
    if "ignore_sample" in flags:
        results = results[-1:]
    if not results:
        return Result(Verdict.AC, 0.0)
    verdicts = [result.verdict for result in results]
    scores = [result.score or 0.0 for result in results]
    verdict_mode = next((_VERDICTS[flag] for flag in reversed(flags) if flag in _VERDICTS), "worst_error")
    score_mode = next((flag for flag in reversed(flags) if flag in _SCORES), "sum")
    if verdict_mode == "always_accept" or ("accept_if_any_accepted" in flags and Verdict.AC in verdicts):
        verdict = Verdict.AC
    elif verdict_mode == "first_error":
        verdict = next((verdict for verdict in verdicts if verdict is not Verdict.AC), Verdict.AC)
    else:
        verdict = next((verdict for verdict in _WORST_FIRST if verdict in verdicts), Verdict.AC)
    match score_mode:
        case "min":
            score = min(scores)
        case "max":
            score = max(scores)
        case _:
            score = math.fsum(scores) / (len(scores) if score_mode == "avg" else 1)
    return Result(verdict, score)


def legacy_progress(tree: LegacyTree, known: Mapping[str, Result]) -> Progress:
    """What follows from the results of cases that are known, and of groups that a custom grader graded.

    With `on_reject: break` what comes after the first rejected case or subgroup of a group is skipped and is no
    sub-result. A sub-result of IE makes its group IE without asking a grader. A group without cases is no sub-result.
    The score of a rejected group does count in the groups above it; that of a rejected submission is None ("For
    non-Accepted verdicts on scoring problems, the score provided by the grader will always be ignored").
    """
    walk = _Walk(tree, known)
    outcome = walk.grade(tree.root)
    if outcome is not None and outcome.verdict is not Verdict.AC:
        walk.results[ROOT] = Result(outcome.verdict)
    return Progress(walk.results, tuple(walk.may_run), tuple(walk.to_grade), tuple(walk.problems))


class _Walk:
    """One walk through the tree, in order."""

    def __init__(self, tree: LegacyTree, known: Mapping[str, Result]) -> None:
        self._tree = tree
        self._known = known
        self.results: dict[str, Result] = {}
        self.may_run: list[str] = []
        self.to_grade: list[GraderCall] = []
        self.problems: list[str] = []

    def grade(self, directory: Directory) -> Result | None:
        """The result of a group, None while it is open."""
        settings = self._tree.settings[directory.name]
        found: list[Result | None] = []
        stopped = False
        for child in directory.children:
            if stopped:
                self._skip(child)
                continue
            found.append(self._case(child, settings) if isinstance(child, str) else self.grade(child))
            stopped = settings.break_on_reject and found[-1] is not None and found[-1].verdict is not Verdict.AC
        results = [result for result in found if result is not None]
        graded = self._graded(directory.name, settings, results) if len(results) == len(found) else None
        if graded is not None:
            self.results[directory.name] = graded
        return graded

    def _graded(self, name: str, settings: GroupSettings, results: list[Result]) -> Result | None:
        if any(result.verdict is Verdict.IE for result in results):
            return Result(Verdict.IE)
        if not settings.custom:
            graded = default_grader(settings.flags, results)
        elif name in self._known:
            graded = self._known[name]
        else:
            self.to_grade.append(GraderCall(name, settings.flags, tuple(results)))
            return None
        if not self._tree.scoring:
            return Result(graded.verdict)
        if graded.score is not None and not settings.lowest <= graded.score <= settings.highest:
            bounds = f"{settings.lowest:g} to {settings.highest:g}"
            self.problems.append(f"{name or 'data'}: the score {graded.score:g} is outside of the range {bounds}")
        return graded

    def _case(self, name: str, settings: GroupSettings) -> Result | None:
        result = self._known.get(name)
        if result is None:
            self.may_run.append(name)
            return None
        if not self._tree.scoring or result.verdict is Verdict.IE:
            result = Result(result.verdict)
        elif result.verdict is not Verdict.AC:
            result = Result(result.verdict, settings.reject_score)
        elif result.score is None:
            result = Result(result.verdict, settings.accept_score)
        self.results[name] = result
        return result

    def _skip(self, child: Directory | str) -> None:
        for case in (child,) if isinstance(child, str) else child.cases():
            self.results[case] = Result(Verdict.SK)
