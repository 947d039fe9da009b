"""What a problem package says, as plain data: both formats in one shape, checked, with nothing left to parse.

Paths are relative to the package's own folder (`Problem.folder` below the unpacked directory) and have forward
slashes. Sizes are in bytes and times in seconds; None is what the package does not say, so that the deployment's
default holds. Verdicts are those of POST /grade: AC WA TLE MLE OLE RE CE.
"""

import dataclasses
import enum
import math


class Format(enum.StrEnum):
    """Which of the two families of specifications the package follows."""

    LEGACY = "legacy"  # and its subset legacy-icpc; what DOMjudge adds to it is read too
    V2023_07 = "2023-07"  # and its drafts, and 2025-09, the name under which it was finished


class ProblemType(enum.StrEnum):
    """2025-09, "Type". `submit-answer` is refused: there is no program to run."""

    PASS_FAIL = "pass-fail"
    SCORING = "scoring"
    INTERACTIVE = "interactive"
    MULTI_PASS = "multi-pass"


class OnReject(enum.StrEnum):
    """What follows a test that was not accepted: grading at once, or the rest of the group."""

    BREAK = "break"
    CONTINUE = "continue"


class Aggregation(enum.StrEnum):
    """How a group's score follows from its tests or groups (2025-09, "Scoring test data groups")."""

    PASS_FAIL = "pass-fail"
    SUM = "sum"
    MIN = "min"


class Bound(enum.StrEnum):
    """Which side of the time limit a submission holds (2025-09, "Timelimit inference")."""

    LOWER = "lower"
    UPPER = "upper"


@dataclasses.dataclass(frozen=True, slots=True)
class PackageLimits:
    """`limits` of problem.yaml; `passes_max` is how often a multi-pass submission runs at most (default 2)."""

    memory_bytes: int | None
    output_bytes: int | None
    code_bytes: int | None
    compilation_s: float | None
    compilation_memory_bytes: int | None
    validation_s: float | None
    validation_memory_bytes: int | None
    validation_output_bytes: int | None
    passes_max: int


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """The time limit, in seconds of CPU for each test, or what it is computed from (time_limit.py).

    `limit_s` is None where no file says it, else `source` is the file. `ac_to_time_limit` times the slowest accepted
    submission, rounded up to `resolution_s`, is the limit; a submission that is to be too slow needs at least
    `time_limit_to_tle` times the limit. In legacy packages these are time_multiplier and time_safety_margin.
    """

    limit_s: float | None
    source: str | None
    ac_to_time_limit: float
    time_limit_to_tle: float
    resolution_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """Source files that belong together: a single file or a folder.

    `language` is a code of the specification's table of languages, None where the files do not tell one. `files` are
    all files, sorted. `build` and `run` are scripts of those names that the folder has (never for submissions).
    """

    name: str
    path: str
    is_folder: bool
    files: tuple[str, ...]
    language: str | None
    entry_point: str | None
    build: bool
    run: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Validator:
    """Who judges the output: without `programs` the default validator, else each of them must accept (legacy allows
    several). `gives_score`: the package says that score.txt may be written."""

    programs: tuple[Program, ...]
    flags: tuple[str, ...]
    gives_score: bool


@dataclasses.dataclass(frozen=True, slots=True)
class LegacyRules:
    """testdata.yaml of a group, with what it inherits from the groups above (legacy, "Test data groups").

    `range_low` and `range_high` may be -inf and inf. `grading` is "default" or "custom".
    """

    on_reject: OnReject
    grading: str
    grader_flags: tuple[str, ...]
    accept_score: float
    reject_score: float
    range_low: float
    range_high: float


