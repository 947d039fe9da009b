"""Scores and verdicts of test groups in the problem package format 2025-09, whose draft was named 2023-07.

Source: problem package format `2025-09`, "Test data groups", "Test data configuration" and "Result aggregation"; the
pages of 2023-07 and 2023-07-draft say that 2025-09 is what became of them. Static validation is not supported.
Pure: no clock, no descriptor, no task.
"""

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from .scoring import ROOT, Progress, Result, number, one_of
from .verdicts import Verdict, needed, of_submission, settled

SAMPLE, SECRET = "sample", "secret"
DEFAULT_MAX_SCORE = 100.0  # of secret
_OF_SCORES = ("max_score", "score_aggregation", "require_pass")
_DRAFT_KEYS = {"score": "max_score", "aggregation": "score_aggregation", "require-pass": "require_pass"}


class Aggregation(enum.StrEnum):
    """How the score of a group follows from those of its test cases ("Scoring test data groups")."""

    PASS_FAIL = "pass-fail"
    SUM = "sum"
    MIN = "min"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The keys of test_group.yaml that decide scores. `max_score` None stands for unbounded."""

    max_score: float | None = None
    aggregation: Aggregation = Aggregation.PASS_FAIL
    require_pass: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, object], name: str) -> Self:
        """From test_group.yaml of the directory `name`. Keys that have nothing to do with scores are ignored.

        Drafts of the format had them one level down, under `scoring` or `grading`, as `score` or `max_score`,
        `aggregation` and `require_pass`; those are taken too. Raises ValueError for a value that the format does not
        allow, and for static validation.
        """
        values = _flat(values)
        if "static_validation_score" in values:
            raise ValueError("static validation is not supported")
        if name == SAMPLE and (given := [key for key in _OF_SCORES if key in values]):
            raise ValueError(f"{given[0]} is not permitted in sample")
        default = ("sum", DEFAULT_MAX_SCORE) if name == SECRET else ("pass-fail", math.inf)
        most = math.inf if values.get("max_score") == "unbounded" else number(values, "max_score", default[1])
        if most < 0:
            raise ValueError(f"max_score must not be negative, as {most:g} is")
        required = values.get("require_pass", ())
        names = (required,) if isinstance(required, str) else required
        if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
            raise ValueError(f"require_pass must be a name or names, not {required!r}")
        return cls(
            max_score=None if most == math.inf else most,
            aggregation=Aggregation(one_of(values, "score_aggregation", tuple(Aggregation), default[0])),
            require_pass=tuple(names),
        )


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    flat = dict(values)
    for key in ("scoring", "grading"):
        nested = flat.pop(key, None)
        if isinstance(nested, Mapping):
            flat.update({_DRAFT_KEYS.get(str(name), str(name)): value for name, value in nested.items()})
    return flat


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Test cases that are scored together: `sample`, a test data group, or `secret` where it has no groups."""

    name: str
    cases: tuple[str, ...]
    settings: Settings

    @property
    def case_max_score(self) -> float | None:
        """The maximum score of each test case, None for unbounded ("Scoring problems"): with `sum` an equal share."""
        most = self.settings.max_score
        return most / len(self.cases) if most is not None and self.settings.aggregation is Aggregation.SUM else most


@dataclasses.dataclass(frozen=True, slots=True)
class GroupTree:
    """The test data of a package. `parts` are secret's groups in order, or secret itself. `scoring`: the problem's type
    is scoring; in pass-fail problems no result has a score."""

    sample: Part
    secret: Settings
    parts: tuple[Part, ...]
    scoring: bool


def group_tree(cases: Iterable[str], configured: Mapping[str, Mapping[str, object]], scoring: bool) -> GroupTree:
    """The tree of all `cases`. `configured` maps each directory that has a test_group.yaml to its content.

    Cases and groups come in the lexicographical order of their names. Raises ValueError, with the group's name, for
    what "Test data groups", "Scoring problems" and "Group dependencies" do not allow.
    """
    ordered = sorted(cases)
    groups = sorted(name for name in configured if name.startswith(f"{SECRET}/"))
    for name in groups:
        if name.count("/") != 1:
            raise ValueError(f"{name}: a test data group has no groups in it")
    members: dict[str, list[str]] = {name: [] for name in (SAMPLE, *(groups or [SECRET]))}
    for case in ordered:
        top, *below = case.split("/")
        part = f"{top}/{below[0]}" if groups and top == SECRET and len(below) > 1 else top
        if part not in members:
            raise ValueError(f"{case}: belongs to no test data group")
        members[part].append(case)
    if empty := [name for name in groups if not members[name]]:
        raise ValueError(f"{empty[0]}: a test data group needs a test case")
    settings = {name: _settings(configured, name, scoring) for name in {SAMPLE, SECRET, *groups}}
    parts = tuple(Part(name, tuple(members[name]), settings[name]) for name in groups or [SECRET])
    tree = GroupTree(Part(SAMPLE, tuple(members[SAMPLE]), settings[SAMPLE]), settings[SECRET], parts, scoring)
    if scoring:
        _check_scores(tree)
        _check_dependencies(tree)
    return tree