@dataclasses.dataclass(frozen=True, slots=True)
class GroupRules:
    """test_group.yaml of a group (2025-09, "Test data configuration"); nothing of it is inherited.

    `max_score` None is unbounded. `require_pass` names groups (or "sample") that come before this one.
    """

    max_score: int | None
    score_aggregation: Aggregation
    require_pass: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """A group; "" is data/ itself, the parent of "sample" and "secret", and has None for `parent`.

    `items` are the names of its tests and groups in the order of judging. `declared` are the keys that its own file
    sets. `rules` is LegacyRules too in a 2023-07 package whose groups have a testdata.yaml, as its drafts did.
    """

    name: str
    parent: str | None
    items: tuple[str, ...]
    declared: tuple[str, ...]
    rules: LegacyRules | GroupRules


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One test: `name` is its path below data/ without extension, `group` the name of the group that holds it.

    `files` is a folder whose content lies in the program's working directory (2025-09, "Input"). `validator_args` are
    all arguments of the output validator: validator_flags of problem.yaml first, then the group's or the test's.
    """

    name: str
    group: str
    input: str
    answer: str
    input_bytes: int
    answer_bytes: int
    args: tuple[str, ...]
    files: str | None
    validator_args: tuple[str, ...]
    full_feedback: bool

    @property
    def is_sample(self) -> bool:
        """True for what contestants may see."""
        return self.name.startswith("sample/")


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What the verdicts of some tests must be: each in `permitted`, at least one in `required`.

    `cases` is a pattern of tests and groups (expectations.matches), "" for all. `bound` says that the slowest of these
    tests holds that side of the time limit. `score` is the aggregated score's inclusive range.
    """

    cases: str
    permitted: tuple[str, ...]
    required: tuple[str, ...]
    bound: Bound | None
    score: tuple[float, float] | None
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """What is promised of a submission. `verdicts` are the final verdicts that keep the promise; none: no promise.

    `partial`: accepted, but not with the best score. `source` is "folder", "submissions.yaml" or "comment" (DOMjudge's
    @EXPECTED_RESULTS@). `rules` are the stricter ones about single tests, for who runs all of them.
    """

    verdicts: tuple[str, ...]
    partial: bool
    score: tuple[float, float] | None
    source: str
    rules: tuple[Rule, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """An example submission; `name` is its path below submissions/, `folder` the folder there that holds it."""

    name: str
    folder: str
    program: Program
    expected: Expected


@dataclasses.dataclass(frozen=True, slots=True)
class Include:
    """Files of include/<language>/ that are put beside a submission in that language, over its own.

    `language` "default" (2023-07) is for those that have none of their own.
    """

    language: str
    folder: str
    files: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A package. `names` are pairs of a language (such as "en") and a title. `languages` None allows all.

    `maximize` is False where legacy's grading.objective is min. `grader` is legacy's custom grader. `groups` are in
    the order of judging, each before those below it; `cases` are all tests in the order of judging.
    """

    folder: str
    format: Format
    declared_version: str
    names: tuple[tuple[str, str], ...]
    uuid: str | None
    types: tuple[ProblemType, ...]
    limits: PackageLimits
    timing: Timing
    languages: tuple[str, ...] | None
    allow_file_writing: bool
    maximize: bool
    constants: tuple[tuple[str, str], ...]
    validator: Validator
    grader: Program | None
    groups: tuple[Group, ...]
    cases: tuple[Case, ...]
    includes: tuple[Include, ...]
    submissions: tuple[Submission, ...]
    warnings: tuple[str, ...]

    @property
    def is_scoring(self) -> bool:
        """True where a submission gets a score."""
        return ProblemType.SCORING in self.types

    @property
    def best_score(self) -> float | None:
        """The end of legacy's range that grading.objective wants; None where the package names none."""
        rules = next((group.rules for group in self.groups if group.parent is None), None)
        if not self.is_scoring or not isinstance(rules, LegacyRules):
            return None
        best = rules.range_high if self.maximize else rules.range_low
        return best if math.isfinite(best) else None

    @property
    def is_interactive(self) -> bool:
        """True where the validator talks with the submission."""
        return ProblemType.INTERACTIVE in self.types

    @property
    def is_multi_pass(self) -> bool:
        """True where the validator may ask for another run (nextpass.in)."""
        return ProblemType.MULTI_PASS in self.types