def _settings(configured: Mapping[str, Mapping[str, object]], name: str, scoring: bool) -> Settings:
    values = configured.get(name, {})
    try:
        given = [key for key in _OF_SCORES if key in _flat(values)]
        if given and not scoring:
            raise ValueError(f"{given[0]} is for scoring problems only")
        return Settings.of(values, name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _check_scores(tree: GroupTree) -> None:
    if tree.secret.aggregation is Aggregation.PASS_FAIL and tree.secret.max_score is None:
        raise ValueError(f"{SECRET}: pass-fail aggregation needs a max_score")
    for part in tree.parts:
        unbounded = part.settings.max_score is None
        pass_fail = part.settings.aggregation is Aggregation.PASS_FAIL
        if tree.secret.aggregation is Aggregation.PASS_FAIL:
            if not pass_fail:
                raise ValueError(f"{part.name}: secret is pass-fail, so its groups must be")
        elif unbounded and (pass_fail or tree.secret.max_score is not None):
            raise ValueError(f"{part.name}: needs a max_score")


def _check_dependencies(tree: GroupTree) -> None:
    earlier = {SAMPLE}
    for name in tree.secret.require_pass:
        if name != SAMPLE:
            raise ValueError(f"{SECRET}: may only require sample, not {name}")
    for part in tree.parts:
        for name in part.settings.require_pass:
            if name not in earlier:
                raise ValueError(f"{part.name}: requires {name}, which is no earlier pass-fail group")
        if part.settings.aggregation is Aggregation.PASS_FAIL:
            earlier.add(part.name)


def group_progress(tree: GroupTree, known: Mapping[str, Result], stop_on_failure: bool = False) -> Progress:
    """What follows from the results of cases that are known.

    The score of the submission is that of `secret`, and stands whatever its verdict. Its verdict, and that of a part,
    is that of the first test case that is not accepted, sample before secret, so that AC means all of them; IE wins. A
    part whose required groups are not all accepted is not run: its cases are SK and its score is 0. While those are
    open its cases wait.

    `stop_on_failure` skips cases that can change no score any more, nor the first failure: in a pass-fail problem all
    after the first rejected case, in a scoring problem those after it in the same part with pass-fail or min.

    What "Scoring test cases" and "Scoring test data groups" call a judge error makes the case or the group IE, and the
    submission with it; `problems` says why.
    """
    return _Walk(tree, known, stop_on_failure).progress()


class _Walk:
    """One walk through the parts, in order."""

    def __init__(self, tree: GroupTree, known: Mapping[str, Result], stop_on_failure: bool) -> None:
        self._tree = tree
        self._known = dict(known)
        self._stop = stop_on_failure
        self._results: dict[str, Result] = {}
        self._may_run: list[str] = []
        self._problems: list[str] = []
        self._passed: dict[str, bool | None] = {}  # None while it is open

    def progress(self) -> Progress:
        sections = (self._tree.sample, *self._tree.parts)
        if not self._tree.scoring and self._stop:
            self._forget_after_failure([case for part in sections for case in part.cases])
        results = [self._part(part) for part in sections]
        if not any(result is None for result in results):
            self._finish([result for result in results if result is not None])
        return Progress(self._results, tuple(self._may_run), problems=tuple(self._problems))

    def _finish(self, results: list[Result]) -> None:
        parts = results[1:]
        verdict = of_submission([result.verdict for result in parts])
        score = self._score(SECRET, self._tree.secret, parts) if verdict is not Verdict.IE else None
        if self._tree.parts[0].name != SECRET:
            self._results[SECRET] = self._checked(SECRET, self._tree.secret, Result(verdict, score))
        secret = self._results[SECRET]
        overall = of_submission([results[0].verdict, secret.verdict])
        self._results[ROOT] = Result(overall, None if overall is Verdict.IE else secret.score)

    def _forget_after_failure(self, cases: Sequence[str]) -> None:
        """Makes SK of all cases that do not matter any more."""
        verdicts = [self._known[case].verdict if case in self._known else None for case in cases]
        for case in cases[needed(verdicts, True) :]:
            self._known[case] = Result(Verdict.SK)

    def _part(self, part: Part) -> Result | None:
        """The result of a part, None while it is open."""
        required = () if part.name == SAMPLE else (*self._tree.secret.require_pass, *part.settings.require_pass)
        allowed = [self._passed[name] for name in required]
        if False in allowed:
            self._results.update({case: Result(Verdict.SK) for case in part.cases})
            self._passed[part.name] = False
            result = Result(Verdict.SK, 0.0 if self._tree.scoring else None)
            self._results[part.name] = result
            return result
        if None in allowed:
            self._passed[part.name] = None
            return None
        if self._stop and part.settings.aggregation is not Aggregation.SUM:
            self._forget_after_failure(part.cases)
        results = [self._case(part, case) for case in part.cases]
        verdicts = [None if result is None else result.verdict for result in results]
        failed = any(verdict not in (None, Verdict.AC) for verdict in verdicts)
        self._passed[part.name] = False if failed else None if None in verdicts else True
        if None in verdicts:
            return None
        verdict = of_submission(settled(verdicts, False))
        scored = part.name != SAMPLE and verdict is not Verdict.IE
        found = [result for result in results if result is not None]
        score = self._score(part.name, part.settings, found) if scored else None
        self._results[part.name] = self._checked(part.name, part.settings, Result(verdict, score))
        return self._results[part.name]

    def _score(self, name: str, settings: Settings, results: Sequence[Result]) -> float | None:
        """The score of a part from those of its cases, of secret from those of its groups; 0 for none at all."""
        if not self._tree.scoring:
            return None
        if settings.aggregation is Aggregation.PASS_FAIL:
            return settings.max_score if all(result.verdict is Verdict.AC for result in results) else 0.0
        scores = [result.score or 0.0 for result in results]
        return math.fsum(scores) if settings.aggregation is Aggregation.SUM else min(scores, default=0.0)

    def _checked(self, name: str, settings: Settings, result: Result) -> Result:
        """IE where the score exceeds the maximum by more than shares of it can by rounding."""
        most = settings.max_score
        if result.score is None or most is None or result.score <= most * (1 + 1e-9):
            return result
        self._problems.append(f"{name}: the score {result.score:g} exceeds its maximum of {most:g}")
        return Result(Verdict.IE)

    def _case(self, part: Part, case: str) -> Result | None:
        result = self._known.get(case)
        if result is None:
            self._may_run.append(case)
            return None
        if part.name != SAMPLE and self._tree.scoring and result.verdict is not Verdict.IE:
            if wrong := _judge_error(part, result):
                self._problems.append(f"{case}: {wrong}")
                result = Result(Verdict.IE)
            else:
                result = Result(result.verdict, case_score(part, result))
        else:
            result = Result(result.verdict)
        self._results[case] = result
        return result


def case_score(part: Part, result: Result) -> float | None:
    """The score of one test case, None in a part with pass-fail aggregation ("Scoring test cases")."""
    if part.settings.aggregation is Aggregation.PASS_FAIL:
        return None
    if result.verdict is not Verdict.AC:
        return 0.0
    if result.score is not None:
        return result.score
    most = part.case_max_score
    return None if most is None else most * (1.0 if result.multiplier is None else result.multiplier)


def _judge_error(part: Part, result: Result) -> str | None:
    """What the list of judge errors in "Scoring test cases" says against it, None for nothing."""
    score, multiplier, most = result.score, result.multiplier, part.case_max_score
    if (score, multiplier) != (None, None) and result.verdict is not Verdict.AC:
        return "the validator gave a score and did not accept"
    if score is not None and multiplier is not None:
        return "the validator gave both a score and a multiplier"
    if part.settings.aggregation is Aggregation.PASS_FAIL:
        return None if score is None and multiplier is None else "the validator gave a score in a pass-fail group"
    if multiplier is not None and (most is None or not 0 <= multiplier <= 1):
        return (
            "the multiplier has no maximum to multiply"
            if most is None
            else f"the multiplier {multiplier:g} is not 0..1"
        )
    if score is not None and not 0 <= score < math.inf:
        return f"the score {score:g} is no number of 0 or more"
    if score is not None and most is not None and score > most * (1 + 1e-9):
        return f"the score {score:g} exceeds the maximum of {most:g}"
    if score is None and most is None and result.verdict is Verdict.AC:
        return "the validator accepted and gave no score, and there is no maximum"
    return None
